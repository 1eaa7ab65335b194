"""Varied programs for measuring estimates: prints, sheets, boards, arcs, tiny segments, sparse and dense."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from designs.processes import cnc, laser
from designs.processes.cnc import RouterOptions
from designs.processes.model import Piece, Stock
from tests.designs import drawing_zoo as zoo


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the kind of twin it runs on: `laser`, `router` or `marlin`."""

    name: str
    twin: str
    gcode: bytes


def _print(name: str, points: list[tuple[float, float]], layers: int, feed: float, *, retract: bool = True) -> Program:
    """A hollow print of one outline with zigzag infill on each layer."""
    lines = ["M140 S55", "M104 S205", "G28", "M190 S55", "M109 S205", "G90", "M83", "G92 E0"]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    for layer in range(layers):
        lines.append(f"G1 Z{0.2 * (layer + 1):.2f} F300")
        lines.append(f"G1 X{points[0][0]:.3f} Y{points[0][1]:.3f} F7200")
        if retract:
            lines.append("G1 E0.8 F2100")
        for a, b in zip(points, points[1:] + points[:1], strict=True):
            lines.append(f"G1 X{b[0]:.3f} Y{b[1]:.3f} E{math.dist(a, b) * 0.033:.5f} F{feed:.0f}")
        y, k = min(ys) + 1.0, 0
        while y < max(ys) - 1.0:
            left, right = min(xs) + 1.0, max(xs) - 1.0
            lines.append(f"G1 X{(left, right)[k % 2]:.3f} Y{y:.3f} F7200")
            lines.append(f"G1 X{(right, left)[k % 2]:.3f} E{(right - left) * 0.033:.5f} F{feed * 1.5:.0f}")
            y, k = y + 2.0, k + 1
        if retract:
            lines.append("G1 E-0.8 F2100")
    lines += ["M104 S0", "M140 S0", "M107", "G1 X0 Y190 F7200"]
    return Program(name, "marlin", ("\n".join(lines) + "\n").encode())


def _ring(count: int, radius: float, wobble: float = 0.0) -> list[tuple[float, float]]:
    chance = random.Random(count)
    return [
        (
            100 + (radius + chance.uniform(-wobble, wobble)) * math.cos(2 * math.pi * k / count),
            100 + (radius + chance.uniform(-wobble, wobble)) * math.sin(2 * math.pi * k / count),
        )
        for k in range(count)
    ]


def prints() -> Iterator[Program]:
    """Eight prints."""
    square = [(60.0, 60.0), (120.0, 60.0), (120.0, 120.0), (60.0, 120.0)]
    yield _print("cube", square, 12, 1800)
    yield _print("cube fast", square, 12, 6000)
    yield _print("small tower", [(95.0, 95.0), (105.0, 95.0), (105.0, 105.0), (95.0, 105.0)], 40, 2400)
    yield _print("vase, 400 segments", _ring(400, 40), 10, 3000)
    yield _print("vase, 60 segments", _ring(60, 40), 12, 3000)
    yield _print("rough vase", _ring(240, 35, 0.15), 8, 3000)
    yield _print("no retraction", _ring(6, 45), 15, 2400, retract=False)
    yield _print("large and slow", [(20.0, 20.0), (180.0, 20.0), (180.0, 180.0), (20.0, 180.0)], 3, 1200)


def _walk(name: str, twin: str, count: int, step: float, feed: float, seed: int, turn: float) -> Program:
    """A random walk inside 180 × 180 mm."""
    chance = random.Random(seed)
    x, y, heading = 90.0, 90.0, 0.0
    start = "G90 G21\nM4 S0\n" if twin == "laser" else "G90 G21\nG0 Z5\nM3 S500\nG1 Z-1 F300\n"
    lines = [start + f"G1 X{x:g} Y{y:g} F{feed:.0f} S300"]
    for _ in range(count):
        heading += chance.uniform(-turn, turn)
        length = step * chance.uniform(0.3, 1.7)
        x = min(max(x + length * math.cos(heading), 0.0), 180.0)
        y = min(max(y + length * math.sin(heading), 0.0), 180.0)
        lines.append(f"X{x:.3f} Y{y:.3f}")
    end = "G0 Z5\nM5 S0\nG0 X0 Y0\n" if twin == "router" else "M5 S0\nG0 X0 Y0\n"
    return Program(name, twin, ("\n".join(lines) + "\n" + end).encode())


def _spirals(twin: str) -> Program:
    lines = ["G90 G21 G17", "M4 S0", "G0 X90 Y90"]
    lines.extend(
        f"{'G2' if k % 2 else 'G3'} X{90 + (2 * k if k % 2 else -2 * k)} Y90 R{2 * k + 1} F2400 S200"
        for k in range(1, 30)
    )
    return Program("arcs", twin, ("\n".join([*lines, "M5 S0", "G0 X0 Y0"]) + "\n").encode())


def cuts() -> Iterator[Program]:
    """Thirteen programs for GRBL: made by the laser and router modules, and walks of every roughness."""
    ply3 = Stock("plywood", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
    ply6 = Stock("plywood", thickness_mm=6.0, width_mm=350.0, height_mm=300.0)
    yield Program("laser sheet", "laser", laser.make([Piece(zoo.laser_plate(), 4)], zoo.laser(), ply3).gcode)
    yield Program("laser dxf", "laser", laser.make([Piece(zoo.dxf(zoo.dxf_square()), 6)], zoo.laser(), ply3).gcode)
    gear = "M" + " L".join(
        f"{50 + (20 if k % 4 < 2 else 24) * math.cos(math.pi * k / 36):.3f} "
        f"{30 + (20 if k % 4 < 2 else 24) * math.sin(math.pi * k / 36):.3f}"
        for k in range(72)
    )
    gears = zoo.svg(zoo.layer("CUT", f'<path d="{gear} Z"/><circle cx="50" cy="30" r="4"/>'))
    yield Program("laser gears", "laser", laser.make([Piece(gears, 4)], zoo.laser(), ply3).gcode)
    yield Program("router plate", "router", cnc.make([Piece(zoo.plate(), 2)], zoo.router(), ply6).gcode)
    yield Program(
        "router, 6 mm bit", "router",
        cnc.make([Piece(zoo.dxf(zoo.dxf_square(4, 90.0)))], zoo.router(6.0), ply6, RouterOptions(tab_count=0)).gcode,
    )  # fmt: skip
    yield Program("router gears", "router", cnc.make([Piece(gears, 2)], zoo.router(), ply6).gcode)
    yield _spirals("laser")
    yield _walk("fine walk", "laser", 2500, 0.4, 3000, 1, 0.4)
    yield _walk("rough walk", "laser", 1200, 2.0, 4000, 2, 2.5)
    yield _walk("long walk", "laser", 300, 40.0, 6000, 3, 3.0)
    yield _walk("slow walk", "router", 800, 3.0, 600, 4, 1.5)
    yield _walk("fast tiny walk", "router", 3000, 0.15, 3000, 5, 0.3)
    yield _walk("mixed walk", "router", 900, 8.0, 2500, 6, 2.0)
