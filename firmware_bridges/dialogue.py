"""Short scripted exchanges with a firmware: ask, listen until an answer or a deadline, go on.

A script is a generator that yields `Ask` and is sent `Heard`; its return value is the outcome. It runs on the link's
thread, driven by lines and ticks, so that identification after a reconnect needs no thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from firmware_bridges.bridge import BridgeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Send `send` (nothing: only listen), then listen until `until(line)` or for `timeout_s` seconds."""

    send: bytes
    until: Callable[[str], bool]
    timeout_s: float
    interject: bool = False
    """Overtake what is queued: for real-time bytes."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The lines that came, the last one included; `complete` is False when the time ran out."""

    lines: tuple[str, ...]
    complete: bool


Script = Generator[Ask, Heard, T]


class Dialogue(Generic[T]):
    """Runs one script. Not thread-safe: call it under the bridge's lock."""

    def __init__(
        self,
        script: Script[T],
        *,
        write: Callable[[bytes], None],
        interject: Callable[[bytes], None],
        done: Callable[[T], None],
        failed: Callable[[BridgeError], None],
    ) -> None:
        self._script = script
        self._write = write
        self._interject = interject
        self._done = done
        self._failed = failed
        self._ask: Ask | None = None
        self._lines: list[str] = []
        self._until = 0.0

    @property
    def over(self) -> bool:
        """Whether the script has ended."""
        return self._ask is None

    def start(self, now: float) -> None:
        """Run up to the first question."""
        self._step(None, now)

    def line(self, text: str, now: float) -> None:
        """A line came."""
        ask = self._ask
        if ask is None:
            return
        self._lines.append(text)
        if ask.until(text):
            self._step(Heard(tuple(self._lines), True), now)

    def tick(self, now: float) -> None:
        """Time passed."""
        if self._ask is not None and now >= self._until:
            self._step(Heard(tuple(self._lines), False), now)

    def drop(self) -> None:
        """End without an outcome: the port is gone, or somebody stopped everything."""
        self._ask = None
        self._script.close()

    def _step(self, heard: Heard | None, now: float) -> None:
        self._lines = []
        try:
            ask = next(self._script) if heard is None else self._script.send(heard)
        except StopIteration as end:
            self._ask = None
            self._done(end.value)
            return
        except BridgeError as error:
            self._ask = None
            self._failed(error)
            return
        self._ask = ask
        self._until = now + ask.timeout_s
        if ask.send:
            (self._interject if ask.interject else self._write)(ask.send)
