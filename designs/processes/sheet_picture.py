"""Drawings of a frozen plate or sheet and of an offcut, small enough for a phone beside the machine. SVG, pure.

Machine coordinates (y up) are drawn as they lie before the person: the lower left corner is the work origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from designs.processes.model import Ring, SheetLayout

_INK = "#1f2933"
_TONES = ("#d7e8f7", "#f7e3c6", "#dcefd5", "#eadcf2", "#f6d5d5", "#d3ecea", "#efe9c4", "#dfe1e6")


def sheet_svg(layout: SheetLayout, owners: Sequence[str] = (), *, width_px: int = 480) -> str:
    """The sheet with its pieces numbered from 1 as on the work card; `owners[k]` says whose piece `k` is (its tone)."""
    rings = [*layout.sheet_mm, *(piece.outline_mm for piece in layout.placed)]
    tones = {owner: _TONES[n % len(_TONES)] for n, owner in enumerate(dict.fromkeys(owners))}
    parts = [_path(layout.sheet_mm, "#ffffff", _INK)] if layout.sheet_mm else []
    height = _box(rings)[3]
    for number, piece in enumerate(layout.placed, start=1):
        owner = owners[piece.piece] if piece.piece < len(owners) else ""
        parts.append(_path((piece.outline_mm,), tones.get(owner, _TONES[0]), _INK, f"{number}: {piece.name} {owner}"))
        x, y = _middle(piece.outline_mm)
        parts.append(_number(x, height - y, str(number), _size(piece.outline_mm)))
    return _svg(rings, parts, width_px, layout.sheet_label)


def offcut_svg(outline_mm: Sequence[Ring], label: str, *, width_px: int = 240) -> str:
    """One offcut as it is laid on the machine, its label beside it."""
    return _svg(outline_mm, [_path(outline_mm, "#f2f4f7", _INK)], width_px, label)


def _svg(rings: Sequence[Ring], parts: Sequence[str], width_px: int, label: str) -> str:
    x0, y0, x1, y1 = _box(rings)
    width, height = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    top = f"{label} · {width:.0f} × {height:.0f} mm" if label else f"{width:.0f} × {height:.0f} mm"
    type_mm = width / 24.0
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width_px}" viewBox="{x0 - 2:.1f} {-type_mm * 1.6:.1f} '
        f'{width + 4:.1f} {height + type_mm * 1.6 + 2:.1f}" role="img"><title>{escape(top)}</title>'
    )
    flip = f'<g transform="translate(0 {y1:.2f}) scale(1 -1)">'
    shapes = "".join(part for part in parts if part.startswith("<path"))
    words = "".join(part for part in parts if not part.startswith("<path"))
    caption = (
        f'<text x="{x0:.1f}" y="{-type_mm * 0.4:.1f}" font-size="{type_mm:.1f}" fill="{_INK}">{escape(top)}</text>'
    )
    return f"{head}{caption}{flip}{shapes}</g>{words}</svg>"


def _path(rings: Sequence[Ring], fill: str, line: str, title: str = "") -> str:
    lines = " ".join("M" + " L".join(f"{x:.2f},{y:.2f}" for x, y in ring) + " Z" for ring in rings)
    named = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<path d="{lines}" fill="{fill}" fill-rule="evenodd" stroke="{line}" stroke-width="1" '
        f'vector-effect="non-scaling-stroke">{named}</path>'
    )


def _number(x: float, y: float, text: str, size_mm: float) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size_mm * 0.45:.1f}" text-anchor="middle" '
        f'dominant-baseline="central" fill="{_INK}">{escape(text)}</text>'
    )


def _middle(ring: Ring) -> tuple[float, float]:
    xs, ys = [x for x, _ in ring], [y for _, y in ring]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2


def _size(ring: Ring) -> float:
    xs, ys = [x for x, _ in ring], [y for _, y in ring]
    return max(4.0, min(max(xs) - min(xs), max(ys) - min(ys)))


def _box(rings: Sequence[Ring]) -> tuple[float, float, float, float]:
    points = [point for ring in rings for point in ring] or [(0.0, 0.0)]
    return (
        min(x for x, _ in points), min(y for _, y in points), max(x for x, _ in points), max(y for _, y in points),
    )  # fmt: skip
