"""What a planner that serves a network does between questions and answers: small worlds whole, large ones living.

Up to `SMALL` jobs a plan is made anew from the snapshot, exactly and with a bound where time allows: deterministic and
replayable. Above that a `Planner` carries the plan through what happens, and is improved while nobody asks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from scheduler.planning.engine import Planner
from scheduler.planning.events import Changes, applied
from scheduler.planning.exact import LARGEST
from scheduler.planning.planner import plan
from scheduler.planning.snapshot import Placement, Plan, PlanJob, Snapshot, Waiting

#: Jobs up to which every plan is made anew.
SMALL: Final = LARGEST
#: Moves between two looks at the line, and chunks without a gain after which improving rests until something happens.
CHUNK: Final = 1_000
TIRED: Final = 50
#: What starts within this is told with the best place that was not chosen: it may be offered next.
SOON: Final = timedelta(hours=1)
#: And at most so many of them an answer.
TOLD: Final = 100


@dataclass(frozen=True, slots=True)
class Measures:
    """What planning took. Seconds and counts since the process began, but for the newest round."""

    solve_s: float = 0.0
    """The newest round, in the planner."""
    latency_s: float = 0.0
    """The newest round, as its asker waited."""
    rounds: int = 0
    moves: int = 0
    moving_s: float = 0.0

    @property
    def moves_per_s(self) -> float:
        """Moves of the search a second of searching."""
        return self.moves / self.moving_s if self.moving_s > 0 else 0.0

    def with_latency(self, seconds: float) -> Measures:
        """With how long the asker waited."""
        return replace(self, latency_s=seconds)


@dataclass(frozen=True, slots=True)
class Quotation:
    """Where asked jobs would be made if they were ordered now, and why the others would wait."""

    placements: tuple[Placement, ...]
    waiting: tuple[Waiting, ...]


class Serving:
    """One world and its plan, taken along from question to question."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._world: Snapshot | None = None
        self._planner: Planner | None = None
        self._told: dict[str, Placement] = {}
        self._idle = 0
        self.measures = Measures()

    @property
    def improvable(self) -> bool:
        """Whether searching on may still gain something."""
        return self._planner is not None and self._idle < TIRED

    def take(self, world: Snapshot | Changes) -> None:
        """The world, or what is other than it was. Raises BadSnapshot."""
        if isinstance(world, Snapshot):
            self._world, self._planner = world, None
        else:
            assert self._world is not None, "changes come after a world"
            self._world = applied(self._world, world)
        self._idle = 0
        if len(self._world.jobs) <= SMALL:
            self._planner = None
        elif self._planner is None:
            self._planner = Planner(self._world, self._seed)
        elif isinstance(world, Changes):
            self._planner.apply(world)

    def answer(self, budget_s: float) -> Plan:
        """The plan as it stands, improved for so many seconds first."""
        assert self._world is not None, "a world comes before a question"
        began = time.perf_counter()
        if self._planner is None:
            made = plan(self._world, seed=self._seed, budget_s=budget_s)
        else:
            while self.improvable and time.perf_counter() - began < budget_s:
                self.improve_a_little()
            made = self._with_alternatives(self._planner)
        took = time.perf_counter() - began
        self.measures = replace(self.measures, solve_s=took, latency_s=took, rounds=self.measures.rounds + 1)
        return replace(made, wall_s=took)

    def quote(self, jobs: Sequence[PlanJob], budget_s: float) -> Quotation:
        """Where new jobs would be made together. A small world is planned with them, a large one keeps its plan."""
        assert self._world is not None, "a world comes before a question"
        if self._planner is not None:
            answers = self._planner.quotes(jobs)
            placed = tuple(one for one in answers if isinstance(one, Placement))
            return Quotation(placed, tuple(one for one in answers if isinstance(one, Waiting)))
        asked = {job.id for job in jobs}
        made = plan(replace(self._world, jobs=(*self._world.jobs, *jobs)), seed=self._seed, budget_s=budget_s)
        return Quotation(
            tuple(one for one in made.placements if one.job in asked),
            tuple(one for one in made.waiting if one.job in asked),
        )

    def improve_a_little(self) -> int:
        """One chunk of searching. What it gained."""
        if self._planner is None:
            return 0
        began = time.perf_counter()
        gained = self._planner.improve(moves=CHUNK)
        spent = self.measures.moving_s + time.perf_counter() - began
        self.measures = replace(self.measures, moves=self.measures.moves + CHUNK, moving_s=spent)
        self._idle = 0 if gained > 0 else self._idle + 1
        return gained

    def _with_alternatives(self, planner: Planner) -> Plan:
        """The plan, with the best place that was not chosen for what starts soon."""
        made, told = planner.current(), {}
        asked = 0
        placements = []
        for placement in made.placements:
            before = self._told.get(placement.job)
            if not placement.fixed and placement.start - planner.snapshot.now <= SOON:
                if before is not None and replace(before, best_rejected=None) == placement:
                    placement = before
                elif asked < TOLD:
                    asked += 1
                    placement = planner.explain(placement.job).placement or placement
                told[placement.job] = placement
            placements.append(placement)
        self._told = told
        return replace(made, placements=tuple(placements))
