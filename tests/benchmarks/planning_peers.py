"""Peers run beside ours: PyJobShop in its own environment, and the dispatch rules that farm tools and texts use."""

from __future__ import annotations

import heapq
import json
import os
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import ELIG_HIGH, ELIG_LOW, SHOP, Core, Schedule, empty_schedule, make_core
from scheduler.planning.flexible_shop import FlexibleShop
from scheduler.planning.microfab import MicroFab
from scheduler.planning.problem import NEVER, Problem
from scheduler.planning.timing import choose, earliest, freed, parts_ready, put_in, setup_before

#: A script for the peer's own interpreter: an instance on standard input, {objective, feasible} on standard output.
PYJOBSHOP = """
import json, sys
from pyjobshop import Model
spec = json.load(sys.stdin)
model = Model()
machines = [model.add_machine() for _ in range(spec["machines"])]
tasks = []
for chain in spec["chains"]:
    job = model.add_job()
    before = None
    for options in chain:
        task = model.add_task(job=job)
        tasks.append(task)
        for machine, duration in options:
            model.add_mode(task, machines[machine], duration)
        if before is not None:
            model.add_end_before_start(before, task)
        before = task
for m, matrix in enumerate(spec.get("setup", [])):
    for a, row in enumerate(matrix):
        for b, ticks in enumerate(row):
            if a != b:
                model.add_setup_time(machines[m], tasks[a], tasks[b], ticks)
result = model.solve(time_limit=spec["seconds"], num_workers=spec["workers"], display=False)
found = "FEASIBLE" in str(result.status).upper() or "OPTIMAL" in str(result.status).upper()
print(json.dumps({"objective": float(result.objective) if found else None}))
"""


NO_PEER = (
    "PyJobShop is not here: its columns stay empty. To have it: python3 -m venv build/peers && "
    "build/peers/bin/pip install pyjobshop==0.0.9, or give an interpreter that has it with --peer or WORKSHED_PEER."
)


def pyjobshop_python(asked: Path | None = None) -> Path | None:
    """An interpreter that has PyJobShop: the one asked for, WORKSHED_PEER's, or build/peers; None where it has not."""
    for name in (asked, os.environ.get("WORKSHED_PEER"), "build/peers/bin/python"):
        if name is None or not Path(name).exists():
            continue
        told = subprocess.run([str(name), "-c", "import pyjobshop"], capture_output=True, check=False, timeout=120)
        if told.returncode == 0:
            return Path(name)
    return None


def pyjobshop(
    python: Path,
    machines: int,
    chains: list[list[list[tuple[int, int]]]],
    *,
    seconds: float,
    workers: int,
    setup: list[list[list[int]]] | None = None,
) -> float | None:
    """Makespan that PyJobShop reaches within so many seconds of the wall; None where it finds no plan.

    Raises:
        RuntimeError: it could not run at all; with the last line it said.
    """
    spec = {"machines": machines, "chains": chains, "seconds": seconds, "workers": workers, "setup": setup or []}
    run = subprocess.run(
        [str(python), "-c", PYJOBSHOP],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds * 4 + 120,
    )
    if run.returncode != 0:
        raise RuntimeError(f"PyJobShop failed: {run.stderr.strip().splitlines()[-1:] or run.returncode}")
    found = json.loads(run.stdout.splitlines()[-1])["objective"]
    return None if found is None else float(found)


def chains_of(shop: FlexibleShop) -> list[list[list[tuple[int, int]]]]:
    """A flexible shop as plain lists."""
    chains: list[list[list[tuple[int, int]]]] = []
    for o in range(shop.operations):
        low, high = int(shop.elig_ptr[o]), int(shop.elig_ptr[o + 1])
        options = list(zip(shop.elig_machine[low:high].tolist(), shop.elig_time[low:high].tolist(), strict=True))
        if shop.before[o] < 0:
            chains.append([])
        chains[-1].append(options)
    return chains


def dispatch(fab: MicroFab, rule: str) -> tuple[Core, Schedule]:
    """A whole week by a dispatch rule: a machine that falls idle takes the waiting operation of highest priority.

    `first come`, `due date`, or `atcs`: apparent tardiness cost with setups (Lee, Bhaskaran and Pinedo, IIE
    Transactions 29, 1997) with k1 = 2 and k2 = 0.5.
    """
    p = fab.problem
    core = make_core(p)
    s = empty_schedule(core, 4 * p.operations // max(1, p.machines) + 200)
    waiting: list[list[int]] = [[] for _ in range(p.machines)]
    for o in range(p.operations):
        for k in range(int(p.elig_ptr[o]), int(p.elig_ptr[o + 1])):
            waiting[int(p.elig_machine[k])].append(o)
    index = {(int(m), o): k for o in range(p.operations) for k, m in _options(p, o)}
    mean = float(p.elig_ticks.mean())
    idle = [(0, m) for m in range(p.machines)]
    heapq.heapify(idle)
    left = p.operations
    while idle and left:
        now, m = heapq.heappop(idle)
        queue = [o for o in waiting[m] if s.at[o, 0] < 0]
        waiting[m] = queue
        shop = int(core.mach[m, SHOP])
        ready = [(o, _ready(core, s, p, o, shop)) for o in queue]
        able = [o for o, t in ready if t <= now]
        if not able:
            later = [t for _, t in ready if t < NEVER]
            if later:
                heapq.heappush(idle, (min(later), m))
            elif queue:
                heapq.heappush(idle, (now + 240, m))
            continue
        o = max(able, key=lambda o: (_priority(core, s, p, rule, o, m, index[m, o], now, mean), -o))
        k = index[m, o]
        x = int(setup_before(core, s, m, int(s.length[m]), int(p.family[o])))
        start = int(earliest(core, o, m, k, now, x, int(p.elig_ticks[k]), 0))
        end = start + x + int(p.elig_ticks[k])
        choose(core, s, o, k)
        put_in(s, m, int(s.length[m]), o)
        s.at[o, 5:9] = np.array([start, end, freed(core, m, end), x])
        left -= 1
        heapq.heappush(idle, (end, m))
    return core, s


def _options(p: Problem, o: int) -> list[tuple[int, int]]:
    return [(k, int(p.elig_machine[k])) for k in range(int(p.elig_ptr[o]), int(p.elig_ptr[o + 1]))]


def _ready(core: Core, s: Schedule, p: Problem, o: int, shop: int) -> int:
    before: NDArray[np.int32] = p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]]
    if any(s.at[q, 0] < 0 for q in before):
        return NEVER
    return int(parts_ready(core, s, o, shop))


def _priority(core: Core, s: Schedule, p: Problem, rule: str, o: int, m: int, k: int, now: int, mean: float) -> float:
    if rule == "first come":
        return -float(p.release[o])
    if rule == "due date":
        return -float(p.guide_due[o])
    ticks = float(p.elig_ticks[k])
    slack = max(0.0, float(p.guide_due[o]) - now - ticks)
    x = float(setup_before(core, s, m, int(s.length[m]), int(p.family[o])))
    assert core.ops[o, ELIG_HIGH] > core.ops[o, ELIG_LOW]
    return float(np.log(p.guide_weight[o] / ticks)) - slack / (2.0 * mean) - x / (0.5 * 20.0)
