"""What an agent publishes on a line: presence, journal, reports and measured values, each on its topic.

In: bodies. Out: wrapped messages, handed to the line; False where it is not up or does not take them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Final

from agents.clock import Clock
from agents.config import AgentConfig
from agents.contract import topics
from agents.contract.envelope import encode, wrap
from agents.contract.messages import AgentPresence, AnyMessage, MachineReport, Telemetry
from agents.mqtt import MqttLine

PRESENT_AGAIN_S: Final = 300.0


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("workshed")
    except metadata.PackageNotFoundError:
        return "unknown"


class Publisher:
    """Called from any thread. `line` gives the line of the moment, None where the shop works alone."""

    def __init__(self, config: AgentConfig, clock: Clock, boot: str, line: Callable[[], MqttLine | None]) -> None:
        self._config, self._clock, self._boot, self._line = config, clock, boot, line
        self._where = {"shop": config.shop, "agent": config.agent}
        self._presented_s = clock.monotonic()

    def presence_message(self, online: bool) -> bytes:
        """The presence as it is told, and left as a will."""
        body = AgentPresence(
            shop=self._config.shop,
            agent=self._config.agent,
            online=online,
            boot=self._boot,
            version=version(),
            http=self._config.http.public_url,
            volunteers=self._config.board.volunteers,
        )
        return self._wrapped(body)

    def present(self) -> bool:
        """Say that the agent is there."""
        self._presented_s = self._clock.monotonic()
        return self._publish(topics.PRESENCE.of(**self._where), self.presence_message(True), retain=True)

    def present_again(self) -> None:
        """Say it now and then: an older word, or a will, that came late or twice would stand until the next start."""
        if self._clock.monotonic() - self._presented_s >= PRESENT_AGAIN_S:
            self.present()

    def journal(self, payload: bytes) -> bool:
        """An event of the journal, encoded already."""
        return self._publish(topics.JOURNAL.of(**self._where), payload)

    def report(self, told: MachineReport) -> bool:
        """A machine's report."""
        topic = topics.MACHINE.of(**self._where, machine=told.description.machine)
        return self._publish(topic, self._wrapped(told), retain=True)

    def gone(self, machine: str) -> bool:
        """A machine that no longer stands here: its retained report is taken away."""
        return self._publish(topics.MACHINE.of(**self._where, machine=machine), b"", retain=True)

    def telemetry(self, telemetry: Telemetry) -> bool:
        """Measured values, sent once."""
        topic = topics.TELEMETRY.of(**self._where, machine=telemetry.machine)
        return self._publish(topic, self._wrapped(telemetry), qos=topics.TELEMETRY.qos)

    def _wrapped(self, body: AnyMessage) -> bytes:
        return encode(wrap(body, sender=self._config.sender, now=self._clock.now()))

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        line = self._line()
        return line is not None and line.publish(topic, payload, retain=retain, qos=qos)
