"""The planner's bars: `python -m tests.benchmarks.planning [--bench-data PATH] [--only P1,P6] [--quick] [--seeds 1-5]`.

One core; peers run in the same run where they are installed. Prints a table and writes build/bench/planning.json.
`--bench-data`: a folder with fjsp/ and single_machine/wt/ (public instances); bars that need it are left out without.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

os.environ.setdefault("WORKSHED_COMPILE", "1")

from scheduler.planning.bounds import weighted_tardiness_bound
from scheduler.planning.construction import append_first
from scheduler.planning.core import make_core
from scheduler.planning.exact import solve_exactly
from scheduler.planning.flexible_shop import shop_of, shop_violations
from scheduler.planning.improving import improve, times_agree
from scheduler.planning.makespan import solve_shop
from scheduler.planning.microfab import microfab, weighted_tardiness
from scheduler.planning.problem import Problem
from scheduler.planning.public_formats import read_queues, read_shop_file, text_of
from scheduler.planning.tardiness import solve_queue
from scheduler.planning.unrelated import made_up, solve_unrelated
from tests.benchmarks.planning_online import run_week
from tests.benchmarks.planning_peers import chains_of, dispatch, pyjobshop, pyjobshop_python
from tests.benchmarks.report import Bar, write


@dataclass(frozen=True)
class Settings:
    """What to run."""

    data: Path | None
    quick: bool
    seeds: tuple[int, ...]
    peer: Path | None
    clock: Callable[[], float]
    """Counts seconds: the wall's, or this process's own."""


def shortest_plans(s: Settings) -> list[Bar]:
    """P1: flexible job shops against best known makespans."""
    if s.data is None:
        return []
    known = json.loads((s.data / "fjsp" / "best_known.json").read_text())
    solve_shop(shop_of(2, [[[(0, 1), (1, 2)], [(0, 2), (1, 3)]], [[(0, 3), (1, 1)]]]), budget_s=60, iterations=20_000)
    bars: list[Bar] = []
    for folder, suffix, target, limit in (("brandimarte", "", 1.0, 10), ("hurink_edata", "_edata", 1.5, 66)):
        files = sorted((s.data / "fjsp" / folder).glob("*.txt"))[:limit]
        if s.quick:
            files = files[:: max(1, len(files) // 5)]
        seconds = 1.0 if s.quick else 10.0
        ours: list[float] = []
        theirs: list[float] = []
        for file in files:
            shop, best = read_shop_file(file), known[file.stem + suffix]
            made = solve_shop(shop, budget_s=seconds, goal=best["lower_bound"], clock=s.clock)
            assert shop_violations(shop, made) == []
            ours.append(100 * (made.makespan / best["upper_bound"] - 1))
            print(f"  {file.stem} {made.makespan} ({best['upper_bound']})", flush=True)
            if s.peer is not None and (folder == "brandimarte" or s.quick):
                found = pyjobshop(s.peer, shop.machines, chains_of(shop), seconds=seconds, workers=1)
                theirs.append(100 * (found / best["upper_bound"] - 1) if found else 100.0)
        peer = statistics.mean(theirs) if theirs else None
        bars.append(_bar(f"P1 {folder} mean", statistics.mean(ours), "% over best", target, peer))
        bars.append(Bar(f"P1 {folder} worst", max(ours), "% over best", "-", True))
    return bars


def shortest_queues(s: Settings) -> list[Bar]:
    """P2: unrelated machines with setups, 50 × 10, and small ones against the exact peer."""
    seconds = 1.0 if s.quick else 10.0
    solve_unrelated(made_up(6, 2, seed=1), budget_s=60, moves=2_000)
    ours, theirs = [], []
    for seed in s.seeds:
        problem = made_up(50, 10, seed=seed)
        ours.append(solve_unrelated(problem, budget_s=seconds, seed=seed, clock=s.clock).makespan)
        if s.peer is not None and seed == s.seeds[0]:
            chains = [[list(enumerate(row))] for row in problem.ticks.tolist()]
            found = pyjobshop(s.peer, 10, chains, seconds=seconds, workers=1, setup=problem.setup.tolist())
            theirs.append(found if found is not None else float("nan"))
    bars = [_bar("P2 50×10 median", statistics.median(ours), "makespan", 65, theirs[0] if theirs else None)]
    bars.append(Bar("P2 50×10 worst", max(ours), "makespan", "-", True))
    if s.peer is not None:
        same = 0
        for seed in s.seeds:
            problem = made_up(8, 3, seed=seed)
            chains = [[list(enumerate(row))] for row in problem.ticks.tolist()]
            best = pyjobshop(s.peer, 3, chains, seconds=20, workers=1, setup=problem.setup.tolist())
            same += best is not None and solve_unrelated(problem, budget_s=2.0).makespan <= best
        bars.append(Bar("P2 8×3 as good as exact", same / len(s.seeds), "share", "= 1", same == len(s.seeds)))
    return bars


def least_late(s: Settings) -> list[Bar]:
    """P3: OR-Library's 125 instances of one machine and 100 jobs."""
    if s.data is None:
        return []
    folder = s.data / "single_machine" / "wt"
    queues = read_queues((folder / "wt100.txt").read_text(), 100)
    best = [[int(x) for x in (folder / f"wtbest100{v}.txt").read_text().split()] for v in "ab"]
    solve_queue(queues[0], moves=2_000)
    gaps = []
    for i in range(0, len(queues), 12 if s.quick else 1):
        goal = min(best[0][i], best[1][i])
        cost = solve_queue(queues[i], budget_s=1.0, seed=1, clock=s.clock).cost
        gaps.append(100 * (cost / goal - 1) if goal else (0.0 if cost == 0 else 100.0))
    return [
        _bar("P3 wt100 mean", statistics.mean(gaps), "% over best", 0.1),
        Bar("P3 wt100 worst", max(gaps), "% over best", "-", True),
    ]


