"""Parts of a problem that share no machine and no chain: what is best for each alone is best for all together.

A network's printers, lasers and routers mostly compete for nothing. A search that keeps the best it met of each part
needs no lucky moment for all of them, and a proof of a dozen operations takes a moment where one of three dozen takes
hours.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import (
    ELIG_HIGH,
    ELIG_LOW,
    MACHINE,
    PRED_HIGH,
    PRED_LOW,
    Core,
    Schedule,
    copy_schedule,
)
from scheduler.planning.jit import compiled
from scheduler.planning.problem import Ints, Longs, Problem
from scheduler.planning.timing import total_cost

#: Tables with a row per alternative, and with one per operation.
_ALTERNATIVES: Final = ("elig_machine", "elig_ticks", "elig_tail", "elig_cost", "elig_after")
_OPERATIONS: Final = (
    "family", "home", "release", "due", "weight", "flow", "promise", "promise_weight", "guide_due", "guide_weight",
    "zone", "pinned",
)  # fmt: skip


@compiled
def grouped(ops: Ints, elig_machine: Ints, links: Ints, machines: int) -> Longs:
    """A number for each machine, then each operation: the same where they share, over others too, machine or chain."""
    group = np.arange(machines + len(ops))
    for o in range(len(ops)):
        for k in range(ops[o, ELIG_LOW], ops[o, ELIG_HIGH] + ops[o, PRED_HIGH] - ops[o, PRED_LOW]):
            last = ops[o, ELIG_HIGH]
            x = elig_machine[k] if k < last else machines + links[ops[o, PRED_LOW] + k - last]
            while group[x] != x:
                group[x] = group[group[x]]
                x = group[x]
            y = machines + o
            while group[y] != y:
                group[y] = group[group[y]]
                y = group[y]
            group[max(x, y)] = min(x, y)
    # Roots have the least number of their group, so that one look up is enough in rising order.
    for x in range(len(group)):
        group[x] = group[group[x]]
    return group


def parts_of(core: Core) -> list[Longs]:
    """Operations in groups that share neither a possible machine nor a chain, the smallest group first."""
    group = grouped(core.ops, core.elig_machine, core.links, len(core.mach))[len(core.mach) :]
    return sorted((np.flatnonzero(group == number) for number in np.unique(group)), key=len)


class BestOfParts:
    """A schedule put together from the best one met of each part."""

    def __init__(self, core: Core, s: Schedule) -> None:
        self._core, self.kept = core, copy_schedule(s)
        group = grouped(core.ops, core.elig_machine, core.links, len(core.mach))
        machines, operations = group[: len(core.mach)], group[len(core.mach) :]
        self._parts = [(machines == number, operations == number) for number in np.unique(operations)]
        self._least = [self._cost(s, operations) for _, operations in self._parts]

    @property
    def cost(self) -> int:
        """Of the schedule kept."""
        return sum(self._least)

    def meet(self, s: Schedule) -> None:
        """Take over what is better in another schedule of the same operations."""
        for number, (machines, operations) in enumerate(self._parts):
            cost = self._cost(s, operations)
            if cost < self._least[number]:
                self._least[number] = cost
                self.kept.seq[machines], self.kept.length[machines] = s.seq[machines], s.length[machines]
                self.kept.at[operations] = s.at[operations]

    def _cost(self, s: Schedule, operations: NDArray[np.bool_]) -> int:
        alone = s.at.copy()
        alone[~operations, MACHINE] = -1
        return int(total_cost(self._core, s._replace(at=alone)))


def part(p: Problem, members: Longs) -> Problem:
    """The problem of these operations alone, numbered as in `members`; they must be whole chains."""
    made: dict[str, object] = {}
    rows, made["elig_ptr"] = _rows(p.elig_ptr, members)
    for name in _ALTERNATIVES:
        table = getattr(p, name)
        made[name] = table[rows] if len(table) else table
    for name in _OPERATIONS:
        made[name] = getattr(p, name)[members]
    number = np.full(p.operations, -1, np.int32)
    number[members] = np.arange(len(members))
    for ptr, links in (("pred_ptr", "preds"), ("succ_ptr", "succs")):
        rows, made[ptr] = _rows(getattr(p, ptr), members)
        made[links] = number[getattr(p, links)[rows]]
    return p._replace(**made)


def _rows(ptr: Longs, members: Longs) -> tuple[Longs, Longs]:
    """The rows of these members, and where each member's begin among them."""
    rows = [np.arange(ptr[o], ptr[o + 1]) for o in members]
    bounds = np.concatenate([[0], np.cumsum(np.diff(ptr)[members])]).astype(np.int64)
    return np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64), bounds
