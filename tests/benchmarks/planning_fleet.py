"""P6 to P11 and the cold start: the planner on fleets, offline and through a week. One seed a call."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from scheduler.planning.construction import append_first
from scheduler.planning.core import make_core
from scheduler.planning.improving import improve, times_agree
from scheduler.planning.microfab import microfab, weighted_tardiness
from scheduler.planning.problem import Ints, Problem
from tests.benchmarks.planning_bars import Settings
from tests.benchmarks.planning_online import Fairness, run_week
from tests.benchmarks.planning_peers import dispatch
from tests.benchmarks.planning_results import Sample
from tests.benchmarks.report import Bar


def fleet(s: Settings) -> list[Bar]:
    """P6: 10,000 jobs on 1,000 machines: the first plan and 60 seconds; dispatch rules beside a smaller one."""
    tiny = microfab(30, 12).problem
    append_first(tiny, make_core(tiny))  # loads the compiled code; the bar "cold start" counts that
    fab = microfab(10_000, 1_000, seed=s.seed)
    core = make_core(fab.problem)
    t = s.clock()
    schedule = append_first(fab.problem, core)
    first = s.clock() - t
    start = weighted_tardiness(fab.problem, schedule.avail, schedule.machine)
    done = improve(core, schedule, seed=s.seed, budget_s=6 if s.quick else 60, clock=s.clock)
    assert times_agree(core, schedule)
    after = weighted_tardiness(fab.problem, schedule.avail, schedule.machine) / 1e6
    print(
        f"  seed {s.seed}: first {first:.2f} s {start}, then {after:.3f} M, {done.moves_per_s:.0f} moves/s", flush=True
    )
    return [
        _bar("P6 first plan", first, "s", 0.5, 0.13),
        _bar("P6 after 60 s", after, "M", 1.0, 1.08),
        Bar("P6 moves a second", done.moves_per_s, "1/s", "-", True, 85_000, done.moves_per_s / 85_000),
        *_against_rules(s),
    ]


def _against_rules(s: Settings) -> list[Bar]:
    """6 s of search on 1,000 jobs and 100 machines, and what dispatch rules make of the same week."""
    fab = microfab(1_000, 100, seed=s.seed)
    core = make_core(fab.problem)
    mine = append_first(fab.problem, core)
    improve(core, mine, seed=s.seed, budget_s=6, clock=s.clock)
    ours = weighted_tardiness(fab.problem, mine.avail, mine.machine) / 1e6
    bars = []
    for rule in ("first come", "due date", "atcs"):
        _, made = dispatch(fab, rule)
        value = weighted_tardiness(fab.problem, made.avail, made.machine) / 1e6
        bars.append(Bar(f"P6 1,000×100 against {rule}", ours, "M", "< peer", ours < value, value, ours / value))
    return bars


def online(s: Settings) -> list[Bar]:
    """P7, P8, P10: a week of arrivals with failures, without and with fair shares; and one without failures."""
    run_week(microfab(60, 12, seed=1), replan_moves=200)
    jobs, machines = (1_000, 100) if s.quick else (10_000, 1_000)
    fab = microfab(jobs, machines, seed=s.seed)
    plain = run_week(fab, clock=s.clock)
    fair = run_week(fab, fair=Fairness.PRICED, clock=s.clock)
    calm = run_week(fab, failure_rate=0.0, clock=s.clock)
    more = 100 * (fair.tardiness / plain.tardiness - 1)
    return [
        _bar("P7 quote p50", plain.quote_p50_ms, "ms", 0.1, 0.06),
        _bar("P7 quote p99", plain.quote_p99_ms, "ms", 5, 3),
        Bar("P7 quotes", plain.quotes_per_s, "1/s", "≥ 5000", plain.quotes_per_s >= 5000),
        _bar("P7 re-plan p99", plain.replan_p99_ms, "ms", 300, 120),
        _bar("P7 repair p99", plain.repair_p99_ms, "ms", 5, 2.2),
        _bar("P7 tardiness", plain.tardiness / 1e6, "M", 2.5, 2.89),
        _bar("P7 tardiness without failures", calm.tardiness / 1e6, "M", 2.5, 2.49),
        Bar("P7 failures", plain.failures, "", "-", plain.unplaced == 0),
        Bar("P8 Jain", fair.jain, "", "≥ 0.965", fair.jain >= 0.965, plain.jain, fair.jain / plain.jain),
        Bar("P8 worst share", fair.worst_share, "", "≥ 0.65", fair.worst_share >= 0.65, plain.worst_share),
        _bar("P8 more tardiness", more, "%", 6),
        Bar("P8 Jain, demand split evenly", fair.jain_evenly, "", "-", True, plain.jain_evenly),
        Bar("P8 worst share, demand split evenly", fair.worst_evenly, "", "-", True, plain.worst_evenly),
        _bar("P10 moved between shops", 100 * plain.moved_between_shops, "% a re-plan", 2),
        Bar("P10 moved inside the freeze", plain.moved_inside_freeze, "", "= 0", plain.moved_inside_freeze == 0),
    ]


def planted(s: Settings) -> list[Bar]:
    """P9: due dates taken from a known schedule plus 240 minutes: how many are met when planned from scratch."""
    fab = microfab(1_000 if s.quick else 10_000, 100 if s.quick else 1_000, seed=s.seed)
    core = make_core(fab.problem)
    schedule = append_first(fab.problem, core)
    seconds = 3 if s.quick else 30
    improve(core, schedule, budget_s=seconds, clock=s.clock)
    p = fab.problem
    last = p.zone >= 0
    due = p.due.copy()
    ways = p.delivery[p.machine_shop[schedule.machine[last]], p.zone[last]]
    due[last] = schedule.avail[last] + ways + 240
    again = _with_due(p, due)
    core = make_core(again)
    schedule = append_first(again, core)
    improve(core, schedule, budget_s=seconds * 2, seed=9, clock=s.clock)
    ways = p.delivery[p.machine_shop[schedule.machine[last]], p.zone[last]]
    share = float((schedule.avail[last] + ways <= due[last]).mean())
    return [Bar("P9 on time", 100 * share, "%", "≥ 95", share >= 0.95)]


def growth(s: Settings) -> list[Sample]:
    """P11: memory at 20,000 × 2,000, and how the first plan grows with the alternatives."""
    times = {}
    for jobs, machines in ((2_500, 250), (5_000, 500), (10_000, 1_000)):
        fab = microfab(jobs, machines, seed=s.seed)
        core = make_core(fab.problem)
        append_first(fab.problem, core)
        t = s.clock()
        append_first(fab.problem, core)
        times[len(fab.problem.elig_machine)] = s.clock() - t
    sizes = sorted(times)
    slope = float(np.polyfit(np.log(sizes), np.log([times[size] for size in sizes]), 1)[0])
    points = [[size, times[size]] for size in sizes]
    bars = [Sample("P11 growth of the first plan", slope, "exponent", "≤ 1", series={"first plans": points})]
    if not s.quick:
        bars.append(Sample("P11 memory at 20,000×2,000", _memory_mb(s.seed), "MB", "≤ 400", {"prototype": 285.0}))
    return bars


#: Reads a problem made beforehand, plans it and searches on; prints its own peak.
PLANS_ALONE = """
import resource, sys
import numpy as np
from scheduler.planning.construction import append_first
from scheduler.planning.core import make_core
from scheduler.planning.improving import improve
from scheduler.planning.problem import Problem, validate
with np.load(sys.argv[1]) as tables:
    columns = {name: table if table.ndim else int(table) for name in tables.files for table in [tables[name]]}
