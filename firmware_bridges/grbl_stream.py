"""Character counting: how many bytes the controller can take, which lines are in it, which line comes next.

Pure of ports: lines in, bytes out, one acknowledgement in for each line. The controller's ring overflows without a word
(grbl/serial.c), so the sum of the lines in it never exceeds what it told (`[OPT:…]`, `Bf:`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from firmware_bridges.arcs import Point
from firmware_bridges.gcode_words import compact, only_plain_characters
from firmware_bridges.grbl_watch import Watch
from firmware_bridges.modal import Dwell, Motion, Offsets, Problem, Stop
from firmware_bridges.modal_cnc import CncInterpreter

LONGEST_LINE: Final = 79
_CONSTANT_BEAM: Final = re.compile(r"M0*3(?![\d.])")
#: Writes the controller's EEPROM: bytes that arrive meanwhile are lost (doc/markdown/interface.md).
_WRITES: Final = re.compile(r"G10(?![\d.])|G28\.1|G30\.1")
#: What nothing can be wrong with.
_ORDINARY: Final = re.compile(r"(?:[GXYZFSIJ]-?[0-9.]+)+$")
#: Reads it: the same, for a shorter time.
_READS: Final = re.compile(r"G5[4-9](?![\d.])|G28(?![\d.])|G30(?![\d.])")


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that must not be sent, and why; for people."""

    line: int
    text: str
    why: str


class Stream:
    """The lines of one run on their way through one controller.

    `source` yields (toolpath line number, text); number 0 marks the bridge's own lines.
    """

    def __init__(
        self,
        source: Iterator[tuple[int, str]],
        watch: Watch,
        capacity: int,
        *,
        position: Point,
        offsets: Offsets,
        dynamic_beam: bool = False,
        spindle_range: tuple[float, float] = (0.0, 1e9),
        skip_memory_writes: bool = False,
    ) -> None:
        self._source = source
        self._capacity = capacity
        self._dynamic_beam = dynamic_beam
        self._low, self._high = spindle_range
        self._skip_writes = skip_memory_writes
        self.watch = watch
        self.reader = CncInterpreter(position, offsets)
        self._in_flight = watch.pending
        self._sum = 0
        self._next: tuple[int, str] | None = None
        self._alone = False
        self._blank = 0
        """Last line number that had nothing to send: confirmed with the line before it."""
        self.refused: Refused | None = None
        self.exhausted = False
        self.extra_acknowledgements = 0

    @property
    def in_flight(self) -> int:
        """Lines sent and not acknowledged."""
        return len(self._in_flight)

    @property
    def oldest(self) -> int:
        """Toolpath line number of the oldest line in flight; 0 for none or one of the bridge's own."""
        return self._in_flight[0][1] if self._in_flight else 0

    def acknowledged(self) -> int:
        """One ok came: the toolpath line up to which everything is confirmed, 0 for none of its own."""
        if not self._in_flight:
            self.extra_acknowledgements += 1
            return 0
        size, number, _, _, _ = self.watch.acknowledged()
        self._sum -= size
        if not self._in_flight:
            self._alone = False
            if self._blank > number > 0:
                return self._blank
        return number

    def take(self, *, idle: bool) -> bytes:
        """The bytes to write now. `idle`: the controller stands still with nothing planned, as EEPROM writes need."""
        out: list[str] = []
        while not self._alone:
            if self._next is None and not self._fetch():
                break
            number, line = self._next  # type: ignore[misc]
            size = len(line) + 1
            if self._sum + size > self._capacity:
                break
            drained = self._needs_drain(line, idle=idle)
            if drained is False:
                break
            if not self._send(number, line, size):
                break
            out.append(line)
            self._alone = bool(drained)
        if not out:
            return b""
        out.append("")
        return "\n".join(out).encode("ascii")

    def _needs_drain(self, line: str, *, idle: bool) -> bool | None:
        """None: an everyday line. True: it may go now, alone. False: wait until the controller is empty."""
        if "G" not in line:
            return None
        if _WRITES.search(line):
            return idle and not self._in_flight
        if _READS.search(line):
            return not self._in_flight
        return None

    def _send(self, number: int, line: str, size: int) -> bool:
        step = self.reader.step(line)
        motion: Motion | None = None
        standing_s = 0.0
        if type(step) is Motion:
            motion = step
        elif isinstance(step, Problem):
            self.refused = Refused(number, line, step.why)
            return False
        elif step is not None:
            standing_s = step.seconds if isinstance(step, Dwell) else (1e9 if isinstance(step, Stop) else 0.0)
        value = self.reader.spindle_value
        if value:
            value = min(max(value, self._low), self._high)  # as the controller clamps it ($31, $30)
        self._in_flight.append((size, number, motion, value, standing_s))
        self._sum += size
        self._next = None
        return True

    def expect_own(self, size: int) -> None:
        """A line of the bridge's own was written behind the program."""
        self._in_flight.append((size, 0, None, 0.0, 0.0))
        self._sum += size

    @property
    def standing_s(self) -> float:
        """How long the oldest line in flight may keep the machine standing by itself (a dwell, a stop)."""
        return self._in_flight[0][4] if self._in_flight else 0.0

    def _fetch(self) -> bool:
        """Look one line ahead; False at the end or at a line that must not be sent."""
        if self.refused is not None or self.exhausted:
            return False
        for number, text in self._source:
            line = compact(text)
            if not line or line[0] == "/" or (self._skip_writes and _WRITES.search(line)):
                self._blank = number
                continue
            if self._dynamic_beam and "M" in line:
                line = _CONSTANT_BEAM.sub("M4", line)
            why = _why_not(line)
            if why:
                self.refused = Refused(number, line, why)
                return False
            self._next = (number, line)
            return True
        self.exhausted = True
        return False

    @property
    def last_number(self) -> int:
        """Toolpath line number of the last line with nothing to send, for a file that ends in comments."""
        return self._blank


def _why_not(line: str) -> str:
    """Why a line must not reach the controller; empty when it may."""
    if len(line) <= LONGEST_LINE and _ORDINARY.match(line):
        return ""
    if line[0] == "$":
        return "a $ line commands the controller itself and has no place in a toolpath"
    if not line.isascii() or not only_plain_characters(line):
        return "it holds a character that is not G-code and that the controller might obey"
    if len(line) > LONGEST_LINE:
        return f"it is longer than the {LONGEST_LINE} characters the controller can hold"
    return ""
