"""Real little designs for tests: drawings and solids that come in through the same door as anybody's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import trimesh

from designs.meshes import write_stl
from scheduler.orders.intake import BareFile, CheckedDesign, check_design, keep_design
from scheduler.orders.requests import OrderRequest, place_order
from scheduler.store.rows import OrderRow
from tests.scheduler.line import Line


def drawing(width: float, height: float) -> bytes:
    """A rectangle to be cut out."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}">'
        f'<rect x="0" y="0" width="{width}" height="{height}" fill="none" stroke="red"/></svg>'
    ).encode()


def block(width: float, depth: float, height: float) -> bytes:
    """A solid to be printed."""
    return write_stl(trimesh.creation.box((width, depth, height)))


def ask(line: Line, name: str, data: bytes, quantity: int = 1, **more: Any) -> OrderRow:
    """Bring a file and order it; accepted at once unless `more` says otherwise."""
    material = "PLA" if name.endswith("stl") else "MDF"
    design = check_design({name: data}, BareFile(licence="CC0-1.0", material=material, thickness_mm=None))
    return _order(line, design, quantity, more)


def ask_product(line: Line, parts: dict[str, bytes], quantity: int = 1, **more: Any) -> OrderRow:
    """Bring a product of several parts to be cut, by their names, and order it; accepted at once, as above."""
    manifest = (
        'okhv = "2.4"\nname = "product"\nrepo = "https://example.org"\nversion = "1"\nlicense = "CC0-1.0"\n'
        'licensor = "us"\nfunction = "it stands"\n'
    )
    for name in parts:
        manifest += f'[[part]]\nname = "{name}"\nexport = ["{name}.svg"]\ntsdc = ["LAS"]\nmaterial = "MDF"\n'
    files = {f"{name}.svg": data for name, data in parts.items()}
    return _order(line, check_design({**files, "okh.toml": manifest.encode()}), quantity, more)


def _order(line: Line, design: CheckedDesign, quantity: int, more: dict[str, Any]) -> OrderRow:
    values: dict[str, Any] = {"accept": True, **more}
    now: datetime = line.now
    with line.scheduler.store.write() as c:
        keep_design(c, line.scheduler.blobs, design, now)
        order, _ = place_order(c, line.scheduler.blobs, OrderRequest(design.address, quantity, **values), now)
    return order
