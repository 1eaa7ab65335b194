"""Constraint programming's model of a small problem (OR-Tools CP-SAT): one literal an alternative, one a window.

Sequence-dependent setups are circuits. Only the child process of `exact_child.py` builds and solves it; what it says
goes out as plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scheduler.planning.people import CrewTicks, Hands
from scheduler.planning.problem import NEVER, Problem

#: Windows per machine that the model knows of; a bound is only said when none was left out.
WINDOWS: Final = 24


@dataclass(frozen=True, slots=True)
class Placed:
    """One operation of a solution: its alternative, and ticks of start, end, release of the part, and setup."""

    operation: int
    choice: int
    start: int
    end: int
    avail: int
    setup: int


@dataclass
class Model:
    """The model under construction: one literal and one interval per alternative."""

    problem: Problem
    horizon: int
    cp: Any
    takes: dict[int, Any] = field(default_factory=dict)
    start: list[Any] = field(default_factory=list)
    end: list[Any] = field(default_factory=list)
    avail: list[Any] = field(default_factory=list)
    setup: list[Any] = field(default_factory=list)
    in_shop: dict[tuple[int, int], Any] = field(default_factory=dict)
    hands: dict[int, Hands] = field(default_factory=dict)
    """What starts and unloading take of people's time, by machine whose people are counted."""
    loading: dict[tuple[int, int], Any] = field(default_factory=dict)
    """Ticks for which somebody sets up and loads, by operation and machine."""
    truncated: bool = False

    def operation_of(self, k: int) -> int:
        """Whose alternative k is."""
        return int(np.searchsorted(self.problem.elig_ptr, k, side="right")) - 1

    @property
    def most_setup(self) -> int:
        """The longest setup there is."""
        return max(self.problem.first_setup, int(self.problem.setup.max(initial=0)))

    @property
    def longest(self) -> int:
        """The longest operation's ticks."""
        return int(self.problem.elig_ticks.max(initial=0))


def build(
    problem: Problem,
    warm: tuple[Placed, ...],
    circuits: tuple[tuple[int, tuple[int, ...]], ...],
    power: tuple[int, ...],
    crews: tuple[CrewTicks, ...] = (),
) -> Model:
    """The model, with a hint where a schedule is known. `circuits`: (watts, machines); `power`: watts a machine."""
    from ortools.sat.python import cp_model

    from scheduler.planning.exact_shared import crew_holds, energy_terms, power_cap

    hands = {m: hands for crew in crews for m, hands in crew.hands.items()}
    unloading = problem.operations * max((sum(each) for each in hands.values()), default=0)
    model = Model(problem, _horizon(problem, warm) + unloading, cp_model.CpModel(), hands=hands)
    _operations(model)
    _machines(model)
    _chains(model)
    for limit, members in circuits:
        power_cap(model, limit, members, power)
    for crew in crews:
        crew_holds(model, crew)
    model.cp.minimize(_objective(model) + sum(energy_terms(model)))
    for placed in warm:
        o = placed.operation
        for k in range(problem.elig_ptr[o], problem.elig_ptr[o + 1]):
            model.cp.add_hint(model.takes[k], placed.choice == k)
        model.cp.add_hint(model.start[o], placed.start)
        model.cp.add_hint(model.setup[o], placed.setup)
    return model


def placed_in(model: Model, value: Any) -> tuple[Placed, ...]:
    """The solution that `value`, a function of a variable, stands for."""
    out = []
    for k, takes in model.takes.items():
        if value(takes):
            o = model.operation_of(k)
            ticks = (value(of[o]) for of in (model.start, model.end, model.avail, model.setup))
            out.append(Placed(o, k, *map(int, ticks)))
    return tuple(out)


