"""Compile the planner's core ahead of time: `python -m scheduler.planning.warm`, run once at install.

Afterwards every process that plans loads the machine code from the cache; without it the plain core plans, slower.
"""

from __future__ import annotations

import os
import sys
import time


def warm() -> float:
    """Compile and cache every compiled function for the types that the planner uses. Returns seconds."""
    began = time.perf_counter()
    from scheduler.planning.construction import construct
    from scheduler.planning.core import make_core
    from scheduler.planning.improving import improve
    from scheduler.planning.jit import HAS_COMPILER, marker
    from scheduler.planning.microfab import microfab

    if not HAS_COMPILER:
        return 0.0
    for calendars in (True, False):
        problem = microfab(30, 12, seed=1, calendars=calendars).problem
        core = make_core(problem)
        schedule = construct(problem, core)
        improve(core, schedule, moves=2_000)
    path = marker()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("compiled\n")
    return time.perf_counter() - began


if __name__ == "__main__":
    if os.environ.get("WORKSHED_COMPILE") != "1":
        os.environ["WORKSHED_COMPILE"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "scheduler.planning.warm"])
    print(f"compiled in {warm():.1f} s")
