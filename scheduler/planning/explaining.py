"""Why: one job's place with the best other one, or why it waits; and the whole plan in words, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scheduler.planning.answering import best_rejected, no_room, placement_of
from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import AFTER, MACHINE, POS, copy_schedule
from scheduler.planning.growing import Growing
from scheduler.planning.problem import NEVER
from scheduler.planning.snapshot import Placement, Shut, Waiting
from scheduler.planning.waits import part_waits, shuts, without_machines


@dataclass(frozen=True, slots=True)
class Explanation:
    """One job: where it is and what that costs, or why it waits; per machine why not, or the best place there."""

    job: str
    placement: Placement | None
    waiting: Waiting | None
    machines: tuple[Shut, ...]


def explained(book: Growing, live: ClaimedPlan, job: str, *, alternatives: bool = False) -> Explanation:
    """Where the job is, or why it waits. `alternatives`: also what the best other machine would have cost, and why not
    the machines that may not.

    Raises:
        KeyError: there is no such job.
    """
    wanted = book.view.job[job]
    shut = shuts(book.view, wanted) if alternatives else ()
    o = book.row[job]
    if live.schedule.at[o, MACHINE] < 0:
        return Explanation(job, None, waits_of(book, live, [o])[0], shut)
    rejected = None
    if alternatives and live.schedule.at[o, POS] >= 0:
        spare = copy_schedule(live.schedule)
        rejected = best_rejected(book, spare, live.journal, o)
    return Explanation(job, placement_of(book, live.schedule, o, rejected), None, shut)


def unplaced(book: Growing, live: ClaimedPlan) -> list[int]:
    """Rows of jobs without a place."""
    return [o for o in book.row.values() if live.schedule.at[o, MACHINE] < 0]


def waits_of(book: Growing, live: ClaimedPlan, rows: Iterable[int]) -> list[Waiting]:
    """Why each of these has no place."""
    out = {o: book.jobs[o] for o in unplaced(book, live)}
    machineless = {job.id: None for o, job in out.items() if not _has_machine(book, o)}
    parts = part_waits(book.view, out.values(), machineless)
    found = []
    for o in rows:
        job = book.jobs[o]
        if job.id in machineless:
            found.append(without_machines(book.view, job))
        elif job.id in parts:
            found.append(Waiting(job.id, parts[job.id]))
        else:
            found.append(no_room(book, live.schedule, o))
    return found


def _has_machine(book: Growing, o: int) -> bool:
    """Whether any machine may make it, parts aside."""
    if (book.core.elig_more[book.choices(o), AFTER] < NEVER).any():
        return True
    return book.jobs[o].fixed is None and len(book.able.alternatives(book.jobs[o]).machine) > 0
