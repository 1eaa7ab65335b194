"""Compile the planner's core ahead of time: `python -m scheduler.planning.warm`, run once at install.

Afterwards every process that plans loads the machine code from the cache; without it the plain core plans, slower.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.contract.vocabulary import Process
from scheduler.planning.snapshot import Circuit, DurationOption, Fixed, PlanJob, PlanMachine, Snapshot


def warm() -> float:
    """Compile and cache every compiled function for the types that the planner uses. Returns seconds."""
    began = time.perf_counter()
    from scheduler.planning.construction import construct
    from scheduler.planning.core import make_core
    from scheduler.planning.engine import Planner
    from scheduler.planning.improving import improve, times_agree
    from scheduler.planning.jit import HAS_COMPILER, marker
    from scheduler.planning.live import LivePlan
    from scheduler.planning.microfab import microfab
    from scheduler.planning.planner import plan
    from scheduler.planning.settling import starts_otherwise
    from scheduler.planning.solve import warm as warm_solvers

    if not HAS_COMPILER:
        return 0.0
    for calendars in (True, False):
        problem = microfab(30, 12, seed=1, calendars=calendars).problem
        core = make_core(problem)
        schedule = construct(problem, core)
        improve(core, schedule, moves=2_000)
        times_agree(core, schedule)
        live = LivePlan(core, schedule)
        live.clock(60)
        live.fail(0, 120)
    # What plans and live plans call from outside the compiled core has machine code of its own.
    for limit_w in (100.0, 400.0):
        world = small_world(limit_w)
        plan(world, moves=200)
        planner = Planner(world)
        planner.current()
        planner.explain("b")
        planner.improve(moves=200)
        starts_otherwise(planner.live.core, planner.live.schedule, 0, 0)
        planner.advance(world.now + timedelta(hours=1))
    warm_solvers()
    path = marker()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("compiled\n")
    return time.perf_counter() - began


def small_world(limit_w: float) -> Snapshot:
    """A held job, a chain of two and machines to choose from, on a circuit that 100 W make bind and 400 W do not."""
    now = datetime(2026, 1, 5, 8, tzinfo=UTC)
    machines = tuple(PlanMachine(f"m{i}", "s", Process.FDM, power_w=100, circuit="c") for i in range(3))
    options = (DurationOption(3_600),)
    jobs = (
        PlanJob("held", "o", Process.FDM, options, fixed=Fixed("m0", now)),
        PlanJob("a", "o", Process.FDM, options),
        PlanJob("b", "o", Process.FDM, options, predecessors=("a",)),
    )
    return Snapshot(now, machines, jobs, circuits=(Circuit("c", limit_w),))


def forget_old_code() -> None:
    """Delete cached machine code older than a source: a cache entry does not know that a function it calls changed."""
    folder = Path(__file__).parent
    newest = max(path.stat().st_mtime_ns for path in folder.glob("*.py"))
    for path in (folder / "__pycache__").glob("*.nb[ic]"):
        if path.stat().st_mtime_ns < newest:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    if os.environ.get("WORKSHED_COMPILE") != "1":
        forget_old_code()
        os.environ["WORKSHED_COMPILE"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "scheduler.planning.warm"])
    print(f"compiled in {warm():.1f} s")
