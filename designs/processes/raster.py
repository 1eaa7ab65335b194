"""Areas and pictures as rows of a beam: hatching, dithering, line interval, overscan.

Rows run to and fro (boustrophedon). Before and after a row the beam moves dark at full speed, long enough to
accelerate: v² / (2 a), so that dynamic power (M4) has its speed where it burns.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from shapely.geometry import LineString, Polygon
from shapely.ops import unary_union

from designs.processes.gcode_writer import GcodeWriter
from designs.processes.materials import BeamUse
from designs.processes.model import CannotMake, Finding, PartFile, Severity

_MOST_PIXELS = 25_000_000
_DEFAULT_DPI = 254.0
_BAYER_4 = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Row:
    """One sweep at `y`: runs (from x, to x, share of the recipe's power) in the direction of travel."""

    y: float
    runs: tuple[tuple[float, float, float], ...]
    overscan_mm: float = 0.0
    x_range: tuple[float, float] = (0.0, 1e9)
    """Where the machine can go: overscan is cut off there."""

    @property
    def start(self) -> tuple[float, float]:
        """Where the sweep begins, dark."""
        return self._clipped(self.runs[0][0] - self._sign * self.overscan_mm), self.y

    @property
    def end(self) -> tuple[float, float]:
        """Where it ends, dark."""
        return self._clipped(self.runs[-1][1] + self._sign * self.overscan_mm), self.y

    @property
    def _sign(self) -> float:
        return 1.0 if self.runs[-1][1] >= self.runs[0][0] else -1.0

    def _clipped(self, x: float) -> float:
        return min(max(x, self.x_range[0]), self.x_range[1])


@dataclass(frozen=True, slots=True)
class Picture:
    """Grey values 0 (white: nothing burnt) … 1 (black), rows from the bottom; one row every `interval_mm`."""

    darkness: NDArray[np.float64]
    interval_mm: float
    size_mm: tuple[float, float]
    findings: tuple[Finding, ...] = ()


def overscan_mm(use: BeamUse, accel_mm_s2: float) -> float:
    """Dark way before and after a row: v² / (2 a) to reach the speed, and 0.2 mm; at most 10 mm."""
    speed = use.speed_mm_min / 60.0
    return min(10.0, speed * speed / (2.0 * accel_mm_s2) + 0.2)


def hatch(
    areas: Sequence[Polygon], interval_mm: float, overscan: float = 0.0, x_range: tuple[float, float] = (0.0, 1e9)
) -> list[Row]:
    """Rows that fill areas; overlapping ones leave their common part unburnt (even-odd), as drawn holes do."""
    whole = Polygon()
    for area in sorted(areas, key=lambda a: -a.area):
        whole = whole.symmetric_difference(area)
    if whole.is_empty:
        return []
    x0, y0, x1, y1 = whole.bounds
    rows: list[Row] = []
    count = max(1, int((y1 - y0) / interval_mm))
    step = (y1 - y0) / count
    for k in range(count):
        y = y0 + (k + 0.5) * step
        cut = whole.intersection(LineString([(x0 - 1.0, y), (x1 + 1.0, y)]))
        spans = sorted(
            (line.bounds[0], line.bounds[2]) for line in getattr(cut, "geoms", [cut]) if line.geom_type == "LineString"
        )
        runs = [(a, b, 1.0) for a, b in spans if b - a > 1e-6]
        if not runs:
            continue
        if len(rows) % 2:
            runs = [(b, a, power) for a, b, power in reversed(runs)]
        rows.append(Row(y, tuple(runs), overscan, x_range))
    return rows


def write_rows(writer: GcodeWriter, rows: Sequence[Row], use: BeamUse, s_max: float) -> None:
    """The rows' program; the beam must be in M4."""
    for row in rows:
        writer.rapid(*row.start)
        for x0, x1, share in row.runs:
            writer.feed(x0, feed_mm_min=use.speed_mm_min, power=0.0)
            writer.feed(x1, feed_mm_min=use.speed_mm_min, power=round(share * use.power * s_max))
        writer.feed(row.end[0], feed_mm_min=use.speed_mm_min, power=0.0)


def read_picture(file: PartFile, most_mm: tuple[float, float], interval_mm: float) -> Picture:
    """A picture at its own size (its resolution, else 254 dots an inch), made smaller where it does not fit.

    Raises CannotMake for what is no picture, cut short, or declares more pixels than can be held.
    """
    try:
        with Image.open(io.BytesIO(file.data)) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise CannotMake(
                    f"{file.name} is too large",
                    f"it has {opened.width} × {opened.height} pixels",
                    "Send up to 25 megapixels.",
                )
            dpi = opened.info.get("dpi", (0.0, 0.0))
            flat = Image.new("RGBA", opened.size, "white")
            flat.alpha_composite(opened.convert("RGBA"))
            grey = flat.convert("L")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as why:
        raise CannotMake(
            f"{file.name} cannot be read as a picture", f"it is damaged or cut short ({why})", "Send a PNG."
        ) from why
    findings = []
    resolution = float(dpi[0]) if float(dpi[0]) > 10.0 else 0.0
    if not resolution:
        resolution = _DEFAULT_DPI
        findings.append(Finding(Severity.NOTE, "no_resolution", "The picture names no resolution: 254 dots an inch."))
    width, height = grey.width * 25.4 / resolution, grey.height * 25.4 / resolution
    fit = min(1.0, most_mm[0] / width, most_mm[1] / height)
    if fit < 1.0:
        findings.append(
            Finding(Severity.WARNING, "shrunk", f"The picture was made smaller ({fit:.0%}) to fit the sheet.")
        )
    width, height = width * fit, height * fit
    pixels = (max(1, round(width / interval_mm)), max(1, round(height / interval_mm)))
    small = grey.resize(pixels, Image.Resampling.BOX if pixels[0] < grey.width else Image.Resampling.BICUBIC)
    darkness = 1.0 - np.asarray(small, dtype=np.float64)[::-1] / 255.0
    return Picture(darkness, interval_mm, (pixels[0] * interval_mm, pixels[1] * interval_mm), tuple(findings))


def dithered(darkness: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """Power share a pixel: `floyd_steinberg`, `ordered` and `threshold` give 0 or 1, `grey` gives 16 steps.

    Floyd and Steinberg (1976); Bayer (1973). Raises ValueError for other names.
    """
    if method == "grey":
        return np.asarray(np.round(darkness * 15.0) / 15.0)
    if method == "threshold":
        return (darkness >= 0.5).astype(np.float64)
    if method == "ordered":
        rows, columns = darkness.shape
        tiled = np.tile(_BAYER_4, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns]
        return (darkness > (tiled + 0.5) / 16.0).astype(np.float64)
    if method != "floyd_steinberg":
        raise ValueError(f"{method} is no way to dither: floyd_steinberg, ordered, threshold or grey")
    white = Image.fromarray(np.round((1.0 - darkness) * 255.0).astype(np.uint8))
    return 1.0 - np.asarray(white.convert("1", dither=Image.Dither.FLOYDSTEINBERG), dtype=np.float64)


def picture_rows(
    picture: Picture, method: str, use: BeamUse, accel_mm_s2: float, area_mm: tuple[float, float]
) -> list[Row]:
    """Rows of equal pixels joined to runs; blank rows are skipped."""
    shares = dithered(picture.darkness, method)
    overscan = overscan_mm(use, accel_mm_s2)
    left = min(overscan, max(0.0, area_mm[0] - picture.size_mm[0]) / 2.0)
    rows: list[Row] = []
    for k in range(shares.shape[0]):
        y = (k + 0.5) * picture.interval_mm
        edges = np.flatnonzero(np.diff(shares[k])) + 1
        stops = [0, *edges.tolist(), shares.shape[1]]
        runs = [
            (left + a * picture.interval_mm, left + b * picture.interval_mm, float(shares[k, a]))
            for a, b in pairwise(stops)
            if shares[k, a] > 0.0
        ]
        if not runs:
            continue
        if len(rows) % 2:
            runs = [(b, a, power) for a, b, power in reversed(runs)]
        rows.append(Row(y, tuple(runs), overscan, (0.0, area_mm[0])))
    return rows


def merged(areas: Sequence[Polygon]) -> Polygon:
    """One area of several."""
    return unary_union(list(areas))
