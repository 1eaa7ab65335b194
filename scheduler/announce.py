"""Tell the local network where this scheduler is, so that agents need no address (multicast DNS). Only if asked to."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import Final

from zeroconf import InterfaceChoice, NonUniqueNameException, ServiceInfo, Zeroconf

from agents.contract.discovery import SERVICE, FoundScheduler, instance_name, txt
from scheduler.config import Settings

_log: Final = logging.getLogger(__name__)
_LOOPBACK: Final = ("127.", "::1", "localhost")


class CannotAnnounce(RuntimeError):
    """The network would be told something that is of no use or not true; the text says what to change."""


class Announcement:
    """One scheduler's entry, from `start` to `stop`, or as a context."""

    def __init__(self, said: FoundScheduler, *, interfaces: Sequence[str] = ()) -> None:
        """`said.host` is the address that others reach the broker at; `interfaces` are addresses, none means all.

        Raises CannotAnnounce for an address that only this computer reaches.
        """
        if not interfaces and said.host.startswith(_LOOPBACK):
            raise CannotAnnounce(
                f"the broker is at {said.host}, which no other computer reaches: give --mqtt an address of this network"
            )
        self._said, self._interfaces = said, interfaces
        self._zeroconf: Zeroconf | None = None

    def __enter__(self) -> Announcement:
        """As `start`."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """As `stop`."""
        self.stop()

    def start(self) -> None:
        """Announce. Raises CannotAnnounce when the name is taken or the address has no number, OSError."""
        said = self._said
        try:
            address = socket.inet_aton(socket.gethostbyname(said.host))
        except OSError as error:
            raise CannotAnnounce(f"{said.host} has no address here ({error}): name the broker by its number") from error
        info = ServiceInfo(
            SERVICE, instance_name(said.scheduler), addresses=[address], port=said.port, properties=dict(txt(said))
        )
        zeroconf = Zeroconf(interfaces=list(self._interfaces) or InterfaceChoice.All)
        try:
            zeroconf.register_service(info)
        except NonUniqueNameException as error:
            zeroconf.close()
            raise CannotAnnounce(
                f"another scheduler on this network is called {said.scheduler!r}: give this one another --name"
            ) from error
        self._zeroconf = zeroconf
        _log.info("announced on the local network: %s", said)

    def stop(self) -> None:
        """Take it back (a goodbye packet, RFC 6762 §10.1)."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            zeroconf.close()


def announced(settings: Settings) -> Announcement:
    """What a scheduler with these settings says of itself. Raises CannotAnnounce without a broker others can reach."""
    if settings.broker is None:
        raise CannotAnnounce("there is no broker to announce: give --mqtt its address")
    broker = settings.broker
    return Announcement(FoundScheduler(settings.scheduler, broker.host, broker.port, bool(broker.tls_ca), settings.url))
