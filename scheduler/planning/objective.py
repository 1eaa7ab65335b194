"""The objective, term by term, in integers with names that people read. The compiled core adds up the same terms."""

from __future__ import annotations

from scheduler.planning.compiling import Compiled
from scheduler.planning.core import Schedule
from scheduler.planning.snapshot import Term

#: Every term there is, in the order in which they are shown.
TERMS = (
    "late",
    "promise",
    "time in the shops",
    "changeover",
    "transport",
    "ring, reliability",
    "moved",
    "fair shares",
)


def terms_of(compiled: Compiled, schedule: Schedule, o: int) -> tuple[Term, ...]:
    """The terms of one placed operation; transport counts the legs that bring its parts and take the result away."""
    p = compiled.problem
    k, shop = int(schedule.choice[o]), int(p.machine_shop[schedule.machine[o]])
    way = int(p.delivery[shop, p.zone[o]]) if p.zone[o] >= 0 else 0
    arrival = int(schedule.avail[o]) + way
    legs = way
    for q in p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]:
        if schedule.machine[q] >= 0:
            legs += int(p.legs[p.machine_shop[schedule.machine[q]], shop])
    moved = compiled.moving[k]
    values = (
        int(p.weight[o]) * max(0, arrival - int(p.due[o])),
        int(p.promise_weight[o]) * max(0, arrival - int(p.promise[o])),
        int(p.flow[o]) * max(0, arrival - int(p.release[o])),
        p.setup_cost * int(schedule.setup[o]),
        p.leg_cost * legs,
        int(p.elig_cost[k]) - moved,
        moved,
        int(p.pressure[shop]) * int(p.elig_ticks[k]),
    )
    return tuple(Term(name, value) for name, value in zip(TERMS, values, strict=True) if value)


def sums(terms: list[tuple[Term, ...]]) -> tuple[Term, ...]:
    """Terms of many placements added up by name."""
    totals = dict.fromkeys(TERMS, 0)
    for some in terms:
        for term in some:
            totals[term.name] += term.value
    return tuple(Term(name, value) for name, value in totals.items() if value)
