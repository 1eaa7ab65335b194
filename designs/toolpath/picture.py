"""A program as a picture from above: PNG for screens, SVG for paper. Travel is thin and light, depth goes by shade,
and where the tool goes straight down there is a dot."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from designs.toolpath.parser import Source
from designs.toolpath.strokes import StrokeKind, read_segments

_PAPER = (250, 249, 246)
_TRAVEL = (214, 220, 228)
_DEEP = np.array([26.0, 54.0, 93.0])
_SHALLOW = np.array([74.0, 157.0, 170.0])
_MOST_SEGMENTS = 400_000


def _gather(gcode: Source, dialect: str) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Segments and kinds, every n-th where there are too many."""
    pieces: list[NDArray[np.float64]] = []
    kinds: list[NDArray[np.int8]] = []
    count, step = 0, 1
    for part in read_segments(gcode, dialect):
        pieces.append(part.ends[::step])
        kinds.append(part.kinds[::step])
        count += len(pieces[-1])
        if count > _MOST_SEGMENTS:
            pieces = [np.concatenate(pieces)[::2]]
            kinds = [np.concatenate(kinds)[::2]]
            count, step = len(pieces[0]), step * 2
    if not pieces:
        return np.zeros((0, 6)), np.zeros(0, np.int8)
    return np.concatenate(pieces), np.concatenate(kinds)


def _colours(pieces: NDArray[np.float64]) -> NDArray[np.int64]:
    """RGB of each segment by its height between the lowest and the highest work."""
    z = pieces[:, 5]
    span = float(z.max() - z.min()) if len(z) else 0.0
    share = (z - z.min()) / span if span > 1e-9 else np.zeros(len(z))
    return np.asarray(np.round(_DEEP + (_SHALLOW - _DEEP) * share[:, None]), dtype=np.int64)


def picture(gcode: Source, dialect: str = "grbl", *, width_px: int = 640, height_px: int = 480) -> bytes:
    """PNG bytes of the program seen from above; an empty sheet where nothing moves."""
    pieces, kinds = _gather(gcode, dialect)
    image = Image.new("RGB", (width_px * 2, height_px * 2), _PAPER)
    if len(pieces):
        work = kinds == int(StrokeKind.WORK)
        shown = pieces[work] if work.any() else pieces
        low = np.minimum(shown[:, :2].min(axis=0), shown[:, 3:5].min(axis=0))
        high = np.maximum(shown[:, :2].max(axis=0), shown[:, 3:5].max(axis=0))
        margin = 32.0
        room = np.array([width_px * 2, height_px * 2]) - 2 * margin
        scale = float(np.min(room / np.maximum(high - low, 1e-6)))
        shift = margin + (room - (high - low) * scale) / 2.0
        flat = np.empty((len(pieces), 4))
        for k, axis in ((0, 0), (2, 3)):
            flat[:, k] = shift[0] + (pieces[:, axis] - low[0]) * scale
            flat[:, k + 1] = height_px * 2 - (shift[1] + (pieces[:, axis + 1] - low[1]) * scale)
        flat = np.clip(flat, -1e5, 1e5)
        draw = ImageDraw.Draw(image)
        for x0, y0, x1, y1 in flat[~work].tolist():
            draw.line((x0, y0, x1, y1), fill=_TRAVEL, width=1)
        done = pieces[work]
        order = np.argsort(done[:, 5], kind="stable")
        down = (np.abs(done[:, 3:5] - done[:, :2]).max(axis=1) < 1e-6) & (np.abs(done[:, 5] - done[:, 2]) > 1e-6)
        for (x0, y0, x1, y1), (red, green, blue), dot in zip(
            flat[work][order].tolist(), _colours(done)[order].tolist(), down[order].tolist(), strict=True
        ):
            if dot:
                draw.ellipse((x0 - 4, y0 - 4, x0 + 4, y0 + 4), fill=(red, green, blue))
            else:
                draw.line((x0, y0, x1, y1), fill=(red, green, blue), width=2)
    out = io.BytesIO()
    image.resize((width_px, height_px), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()


def picture_svg(gcode: Source, dialect: str = "grbl") -> bytes:
    """The same as SVG in millimetres, travel in grey, work in blue."""
    pieces, kinds = _gather(gcode, dialect)
    if not len(pieces):
        return b'<svg xmlns="http://www.w3.org/2000/svg" width="10mm" height="10mm" viewBox="0 0 10 10"/>\n'
    low = np.minimum(pieces[:, :2].min(axis=0), pieces[:, 3:5].min(axis=0)) - 1.0
    high = np.maximum(pieces[:, :2].max(axis=0), pieces[:, 3:5].max(axis=0)) + 1.0
    width, height = (high - low).tolist()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.1f}mm" height="{height:.1f}mm" '
    lines = [head + f'viewBox="0 0 {width:.3f} {height:.3f}" fill="none" stroke-linecap="round">']
    for kind, colour, stroke in ((StrokeKind.TRAVEL, "#d6dce4", 0.1), (StrokeKind.WORK, "#1a365d", 0.25)):
        path = "".join(
            f"M{x0 - low[0]:.2f} {high[1] - y0:.2f}L{x1 - low[0]:.2f} {high[1] - y1:.2f}"
            for x0, y0, _, x1, y1, _ in pieces[kinds == int(kind)].tolist()
        )
        lines.append(f'<path stroke="{colour}" stroke-width="{stroke}" d="{path}"/>')
    return ("\n".join([*lines, "</svg>"]) + "\n").encode("ascii")
