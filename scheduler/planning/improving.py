"""Driving the search: temperatures, budgets, progress, and keeping the best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.planning.core import NUMBER, Core, Schedule, copy_schedule, restore_schedule
from scheduler.planning.propagation import new_journal
from scheduler.planning.search import MASK, anneal
from scheduler.planning.timing import retime_all, total_cost


@dataclass(frozen=True, slots=True)
class Improved:
    """What a search did: cost before and after, moves tried and accepted, seconds."""

    before: int
    after: int
    moves: int
    accepted: int
    wall_s: float

    @property
    def moves_per_s(self) -> float:
        """Moves tried a second."""
        return self.moves / self.wall_s if self.wall_s > 0 else 0.0


def improve(
    p: Core,
    s: Schedule,
    *,
    seed: int = 0,
    budget_s: float | None = None,
    moves: int | None = None,
    frozen: int = 0,
    hot: float = 12_000.0,
    cold: float = 800.0,
    samples: int = 12,
    steps: int = 20,
    progress: Callable[[float, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Improved:
    """Search from `s` and leave the best schedule found in it: never worse than it came.

    Give `moves` for a deterministic search, else `budget_s` (seconds). Temperatures are costs in hundredths of a
    weight-minute. `progress` is told the share done and the best cost after each of the `steps`. `clock` counts the
    budget's seconds: the wall's, or `time.process_time` for those of this process alone.
    """
    began = clock()
    rng = np.array([(seed * 2_654_435_761 + 88_172_645) % MASK or 1], np.int64)
    journal = new_journal(len(p.ops))
    late, movable = np.zeros(len(p.ops) + 1, NUMBER), np.zeros(len(p.ops) + 1, NUMBER)
    first = best = current = int(total_cost(p, s))
    kept = copy_schedule(s)
    tried = taken = 0
    speed = 20_000.0
    for step in range(steps):
        a, b = (hot * (cold / hot) ** (share / steps) for share in (step, step + 1))
        if moves is not None:
            batch = moves * (step + 1) // steps - moves * step // steps
        else:
            assert budget_s is not None, "give moves or a budget"
            left = budget_s - (clock() - began)
            if left <= 0:
                break
            batch = max(64, int(speed * left / (steps - step)))
            if tried == 0:
                batch = min(batch, 2_000)
        delta, won = anneal(p, s, journal, rng, batch, a, b, frozen, samples, late, movable)
        current += int(delta)
        tried, taken = tried + batch, taken + int(won)
        speed = tried / max(1e-6, clock() - began)
        if current < best:
            best = current
            restore_schedule(kept, s)
        if progress is not None:
            progress((step + 1) / steps, best)
    restore_schedule(s, kept)
    return Improved(first, best, tried, taken, clock() - began)


def times_agree(p: Core, s: Schedule) -> bool:
    """Whether the times kept while searching equal those computed anew from the sequences."""
    anew = copy_schedule(s)
    n = len(p.ops)
    possible = retime_all(p, anew, np.empty(n, NUMBER), np.empty(n, NUMBER))
    return bool(possible) and all(np.array_equal(a, b) for a, b in zip(anew, s, strict=True))