def against_optimum(s: Settings) -> list[Bar]:
    """P4: small networks against CP-SAT's optimum of the same problem."""
    gaps = []
    for jobs, machines, setups, seed in (
        (20, 4, False, 1), (30, 5, False, 1), (30, 5, False, 2), (15, 4, True, 3), (20, 4, True, 1), (25, 5, True, 2),
    ):  # fmt: skip
        fab = microfab(jobs, machines, seed=seed, load=1.6, calendars=False, chains=False, setups=setups)
        core = make_core(fab.problem)
        schedule = append_first(fab.problem, core)
        done = _search(core, schedule, 0.5 if s.quick else 2.0, small=True)
        found = solve_exactly(fab.problem, core, schedule, budget_s=5 if s.quick else 30, workers=1)
        best = min(found.cost, done) if found is not None else done
        proven = found is not None and found.proven
        gaps.append(100 * (done / best - 1))
        print(f"  {jobs}×{machines} setups={setups} seed={seed}: {done} best {best} proven={proven}", flush=True)
    return [_bar("P4 mean", statistics.mean(gaps), "% over best", 0.5), _bar("P4 worst", max(gaps), "% over best", 2.0)]


def against_bound(s: Settings) -> list[Bar]:
    """P5: 1,000 × 100 around the clock at load 1.6 against our own lower bound."""
    fab = microfab(1000, 100, seed=1, load=1.6, calendars=False, chains=False, setups=False)
    core = make_core(fab.problem)
    schedule = append_first(fab.problem, core)
    _search(core, schedule, 3 if s.quick else 30)
    cost = weighted_tardiness(fab.problem, schedule.avail, schedule.machine)
    bound = weighted_tardiness_bound(fab.problem, upper=cost, budget_s=5 if s.quick else 60)
    return [_bar("P5 gap to bound", 100 * (cost / max(1, bound) - 1), "%", 10)]