none = np.broadcast_to(np.int32(0), columns["elig_machine"].shape)
problem = validate(Problem(**columns, elig_tail=none, elig_cost=none))
core = make_core(problem)
schedule = append_first(problem, core)
improve(core, schedule, moves=20_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _memory_mb(seed: int) -> float:
    """Peak of a fresh process that plans 20,000 jobs on 2,000 machines, without the one that made them up."""
    tables = microfab(20_000, 2_000, seed=seed).problem._asdict()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "problem.npz"
        np.savez(file, **{name: table for name, table in tables.items() if name not in ("elig_tail", "elig_cost")})
        run = subprocess.run([sys.executable, "-c", PLANS_ALONE, str(file)], capture_output=True, text=True, check=True)
    return float(run.stdout)


def cold_start(s: Settings) -> list[Bar]:
    """From process start to the first plan of 1,000 jobs on 100 machines, compiled code from the cache.

    Where a process's own seconds are counted, those of the one that is started.
    """
    script = (
        "from scheduler.planning.microfab import microfab;from scheduler.planning.core import make_core;"
        "from scheduler.planning.construction import append_first;"
        "f=microfab(1000,100);append_first(f.problem,make_core(f.problem))"
    )
    figures = []
    for plain in ("", "1"):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKSHED_")}
        t, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], check=True, env={**environment, "WORKSHED_PLAIN": plain})
        wall, after = time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures.append(own if s.clock is time.process_time else wall)
    return [_bar("cold start, cached", figures[0], "s", 3), _bar("cold start, no compiler", figures[1], "s", 3)]


def _with_due(p: Problem, due: Ints) -> Problem:
    from scheduler.planning.compiling import guides

    preds = [p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]].tolist() for o in range(p.operations)]
    guide_due, guide_weight = guides(due, p.guide_weight, preds, p.elig_ptr, p.elig_ticks)
    return p._replace(due=due, guide_due=guide_due, guide_weight=guide_weight)


def _bar(name: str, figure: float, unit: str, most: float, peer: float | None = None) -> Bar:
    ratio = figure / peer if peer else None
    return Bar(name, figure, unit, f"≤ {most:g}", figure <= most + 1e-9, peer, ratio)
