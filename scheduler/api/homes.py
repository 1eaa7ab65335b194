"""Who looks after a job while the scheduler is away, and what is in doubt about it: for pages and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from agents.contract.granting import Hold
from agents.contract.vocabulary import JobState
from scheduler.dispatch import board
from scheduler.dispatch.lending import doubted, lendings
from scheduler.store.rows import JobRow

#: What is said of a waiting job that nobody would grant.
NOBODY: Final = (
    "no shop would grant it while the scheduler is away: it came in through none that is there, and none volunteers "
    "([board] volunteers = true in a shop's file)"
)


@dataclass(frozen=True, slots=True)
class HomeView:
    """A job's home. `home` is `shop.agent`, empty without one; `doubt` says why nothing may be done about it now."""

    home: str = ""
    doubt: str = ""
    missing: str = ""
    """Why a waiting job has no home; empty where it has one, or needs none."""


NONE: Final = HomeView()


def homes_of(c: sa.Connection, jobs: Sequence[JobRow]) -> Mapping[str, HomeView]:
    """The homes of these jobs, by job; those about which there is nothing to say are left out."""
    if not jobs:
        return {}
    lent = {held.job: held for held in lendings(c)}
    doubts = doubted(c)
    keepers = board.keepers(c)
    found = {}
    for job in jobs:
        held = lent.get(job.id)
        if held is not None:
            found[job.id] = HomeView(held.home, doubts.get(job.id, "") if held.hold is Hold.DOUBTED else "")
        elif job.state is JobState.WAITING and not keepers.home_of(job):
            found[job.id] = HomeView(missing=NOBODY)
    return found