def fleet(s: Settings) -> list[Bar]:
    """P6: 10,000 jobs on 1,000 machines: the first plan and 60 seconds; dispatch rules beside it."""
    firsts, afters, speeds = [], [], []
    peers: list[Bar] = []
    tiny = microfab(30, 12).problem
    append_first(tiny, make_core(tiny))  # loads the compiled code; the bar "cold start" counts that
    for seed in s.seeds[:1] if s.quick else s.seeds:
        fab = microfab(10_000, 1_000, seed=seed)
        core = make_core(fab.problem)
        t = s.clock()
        schedule = append_first(fab.problem, core)
        firsts.append(s.clock() - t)
        start = weighted_tardiness(fab.problem, schedule.avail, schedule.machine)
        t = s.clock()
        done = improve(core, schedule, budget_s=6 if s.quick else 60, clock=s.clock)
        speeds.append(done.moves_per_s)
        assert times_agree(core, schedule)
        afters.append(weighted_tardiness(fab.problem, schedule.avail, schedule.machine) / 1e6)
        print(
            f"  seed {seed}: first {firsts[-1]:.2f} s {start}, then {afters[-1]:.3f} M, {done.moves_per_s:.0f} moves/s",
            flush=True,
        )
        if seed == s.seeds[0]:
            small = microfab(1_000, 100, seed=seed)
            small_core = make_core(small.problem)
            mine = append_first(small.problem, small_core)
            improve(small_core, mine, budget_s=6, clock=s.clock)
            ours = weighted_tardiness(small.problem, mine.avail, mine.machine)
            for rule in ("first come", "due date", "atcs"):
                _, theirs = dispatch(small, rule)
                value = weighted_tardiness(small.problem, theirs.avail, theirs.machine)
                peers.append(
                    Bar(
                        f"P6 1,000×100 against {rule}",
                        ours / 1e6,
                        "M",
                        "< peer",
                        ours < value,
                        value / 1e6,
                        ours / value,
                    )
                )
    first, after = statistics.median(firsts), statistics.median(afters)
    return [
        _bar("P6 first plan median", first, "s", 0.5),
        _bar("P6 first plan worst", max(firsts), "s", 0.5),
        _bar("P6 after 60 s median", after, "M", 1.0, 1.08),
        Bar("P6 after 60 s worst", max(afters), "M", "-", True),
        Bar(
            "P6 moves a second", statistics.median(speeds), "1/s", "-", True, 85_000, statistics.median(speeds) / 85_000
        ),
        *peers,
    ]


def online(s: Settings) -> list[Bar]:
    """P7, P8, P10: a week of arrivals with failures, without and with fair shares."""
    run_week(microfab(60, 12, seed=1), replan_moves=200)
    jobs, machines = (1_000, 100) if s.quick else (10_000, 1_000)
    fab = microfab(jobs, machines, seed=1)
    plain = run_week(fab, clock=s.clock)
    fair = run_week(fab, pressure=0.5, clock=s.clock)
    more = 100 * (fair.tardiness / plain.tardiness - 1)
    return [
        _bar("P7 quote p50", plain.quote_p50_ms, "ms", 0.1, 0.06),
        _bar("P7 quote p99", plain.quote_p99_ms, "ms", 5, 3),
        Bar("P7 quotes", plain.quotes_per_s, "1/s", "≥ 5000", plain.quotes_per_s >= 5000),
        _bar("P7 re-plan p99", plain.replan_p99_ms, "ms", 300, 120),
        _bar("P7 repair p99", plain.repair_p99_ms, "ms", 5, 2.2),
        _bar("P7 tardiness", plain.tardiness / 1e6, "M", 2.5, 2.89),
        Bar("P7 failures", plain.failures, "", "-", plain.unplaced == 0),
        Bar("P8 Jain", fair.jain, "", "≥ 0.965", fair.jain >= 0.965, plain.jain, fair.jain / plain.jain),
        Bar("P8 worst share", fair.worst_share, "", "≥ 0.65", fair.worst_share >= 0.65, plain.worst_share),
        _bar("P8 more tardiness", more, "%", 6),
        _bar("P10 moved between shops", 100 * plain.moved_between_shops, "% a re-plan", 2),
        Bar("P10 moved inside the freeze", plain.moved_inside_freeze, "", "= 0", plain.moved_inside_freeze == 0),
    ]


def planted(s: Settings) -> list[Bar]:
    """P9: due dates taken from a known schedule plus 240 minutes: how many are met when planned from scratch."""
    fab = microfab(1_000 if s.quick else 10_000, 100 if s.quick else 1_000, seed=1)
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


