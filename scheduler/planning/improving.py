"""Driving the search: temperatures, budgets, progress, and keeping the best."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from scheduler.planning.core import (
    ELIG_HIGH,
    ELIG_LOW,
    NUMBER,
    PINNED,
    POS,
    START,
    Core,
    Schedule,
    copy_schedule,
    restore_schedule,
)
from scheduler.planning.heating import Temperatures, temperatures
from scheduler.planning.independent import BestOfParts
from scheduler.planning.propagation import new_journal
from scheduler.planning.search import MASK, anneal
from scheduler.planning.sharding import rounds_of
from scheduler.planning.team import Heat, Team
from scheduler.planning.timing import retime_all, total_cost

#: Operations and seconds from which several processes pay: each takes a second or two to start. Measured with two of
#: them: 13,804 operations on 1,000 machines end better, 1,384 on 100 worse, because borders there cut too much apart.
LARGE: Final = 8_000
WORTH_S: Final = 10.0
#: Moves that tell how fast this computer is.
_PROBED: Final = 1_000
_PROBED_TOGETHER: Final = 40_000
#: Moves an operation after which one cooling finds little more.
_ENOUGH_MOVES: Final = 1_000
_SMALL: Final = 200
_MOST_ROUNDS: Final = 12
#: How much hotter some of several coolings begin.
_HEATS: Final = (1.0, 3.0, 9.0)


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


def workers_for(operations: int, budget_s: float, moves: int | None) -> int:
    """Processes that a search had best have where nobody says how many: every core for a large network and time enough,
    else this one alone, whose counted moves give the same plan on every computer."""
    if moves is not None or operations < LARGE or budget_s < WORTH_S:
        return 1
    # Cores that this process may use, where the system tells them from those that there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def improve_by(
    workers: int,
    p: Core,
    s: Schedule,
    *,
    seed: int,
    budget_s: float,
    moves: int | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Improved:
    """`improve` by so many processes, whose start counts as part of the budget; one is this process."""
    if workers == 1:
        return improve(p, s, seed=seed, budget_s=budget_s, moves=moves, progress=progress)
    began = time.perf_counter()
    with Team(workers, seed) as team:
        team.load(p, s)
        left_s = max(0.0, budget_s - (time.perf_counter() - began))
        return improve(p, s, seed=seed, budget_s=left_s, moves=moves, progress=progress, team=team)


def improve(
    p: Core,
    s: Schedule,
    *,
    seed: int = 0,
    budget_s: float | None = None,
    moves: int | None = None,
    frozen: int = 0,
    between: Temperatures | None = None,
    samples: int = 12,
    steps: int = 20,
    progress: Callable[[float, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    team: Team | None = None,
) -> Improved:
    """Search from `s` and leave the best schedule found in it: never worse than it came.

    Give `moves` for a deterministic search, else `budget_s` (seconds). Temperatures are read off the network where none
    are given (`between`). Where there are more moves than one cooling can use (small problems), several share them:
    each starts from `s` anew, every second and third one hotter. `progress` is told the share done and the best cost
    after each of the steps. `clock` counts the seconds of the budget: of the wall, or (`time.process_time`) of this
    process alone. With a `team` that has loaded the problem, its workers do the moves; see `Team.clock` for seconds.
    """
    assert moves is not None or budget_s is not None, "give moves or a budget"
    if not _anything_moves(p, s, frozen):
        # Moves that nobody makes take no time: how many fit in a budget would grow beyond all numbers.
        cost = int(total_cost(p, s))
        return Improved(cost, cost, 0, 0, 0.0)
    search = _Search(p, s, seed, frozen, samples, clock, team)
    budget = _Budget(moves, budget_s, clock, search.began)
    first = search.best
    usual = between if between is not None else search.temperatures()
    hot, cold = usual
    if moves is None:
        search.cool(cold, cold, _PROBED if team is None else _PROBED_TOGETHER)
    expected, steps = budget.expected(search.speed), _whole_tournaments(steps, team)
    rounds = _rounds(len(p.ops), expected)
    if between is None:
        hot, cold = usual.for_moves(expected / rounds / max(1, int((p.ops[:, ELIG_HIGH] - p.ops[:, ELIG_LOW]).sum())))
    _cool_down(search, budget, Temperatures(hot, cold), rounds, steps, progress)
    restore_schedule(s, search.kept)
    return Improved(first, search.best, search.tried, search.taken, clock() - search.began)


def _anything_moves(p: Core, s: Schedule, frozen: int) -> bool:
    """Whether a search could take any operation elsewhere: placed, not fixed, and not before the fence."""
    at = s.at[: len(p.ops)]
    return bool(np.any((at[:, POS] >= 0) & (at[:, START] >= frozen) & (p.ops[:, PINNED] < 0)))


def _cool_down(
    search: _Search,
    budget: _Budget,
    between: Temperatures,
    rounds: int,
    steps: int,
    progress: Callable[[float, int], None] | None,
) -> None:
    """All coolings, step by step."""
    hot, cold = between
    for step in range(rounds * steps):
        if step % steps == 0 and step:
            search.start_again()
        batch = budget.batch(step, rounds * steps, search)
        if batch <= 0:
            break
        heat = hot * (_HEATS[step // steps % len(_HEATS)] if rounds > 1 else 1.0)
        a, b = (heat * (cold / heat) ** (share / steps) for share in (step % steps, step % steps + 1))
        search.cool(a, b, batch)
        if progress is not None:
            progress((step + 1) / (rounds * steps), search.best)


def _whole_tournaments(steps: int, team: Team | None) -> int:
    """So many steps or a few more, so that the last borders are as fair as the first."""
    return steps if team is None else -(-steps // rounds_of(team.workers)) * rounds_of(team.workers)


def _rounds(operations: int, moves: int) -> int:
    """How many coolings share the moves: larger problems use all they get in one."""
    if operations > _SMALL:
        return 1
    return max(1, min(_MOST_ROUNDS, moves // (_ENOUGH_MOVES * max(1, operations))))


@dataclass(frozen=True, slots=True)
class _Budget:
    """Moves to share out, or seconds."""

    moves: int | None
    seconds: float | None
    clock: Callable[[], float]
    began: float

    def expected(self, speed: float) -> int:
        """About how many moves there will be."""
        return self.moves if self.moves is not None else int(speed * (self.seconds or 0.0))

    def batch(self, step: int, steps: int, search: _Search) -> int:
        """Moves of one step; 0 when the time is over."""
        if self.moves is not None:
            return self.moves * (step + 1) // steps - self.moves * step // steps
        left = (self.seconds or 0.0) - (self.clock() - self.began)
        return 0 if left <= 0 else max(64, int(search.speed * left / (steps - step)))


class _Search:
    """The search's own memory: the schedule it changes, the best it met, and the one it came from."""

    def __init__(
        self,
        p: Core,
        s: Schedule,
        seed: int,
        frozen: int,
        samples: int,
        clock: Callable[[], float],
        team: Team | None,
    ) -> None:
        self._p, self._s, self._frozen, self._samples, self._clock, self._team = p, s, frozen, samples, clock, team
        self.began = clock()
        self._seed = seed
        self._rng = np.array([(seed * 2_654_435_761 + 88_172_645) % MASK or 1], np.int64)
        self._journal = new_journal(len(p.ops))
        self._late, self._movable = np.zeros(len(p.ops) + 1, NUMBER), np.zeros(len(p.ops) + 1, NUMBER)
        self.best = self._current = self._came = int(total_cost(p, s))
        self._start, self.kept = copy_schedule(s), copy_schedule(s)
        # Larger networks cool once, and one schedule's parts are best at about the same time.
        self._parts = BestOfParts(p, s) if len(p.ops) <= _SMALL else None
        self.tried = self.taken = 0
        self._moving_s = 0.0

    @property
    def speed(self) -> float:
        """Moves a second of moving so far."""
        return self.tried / max(1e-6, self._moving_s)

    def temperatures(self) -> Temperatures:
        """Between which to search on from here."""
        return temperatures(
            self._p, self._s, self._journal, seed=self._seed, frozen=self._frozen, samples=self._samples
        )

    def start_again(self) -> None:
        """Back to the schedule that came; the best is kept."""
        restore_schedule(self._s, self._start)
        self._current = self._came

    def cool(self, hot: float, cold: float, moves: int) -> None:
        """So many moves between two temperatures."""
        began, done = self._clock(), None
        if self._team is not None:
            done = self._team.cool(self._s, self._current, moves, Heat(hot, cold, self._frozen, self._samples))
        if done is not None:
            delta, won, moves = done.delta, done.accepted, done.moves
        else:
            delta, won = self._alone(hot, cold, moves)
        self._moving_s += self._clock() - began
        self._current += delta
        self.tried, self.taken = self.tried + moves, self.taken + won
        if self._parts is not None:
            self._parts.meet(self._s)
            self.kept, self.best = self._parts.kept, self._parts.cost
        elif self._current < self.best:
            self.best = self._current
            restore_schedule(self.kept, self._s)

    def _alone(self, hot: float, cold: float, moves: int) -> tuple[int, int]:
        delta, won = anneal(
            *(self._p, self._s, self._journal, self._rng, moves, hot, cold),
            *(self._frozen, self._samples, self._late, self._movable),
        )
        return int(delta), int(won)


def times_agree(p: Core, s: Schedule) -> bool:
    """Whether the times kept while searching equal those computed anew from the sequences."""
    anew = copy_schedule(s)
    n = len(p.ops)
    possible = retime_all(p, anew, np.empty(n, NUMBER), np.empty(n, NUMBER))
    return bool(possible) and all(np.array_equal(a, b) for a, b in zip(anew, s, strict=True))
