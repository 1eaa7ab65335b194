"""Designs measured: time estimates against executed time, speed and memory of reading, nesting, travel.

Run: `python -m tests.benchmarks.designs`. Peers in the same run: the twins' executed time, spyrrow alone, file order.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import spyrrow
import trimesh
from shapely.geometry import Polygon

from designs.nesting import NestPart, Sheet, nest
from designs.processes.laser_paths import cut_paths
from designs.processes.model import PartFile, Piece, Stock
from designs.processes.path_order import Path as OrderedPath
from designs.processes.path_order import order, travel_mm
from designs.processes.sheet_layout import lay_out
from designs.toolpath import Kinematics, estimate
from designs.toolpath.compiled import machine_code
from designs.toolpath.warm import warm
from firmware_bridges.twins.marlin import MarlinTwin
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.benchmarks.design_files import Program, cuts, prints
from tests.benchmarks.report import Bar, write
from tests.designs import drawing_zoo as zoo
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


_SLICER_LIMITS = {
    "machine-max-acceleration-x": 3000, "machine-max-acceleration-y": 3000, "machine-max-acceleration-z": 100,
    "machine-max-acceleration-e": 10000, "machine-max-acceleration-extruding": 3000,
    "machine-max-acceleration-retracting": 3000, "machine-max-acceleration-travel": 3000,
    "machine-max-feedrate-x": 300, "machine-max-feedrate-y": 300, "machine-max-feedrate-z": 5,
    "machine-max-feedrate-e": 25, "perimeter-speed": 80, "infill-speed": 120, "travel-speed": 180,
    "min-print-speed": 30, "slowdown-below-layer-time": 0,
}  # fmt: skip
"""The twin's limits, told to the slicer, so that both estimate the same machine."""


def _sliced(slicer: str, folder: Path, name: str, mesh: trimesh.Trimesh) -> tuple[bytes, float]:
    """(program without heating, the slicer's own seconds for it)."""
    stl, out = folder / f"{name}.stl", folder / f"{name}.gcode"
    mesh.export(stl)
    command = [slicer, "--export-gcode", "--gcode-flavor", "marlin2", "--center", "100,100", "--start-gcode", "G28",
               "--end-gcode", "G1 X0", "--machine-limits-usage", "time_estimate_only"]  # fmt: skip
    for key, value in _SLICER_LIMITS.items():
        command += [f"--{key}", str(value)]
    subprocess.run([*command, "-o", str(out), str(stl)], capture_output=True, check=True, timeout=120)
    text = out.read_text()
    told = re.search(r"estimated printing time \(normal mode\) = (?:(\d+)h )?(?:(\d+)m )?(\d+)s", text)
    if told is None:
        raise ValueError(f"{name}: the slicer wrote no estimate")
    hours, minutes, seconds = (int(part or 0) for part in told.groups())
    lines = [line for line in text.splitlines() if not line.startswith(("M104", "M109", "M140", "M190"))]
    return "\n".join(lines).encode(), hours * 3600.0 + minutes * 60.0 + seconds


def slicer_bars(folder: Path) -> list[Bar]:
    """Our error and PrusaSlicer's own, both against the twin, heaters warm, homing added to the slicer's figure."""
    slicer = shutil.which("prusa-slicer")
    if slicer is None:
        print("peer not found: prusa-slicer")
        return []
    meshes = {
        "box": trimesh.creation.box(extents=(30, 30, 6)),
        "ring": trimesh.creation.annulus(r_min=12, r_max=20, height=6),
        "ball": trimesh.creation.icosphere(subdivisions=3, radius=9),
    }
    ours, theirs = [], []
    for name, mesh in meshes.items():
        program, told = _sliced(slicer, folder, name, mesh)
        twin = make_twin(TwinOptions("marlin"))
        assert isinstance(twin, MarlinTwin)
        twin.machine.heaters["E0"].temperature_c = 210.0
        done = run(twin, ["M104 S210", *stripped(program)], window=90)
        if any("cold" in answer for answer in done.answers):
            raise ValueError(f"{name}: the twin refused to extrude")
        estimated = estimate(program, MARLIN_TWIN).duration_s
        ours.append(abs(estimated / done.seconds - 1.0) * 100.0)
        theirs.append(abs((told + MARLIN_TWIN.home_s) / done.seconds - 1.0) * 100.0)
        print(f"  {name:<6} executed {done.seconds:8.1f} s  ours {estimated:8.1f} s ({ours[-1]:.2f} %)  "
              f"PrusaSlicer {told + MARLIN_TWIN.home_s:8.1f} s ({theirs[-1]:.2f} %)")  # fmt: skip
    mine, peer = statistics.mean(ours), statistics.mean(theirs)
    return [Bar("estimate.against_slicer", mine, "% error", "<= slicer's", mine <= peer, peer, mine / max(peer, 1e-9))]


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
                chunk.append(
                    f"G1 X{100 + radius * math.cos(angle):.3f} Y{100 + radius * math.sin(angle):.3f} E{e:.5f}\n"
                )
            data = "".join(chunk).encode()
            size += len(data)
            file.write(data)
    return path


