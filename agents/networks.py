"""Further networks: this shop's machines serve several schedulers, each over its own broker, with a journal of its own.

What one scheduler granted, no other has a say in, nor is told of. Which job runs is settled where it always is: at the
machine, whose one supervisor starts one lease at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from agents import effects as e
from agents.channels import Channel, network_channel
from agents.clock import Clock
from agents.config import AgentConfig, NetworkSettings
from agents.contract import topics
from agents.contract.envelope import RefusedMessage, encode, wrap
from agents.contract.messages import MachineReport
from agents.inbox import Inbox
from agents.mqtt import Line, MqttLine
from agents.policy import MachineView, Policy
from agents.removed import note_machines
from agents.spool import Spool, SpoolFull
from agents.teller import Teller

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Around:
    """What a network needs of the agent around it."""

    policy: Callable[[], Policy]
    view: Callable[[str], MachineView]
    carry_out: Callable[[e.Effect], None]
    """Looks, and words for supervisors."""
    presence: Callable[[bool], bytes]
    """The agent's presence, online or not, as it is published."""
    report: Callable[[str], MachineReport]
    """A machine's report as of now, by its name."""


class FurtherNetwork:
    """One more broker and scheduler."""

    def __init__(
        self, config: AgentConfig, settings: NetworkSettings, spool: Spool, clock: Clock, boot: str, around: Around
    ) -> None:
        self.name = settings.name
        self._where, self._clock, self._around = {"shop": config.shop, "agent": config.agent}, clock, around
        self._sender, self._machines = config.sender, tuple(one.name for one in config.machines)
        self._removed = note_machines(spool, self._machines)
        self._told: dict[str, MachineReport] = {}
        self._channel = Channel(spool, network_channel(settings.name))
        self.teller = Teller(self._channel, self._send, clock)
        self.inbox = Inbox(
            config,
            spool,
            policy=around.policy,
            view=around.view,
            told=lambda: self.teller.told,
            clock=clock,
            boot=boot,
            network=settings,
        )
        line = Line(
            client_id=f"workshed-{config.shop}-{config.agent}",
            will_topic=topics.PRESENCE.of(**self._where),
            will=around.presence(False),
            subscriptions=(topics.INBOX.of(**self._where),),
            received=self.received,
            connected=self._connected,
            lost=lambda why: None,
        )
        self.line = MqttLine(settings.mqtt, line)

    def begin(self) -> None:
        """Say first what is held under this scheduler's leases; connect."""
        self.teller.open_with(self.inbox.say_holdings(self._clock.now()))
        self.line.start()

    def end(self) -> None:
        """Tell what can be told, say goodbye."""
        self.teller.pump()
        self.line.end(self._around.presence(False))
        self.teller.end()

    def received(self, topic: str, payload: bytes) -> bool:
        """One message of this scheduler's."""
        try:
            effects = self.inbox.receive(payload)
        except RefusedMessage as error:
            _log.warning("a message on %s of %s was refused: %s", topic, self.name, error)
            return True
        except SpoolFull as error:
            _log.error("%s", error)
            return False
        for effect in effects:
            match effect:
                case e.Repeat(seq):
                    self.teller.repeat_from(seq)
                case e.JournalGrew():
                    self.teller.grew()
                case e.Restored(holdings):
                    self.teller.open_with(holdings)
                case e.Acknowledged(upto):
                    self.teller.acknowledged(upto)
                case _:
                    self._around.carry_out(effect)
        return True

    def _connected(self) -> None:
        self.line.publish(topics.PRESENCE.of(**self._where), self._around.presence(True), retain=True)
        for machine in self._removed:
            self.line.publish(topics.MACHINE.of(**self._where, machine=machine), b"", retain=True)
        self._told.clear()
        for machine in self._machines:
            self.tell_report(machine)
        self.teller.connected()

    def tell_report(self, machine: str) -> None:
        """What a machine is and does, by exception. A job is named to nobody but, in its journal, who granted it."""
        if not self.line.is_up:
            return
        said = structs.replace(self._around.report(machine), job=None, progress=None)
        known = self._told.get(machine)
        if known is not None and structs.replace(said, since=known.since) == known:
            return
        payload = encode(wrap(said, sender=self._sender, now=self._clock.now()))
        if self.line.publish(topics.MACHINE.of(**self._where, machine=machine), payload, retain=True):
            self._told[machine] = said

    def _send(self, payload: bytes) -> bool:
        return self.line.publish(topics.JOURNAL.of(**self._where), payload)
