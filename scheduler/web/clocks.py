"""By whose clock times are shown and typed: a shop's own zone where its agent named one, else this computer's. Pure but
for looking up, once, which zone this computer is in.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from scheduler.orders.refusal import Refused

_LOCALTIME: Final = Path("/etc/localtime")


class Fold(IntEnum):
    """Which of two equal wall times is meant in the hour that clocks go through twice (PEP 495)."""

    FIRST = 0
    SECOND = 1


def zone_named(name: str) -> tzinfo | None:
    """The zone of an IANA name; None for an empty or unknown one."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, such as "Europe"
        return None


@cache
def own_zone() -> tzinfo:
    """This computer's zone, with its rules: an offset alone would be wrong on the other side of a change of clocks."""
    named = zone_named(os.environ.get("TZ", "").removeprefix(":"))
    if named is not None:
        return named
    try:
        _, _, name = str(_LOCALTIME.resolve()).partition("zoneinfo/")
        with _LOCALTIME.open("rb") as rules:
            return zone_named(name) or ZoneInfo.from_file(rules)
    except (OSError, ValueError):
        return UTC


def shop_zone(name: str) -> tzinfo:
    """The zone that a shop named; this computer's where it named none that is known here."""
    return zone_named(name) or own_zone()


def zone_words(zone: tzinfo, now: datetime) -> str:
    """`Europe/Berlin`, or `CEST` where the zone's name is not known."""
    return getattr(zone, "key", None) or now.astimezone(zone).tzname() or "UTC"


def as_typed(moment: datetime, zone: tzinfo) -> str:
    """`2026-03-02T18:00`, as an `<input type="datetime-local">` holds it."""
    return moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def from_typed(said: str, zone: tzinfo, fold: Fold) -> datetime:
    """The moment (UTC) at which the clocks of `zone` show what was typed. Raises Refused."""
    what = "Nothing was reserved"
    try:
        wall = datetime.fromisoformat(said)
    except ValueError:
        raise Refused("bad_time", what, f"{said[:40]!r} is no date and time", "Pick both, for start and end.") from None
    try:
        moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        back = moment.astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        raise Refused(
            "bad_time", what, f"the year {wall.year} is out of reach", "Pick a date nearer to today."
        ) from None
    if back != wall.replace(tzinfo=None):
        why = (
            f"the clocks never show {wall:%H:%M} on {wall.day} {wall:%b}: they go forward then, to {back:%H:%M} and on"
        )
        raise Refused("no_such_time", what, why, "Take a time before or after that hour.")
    return moment
