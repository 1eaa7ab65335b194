"""The planner's bars: `python -m tests.benchmarks.planning [--bench-data FOLDER] [--only P1 P6] [--seeds 1-5]`.

Every bar runs seed by seed in a process of its own, one after the other on one core: one that fails, crashes or has no
peer does not end the run. Figures are merged, bar by bar and seed by seed, into build/bench/planning.json; a run can be
made in pieces, and `python -m tests.benchmarks.planning_tables` makes the page's tables and pictures from it.

All bars with one seed take about 40 minutes on a free core and with five about 2 hours; peers run with the first seed
only. P1-edata is the longest, up to 11 minutes a seed. --cpu-time counts the own seconds of each process, for computers
that others use too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("WORKSHED_COMPILE", "1")

from tests.benchmarks import planning_bars, planning_events, planning_fleet, planning_shards
from tests.benchmarks.planning_bars import Left, Settings
from tests.benchmarks.planning_peers import NO_PEER, pyjobshop_python
from tests.benchmarks.planning_results import (
    Sample,
    circumstances,
    decode,
    encode,
    load_rows,
    merge,
    of_bar,
    show,
    store,
)
from tests.benchmarks.report import Bar

#: Each bar, and the seconds after which one seed of it counts as hung (peers and a loaded computer included).
BARS: dict[str, tuple[Callable[[Settings], Sequence[Sample | Bar]], int]] = {
    "P1": (planning_bars.brandimarte, 2_400),
    "P1-edata": (planning_bars.hurink, 7_200),
    "P2": (planning_bars.shortest_queues, 1_200),
    "P3": (planning_bars.least_late, 2_400),
    "P4": (planning_bars.against_optimum, 1_800),
    "P5": (planning_bars.against_bound, 1_800),
    "P6": (planning_fleet.fleet, 2_400),
    "P6-workers": (planning_shards.shards, 2_400),
    "P7": (planning_fleet.online, 2_400),
    "P9": (planning_fleet.planted, 2_400),
    "P11": (planning_fleet.growth, 1_800),
    "cold": (planning_fleet.cold_start, 600),
    "events": (planning_events.events, 1_800),
}
#: P8 and P10 are measured in the same weeks as P7.
WITH = {"P8": "P7", "P10": "P7"}
#: Line with which the process of a bar hands over its figures.
MARK = "figures: "


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for. Exit code 0 whatever the figures say; 1 where a bar could not be measured at all."""
    asked = arguments(argv)
    peer = None if asked.no_peer else pyjobshop_python(asked.peer)
    if asked.here:
        return here(asked, peer)
    if peer is None:
        print(NO_PEER, flush=True)
    rows, failed = load_rows(), []
    for name in dict.fromkeys(WITH.get(word, word) for words in asked.only for word in words.split(",")):
        for seed in asked.seeds:
            began = time.monotonic()
            with_peer = peer if seed == asked.seeds[0] and not has_peers(rows, name, asked) else None
            samples, why = measured(name, seed, asked, with_peer)
            seconds = time.monotonic() - began
            how = circumstances(cpu_time=asked.cpu_time, quick=asked.quick)
            if samples:
                rows = merge(load_rows(), name, seed, samples, how)
                store(rows)
            else:
                failed.append(f"{name} with seed {seed}: {why}")
            print(f"{name} seed {seed}: {seconds:.0f} s, load {how['load']}{'' if samples else ', ' + why}", flush=True)
    print(show(rows))
    for line in failed:
        print(f"not measured: {line}")
    return 1 if failed else 0


def has_peers(rows: dict[str, dict[str, Any]], area: str, asked: argparse.Namespace) -> bool:
    """Whether an earlier piece with the same settings has run the peers already."""
    clock = "cpu" if asked.cpu_time else "wall"
    same = (row for row in rows.values() if (row["area"], row["quick"], row["clock"]) == (area, asked.quick, clock))
    return any("PyJobShop" in name for row in same for name in row["peers"])


def measured(name: str, seed: int, asked: argparse.Namespace, peer: Path | None) -> tuple[list[Sample], str]:
    """One seed of one bar in a process of its own; the samples, or none and why."""
    command = [sys.executable, "-m", "tests.benchmarks.planning", "--here", "--only", name, "--seeds", str(seed)]
    command += ["--bench-data", str(asked.bench_data)] if asked.bench_data else []
    command += ["--quick"] * asked.quick + ["--cpu-time"] * asked.cpu_time
    command += ["--peer", str(peer)] if peer else ["--no-peer"]
    found: list[Sample] = []
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None, "the child is started with a pipe"
        alarm = threading.Timer(BARS[name][1], child.kill)
        alarm.start()
        for line in child.stdout:
            if line.startswith(MARK):
                found = decode(line.removeprefix(MARK))
            else:
                print(line, end="", flush=True)
                last = line.strip() or last
        late = not alarm.is_alive()
        alarm.cancel()
    if late:
        return found, f"still running after {BARS[name][1]} s"
    if child.returncode != 0 and not found:
        return [], last or f"its process ended with {child.returncode}"
    return found, ""


def here(asked: argparse.Namespace, peer: Path | None) -> int:
    """Measure one seed of one bar in this process and hand the figures over."""
    clock = time.process_time if asked.cpu_time else time.perf_counter
    measure, _ = BARS[asked.only[0]]
    try:
        samples = measure(Settings(asked.bench_data, asked.quick, asked.seeds[0], peer, clock))
    except Left as why:
        print(why)
        return 2
    plain = [of_bar(sample) if isinstance(sample, Bar) else sample for sample in samples]
    print(MARK + encode(plain), flush=True)
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench-data", type=Path, default=None, metavar="FOLDER",
                        help="public instances: fjsp/ and single_machine/wt/; P1 and P3 need it")  # fmt: skip
    parser.add_argument("--only", nargs="+", default=list(BARS), metavar="BAR", help=", ".join([*BARS, *WITH]))
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("1-5"), help="1-5, 3 or 1,4 (default 1-5)")
    parser.add_argument("--quick", action="store_true", help="tenths of the time limits; figures are kept apart")
    parser.add_argument("--cpu-time", action="store_true", help="count each process's own seconds, not the wall's")
    parser.add_argument("--peer", type=Path, default=None, help="an interpreter that has PyJobShop")
    parser.add_argument("--no-peer", action="store_true", help="leave PyJobShop out even where it is")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    for word in (word for words in asked.only for word in words.split(",")):
        if word not in BARS and word not in WITH:
            parser.error(f"there is no bar {word}; there are {', '.join([*BARS, *WITH])}")
    return asked


def seeds_of(text: str) -> list[int]:
    """`1-5`, `3` or `1,4` as a list."""
    out: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    if not out:
        raise ValueError("no seeds")
    return out


if __name__ == "__main__":
    sys.exit(main())
