"""The planner's problem as flat arrays: what the compiled core reads. Validated at birth; integer ticks and costs.

An operation is one job on one machine. Shapes: n operations, m machines, e alternatives (operation × machine), f setup
families, s shops, z places of delivery, c calendars. Times are ticks after the snapshot's now; costs are hundredths of
a weight-minute. There is no price, bid, balance or name in it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Flags = NDArray[np.int8]

#: A time that never comes. Sums of two still fit in 32 bits.
NEVER: Final = 1_000_000_000
#: Prefix sums of energy are kept in thousandths of a cost unit, because a tick of a small machine costs less than one.
CARBON_UNIT: Final = 1_000


class BadProblem(ValueError):
    """The arrays contradict each other; the sentence says which and where."""


class Problem(NamedTuple):
    """Everything about jobs, machines, calendars and costs that does not change while planning."""

    elig_ptr: Longs
    """(n+1) alternatives of operation o are elig_ptr[o] … elig_ptr[o+1]-1."""
    elig_machine: Ints
    """(e) machine, rising inside an operation."""
    elig_ticks: Ints
    """(e) planned duration (P80, warm-up and cool-down included)."""
    elig_tail: Ints
    """(e) ticks from the planned to the safe (P90) duration."""
    elig_cost: Ints
    """(e) cost of this alternative whatever the time (ring, reliability, nervousness)."""
    elig_after: Ints
    """(e) this alternative starts no earlier (an owner said "not before"); empty where no alternative has one."""
    family: Ints
    """(n) setup family."""
    home: Ints
    """(n) shop whose own job it is: there it may run outside pool hours; -1 for pool work."""
    release: Ints
    """(n) not before."""
    due: Ints
    """(n) wanted at the place of delivery; NEVER where nobody waits for it."""
    weight: Longs
    """(n) hundredths of a weight-minute for each tick late."""
    flow: Longs
    """(n) hundredths of a weight-minute for each tick from release to finish."""
    promise: Ints
    """(n) promised tick; NEVER without a promise."""
    promise_weight: Longs
    """(n) hundredths of a weight-minute for each tick past the promise."""
    guide_due: Ints
    """(n) when the operation should be done so that those after it can be in time; the due date where none follow."""
    guide_weight: Longs
    """(n) weight of the order behind it, hundredths of a weight-minute a tick: steers only until the rest is placed."""
    zone: Ints
    """(n) place of delivery; -1 where parts stay or go to a successor."""
    pinned: Ints
    """(n) start tick of an operation that may not move; -1 where it is free."""
    pred_ptr: Longs
    preds: Ints
    succ_ptr: Longs
    succs: Ints
    machine_shop: Ints
    """(m)"""
    machine_free: Ints
    """(m) nothing starts earlier."""
    machine_family: Ints
    """(m) family set up now; -1 unknown."""
    machine_matrix: Ints
    """(m) which setup matrix it follows."""
    attended: Flags
    """(m) 1: a person must be there from start to end; 0: at start and unload only."""
    run_calendar: Ints
    """(m) windows in which setup, run and tail of pool work must lie; -1 always."""
    home_calendar: Ints
    """(m) the same for the shop's own jobs; -1 always."""
    staff_calendar: Ints
    """(m) when a person is there; -1 always."""
    setup: Ints
    """(matrices, f, f) setup ticks from the row's family to the column's."""
    first_setup: int
    """setup ticks where the family on the machine is unknown."""
    setup_cost: int
    """cost of a setup tick."""
    leg_cost: int
    """cost of a transport tick."""
    legs: Ints
    """(s, s) transport ticks between shops."""
    delivery: Ints
    """(s, z) transport ticks from a shop to a place of delivery."""
    pressure: Longs
    """(s) fairness: cost of a machine tick in the shop, may be negative."""
    cal_ptr: Longs
    cal_open: Ints
    cal_shut: Ints
    cal_hint: Ints
    """(c, buckets) first window that ends after the bucket's start."""
    bucket: int
    """ticks in a bucket of `cal_hint`."""
    machine_curve: Ints = np.zeros(0, np.int32)
    """(m) row of `carbon`, -1 none; empty where no machine has one."""
    machine_hands: Ints = np.zeros((0, 2), np.int32)
    """(m, 2) ticks of people's time that loading and unloading take where it is counted; empty where it nowhere is."""
    carbon: Longs = np.zeros((0, 1), np.int64)
    """(curves, ticks of a day + 1) what running from tick 0 to there costs, in `1 / CARBON_UNIT` of a cost unit."""

    @property
    def operations(self) -> int:
        """n"""
        return len(self.family)

    @property
    def machines(self) -> int:
        """m"""
        return len(self.machine_shop)


def validate(problem: Problem) -> Problem:
    """The same problem, or BadProblem with the first contradiction found."""
    n, m = problem.operations, problem.machines
    if len(problem.elig_ptr) != n + 1 or problem.elig_ptr[-1] != len(problem.elig_machine):
        raise BadProblem("the table of alternatives does not match the operations")
    if len(problem.elig_machine) and not (
        problem.elig_machine.min() >= 0 and problem.elig_machine.max() < m and problem.elig_ticks.min() >= 1
    ):
        raise BadProblem("an alternative names a machine that does not exist, or takes no time")
    if n and (problem.family.min() < 0 or problem.family.max() >= problem.setup.shape[1]):
        raise BadProblem("an operation has a setup family without a row in the setup matrix")
    if len(problem.elig_ticks) and int(problem.elig_ticks.max()) + int(problem.elig_tail.max()) >= NEVER // 4:
        raise BadProblem("an operation lasts longer than the planner can count")
    rising = problem.elig_machine[1:] > problem.elig_machine[:-1]
    first = problem.elig_ptr[1:-1]
    rising[first[(first > 0) & (first < len(problem.elig_machine))] - 1] = True
    if not rising.all():
        raise BadProblem("the machines of an operation are not in rising order")
    for ptr, target, what in ((problem.pred_ptr, problem.preds, "before"), (problem.succ_ptr, problem.succs, "after")):
        if len(ptr) != n + 1 or ptr[-1] != len(target) or (len(target) and not 0 <= target.min() <= target.max() < n):
            raise BadProblem(f"the list of operations that come {what} others does not match the operations")
    if topological_order(problem) is None:
        raise BadProblem("operations wait for each other in a circle")
    for calendar in range(len(problem.cal_ptr) - 1):
        low, high = problem.cal_ptr[calendar], problem.cal_ptr[calendar + 1]
        edges = np.empty(2 * (high - low), np.int64)
        edges[0::2], edges[1::2] = problem.cal_open[low:high], problem.cal_shut[low:high]
        if len(edges) and (np.diff(edges) < 0).any():
            raise BadProblem(f"the windows of calendar {calendar} overlap or run backwards")
    return problem


def topological_order(problem: Problem) -> Ints | None:
    """Operations so that each comes after those it waits for; None where they wait in a circle."""
    n = problem.operations
    open_preds = np.diff(problem.pred_ptr).astype(np.int64)
    order = [int(o) for o in np.flatnonzero(open_preds == 0)]
    head = 0
    while head < len(order):
        o = order[head]
        head += 1
        for after in problem.succs[problem.succ_ptr[o] : problem.succ_ptr[o + 1]]:
            open_preds[after] -= 1
            if open_preds[after] == 0:
                order.append(int(after))
    return np.array(order, np.int32) if len(order) == n else None