def _horizon(problem: Problem, warm: tuple[Placed, ...]) -> int:
    """A tick before which some best schedule ends."""
    longest = 0
    for o in range(problem.operations):
        a, b = problem.elig_ptr[o], problem.elig_ptr[o + 1]
        longest += int(problem.elig_ticks[a:b].max() + problem.elig_tail[a:b].max())
    slack = longest + problem.operations * int(problem.setup.max(initial=0) + problem.first_setup)
    latest = int(problem.release.max(initial=0)) + int(problem.legs.max(initial=0)) * problem.operations
    calendars = int(problem.cal_shut.max(initial=0))
    ends = max((placed.avail for placed in warm), default=0)
    return min(NEVER // 2, max(ends, latest + slack + calendars, int(problem.pinned.max(initial=0)) + slack))


def _operations(model: Model) -> None:
    p, cp, horizon = model.problem, model.cp, model.horizon
    for o in range(p.operations):
        model.start.append(cp.new_int_var(0, horizon, f"start{o}"))
        model.end.append(cp.new_int_var(0, horizon, f"end{o}"))
        model.avail.append(cp.new_int_var(0, horizon, f"avail{o}"))
        model.setup.append(cp.new_int_var(0, model.most_setup, f"setup{o}"))
        literals = []
        for k in range(p.elig_ptr[o], p.elig_ptr[o + 1]):
            takes = cp.new_bool_var(f"takes{o}_{k}")
            model.takes[k] = takes
            literals.append(takes)
            _alternative(model, o, k, takes)
        cp.add_exactly_one(literals)
        by_shop: dict[int, list[Any]] = {}
        for k in range(p.elig_ptr[o], p.elig_ptr[o + 1]):
            by_shop.setdefault(int(p.machine_shop[p.elig_machine[k]]), []).append(model.takes[k])
        for shop, members in by_shop.items():
            literal = cp.new_bool_var(f"in{o}_{shop}")
            cp.add(sum(members) == literal)
            model.in_shop[o, shop] = literal


def _alternative(model: Model, o: int, k: int, takes: Any) -> None:
    p, cp = model.problem, model.cp
    m = int(p.elig_machine[k])
    ticks, tail = int(p.elig_ticks[k]), int(p.elig_tail[k])
    start, end, avail, setup = model.start[o], model.end[o], model.avail[o], model.setup[o]
    cp.add(end == start + setup + ticks).only_enforce_if(takes)
    staff = int(p.staff_calendar[m])
    if p.pinned[o] >= 0:
        cp.add(start == int(p.pinned[o])).only_enforce_if(takes)
        cp.add(setup == 0).only_enforce_if(takes)
    else:
        after = int(p.elig_after[k]) if len(p.elig_after) else 0
        cp.add(start >= max(int(p.release[o]), int(p.machine_free[m]), after)).only_enforce_if(takes)
        run = int(p.home_calendar[m] if p.home[o] == p.machine_shop[m] else p.run_calendar[m])
        _inside(model, run, takes, start, setup + ticks + tail)
        _inside(model, staff, takes, start, _presence(model, o, k))
    unload = model.hands[m].unload if m in model.hands else 0
    if staff >= 0 and not p.attended[m]:
        _inside(model, staff, takes, avail - unload, unload, opens_only=end)
    elif m in model.hands and not p.attended[m]:
        cp.add(avail >= end + unload).only_enforce_if(takes)
    else:
        cp.add(avail == end + unload).only_enforce_if(takes)


def _presence(model: Model, o: int, k: int) -> Any:
    """Ticks from the start for which somebody has to be in."""
    p, m = model.problem, int(model.problem.elig_machine[k])
    load, unload = model.hands.get(m, (0, 0))
    if p.attended[m]:
        return model.setup[o] + int(p.elig_ticks[k]) + max(int(p.elig_tail[k]), unload)
    if load == 0:
        model.loading[o, m] = model.setup[o]
    else:
        model.loading[o, m] = model.cp.new_int_var(0, max(load, model.most_setup), "")
        model.cp.add_max_equality(model.loading[o, m], [model.setup[o], load])
    return model.loading[o, m] + unload


def _inside(model: Model, calendar: int, takes: Any, start: Any, need: Any, opens_only: Any | None = None) -> None:
    """The stretch lies in one window; with `opens_only`, `start` is the first open tick from there on."""
    if calendar < 0:
        return
    p, cp = model.problem, model.cp
    low, high = int(p.cal_ptr[calendar]), int(p.cal_ptr[calendar + 1])
    if high - low > WINDOWS:
        model.truncated, high = True, low + WINDOWS
    literals = []
    for w in range(low, high):
        here = cp.new_bool_var("")
        literals.append(here)
        cp.add(start >= int(p.cal_open[w])).only_enforce_if(here)
        cp.add(start + need <= int(p.cal_shut[w])).only_enforce_if(here)
    if opens_only is not None:
        cp.add(start >= opens_only).only_enforce_if(takes)
    cp.add(sum(literals) == 1).only_enforce_if(takes)
    for here in literals:
        cp.add_implication(here, takes)


def _machines(model: Model) -> None:
    p, cp = model.problem, model.cp
    on: dict[int, list[tuple[int, int]]] = {}
    for o in range(p.operations):
        for k in range(p.elig_ptr[o], p.elig_ptr[o + 1]):
            on.setdefault(int(p.elig_machine[k]), []).append((o, k))
    for m, members in sorted(on.items()):
        intervals = []
        for o, k in members:
            size = cp.new_int_var(0, model.horizon, "")
            cp.add(size == model.setup[o] + int(p.elig_ticks[k])).only_enforce_if(model.takes[k])
            intervals.append(cp.new_optional_interval_var(model.start[o], size, model.end[o], model.takes[k], ""))
        cp.add_no_overlap(intervals)
        _setups(model, m, members)


def _setups(model: Model, m: int, members: list[tuple[int, int]]) -> None:
    """Setup ticks follow from who comes before: a circuit where they differ, one constant where they do not."""
    p, cp = model.problem, model.cp
    free = [(o, k) for o, k in members if p.pinned[o] < 0]
    matrix = p.setup[p.machine_matrix[m]]
    families = sorted({int(p.family[o]) for o, _ in members})
    first = int(p.machine_family[m])
    seen = {int(matrix[a, b]) for a in families for b in families}
    seen |= {p.first_setup if first < 0 else int(matrix[first, b]) for b in families}
    if len(seen) <= 1:
        for o, k in free:
            cp.add(model.setup[o] == next(iter(seen))).only_enforce_if(model.takes[k])
        return
    arcs: list[tuple[int, int, Any]] = [(0, 0, cp.new_bool_var(""))]
    for i, (o, k) in enumerate(members, 1):
        arcs.append((i, i, model.takes[k].negated()))
        cp.add_implication(arcs[0][2], model.takes[k].negated())
        begins = cp.new_bool_var("")
        arcs.extend([(0, i, begins), (i, 0, cp.new_bool_var(""))])
        if p.pinned[o] < 0:
            x = p.first_setup if first < 0 else int(matrix[first, int(p.family[o])])
            cp.add(model.setup[o] == x).only_enforce_if(begins)
        for j, (q, _) in enumerate(members, 1):
            if i == j:
                continue
            follows = cp.new_bool_var("")
            arcs.append((i, j, follows))
            cp.add(model.start[q] >= model.end[o]).only_enforce_if(follows)
            if p.pinned[q] < 0:
                cp.add(model.setup[q] == int(matrix[p.family[o], p.family[q]])).only_enforce_if(follows)
    cp.add_circuit(arcs)


def _chains(model: Model) -> None:
    p, cp = model.problem, model.cp
    for o in range(p.operations):
        if p.pinned[o] >= 0:
            continue
        for q in p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]:
            cp.add(model.start[o] >= model.avail[q])
            for (a, shop), there in list(model.in_shop.items()):
                if a != q:
                    continue
                for (b, target), here in list(model.in_shop.items()):
                    way = int(p.legs[shop, target])
                    if b == o and way > 0:
                        cp.add(model.start[o] >= model.avail[q] + way).only_enforce_if([there, here])


