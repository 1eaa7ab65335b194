"""The objective, term by term, in integers with names that people read. The compiled core adds up the same terms."""

from __future__ import annotations

from typing import Protocol

from scheduler.planning.core import (
    AVAIL,
    CHOICE,
    COST,
    DUE,
    END,
    FLOW,
    LEG_COST,
    MACHINE,
    PRED_HIGH,
    PRED_LOW,
    PROMISE,
    PROMISE_WEIGHT,
    SETUP,
    SETUP_COST,
    SHOP,
    SINCE,
    START,
    WEIGHT,
    ZONE,
    Core,
    Schedule,
)
from scheduler.planning.problem import Longs
from scheduler.planning.snapshot import Term
from scheduler.planning.timing import energy_cost

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
    "energy",
)


class Costed(Protocol):
    """What terms are read from: a compiled problem, whole or growing."""

    @property
    def core(self) -> Core:
        """The packed problem."""
        ...

    @property
    def moving(self) -> Longs:
        """Per alternative: cost of having moved."""
        ...


def terms_of(compiled: Costed, schedule: Schedule, o: int) -> tuple[Term, ...]:
    """The terms of one placed operation; transport counts the legs that bring its parts and take the result away."""
    core = compiled.core
    op, at, rates = core.ops[o].tolist(), schedule.at[o].tolist(), core.rates
    k, shop = at[CHOICE], int(core.mach[at[MACHINE], SHOP])
    way = int(core.delivery[shop, op[ZONE]]) if op[ZONE] >= 0 else 0
    arrival = at[AVAIL] + way
    legs = way
    for q in core.links[op[PRED_LOW] : op[PRED_HIGH]]:
        if schedule.at[q, MACHINE] >= 0:
            legs += int(core.legs[core.mach[schedule.at[q, MACHINE], SHOP], shop])
    cost = int(core.elig_more[k, COST]) if len(core.elig_more) else 0
    moved = int(compiled.moving[k])
    values = (
        op[WEIGHT] * max(0, arrival - op[DUE]),
        op[PROMISE_WEIGHT] * max(0, arrival - op[PROMISE]),
        op[FLOW] * max(0, arrival - op[SINCE]),
        int(rates[SETUP_COST]) * at[SETUP],
        int(rates[LEG_COST]) * legs,
        cost - moved,
        moved,
        int(core.pressure[shop]) * int(core.elig_ticks[k]),
        int(energy_cost(core, at[MACHINE], at[START] + at[SETUP], at[END])),
    )
    return tuple(Term(name, value) for name, value in zip(TERMS, values, strict=True) if value)


def sums(terms: list[tuple[Term, ...]]) -> tuple[Term, ...]:
    """Terms of many placements added up by name."""
    totals = dict.fromkeys(TERMS, 0)
    for some in terms:
        for term in some:
            totals[term.name] += term.value
    return tuple(Term(name, value) for name, value in totals.items() if value)
