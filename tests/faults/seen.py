"""The named steps of a job as they are seen from outside of real processes, and how each is seen.

A step on a line is struck while the message is held on its way; all others as soon as they are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.faults.relays import Way
from tests.faults.towns import Town
from tests.faults.watching import MachineRecord, Program, moves, rows


class By(StrEnum):
    """What a step is seen by."""

    LINE = "a message on its way, held by the relay"
    FILES = "a toolpath on its way, held by the relay"
    BOOKS = "a row of the scheduler's database"
    SPOOL = "a row of the agent's database"
    MACHINE = "the twin's own record"
    PERSON = "the local page's answer"


@dataclass(frozen=True)
class Step:
    """One named step. `trap` is what the relays hold; otherwise `reached` is asked again and again."""

    name: str
    by: By
    trap: str = ""
    reached: Callable[[Town, str], bool] | None = None
    fresh: bool = False
    """Whether it needs a design that nobody has a toolpath of yet."""
    slowly: bool = False
    """Whether the machine must take longer than the time between two words about progress."""


def _line(name: str, line: str, way: Way, kind: str) -> Step:
    return Step(name, By.LINE, f"{line}: {kind} {way.value}")


def _books(kind: str) -> Step:
    def reached(town: Town, job: str) -> bool:
        return any(one == kind for one, _ in town.events(job))

    return Step(f"the scheduler wrote {kind}", By.BOOKS, reached=reached)


def _spool(state: str, *later: str) -> Step:
    """A lease that is in a state, or was so a moment ago."""
    wanted = {state, *later}

    def reached(town: Town, job: str) -> bool:
        return any(one in wanted for one, _ in town.lease_states(job))

    return Step(f"the agent wrote {state}", By.SPOOL, reached=reached)


def _claimed(town: Town, job: str) -> bool:
    return bool(rows(town.spool, "SELECT 1 FROM offers WHERE job = ? AND decision = 'claimed'", job))


def _machine(name: str, wanted: Callable[[Town, MachineRecord, str, float], bool]) -> Step:
    def reached(town: Town, job: str) -> bool:
        machine = town.machine_of(job)
        return wanted(town, town.records[machine], job, town.ordered_at[job])

    return Step(name, By.MACHINE, reached=reached)


def _carried_out(which: Callable[[Program], str]) -> Callable[[Town, MachineRecord, str, float], bool]:
    def wanted(town: Town, record: MachineRecord, job: str, since: float) -> bool:
        lines = record.lines(since)
        return bool(lines) and any(line == which(town.program(job)) for _, line in lines)

    return wanted


def _warm(town: Town, record: MachineRecord, job: str, since: float) -> bool:
    return any(line.startswith("M") and moves(line) for _, line in record.lines(since))


def _homed(town: Town, record: MachineRecord, job: str, since: float) -> bool:
    return any(line.startswith("G28") for _, line in record.lines(since))


def _cleared(town: Town, job: str) -> bool:
    return any(at > town.ordered_at[job] for at in town.people.cleared)


_UP, _DOWN = Way.TO_BROKER, Way.FROM_BROKER

PRINT_STEPS: Final[tuple[Step, ...]] = (
    _books("created"),
    Step("the toolpath was made", By.BOOKS, reached=lambda town, job: town.toolpath_made(job), fresh=True),
    _line("an offer leaves the scheduler", "scheduler", _UP, "Offer"),
    _books("offered"),
    _line("the offer comes to the agent", "agent", _DOWN, "Offer"),
    Step("the agent wrote its claim", By.SPOOL, reached=_claimed),
    _line("the claim leaves the agent", "agent", _UP, "Claimed"),
    _line("the claim comes to the scheduler", "scheduler", _DOWN, "Claimed"),
    _books("claimed"),
    _line("the grant leaves the scheduler", "scheduler", _UP, "Grant"),
    _line("the grant comes to the agent", "agent", _DOWN, "Grant"),
    _spool("leased", "staged", "ready"),
    Step("the toolpath is asked for", By.FILES, "toolpath: asked for", fresh=True),
    Step("half of the toolpath was sent", By.FILES, "toolpath: half sent", fresh=True),
    _spool("staged", "ready"),
    _line("staged leaves the agent", "agent", _UP, "Staged"),
    _books("staged"),
    _line("shut gates leave the agent", "agent", _UP, "GatesShut"),
    Step("the bed was cleared", By.PERSON, reached=_cleared),
    _line("ready leaves the agent", "agent", _UP, "Ready"),
    _books("ready"),
    _spool("intended", "starting", "running"),
    _line("the intended start leaves the agent", "agent", _UP, "StartIntended"),
    _line("the intended start comes to the scheduler", "scheduler", _DOWN, "StartIntended"),
    _books("start_intended"),
    _line("the permission leaves the scheduler", "scheduler", _UP, "Permit"),
    _line("the permission comes to the agent", "agent", _DOWN, "Permit"),
    _spool("starting", "running"),
    _machine("the machine warms up", _warm),
    _spool("running"),
    _line("running leaves the agent", "agent", _UP, "Running"),
    _line("running comes to the scheduler", "scheduler", _DOWN, "Running"),
    _books("running"),
    _machine("the machine homes", _homed),
    _machine("the first line of the part was carried out", _carried_out(lambda program: program.first)),
    _machine("half of the part is there", _carried_out(lambda program: program.half)),
    Step("progress leaves the agent", By.LINE, f"agent: Progressed {_UP.value}", slowly=True),
    _machine("the last line of the part was carried out", _carried_out(lambda program: program.last)),
    _spool("finished", "inspected"),
    _line("the end leaves the agent", "agent", _UP, "Finished"),
    _line("the end comes to the scheduler", "scheduler", _DOWN, "Finished"),
    _books("finished"),
    _line("the inspection leaves the agent", "agent", _UP, "Inspected"),
    _line("the inspection comes to the scheduler", "scheduler", _DOWN, "Inspected"),
    _books("inspected"),
)

CUT_STEPS: Final[tuple[Step, ...]] = (
    _line("the intended start leaves the agent", "agent", _UP, "StartIntended"),
    _line("the permission comes to the agent", "agent", _DOWN, "Permit"),
    _line("running leaves the agent", "agent", _UP, "Running"),
    _machine("the first line of the part was carried out", _carried_out(lambda program: program.first)),
    Step("the beam burns", By.MACHINE, reached=lambda town, job: town.beam() > 0),
)