def speed_bars(folder: Path) -> list[Bar]:
    """Estimator speed and memory (peak of a fresh process) for 100 MB, machine code made beforehand."""
    print(f"  machine code: {warm():.1f} s to compile (0: was there)")
    path = large_file(folder, 100)
    machine_code()
    began = time.process_time()
    estimate(path, Kinematics(dialect="marlin"))
    rate = path.stat().st_size / 1e6 / (time.process_time() - began)
    parse = "sum(block.rows for block in read_motions(Path(sys.argv[1]), 'marlin'))"
    whole = "estimate(Path(sys.argv[1]), Kinematics(dialect='marlin')).blocks"
    parsed, estimated = _peak_mb(parse, path), _peak_mb(whole, path)
    plain_path = large_file(folder, 2)
    began = time.process_time()
    estimate(plain_path, Kinematics(dialect="marlin"), fast=False)
    plain = plain_path.stat().st_size / 1e6 / (time.process_time() - began)
    return [
        Bar("estimate.speed", rate, "MB/s", ">= 30", rate >= 30.0),
        Bar("estimate.speed_plain", plain, "MB/s", "no compiler", plain > 0.0),
        Bar("parse.memory_100mb", parsed, "MB peak", "<= 150", parsed <= 150.0),
        Bar("estimate.memory_100mb", estimated, "MB peak", "<= 150", estimated <= 150.0),
    ]


