"""Drawings for tests: good ones built from shapes, and a zoo of bad ones."""

from __future__ import annotations

import io

import ezdxf

from designs.processes.model import GeometryKind, MachineProfile, PartFile, ProcessKind, ToolSpec

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" '
)


def svg(body: str, width: str = "100mm", height: str = "60mm", view: str = "0 0 100 60") -> PartFile:
    """An SVG of 100 × 60 mm in millimetre units."""
    text = f'{_HEAD}width="{width}" height="{height}" viewBox="{view}">{body}</svg>'
    return PartFile("part.svg", GeometryKind.SVG, text.encode())


def layer(name: str, body: str) -> str:
    """A group with an Inkscape label."""
    return f'<g inkscape:label="{name}">{body}</g>'


def plate() -> PartFile:
    """80 × 40 mm plate with a 10 mm hole, a 20 × 20 pocket 3 deep, a 3.2 mm drill hole and an engraved line."""
    return svg(
        layer("CUT", '<rect x="10" y="10" width="80" height="40"/><circle cx="30" cy="30" r="5"/>')
        + layer("POCKET_3", '<rect x="50" y="20" width="20" height="20"/>')
        + layer("DRILL", '<circle cx="80" cy="30" r="1.6"/>')
        + '<path d="M40 20 L45 25" stroke="#0000ff" fill="none"/>'
    )


def laser_plate() -> PartFile:
    """The plate without pocket."""
    return svg(
        layer("CUT", '<rect x="10" y="10" width="80" height="40"/><circle cx="30" cy="30" r="5"/>')
        + layer("MARK", '<path d="M50 20 H70"/>')
        + layer("ENGRAVE", '<rect x="55" y="25" width="10" height="10"/>')
    )


def dxf_square(units: int = 4, side: float = 50.0) -> bytes:
    """Four lines on layer CUT, a circle inside; `units` is `$INSUNITS`."""
    document = ezdxf.new(units=units)
    space = document.modelspace()
    document.layers.add("CUT")
    corners = [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)]
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        space.add_line(a, b, dxfattribs={"layer": "CUT"})
    space.add_circle((side / 2, side / 2), side / 10, dxfattribs={"layer": "CUT"})
    out = io.StringIO()
    document.write(out)
    return out.getvalue().encode()


def dxf(data: bytes) -> PartFile:
    """As a part file."""
    return PartFile("part.dxf", GeometryKind.DXF, data)


def laser(dialect: str = "grbl") -> MachineProfile:
    """A 40 W laser of 300 × 200 mm."""
    return MachineProfile(
        "test laser", ProcessKind.LASER, dialect, (300.0, 200.0, 50.0), (), 6000.0, 1000.0, laser_power_w=40.0
    )


def router(*diameters: float, dialect: str = "grbl") -> MachineProfile:
    """A router of 400 × 400 × 80 mm with these bits (default one of 3.175 mm)."""
    tools = tuple(ToolSpec(k + 1, "flat_end_mill", d) for k, d in enumerate(diameters or (3.175,)))
    return MachineProfile(
        "test router", ProcessKind.CNC, dialect, (400.0, 400.0, 80.0), tools, 3000.0, 500.0, spindle_max_rpm=24000.0
    )
