"""What the flow of a printer's lines remembers: lines in flight, what is confirmed, what is in doubt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from firmware_bridges.bridge import Failure
from firmware_bridges.marlin_stops import HoldMemory
from firmware_bridges.printer_dialect import PrinterDialect

FIRST_LINES: Final = 10
"""Lines one by one at the start, before several are in flight."""
CLEAN_LINES: Final = 200
"""The same after an error."""
HISTORY: Final = 64
QUIET_S: Final = 0.04
"""More than the time that 127 bytes take at 57600 baud, with what the firmware answers to them."""
RENUMBER_AGAIN_S: Final = 2.0
MOST_RENUMBERS: Final = 8
MOST_NUDGES: Final = 10
SAME_RESEND_MOST: Final = 10
AFTER_BLANK_S: Final = 1.0
CHECK: Final = "G4 P0"
"""Does nothing, but takes a number."""
PATIENCE_S: Final = 4.0
"""Silence about a line, from a firmware that says busy, before it is asked."""


class Phase(Enum):
    """What the flow is doing."""

    QUIET = "quiet"
    """Waiting until nothing more comes."""
    RENUMBER = "renumber"
    """Waiting for the ok to M110."""
    STREAM = "stream"


@dataclass(slots=True)
class Sent:
    """One line on its way or in the history. `number` is None for lines without one; `mark` names a control line."""

    number: int | None
    line: int
    data: bytes
    text: str
    mark: str = ""


@dataclass(slots=True)
class Doubt:
    """What the firmware asked for before it fell quiet."""

    resend: int | None = None
    sure: bool = False
    """The error line and the Resend named the same number."""
    heard_at: float = 0.0


@dataclass(slots=True)
class Counters:
    """For status and warnings."""

    sent: int = 0
    resends: int = 0
    silences: int = 0
    lost_oks: int = 0


class FlowState:
    """All fields of `PrinterFlow`."""

    def __init__(self, dialect: PrinterDialect, lines: Iterator[tuple[int, str]], *, first_line: int = 1) -> None:
        self.dialect = dialect
        self._lines = lines
        self._inserts: deque[tuple[str, str]] = deque()
        self.flight: deque[Sent] = deque()
        self._flight_bytes = 0
        self._history: dict[int, Sent] = {}
        self._next = 1
        self._cursor = 1
        self._carry: Sent | None = None
        self.pulled = first_line - 1
        self.confirmed = first_line - 1
        self.confirmed_number = 0
        self._exhausted = False
        self.paused = False
        self.phase = Phase.QUIET if dialect.numbered else Phase.STREAM
        self._renumbered = not dialect.numbered
        self._renumber_tries = 0
        self._renumber_at = 0.0
        self._presumed: deque[Sent] = deque()
        self._nudges = 0
        self._blank_sent = False
        self._doubt = Doubt()
        self._candidate = 0
        self.echoes_number = dialect.echo_of_number
        self.advanced = False
        self._clean = -FIRST_LINES
        self._error_last: int | None = None
        self._error_at = 0.0
        self._error_pending = False
        self._unknown_pending = False
        self._same_resend = (0, 0)
        self._fresh_ok: Sent | None = None
        self._swallow_ok = False
        self._allowed_oks = 0
        self._beside = 0
        self.last_word = 0.0
        self.done_marks: list[str] = []
        self.rejected: Sent | None = None
        self.failure: tuple[Failure, str] | None = None
        self.counters = Counters()
        self.memory = HoldMemory()