def growth(s: Settings) -> list[Bar]:
    """P11: memory at 20,000 × 2,000, and how the first plan grows with the alternatives."""
    times = {}
    for jobs, machines in ((2_500, 250), (5_000, 500), (10_000, 1_000)):
        fab = microfab(jobs, machines, seed=1)
        core = make_core(fab.problem)
        append_first(fab.problem, core)
        t = s.clock()
        append_first(fab.problem, core)
        times[len(fab.problem.elig_machine)] = s.clock() - t
    sizes = sorted(times)
    slope = float(np.polyfit(np.log(sizes), np.log([times[size] for size in sizes]), 1)[0])
    script = (
        "from scheduler.planning.microfab import microfab;from scheduler.planning.core import make_core;"
        "from scheduler.planning.construction import append_first;from scheduler.planning.improving import improve;"
        "import resource;f=microfab(20000,2000);c=make_core(f.problem);s=append_first(f.problem,c);"
        "improve(c,s,moves=20000);print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)"
    )
    bars = [_bar("P11 growth of the first plan", slope, "exponent", 1.0)]
    if not s.quick:
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        bars.append(_bar("P11 memory at 20,000×2,000", float(run.stdout), "MB", 400, 285))
    return bars


def cold_start(s: Settings) -> list[Bar]:
    """From process start to the first plan of 1,000 jobs on 100 machines, compiled code from the cache."""
    script = (
        "from scheduler.planning.microfab import microfab;from scheduler.planning.core import make_core;"
        "from scheduler.planning.construction import append_first;"
        "f=microfab(1000,100);append_first(f.problem,make_core(f.problem))"
    )
    figures = []
    for plain in ("", "1"):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKSHED_")}
        t = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True, env={**environment, "WORKSHED_PLAIN": plain})
        figures.append(time.perf_counter() - t)
    return [_bar("cold start, cached", figures[0], "s", 3), _bar("cold start, no compiler", figures[1], "s", 3)]


def _search(core: object, schedule: object, seconds: float, *, small: bool = False) -> int:
    """Search with the temperatures of the instance's size; the cost reached."""
    hot, cold = (300_000.0, 100.0) if small else (12_000.0, 800.0)
    return improve(core, schedule, budget_s=seconds, hot=hot, cold=cold).after  # type: ignore[arg-type]


def _with_due(p: Problem, due: object) -> Problem:
    from scheduler.planning.compiling import guides

    preds = [p.preds[p.pred_ptr[o] : p.pred_ptr[o + 1]].tolist() for o in range(p.operations)]
    guide_due, guide_weight = guides(due, p.guide_weight, preds, p.elig_ptr, p.elig_ticks)  # type: ignore[arg-type]
    return p._replace(due=due, guide_due=guide_due, guide_weight=guide_weight)


def _bar(name: str, figure: float, unit: str, most: float, peer: float | None = None) -> Bar:
    ratio = figure / peer if peer else None
    return Bar(name, figure, unit, f"≤ {most:g}", figure <= most + 1e-9, peer, ratio)


BARS: dict[str, Callable[[Settings], list[Bar]]] = {
    "P1": shortest_plans,
    "P2": shortest_queues,
    "P3": least_late,
    "P4": against_optimum,
    "P5": against_bound,
    "P6": fleet,
    "P7": online,
    "P9": planted,
    "P11": growth,
    "cold": cold_start,
}


def main(argv: list[str] | None = None) -> int:
    """Run the bars asked for. Exit code 0 whatever they say: the table tells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench-data", type=Path, default=None)
    parser.add_argument("--only", default=",".join(BARS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--merge", action="store_true", help="keep the bars of earlier runs that this one leaves out")
    parser.add_argument("--cpu-time", action="store_true", help="count this process's own seconds (shared computer)")
    asked = parser.parse_args(argv)
    clock = time.process_time if asked.cpu_time else time.perf_counter
    first, _, last = asked.seeds.partition("-")
    seeds = tuple(range(int(first), int(last or first) + 1))
    settings = Settings(asked.bench_data, asked.quick, seeds, pyjobshop_python(), clock)
    if settings.peer is None:
        print("peer not found: PyJobShop (python -m venv build/peers && build/peers/bin/pip install pyjobshop)")
    bars: list[Bar] = []
    for name in asked.only.split(","):
        began = time.perf_counter()
        bars += BARS[name](settings)
        print(f"{name}: {time.perf_counter() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    out = Path("build/bench/planning.json")
    if asked.merge and out.exists():
        new = {bar.id for bar in bars}
        bars = [Bar(**row) for row in json.loads(out.read_text()) if row["id"] not in new] + bars
    write("planning", sorted(bars, key=lambda bar: bar.id))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
