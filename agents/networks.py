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
from agents.contract.envelope import RefusedMessage
from agents.contract.messages import MachineReport
from agents.inbox import Inbox
from agents.mqtt import Line, MqttLine
from agents.policy import MachineView, Policy
from agents.publishing import Publisher
from agents.removed import note_machines
from agents.reporting import Reporting
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
    report: Callable[[str], MachineReport]
    """A machine's report as of now, by its name."""


class FurtherNetwork:
    """One more broker and scheduler."""

    def __init__(
        self, config: AgentConfig, settings: NetworkSettings, spool: Spool, clock: Clock, boot: str, around: Around
    ) -> None:
        self.name = settings.name
        self._clock, self._around = clock, around
        self._removed = note_machines(spool, [one.name for one in config.machines])
        self._publisher = Publisher(config, clock, boot, lambda: self.line)
        self._reporting = Reporting(config.machine_names, self._nameless_report, self._publisher.report, clock)
        self.teller = Teller(Channel(spool, network_channel(settings.name)), self._publisher.journal, clock)
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
        where = {"shop": config.shop, "agent": config.agent}
        line = Line(
            client_id=f"workshed-{config.shop}-{config.agent}",
            will_topic=topics.PRESENCE.of(**where),
            will=self._publisher.presence_message(False),
            subscriptions=(topics.INBOX.of(**where),),
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
        self.line.end(self._publisher.presence_message(False))
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
        self._publisher.present()
        for machine in self._removed:
            self._publisher.gone(machine)
        self._reporting.all_new()
        self.teller.connected()

    def machine_changed(self, machine: str) -> None:
        """Tell what is new of a machine, and now and then what is known."""
        if self.line.is_up:
            self._publisher.present_again()
            self._reporting.changed(machine)

    def _nameless_report(self, machine: str) -> MachineReport:
        """A job is named to nobody but, in its journal, who granted it."""
        return structs.replace(self._around.report(machine), job=None, progress=None)
