"""Which lines a Marlin machine is sent to hold, to go on and to end, by process. Pure.

A router lifts before its spindle stops and is at speed before it plunges again; a beam goes off first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from firmware_bridges.printer_dialect import PrinterDialect

LIFT_MM: Final = 5.0
SPIN_UP_S: Final = 3
_FEED: Final = re.compile(r"F(\d+\.?\d*)")


@dataclass(slots=True)
class HoldMemory:
    """What has to be as it was after a hold: as far as the lines sent so far tell."""

    absolute: bool = True
    feed: str = ""
    spindle: str = ""

    def note(self, text: str) -> None:
        """One line is about to be sent."""
        word = text.split(" ", 1)[0]
        if word in ("G90", "G91"):
            self.absolute = word == "G90"
        elif word in ("M3", "M4", "M03", "M04"):
            self.spindle = text
        elif word in ("M5", "M05"):
            self.spindle = ""
        elif word[:1] == "G" and (match := _FEED.search(text)):
            self.feed = match[1]


def hold_lines(process: str, memory: HoldMemory, dialect: PrinterDialect) -> tuple[str, ...]:
    """Before standing: beam off at once; a router's spindle after the lift."""
    if process == "laser":
        return ("M5",)
    if process == "cnc":
        lift = (*dialect.finish[:1], "G91", f"G0 Z{LIFT_MM:g}", *(("G90",) if memory.absolute else ()))
        return (*lift, *dialect.finish[:1], "M5")
    return ()


def resume_lines(process: str, memory: HoldMemory, dialect: PrinterDialect) -> tuple[str, ...]:
    """Back to where it was: spindle first, then down, then the feed that was in force."""
    if process == "laser":
        return (memory.spindle,) if memory.spindle else ()
    if process == "cnc":
        spin = (memory.spindle, f"G4 S{SPIN_UP_S}") if memory.spindle else ()
        down = ("G91", f"G1 Z-{LIFT_MM:g} F200", *(("G90",) if memory.absolute else ()))
        feed = (f"G1 F{memory.feed}",) if memory.feed else ()
        return (*spin, *down, *feed)
    return ()


def cancel_lines(process: str, dialect: PrinterDialect) -> tuple[str, ...]:
    """Off, then still."""
    tool = ("M5",) if process in ("laser", "cnc") else ()
    return (*tool, *dialect.heaters_off, *dialect.finish[:-1])
