"""How hot to anneal: temperatures read off what steps up cost in the network itself.

A search that begins too cold is trapped by its first plan, and what is cold depends on durations, weights and queues.
So some relocations are tried from the plan as it is and taken back: the start is as hot as half of those that make it
dearer are worth (they are then taken at a chance of 1/e or more: Johnson, Aragon, McGeoch and Schevon, Operations
Research 37 (6), 1989, begin where 40 % of all moves are), and the end as cold as the smallest of them (Connolly,
European Journal of Operational Research 46, 1990), where a last step up is hardly ever taken.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from scheduler.planning.core import CHOICE, MACHINE, NUMBER, POS, Core, Schedule
from scheduler.planning.estimating import INFINITE
from scheduler.planning.jit import borrowed, compiled
from scheduler.planning.problem import Ints, Longs
from scheduler.planning.propagation import Journal, undo
from scheduler.planning.search import draw, late_ones, relocate
from scheduler.planning.timing import choose, put_in, take_out

#: Relocations tried.
TRIED: Final = 256
#: Moves an alternative from which the full heat pays; with fewer the search begins colder, by the square. Measured on
#: MicroFab: on 1,000 × 100 the full heat is 17 % better than 12,000 with 35 moves an alternative and as good with 3; on
#: 10,000 × 1,000 it is as good with 6, and with 2 it is 20 % worse.
FULL_HEAT: Final = 12
#: The end is at least so many times colder than the full heat, and the start hotter than the end.
RANGE, LEAST = 200.0, 15.0
#: Where no step up was found.
USUAL_HOT, USUAL_COLD = 12_000.0, 800.0


class Temperatures(NamedTuple):
    """Costs in hundredths of a weight-minute."""

    hot: float
    cold: float

    def for_moves(self, an_alternative: float) -> Temperatures:
        """With so many moves to come for every alternative that an operation has."""
        least = min(self.hot, LEAST * self.cold)
        return Temperatures(max(least, self.hot * min(1.0, an_alternative / FULL_HEAT) ** 2), self.cold)


@compiled
def try_steps(
    p: Core, s: Schedule, j: Journal, rng: Longs, frozen: int, samples: int, late: Ints, movable: Ints, steps: Longs
) -> None:
    """Fill `steps` with the cost changes of relocations, each taken back; 0 where there was none."""
    p, s, j = borrowed(p), borrowed(s), borrowed(j)
    few, many = late_ones(p, s, frozen, late, movable)
    if many == 0:
        return
    for i in range(len(steps)):
        o = late[draw(rng, few)] if few > 0 and draw(rng, 2) == 0 else movable[draw(rng, many)]
        m, place, k = s.at[o, MACHINE], s.at[o, POS], s.at[o, CHOICE]
        steps[i] = relocate(p, s, j, rng, o, INFINITE // 2, frozen, samples)
        if s.at[o, MACHINE] != m or s.at[o, POS] != place:
            undo(s, j)
            take_out(s, s.at[o, MACHINE], s.at[o, POS])
            put_in(s, m, place, o)
            choose(p, s, o, k)


def temperatures(p: Core, s: Schedule, journal: Journal, *, seed: int, frozen: int, samples: int) -> Temperatures:
    """Between which temperatures to search on from `s`, which is the same afterwards."""
    n = len(p.ops)
    steps = np.zeros(TRIED, np.int64)
    late, movable = np.zeros(n + 1, NUMBER), np.zeros(n + 1, NUMBER)
    rng = np.array([seed % 1_000_003 + 1], np.int64)
    try_steps(p, s, journal, rng, frozen, samples, late, movable, steps)
    up = steps[steps > 0]
    if not len(up):
        return Temperatures(USUAL_HOT, USUAL_COLD)
    hot = float(np.median(up))
    return Temperatures(hot, max(1.0, min(float(np.quantile(up, 0.02)), hot / RANGE)))
