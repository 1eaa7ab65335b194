"""How a scheduler is found on a local network: DNS-SD over multicast DNS (RFC 6763, RFC 6762). Values only.

The service's port is the broker's; the TXT record says which scheduler, whether the broker speaks TLS, and where its
HTTP is. Nothing in it is secret and nothing in it is believed: who answers must still prove itself to the broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Service type, RFC 6763 §7: `_workshed` over TCP, in the link-local domain.
SERVICE: Final = "_workshed._tcp.local."
#: Of the TXT record's keys, RFC 6763 §6.7.
TXT_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class FoundScheduler:
    """One scheduler that announced itself, and its broker."""

    scheduler: str
    host: str
    port: int
    tls: bool
    http: str

    def __str__(self) -> str:
        """For a list on a terminal."""
        return (
            f"{self.scheduler}: broker {self.host}:{self.port}{' (TLS)' if self.tls else ''}, {self.http or 'no HTTP'}"
        )


def instance_name(scheduler: str) -> str:
    """The service instance's full name."""
    return f"{scheduler}.{SERVICE}"


def txt(found: FoundScheduler) -> dict[str, str]:
    """The TXT record's pairs."""
    return {"txtvers": TXT_VERSION, "tls": "1" if found.tls else "0", "http": found.http}


def read_txt(name: str, host: str, port: int, pairs: Mapping[bytes, bytes | None]) -> FoundScheduler | None:
    """What an announcement says; None where it is not one of ours or of a version that this program knows."""
    said = {key.decode("ascii", "replace"): (value or b"").decode("utf-8", "replace") for key, value in pairs.items()}
    scheduler = name.removesuffix("." + SERVICE)
    if scheduler == name or not scheduler or said.get("txtvers") != TXT_VERSION or not 0 < port < 65536:
        return None
    http = said.get("http", "")
    return FoundScheduler(scheduler, host, port, said.get("tls") == "1", http if http.startswith("http") else "")
