"""A decision made again from what was kept of it: the same plan, or what differs.

A plan whose moves were counted is made again whole. Of any other plan (time ended its search, or it lived through
events) who makes what in which order is taken as decided, and everything that follows is computed again from the
snapshot: whether it is allowed at all, starts, finishes, setups and every term of the objective.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil

import msgspec

from scheduler.planning.checker import violations
from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import CLEARED, EARLIEST, empty_schedule
from scheduler.planning.growing import Growing
from scheduler.planning.loading import load
from scheduler.planning.planner import plan
from scheduler.planning.saying import Saying
from scheduler.planning.snapshot import Placement, Plan, Snapshot

#: Differences said at most.
SAID = 20


@dataclass(frozen=True, slots=True)
class Replayed:
    """What making a plan again gave. `whole`: the search too, and not only what follows from its result."""

    whole: bool
    plan: Plan
    differences: tuple[str, ...]
    """Empty where every byte is the same (but for the seconds it took)."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def replayed(snapshot: Snapshot, made: Plan) -> Replayed:
    """Make the plan again from the snapshot it was made on."""
    whole = made.moves is not None
    again = plan(snapshot, seed=made.seed, moves=made.moves) if whole else _followed(snapshot, made)
    if not whole:
        again = replace(again, engine=made.engine, bound=made.bound, seed=made.seed, epoch=made.epoch)
        made = replace(made, placements=tuple(replace(p, best_rejected=None) for p in made.placements))
    differences = [*_differences(made, again), *(f"not possible: {wrong}" for wrong in violations(snapshot, made))]
    return Replayed(whole, again, tuple(differences[:SAID]))


def _followed(snapshot: Snapshot, made: Plan) -> Plan:
    """What follows from who makes what in which order."""
    policy, epoch = snapshot.policy, made.epoch or snapshot.now
    now = ceil((snapshot.now - epoch).total_seconds() / policy.tick_s)
    book = Growing(replace(snapshot, now=epoch), now)
    live = ClaimedPlan(book.core, empty_schedule(book.core), freeze=policy.freeze_s // policy.tick_s)
    live.clock(now)
    kept = {one.job: (one.machine, book.view.tick(one.start)) for one in made.placements if not one.fixed}
    if book.binds or snapshot.carbon:
        _as_decided(book, made)
    load(book, live, kept, only_kept=True)
    again = Saying().plan(snapshot, book, live, seed=made.seed)
    return replace(again, waiting=made.waiting, hours=made.hours)


def _as_decided(book: Growing, made: Plan) -> None:
    """Where power, people or clean hours delay starts, they are decided too, and held against the checker."""
    for one in made.placements:
        o = book.row.get(one.job)
        if o is not None:
            book.core.ops[o, CLEARED] = 0 if one.cleared is None else book.view.tick(one.cleared)
            if not one.fixed:
                book.core.ops[o, EARLIEST] = book.view.tick(one.start)


def _differences(made: Plan, again: Plan) -> Iterable[str]:
    new = {placement.job: placement for placement in again.placements}
    for old in made.placements:
        other = new.pop(old.job, None)
        if other is None:
            yield f"{old.job} had a place on {old.machine} and gets none"
        elif _bytes(old) != _bytes(other):
            yield f"{old.job}: {_said(old)}; again: {_said(other)}"
    yield from (f"{job} had no place and gets one" for job in new)
    waits = {waiting.job: waiting for waiting in again.waiting}
    yield from (f"{w.job} waits for another reason" for w in made.waiting if waits.get(w.job) != w)
    if sorted(map(_bytes, made.terms)) != sorted(map(_bytes, again.terms)):
        yield f"cost {made.cost / 100:.2f}; again: {again.cost / 100:.2f}"


def _bytes(value: object) -> bytes:
    return msgspec.json.encode(value)


def _said(placement: Placement) -> str:
    terms = ", ".join(f"{term.name} {term.value / 100:.2f}" for term in placement.terms)
    return f"{placement.machine} {placement.start:%F %H:%M}–{placement.finish:%F %H:%M} ({terms})"
