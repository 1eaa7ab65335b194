"""One fault at one named step of one job between real processes, and the judgement of what came of it.

`play` orders, waits for the step, strikes while what it waited for is held, heals, lets the people of the town come
back, and waits until the part is made and inspected. All pairs of step and fault are `PAIRS`; `chosen` takes some.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.agents.peer import eventually
from tests.faults import watching
from tests.faults.reckoning import BEAM_OFF_WITHIN_S, NotKept, kept
from tests.faults.relays import Delivery
from tests.faults.seen import CUT_STEPS, PRINT_STEPS, By, Step
from tests.faults.strikes import ROOT, STRIKES, Strike, Struck
from tests.faults.towns import PRINTER_SPEED, Town, until

_STEP_S: Final = 120.0
_MADE_S: Final = 240.0
_SETTLED_S: Final = 60.0
#: How long one looks at a machine that must stand still.
_LOOK_S: Final = 0.3
_RESTORES: Final = {"restore_scheduler", "restore_agent"}
#: What an old copy cannot be older than: the order must be in it.
_TOO_EARLY: Final = {"the scheduler wrote created"}
_BURNING: Final = (
    "leave_laser",
    "kill_scheduler",
    "kill_broker",
    "cut_agent",
    "agent_clock_forward",
    "agent_clock_back",
)


@dataclass(frozen=True)
class Pair:
    """A fault at a step of a print, or of a cut."""

    process: str
    step: Step
    strike: Strike

    def __str__(self) -> str:
        return f"{self.process}: {self.strike.name} when {self.step.name}"


def _pairs() -> Iterator[Pair]:
    for step in PRINT_STEPS:
        for strike in STRIKES.values():
            if strike.name != "leave_laser" and not (strike.name in _RESTORES and step.name in _TOO_EARLY):
                yield Pair("fdm", step, strike)
    for step in CUT_STEPS:
        for name in _BURNING:
            yield Pair("laser", step, STRIKES[name])


PAIRS: Final[tuple[Pair, ...]] = tuple(_pairs())
#: Starting a scheduler costs some seconds of processor; the others wait until somebody notices.
_SLOW: Final = {"kill_scheduler", "restore_scheduler", "lose_agent", "fill_agent_disk", "messages_late"}


def missing(pair: Pair, town: Town) -> str:
    """What this computer lacks for a pair; "" for nothing."""
    if pair.strike.needs == ROOT and not all(disk.own for disk in town.disks.values()):
        return "small disks of their own need root"
    if pair.strike.needs == "a C compiler" and town.clock_bender is None:
        return "cc is not installed: `make system-deps` (Debian, root) installs the real parts"
    return ""


def chosen(seed: int, count: int) -> list[Pair]:
    """So many quick pairs that need no root: no fault and no step twice, seen in every way; a scheduler dies once."""
    dice = random.Random(seed)
    prints = [pair for pair in PAIRS if pair.process == "fdm" and not pair.step.fresh and pair.strike.needs != ROOT]
    found = [
        dice.choice([pair for pair in prints if pair.strike.name in ("kill_scheduler", "restore_scheduler")]),
        next(pair for pair in PAIRS if pair.strike.name == "leave_laser" and pair.step.name == "the beam burns"),
    ]
    rest = [pair for pair in prints if pair.strike.name not in _SLOW]
    dice.shuffle(rest)
    ways = [way for way in By if way is not By.FILES]
    while len(found) < count:
        faults, steps = ({pair.strike.name for pair in found}, {pair.step.name for pair in found})
        free = [pair for pair in rest if pair.strike.name not in faults and pair.step.name not in steps]
        wanted = ways[len(found) % len(ways)]
        found.append(next((pair for pair in free if pair.step.by is wanted), free[0]))
    return found


def play(town: Town, pair: Pair) -> None:
    """One scenario. Raises NotKept or AssertionError with what broke."""
    job = _ordered(town, pair)
    struck = Struck(town, job)
    with _books_watched(town, job) as seen:
        try:
            _await_step(town, pair, job)
            if pair.process == "laser":
                _strike_beside_the_laser(struck, pair)
            else:
                _strike(struck, pair)
        finally:
            town.watch.let_go()
        _settle(struck)
        town.people.at_the_machines = town.people.beside_the_laser = True
        until(town, job, lambda: _made(town, job), f"{pair}: the part is made and inspected", _MADE_S)
        town.deliver(Delivery.AT_ONCE)
        until(town, job, lambda: _quiet(town), f"{pair}: the agent has told all", _SETTLED_S)
    town.watch.over.add(job)
    kept(struck, seen)


def _ordered(town: Town, pair: Pair) -> str:
    town.people.at_the_machines = True
    town.people.beside_the_laser = pair.process == "laser"
    town.design(pair.process, fresh=False)
    town.twins["m1"].ask(cmd="speed", speed=PRINTER_SPEED / 15 if pair.step.slowly else PRINTER_SPEED)
    if pair.step.trap:
        town.watch.set_trap(pair.step.trap)
    job = town.order(pair.process, fresh=pair.step.fresh)
    if pair.strike.name in _RESTORES:
        assert watching.put_copy(town.books, town.folder / "books.copy"), "the scheduler's database was copied"
        assert watching.put_copy(town.spool, town.folder / "spool.copy"), "the agent's database was copied"
    return job


def _await_step(town: Town, pair: Pair, job: str) -> None:
    def reached() -> bool:
        return town.watch.sprung if pair.step.trap else pair.step.reached is not None and pair.step.reached(town, job)

    until(town, job, reached, f"{pair.step.name}", _STEP_S)


def _strike(struck: Struck, pair: Pair) -> None:
    """The people are away while it lasts."""
    town = struck.town
    town.people.at_the_machines = False
    pair.strike.hit(struck)
    town.watch.let_go()
    town.twins["m1"].ask(cmd="speed", speed=PRINTER_SPEED)
    pair.strike.heal(struck)


def _strike_beside_the_laser(struck: Struck, pair: Pair) -> None:
    """The fault comes, and whoever was there leaves at the same moment: the beam must be off within a second."""
    town = struck.town
    people = town.people
    people.at_the_machines = False
    if pair.strike.name != "leave_laser":
        pair.strike.hit(struck)
    people.leave_laser()
    town.watch.let_go()
    left = people.left_at
    dark: list[float] = []
    while watching.now() < left + 3 * BEAM_OFF_WITHIN_S:
        at = watching.now()
        dark = [*dark, at] if town.beam() == 0 else []
    if not dark or dark[0] > left + BEAM_OFF_WITHIN_S:
        raise NotKept(
            f"{pair}: the beam was on {(dark[0] if dark else watching.now()) - left:.2f} s after presence ended"
        )
    if pair.strike.name != "leave_laser":
        pair.strike.heal(struck)


def _settle(struck: Struck) -> None:
    """Both sides talk again and machines are known, before anybody touches them; then one looks at them for a while."""
    town = struck.town

    def settled() -> bool:
        machines = {machine["machine"]: machine["bridge_state"] for machine in town.agent.get("/api/state")["machines"]}
        return not set(machines.values()) & {"offline", "unidentified"}

    eventually(settled, _SETTLED_S, "the machines are known again")
    if struck.lost_at:
        threading.Event().wait(_LOOK_S)


def _made(town: Town, job: str) -> bool:
    town.people.look_after(job)
    return town.job_state(job)[0] == "inspected"


def _quiet(town: Town) -> bool:
    state = town.agent.get("/api/state")
    return state["untold_events"] == 0 and bool(state["broker"]["connected"])


@contextmanager
def _books_watched(town: Town, job: str) -> Iterator[dict[int, float]]:
    """When the books first showed the job as running, by fence; looked at all the time."""
    seen: dict[int, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            state, fence = town.job_state(job)
            if state in ("running", "held"):
                seen.setdefault(fence, watching.now())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join(timeout=5)
