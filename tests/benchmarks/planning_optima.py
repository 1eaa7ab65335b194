"""Optima of the small networks of P4, proven by dynamic programming over sets: independent of search and of CP-SAT.

`python -m tests.benchmarks.planning_optima` computes them anew (seconds, after compiling) and writes them beside it,
as planning_optima.json, with a hash of each instance; the bar compares where the hash agrees. For networks
around the clock without chains, whose parts (planning.independent) use at most two machines.

For one machine and every set of operations the undominated pairs of when the set is done and what it cost are kept, per
family that comes last; costs never fall with time, so that one later and dearer than another leads to nothing better.
Two machines divide the whole set in the best way.
"""

# Elements of arrays have no static type here: the arrays do, and the compiler checks the rest.
# mypy: disable-error-code="no-any-return, arg-type"

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

os.environ.setdefault("WORKSHED_COMPILE", "1")

import numpy as np

from scheduler.planning.construction import append_first
from scheduler.planning.core import make_core
from scheduler.planning.improving import improve
from scheduler.planning.independent import part, parts_of
from scheduler.planning.jit import compiled, inlined
from scheduler.planning.microfab import microfab
from scheduler.planning.problem import NEVER, Longs, Problem

REFERENCES = Path(__file__).with_suffix(".json")
#: Jobs, machines, whether changeovers differ, and the seed of each network of P4.
NETWORKS = (
    (20, 4, False, 1), (30, 5, False, 1), (30, 5, False, 2), (15, 4, True, 3), (20, 4, True, 1), (25, 5, True, 2),
)  # fmt: skip
DEAR = 1 << 60


def network_of(jobs: int, machines: int, setups: bool, seed: int) -> Problem:
    """One of P4's networks: load 1.6, around the clock, no chains."""
    return microfab(jobs, machines, seed=seed, load=1.6, calendars=False, chains=False, setups=setups).problem


def hash_of(p: Problem) -> str:
    """Of what an optimum depends on."""
    digest = hashlib.sha256()
    for name in (
        "elig_ptr", "elig_machine", "elig_ticks", "elig_cost", "family", "release", "due", "weight", "flow", "zone",
        "machine_shop", "setup", "delivery", "first_setup", "setup_cost", "leg_cost",
    ):  # fmt: skip
        digest.update(name.encode() + np.asarray(getattr(p, name), np.int64).tobytes())
    return digest.hexdigest()[:16]


def optimum_of(p: Problem) -> int | None:
    """The frozen optimum of this very problem; None where there is none."""
    known: dict[str, dict[str, int]] = json.loads(REFERENCES.read_text())
    found = known.get(hash_of(p))
    return None if found is None else found["optimum"]


@inlined
def undominated(here: Longs, kept: int, end: int, cost: int, family: int) -> int:
    """Put one more (end, cost, family that comes last) into the first `kept` of `here`; how many are there then."""
    for i in range(kept):
        if here[i, 2] == family and here[i, 0] <= end and here[i, 1] <= cost:
            return kept
    stay = 0
    for i in range(kept):
        if here[i, 2] != family or here[i, 0] < end or here[i, 1] < cost:
            here[stay] = here[i]
            stay += 1
    here[stay, 0], here[stay, 1], here[stay, 2] = end, cost, family
    return stay + 1


