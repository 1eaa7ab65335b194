"""How the pages say things: lengths of time, amounts, states. Pure; no abbreviation that a stranger must look up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

#: A machine that was not heard of for this long is shown as stale, whatever it said last.
STALE_AFTER: Final = timedelta(seconds=90)

PROCESS_WORDS: Final = {"fdm": "3D print", "laser": "Laser cut", "cnc": "Routed", "manual": "By hand"}
PROCESS_ICONS: Final = {"fdm": "layers", "laser": "flare", "cnc": "carpenter", "manual": "back_hand"}
MACHINE_WORDS: Final = {"fdm": "3D printer", "laser": "Laser cutter", "cnc": "CNC router", "manual": "Workbench"}
NEED_WORDS: Final = {
    "survival": "Survival",
    "commons": "Commons",
    "personal": "Personal",
    "outside": "Outside",
}
NEED_MEANING: Final = {
    "survival": "somebody cannot do without it",
    "commons": "for everybody: a school, a clinic, a shared tool",
    "personal": "for one household",
    "outside": "for people outside the ring, when machines would stand idle",
}
ORDER_WORDS: Final = {
    "requested": "Waits to be accepted",
    "quoted": "Waits to be accepted",
    "accepted": "Accepted",
    "making": "Being made",
    "made": "Made, ready to hand over",
    "handed_over": "Handed over",
    "cancelled": "Cancelled",
}
JOB_WORDS: Final = {
    "waiting": "Waiting",
    "offered": "Offered to a shop",
    "leased": "Taken by a shop",
    "staged": "Program at machine",
    "ready": "Ready to start",
    "starting": "Starting",
    "running": "Running",
    "held": "Held",
    "finished": "Finished, waits for inspection",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "inspected": "Done",
}
EFFECT_WORDS: Final = {
    "stays": "Keeps running",
    "taken_back": "Goes elsewhere",
    "planned_around": "Planned anew",
}
EFFECT_MEANING: Final = {
    "stays": "it runs already, and nothing stops it",
    "taken_back": "it was given to this machine and has not begun; another machine or another time is found for it",
    "planned_around": "it was only planned here; another machine or another time is found for it",
}
KEPT_WORDS: Final = {"reserved": "Reserved", "maintenance": "Down for maintenance"}
MACHINE_STATE_WORDS: Final = {
    "offline": "Offline",
    "unidentified": "Not identified",
    "idle": "Free",
    "occupied": "Part on the bed",
    "running": "Running",
    "held": "Held",
    "alarm": "Alarm",
    "disabled": "Switched off by its owner",
}


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `2 h 05 min`, `3 d 4 h`; a dash for none."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    days, hours = divmod(round(whole / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def hours(seconds: float) -> str:
    """`20 h`, `12.5 h`, `0.4 h`."""
    return f"{round(seconds / 3600, 1):g} h"


def week(monday: datetime, now: datetime) -> str:
    """`this week`, `next week`, `the week from 16 Mar`; weeks are of UTC, as plans count them."""
    day = monday.astimezone(UTC).date()
    ahead = (day - now.astimezone(UTC).date()).days
    if ahead <= 0:
        return "this week"
    return "next week" if ahead <= 7 else f"the week from {day.day} {day:%b}"


def ago(moment: datetime | None, now: datetime) -> str:
    """`just now`, `4 min ago`, `never`."""
    if moment is None:
        return "never"
    passed = (now - moment).total_seconds()
    return "just now" if passed < 10 else f"{duration(passed)} ago"


def at(moment: datetime | None, now: datetime) -> str:
    """`14:05 today`, `09:30 tomorrow`, `Thu 26 Nov, 09:30`; in the zone of `now`."""
    if moment is None:
        return "–"
    local = moment.astimezone(now.tzinfo)
    days = (local.date() - now.date()).days
    clock = local.strftime("%H:%M")
    if days == 0:
        return f"{clock} today"
    if days == 1:
        return f"{clock} tomorrow"
    return f"{local.strftime('%a')} {local.day} {local.strftime('%b')}, {clock}"


def stretch(start: datetime, end: datetime, now: datetime) -> str:
    """`until 18:00 today`, `14:00 to 18:00 today`, `22:00 today to 07:00 tomorrow`; in the zone of `now`."""
    if start <= now:
        return f"until {at(end, now)}"
    if start.astimezone(now.tzinfo).date() == end.astimezone(now.tzinfo).date():
        clock, _, day = at(start, now).partition(" ")
        if day in ("today", "tomorrow"):
            return f"{clock} to {end.astimezone(now.tzinfo):%H:%M} {day}"
    return f"{at(start, now)} to {at(end, now)}"


def count(number: int, one: str, many: str = "") -> str:
    """`1 part`, `3 parts`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def named(words: dict[str, str], value: str) -> str:
    """The word for `value`; the value itself, made readable, where nobody has chosen one yet."""
    return words.get(value) or value.replace("_", " ").capitalize()