def _objective(model: Model) -> Any:
    p, cp, terms = model.problem, model.cp, []
    for o in range(p.operations):
        arrival = model.avail[o]
        if p.zone[o] >= 0:
            way = sum(
                int(p.delivery[shop, p.zone[o]]) * literal for (a, shop), literal in model.in_shop.items() if a == o
            )
            arrival = model.avail[o] + way
            terms.append(p.leg_cost * way)
        for since, weight in ((p.due[o], p.weight[o]), (p.release[o], p.flow[o]), (p.promise[o], p.promise_weight[o])):
            if since >= NEVER or weight == 0:
                continue
            late = cp.new_int_var(0, 2 * model.horizon + max(0, -int(since)), "")
            cp.add(late >= arrival - int(since))
            terms.append(int(weight) * late)
        terms.append(p.setup_cost * model.setup[o])
        for k in range(p.elig_ptr[o], p.elig_ptr[o + 1]):
            pressure = int(p.pressure[p.machine_shop[p.elig_machine[k]]])
            terms.append((int(p.elig_cost[k]) + pressure * int(p.elig_ticks[k])) * model.takes[k])
        for q in p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]:
            terms.extend(_leg_terms(model, int(q), o))
    return sum(terms)


def _leg_terms(model: Model, q: int, o: int) -> list[Any]:
    p, cp, terms = model.problem, model.cp, []
    for (a, shop), there in list(model.in_shop.items()):
        for (b, target), here in list(model.in_shop.items()):
            way = int(p.legs[shop, target])
            if a == q and b == o and way > 0 and p.leg_cost > 0:
                both = cp.new_bool_var("")
                cp.add_bool_or([there.negated(), here.negated(), both])
                terms.append(p.leg_cost * way * both)
    return terms
