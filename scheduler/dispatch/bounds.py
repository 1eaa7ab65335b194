"""What a well-formed message may still not say: numbers, times and texts that no database here could keep. Pure.

The contract's types bound most fields; JSON itself bounds neither integers nor years. A message refused here changed
nothing and harmed nothing beside it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import msgspec

from agents.contract import RefusedMessage
from agents.contract import messages as m

#: Integer columns are 32 bits wide on PostgreSQL; half of it leaves room to count on (a fence above the highest seen).
LARGEST: Final = 2**30
#: A journal numbers its events in 64 bits.
LARGEST_SEQ: Final = 2**62
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_MOST_WINDOWS: Final = 2_000


def out_of_bounds(value: Any) -> str:
    """The first thing in `value` (a message, or anything in one) that is out of all bounds; empty if nothing is."""
    kind = type(value)
    if kind is str:
        return "a text contains the character NUL" if "\0" in value else ""
    if kind is int:
        return "" if -LARGEST <= value <= LARGEST else f"a number beyond ±{LARGEST}"
    if kind is float or kind is bool or value is None or isinstance(value, Enum):
        return ""
    if isinstance(value, datetime):
        # Compared as instants: a year 1 in a zone east of Greenwich has no UTC time at all.
        return "" if _EARLIEST < value < _LATEST else f"a time beyond {_EARLIEST.year} to {_LATEST.year}"
    if isinstance(value, msgspec.Struct):
        return _first(msgspec.structs.astuple(value))
    if isinstance(value, dict):
        return _first(value.keys()) or _first(value.values())
    return _first(value)


def _first(values: Any) -> str:
    for value in values:
        found = out_of_bounds(value)
        if found:
            return found
    return ""


def check_report(report: m.MachineReport, *, shop: str, agent: str, machine: str) -> None:
    """Whether this report may stand on this topic and be planned with. Raises RefusedMessage."""
    if (report.shop, report.agent, report.description.machine) != (shop, agent, machine):
        said = f"{report.shop}.{report.agent}.{report.description.machine}"
        raise RefusedMessage(f"a report of {said[:200]} on the topic of {shop}.{agent}.{machine}")
    why = out_of_bounds(report)
    if why:
        raise RefusedMessage(f"{why} in a machine's report")
    if min(report.description.envelope_mm) < 0 or max(report.description.envelope_mm) > LARGEST:
        raise RefusedMessage(f"a working area of {report.description.envelope_mm} mm does not exist")
    if len(report.windows) > _MOST_WINDOWS or any(start >= end for start, end in report.windows):
        raise RefusedMessage("windows must end after they start, and be few enough to plan with")
