"""Spools and sheets as a shared stock: jobs on one machine eat from the same spool, and together no more than is on it.

The search plans as if every job had the spool to itself; afterwards what a spool is too small for goes to another
machine that has enough, or waits with the numbers. A stock in the shop counts once, however many machines could load
it. What nobody weighed is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduler.planning.claimed import ClaimedPlan
from scheduler.planning.core import ELIG_HIGH, ELIG_LOW, MACHINE, PINNED, START, Schedule
from scheduler.planning.estimating import INFINITE
from scheduler.planning.feasibility import material_fits
from scheduler.planning.insertion import insert_best
from scheduler.planning.snapshot import Material, MaterialNeed, PlanJob, PlanMachine, Shut

#: Grams that weighing may be off.
SLACK_G = 1e-6


class Stock:
    """The weighed spools of some machines (by row) and what a schedule takes from each."""

    def __init__(self, machines: Sequence[PlanMachine]) -> None:
        self.left: list[float] = []
        self.said: list[Material] = []
        self._on: list[list[tuple[Material, int]]] = []
        """Per machine, in the order in which they are used: a material and its spool, -1 where nobody weighed it."""
        in_shop: dict[tuple[str, Material, int], int] = {}
        for machine in machines:
            here = [(material, self._spool(material)) for material in machine.loaded]
            times: dict[Material, int] = {}
            for material in machine.loadable:
                times[material] = times.get(material, 0) + 1
                key = machine.shop, material, times[material]
                if key not in in_shop:
                    in_shop[key] = self._spool(material)
                here.append((material, in_shop[key]))
            self._on.append(here)
        self._known: dict[tuple[MaterialNeed, int], int] = {}

    def _spool(self, material: Material) -> int:
        if material.remaining_g is None:
            return -1
        self.left.append(material.remaining_g)
        self.said.append(material)
        return len(self.left) - 1

    def spool(self, job: PlanJob, m: int) -> int:
        """Which spool the job eats from on the machine; -1 where none is weighed."""
        need = job.need
        if need is None or not need.amount_g:
            return -1
        key = need, m
        if key not in self._known:
            fits = (spool for material, spool in self._on[m] if material_fits(need, material))
            self._known[key] = next(fits, -1)
        return self._known[key]

    def taken(self, jobs: Sequence[PlanJob], schedule: Schedule) -> dict[int, list[int]]:
        """Rows that eat from each weighed spool."""
        out: dict[int, list[int]] = {}
        for o in np.flatnonzero(schedule.at[: len(jobs), MACHINE] >= 0).tolist():
            spool = self.spool(jobs[o], int(schedule.at[o, MACHINE]))
            if spool >= 0:
                out.setdefault(spool, []).append(o)
        return out


def ration(jobs: Sequence[PlanJob], machines: Sequence[PlanMachine], live: ClaimedPlan) -> list[int]:
    """Take from every spool what it is too small for, latest starts first, and place that where there is enough.

    Returns the rows that were taken out; those without a place wait.
    """
    if not any(m.remaining_g is not None for machine in machines for m in (*machine.loaded, *machine.loadable)):
        return []
    stock = Stock(machines)
    taken = stock.taken(jobs, live.schedule)
    free = [left - sum(_grams(jobs[o]) for o in taken.get(s, ())) for s, left in enumerate(stock.left)]
    out: list[int] = []
    at = live.schedule.at
    for spool, rows in sorted(taken.items()):
        for o in sorted(rows, key=lambda o: (-int(at[o, START]), o)):
            if free[spool] >= -SLACK_G:
                break
            if live.core.ops[o, PINNED] < 0 and at[o, MACHINE] >= 0:
                for y in (*live.needing(o), o):
                    other = stock.spool(jobs[y], int(at[y, MACHINE]))
                    live.take(y)
                    out.append(y)
                    if other >= 0:
                        free[other] += _grams(jobs[y])
    for o in reversed(out):
        _place(jobs, stock, free, live, o)
    return out


def _place(jobs: Sequence[PlanJob], stock: Stock, free: list[float], live: ClaimedPlan, o: int) -> None:
    shut = np.zeros(max(1, len(live.core.mach)), np.int8)
    for m in live.core.elig_machine[live.core.ops[o, ELIG_LOW] : live.core.ops[o, ELIG_HIGH]].tolist():
        spool = stock.spool(jobs[o], m)
        shut[m] = spool >= 0 and free[spool] < _grams(jobs[o]) - SLACK_G
    if insert_best(live.core, live.schedule, live.journal, o, live.fence, 0, shut, True) < INFINITE:
        spool = stock.spool(jobs[o], int(live.schedule.at[o, MACHINE]))
        if spool >= 0:
            free[spool] -= _grams(jobs[o])


def too_little(jobs: Sequence[PlanJob], machines: Sequence[PlanMachine], schedule: Schedule, o: int) -> dict[int, Shut]:
    """By machine row: why its spool is too small for one more job, with the numbers."""
    stock = Stock(machines)
    taken = stock.taken(jobs, schedule)
    out = {}
    for m, machine in enumerate(machines):
        spool = stock.spool(jobs[o], m)
        if spool < 0:
            continue
        planned = sum(_grams(jobs[y]) for y in taken.get(spool, ()))
        if stock.left[spool] - planned < _grams(jobs[o]) - SLACK_G:
            text = (
                f"{stock.left[spool]:.0f} g of {stock.said[spool].material} are there, {planned:.0f} g of them are "
                f"planned for other jobs, and the job needs {_grams(jobs[o]):.0f} g"
            )
            out[m] = Shut(machine.id, "material", text, f"load another spool of {stock.said[spool].material}")
    return out


def _grams(job: PlanJob) -> float:
    return (job.need.amount_g or 0.0) if job.need is not None else 0.0