@compiled
def cheapest(
    ticks: Longs, setup: Longs, family: Longs, release: Longs, due: Longs, rate: Longs, flow: Longs, way: Longs,
    fixed: Longs, setup_cost: int, upper: int,
) -> Longs:  # fmt: skip
    """What each set of operations costs at least on one machine; DEAR where it is more than `upper` or impossible.

    `ticks` (n) -1 where the machine cannot do it; `setup` (families + 1, n), the last row where nothing came before.
    """
    n = len(ticks)
    none = setup.shape[0] - 1
    best = np.full(1 << n, DEAR, np.int64)
    ptr, count = np.zeros((1 << n) + 1, np.int64), 1
    done, cost, last = np.zeros(1 << 20, np.int64), np.zeros(1 << 20, np.int64), np.zeros(1 << 20, np.int64)
    last[0], ptr[1], best[0] = none, 1, 0
    here = np.empty((1 << 14, 3), np.int64)
    for chosen in range(1, 1 << n):
        kept = 0
        for o in range(n):
            if chosen >> o & 1 == 0 or ticks[o] < 0:
                continue
            before = chosen ^ (1 << o)
            for label in range(ptr[before], ptr[before + 1]):
                x = setup[last[label], o]
                end = max(done[label], release[o]) + x + ticks[o]
                arrival = end + way[o]
                value = cost[label] + fixed[o] + setup_cost * x + flow[o] * (arrival - release[o])
                if arrival > due[o]:
                    value += rate[o] * (arrival - due[o])
                if value > upper:
                    continue
                kept = undominated(here, kept, end, value, family[o])
        while count + kept > len(done):
            done, cost, last = (
                np.concatenate((done, np.zeros_like(done))),
                np.concatenate((cost, np.zeros_like(cost))),
                np.concatenate((last, np.zeros_like(last))),
            )
        for i in range(kept):
            done[count], cost[count], last[count] = here[i, 0], here[i, 1], here[i, 2]
            best[chosen] = min(best[chosen], here[i, 1])
            count += 1
        ptr[chosen + 1] = count
    return best


def optimum(p: Problem, upper: int) -> int:
    """The least cost of one part that uses at most two machines; `upper` is what some plan of it costs."""
    machines = np.unique(p.elig_machine).tolist()
    assert len(machines) <= 2, "only up to two machines"
    assert len(p.preds) == 0, "no chains"
    assert max(p.run_calendar.max(), p.staff_calendar.max(), p.machine_family.max()) < 0, "nothing is known of machines"
    assert min(p.machine_free.max() == 0, p.promise.min() >= NEVER), "no machine is busy, nothing promised"
    tables = []
    for m in machines:
        ticks, fixed = np.full(p.operations, -1, np.int64), np.zeros(p.operations, np.int64)
        way = p.delivery[p.machine_shop[m], p.zone].astype(np.int64)
        for o in range(p.operations):
            for k in range(int(p.elig_ptr[o]), int(p.elig_ptr[o + 1])):
                if p.elig_machine[k] == m:
                    ticks[o], fixed[o] = p.elig_ticks[k], int(p.elig_cost[k]) + p.leg_cost * int(way[o])
        matrix = p.setup[p.machine_matrix[m]][:, p.family].astype(np.int64)
        family = p.family.astype(np.int64)
        setup = np.vstack([matrix, np.full(p.operations, p.first_setup)])
        if len(np.unique(setup)) == 1:
            family, setup = np.zeros_like(family), setup[:2]
        tables.append(
            cheapest(
                ticks, setup, family, p.release.astype(np.int64), p.due.astype(np.int64), p.weight, p.flow, way, fixed,
                p.setup_cost, upper,
            )
        )  # fmt: skip
    if len(tables) == 1:
        return int(tables[0][-1])
    return int((tables[0] + tables[1][::-1]).min())


def main() -> None:
    """Compute all references anew."""
    out = {}
    for jobs, machines, setups, seed in NETWORKS:
        began, p, total = time.process_time(), network_of(jobs, machines, setups, seed), 0
        for members in parts_of(make_core(p)):
            mine = part(p, members)
            core = make_core(mine)
            schedule = append_first(mine, core)
            upper = improve(core, schedule, seed=1, moves=40_000).after
            total += optimum(mine, upper)
            print(f"  part of {len(members)}: {upper} searched", flush=True)
        name = f"{jobs}×{machines}, seed {seed}" + (", changeovers differ" if setups else "")
        out[hash_of(p)] = {"network": name, "optimum": total, "proof": "dynamic programming over sets"}
        print(f"{name}: {total}, {time.process_time() - began:.0f} s", flush=True)
    REFERENCES.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
