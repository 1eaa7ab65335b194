"""Designs measured: time estimates against executed time, speed and memory of reading, nesting, travel.

Run: `python -m tests.benchmarks.designs`. Peers in the same run: the twins' executed time, spyrrow alone, file order.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from designs.toolpath import Kinematics, estimate
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.benchmarks.design_files import Program, cuts, prints
from tests.benchmarks.report import Bar, write
from tests.designs.twin_run import MARLIN_TWIN, grbl, grbl_kinematics, run, stripped


def estimate_error(program: Program) -> tuple[float, float]:
    """(estimated, executed) seconds of one program."""
    if program.twin == "marlin":
        done = run(make_twin(TwinOptions("marlin")), stripped(program.gcode), window=90)
        return estimate(program.gcode, MARLIN_TWIN).duration_s, done.seconds
    twin = grbl(program.twin)
    done = run(twin, stripped(program.gcode), window=127)
    return estimate(program.gcode, grbl_kinematics(twin)).duration_s, done.seconds


def estimate_bars() -> list[Bar]:
    """Error over all files."""
    errors = []
    for program in (*prints(), *cuts()):
        estimated, executed = estimate_error(program)
        errors.append(abs(estimated / executed - 1.0) * 100.0)
        print(f"  {program.name:<22} {program.twin:<7} estimated {estimated:9.2f} s  executed {executed:9.2f} s  "
              f"{errors[-1]:5.2f} %", flush=True)  # fmt: skip
    median, worst = statistics.median(errors), max(errors)
    return [
        Bar("estimate.median_error", median, "%", "<= 3", median <= 3.0),
        Bar("estimate.worst_error", worst, "%", "<= 8", worst <= 8.0),
        Bar("estimate.files", len(errors), "files", ">= 20", len(errors) >= 20),
    ]


def large_file(folder: Path, megabytes: int) -> Path:
    """A print-like program of that size."""
    chance = random.Random(7)
    path = folder / f"large-{megabytes}.gcode"
    size, e, k = 0, 0.0, 0
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            chunk = []
            for _ in range(20_000):
                k += 1
                e += 0.03
                angle = k / 50.0
                radius = 60 + chance.uniform(-0.2, 0.2)
                chunk.append(f"G1 X{100 + radius * math.cos(angle):.3f} Y{100 + radius * math.sin(angle):.3f} E{e:.5f}\n")
            data = "".join(chunk).encode()
            size += len(data)
            file.write(data)
    return path


def speed_bars(folder: Path) -> list[Bar]:
    """Estimator speed (kernels already compiled) and memory for 100 MB in a fresh process."""
    path = large_file(folder, 100)
    small = large_file(folder, 2)
    estimate(small, Kinematics(dialect="marlin"), fast=True)
    began = time.process_time()
    estimate(path, Kinematics(dialect="marlin"), fast=True)
    rate = path.stat().st_size / 1e6 / (time.process_time() - began)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom designs.toolpath.parser import read_motions\n"
        "rows = sum(block.rows for block in read_motions(Path(sys.argv[1]), 'marlin', fast=True))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=600)
    memory = float(done.stdout.split()[-1])
    return [
        Bar("estimate.speed", rate, "MB/s", ">= 30", rate >= 30.0),
        Bar("parse.memory_100mb", memory, "MB", "<= 150", memory <= 150.0),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure all; 0 whatever holds (the table tells)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="estimate, speed, nesting or travel")
    only = parser.parse_args(argv).only
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory() as folder:
        if only in ("", "estimate"):
            bars += estimate_bars()
        if only in ("", "speed"):
            bars += speed_bars(Path(folder))
    write("designs", bars)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
