"""What a controller of the GRBL family says, line by line: text in, values out.

Forms: grbl/report.c and doc/markdown/interface.md. A line that was damaged on its way is no answer at all: what does
not match whole is `None`, never a half-read value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from firmware_bridges.arcs import Point
from firmware_bridges.modal import MM_PER_INCH, ORIGIN, Offsets

#: A greeting may stand behind the half of a line that the reset cut off.
_BANNER: Final = re.compile(r"(Grbl \d\S* \[.*|GrblHAL \d\S* \[.*)$")
_ERROR: Final = re.compile(r"^error: ?(\d{1,3})$")
_ALARM: Final = re.compile(r"^ALARM: ?(\d{1,3})$")
_SETTING: Final = re.compile(r"^\$(\d+)=(.*?)(?: \(.*\))?$")
_COORDINATES: Final = re.compile(r"^\[(G5[4-9]|G28|G30|G92|TLO):(-?\d+\.\d+)(?:,(-?\d+\.\d+),(-?\d+\.\d+))?[^\]]*\]$")
_STATES: Final = frozenset({"Idle", "Run", "Hold", "Jog", "Alarm", "Door", "Check", "Home", "Sleep", "Tool"})


@dataclass(frozen=True, slots=True)
class Report:
    """One `<…>` line. Lengths in mm, feeds in mm/min; what the line did not carry is None."""

    state: str
    substate: int = 0
    machine: Point | None = None
    work: Point | None = None
    wco: Point | None = None
    planner_free: int | None = None
    receive_free: int | None = None
    feed_mm_min: float | None = None
    spindle: float | None = None
    overrides: tuple[int, int, int] | None = None
    accessories: str | None = None
    """Given together with overrides: letters of what is on (S, C, F, M), empty for nothing."""
    pins: str = ""


def banner(text: str) -> str | None:
    """The greeting in a line, which a reset may have put behind half of another line."""
    found = _BANNER.search(text)
    return found[1] if found else None


def error_number(text: str) -> int | None:
    """N of `error:N`."""
    found = _ERROR.match(text)
    return int(found[1]) if found else None


def alarm_number(text: str) -> int | None:
    """N of `ALARM:N`."""
    found = _ALARM.match(text)
    return int(found[1]) if found else None


def settings(lines: Iterable[str]) -> dict[int, str]:
    """The `$N=V` lines among `lines`."""
    return {int(found[1]): found[2] for line in lines if (found := _SETTING.match(line))}


def _point(text: str, scale: float) -> Point | None:
    parts = text.split(",")
    if len(parts) < 3:
        return None
    try:
        return (float(parts[0]) * scale, float(parts[1]) * scale, float(parts[2]) * scale)
    except ValueError:
        return None


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return None


def report(text: str, *, inches: bool = False) -> Report | None:
    """A status report; None for anything else and for one that was damaged. `inches`: the controller's $13 is set."""
    if len(text) < 6 or text[0] != "<" or text[-1] != ">":
        return None
    head, *fields = text[1:-1].split("|")
    name, _, sub = head.partition(":")
    if name not in _STATES or (sub and not sub.isdigit()):
        return None
    scale = MM_PER_INCH if inches else 1.0
    values: dict[str, object] = {"state": name, "substate": int(sub) if sub else 0}
    for field in fields:
        key, _, value = field.partition(":")
        if not _take(values, key, value, scale):
            return None
    if "overrides" in values:
        values.setdefault("accessories", "")
    if "machine" not in values and "work" not in values:
        return None
    return Report(**values)  # type: ignore[arg-type]


def _take(values: dict[str, object], key: str, value: str, scale: float) -> bool:
    """One field; False for a known field that cannot be read. Unknown fields are passed over."""
    if key in ("MPos", "WPos", "WCO"):
        point = _point(value, scale)
        values[{"MPos": "machine", "WPos": "work", "WCO": "wco"}[key]] = point
        return point is not None
    if key in ("FS", "F", "Bf", "Ov"):
        numbers = _numbers(value)
        wanted = {"FS": 2, "F": 1, "Bf": 2, "Ov": 3}[key]
        if numbers is None or len(numbers) < wanted:
            return False
        if key in ("FS", "F"):
            values["feed_mm_min"] = numbers[0] * scale
            if key == "FS":
                values["spindle"] = numbers[1]
        elif key == "Bf":
            values["planner_free"], values["receive_free"] = int(numbers[0]), int(numbers[1])
        else:
            values["overrides"] = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
    elif key == "Pn":
        values["pins"] = value
    elif key == "A":
        values["accessories"] = value
    return True


def offsets(lines: Iterable[str], *, inches: bool = False) -> Offsets | None:
    """What `$#` told; None where a line of it is missing."""
    scale = MM_PER_INCH if inches else 1.0
    found: dict[str, Point] = {}
    for line in lines:
        match = _COORDINATES.match(line)
        if match:
            x, y, z = (float(match[i] or 0.0) * scale for i in (2, 3, 4))
            found[match[1]] = (x, y, z)
    if not all(f"G{number}" in found for number in (*range(54, 60), 28, 30)):
        return None
    return Offsets(
        systems=tuple(found[f"G{number}"] for number in range(54, 60)),
        g92=found.get("G92", ORIGIN),
        tool_length_mm=found.get("TLO", ORIGIN)[0],
        stored=(found["G28"], found["G30"]),
    )


@dataclass(frozen=True, slots=True)
class Build:
    """Who answers, from the greeting and `$I`. `rx_bytes` is 0 and `blocks` 0 where the firmware does not tell."""

    firmware: str
    version: str
    options: str
    blocks: int
    rx_bytes: int


def build(lines: Iterable[str]) -> Build | None:
    """Classify the lines of a greeting and `$I`; None where nothing of the GRBL family spoke."""
    version = options = ""
    firmware = "grbl"
    blocks = rx = 0
    spoke = False
    for line in lines:
        if line.startswith("[VER:"):
            version, spoke = line[5:].rstrip("]").rstrip(":"), True
        elif line.startswith("[OPT:"):
            parts = line[5:].rstrip("]").split(",")
            options = parts[0]
            blocks = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
            rx = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
        if "GrblHAL" in line or "[FIRMWARE:grblHAL" in line:
            firmware = "grblhal"
        elif "FluidNC" in line:
            firmware = "fluidnc"
        spoke = spoke or banner(line) is not None
    return Build(firmware, version, options, blocks, rx) if spoke else None
