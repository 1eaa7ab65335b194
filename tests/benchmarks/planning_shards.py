"""What several processes gain on P6's network: the same seconds with one worker and with as many as there are cores."""

from __future__ import annotations

import os
import time
from pathlib import Path

from scheduler.planning.construction import append_first
from scheduler.planning.core import make_core
from scheduler.planning.improving import Improved, improve, times_agree
from scheduler.planning.microfab import MicroFab, microfab, weighted_tardiness
from scheduler.planning.team import Team
from tests.benchmarks.planning_bars import Left, Settings
from tests.benchmarks.planning_results import Sample

#: Seconds of search, each: the bar's own 60, and a third of it.
SECONDS = (20, 60)


def shards(s: Settings) -> list[Sample]:
    """P6 after 20 and 60 s, alone and by a team; with --cpu-time a round counts as long as its slowest worker took."""
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        raise Left("there is one core: a team would only share it")
    tiny = microfab(30, 12).problem
    improve(make_core(tiny), append_first(tiny, make_core(tiny)), moves=500)  # loads the compiled code
    fab = microfab(1_000 if s.quick else 10_000, 100 if s.quick else 1_000, seed=s.seed)
    out = []
    for seconds in SECONDS:
        budget_s = seconds / 10 if s.quick else seconds
        alone, alone_m, _ = measured(fab, 1, budget_s, s)
        team, team_m, memory_mb = measured(fab, cores, budget_s, s)
        print(f"  seed {s.seed}, {budget_s:g} s: alone {alone_m:.3f} M, {cores} workers {team_m:.3f} M", flush=True)
        name = f"P6 {seconds} s by {cores} workers"
        out += [
            Sample(name, team_m, "M", "-", {"1 worker": alone_m}),
            Sample(f"{name}, moves", team.moves_per_s, "1/s", "-", {"1 worker": alone.moves_per_s}),
        ]
    out.append(Sample(f"P6 memory of {cores} workers", memory_mb, "MB more", "-"))
    return out


def measured(fab: MicroFab, workers: int, budget_s: float, s: Settings) -> tuple[Improved, float, float]:
    """The search, millions of weighted minutes late after it, and the megabytes that the workers' processes take."""
    core = make_core(fab.problem)
    schedule = append_first(fab.problem, core)
    if workers == 1:
        done, memory_mb = improve(core, schedule, seed=s.seed, budget_s=budget_s, clock=s.clock), 0.0
    else:
        with Team(workers, s.seed) as team:
            team.load(core, schedule)
            clock = team.clock() if s.clock is time.process_time else s.clock
            done = improve(core, schedule, seed=s.seed, budget_s=budget_s, clock=clock, team=team)
            memory_mb = sum(proportional_mb(pid) for pid in team.pids)
            assert (team.lost, team.left_out) == (0, 0), "a worker was lost, or an answer did not fit"
    assert times_agree(core, schedule)
    return done, weighted_tardiness(fab.problem, schedule.avail, schedule.machine) / 1e6, memory_mb


def proportional_mb(pid: int) -> float:
    """A process's memory, what is shared counted by its share (Linux: proc_pid_smaps(5), Pss)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