def _peak_mb(expression: str, path: Path) -> float:
    """Peak resident memory (VmHWM: all of it, libraries included) of a fresh process that evaluates an expression.

    Not `ru_maxrss`: Linux keeps there what the process was before it became this program (kernel/exec.c).
    """
    code = (
        "import sys\nfrom pathlib import Path\nfrom designs.toolpath.parser import read_motions\n"
        f"from designs.toolpath import Kinematics, estimate\nassert {expression} > 1_000_000\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(next(int(x.split()[1]) / 1024 for x in status.splitlines() if x.startswith('VmHWM')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout)


def _shape(kind: int, chance: random.Random) -> Polygon:
    """An L, a T, a triangle, a ring segment or a star."""
    a, b = chance.uniform(25, 45), chance.uniform(8, 14)
    if kind == 0:
        return Polygon([(0, 0), (a, 0), (a, b), (b, b), (b, a), (0, a)])
    if kind == 1:
        return Polygon([(0, 0), (a, 0), (a, b), (a / 2 + b / 2, b), (a / 2 + b / 2, a), (a / 2 - b / 2, a),
                        (a / 2 - b / 2, b), (0, b)])  # fmt: skip
    if kind == 2:
        return Polygon([(0, 0), (a, chance.uniform(0, 10)), (chance.uniform(5, 20), a)])
    turns = [math.pi * k / 12 for k in range(13)]
    if kind == 3:
        outer = [(a * math.cos(t), a * math.sin(t)) for t in turns]
        return Polygon(outer + [((a - b) * math.cos(t), (a - b) * math.sin(t)) for t in reversed(turns)])
    return Polygon([((a if k % 2 else b) * math.cos(math.pi * k / 5), (a if k % 2 else b) * math.sin(math.pi * k / 5))
                    for k in range(10)])  # fmt: skip


def nesting_bars(seconds: int) -> list[Bar]:
    """Density against spyrrow alone on the same strip, in the same time, over three sets."""
    ratios, ours, theirs = [], [], []
    for seed in (1, 2, 3):
        chance = random.Random(seed)
        parts = [NestPart(str(k), _shape(k % 5, chance), 3) for k in range(10)]
        area = sum(part.outline.area * part.quantity for part in parts)
        sheet = Sheet(2000.0, 200.0, 0.0)
        found = nest(parts, sheet, 0.0, budget_s=seconds, seed=seed)
        mine = area / (found.used_mm[0] * sheet.height_mm)
        items = [spyrrow.Item(p.key, list(p.outline.exterior.coords), p.quantity, list(p.rotations_deg)) for p in parts]
        config = spyrrow.StripPackingConfig(total_computation_time=seconds, num_workers=1, seed=seed)
        alone = spyrrow.StripPackingInstance("peer", sheet.height_mm, items).solve(config)
        peer = area / (alone.width * sheet.height_mm)
        ratios.append(mine / peer)
        ours.append(mine)
        theirs.append(peer)
    ratio = statistics.mean(ratios)
    return [
        Bar(
            "nesting.density", statistics.mean(ours), "share", ">= 0.98 x spyrrow", ratio >= 0.98,
            statistics.mean(theirs), ratio,
        )
    ]  # fmt: skip


def _file_order(paths: list[OrderedPath]) -> list[OrderedPath]:
    """As drawn, each path preceded by those that must be made before it."""
    done: list[int] = []
    for k, path in enumerate(paths):
        done.extend(n for n in (*sorted(path.after), k) if n not in done)
    return [paths[k] for k in done]


def _sheet_paths(piece: PartFile, copies: int) -> list[OrderedPath]:
    stock = Stock("plywood", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
    sheet = lay_out([Piece(piece, copies)], stock, (300.0, 200.0), 1.6, 2.0)
    return cut_paths([region for laid in sheet.laid for region in laid.regions], [], [], 0.2, 1.5, [])


def _panel(seed: int) -> PartFile:
    """A speaker panel: holes in no order, as drawing programs write them."""
    chance = random.Random(seed)
    spots = [(x, y) for x in range(10, 90, 6) for y in range(10, 50, 6)]
    chance.shuffle(spots)
    holes = "".join(f'<circle cx="{x}" cy="{y}" r="{chance.uniform(1, 2):.2f}"/>' for x, y in spots)
    return zoo.svg(zoo.layer("CUT", f'<rect x="4" y="4" width="92" height="52"/>{holes}'))


def travel_bars() -> list[Bar]:
    """Travel of ordered laser cuts against the drawing's own order, over the laser set."""
    sheets = {
        "plates": _sheet_paths(zoo.laser_plate(), 6),
        "squares": _sheet_paths(zoo.dxf(zoo.dxf_square(4, 25.0)), 40),
        "panel": _sheet_paths(_panel(1), 1),
        "panels": _sheet_paths(_panel(2), 4),
    }
    ours = theirs = 0.0
    for name, paths in sheets.items():
        mine, file = travel_mm([path for _, path in order(paths)]), travel_mm(_file_order(paths))
        print(f"  {name:<10} {len(paths):4d} paths  file order {file:9.0f} mm  ordered {mine:9.0f} mm")
        ours, theirs = ours + mine, theirs + file
    share = 1.0 - ours / theirs
    return [Bar("travel.saved", 100.0 * share, "%", ">= 25", share >= 0.25, theirs, ours / theirs)]


def main(argv: list[str] | None = None) -> int:
    """Measure all; 0 whatever holds (the table tells)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="estimate, speed, nesting or travel")
    only = parser.parse_args(argv).only
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory() as folder:
        if only in ("", "estimate"):
            bars += estimate_bars()
            bars += slicer_bars(Path(folder))
        if only in ("", "speed"):
            bars += speed_bars(Path(folder))
    if only in ("", "nesting"):
        bars += nesting_bars(10)
    if only in ("", "travel"):
        bars += travel_bars()
    write("designs", bars)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
