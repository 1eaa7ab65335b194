"""A picture of any plan: machines down the side, time along the top, one bar a job. SVG, and PNG where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from io import BytesIO

from PIL import Image, ImageDraw

from scheduler.planning.snapshot import Placement, Plan

ROW, LEFT, TOP = 26, 130, 30
#: Colours that keep apart for most eyes (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


@dataclass(frozen=True, slots=True)
class Bar:
    """One job in pixels."""

    x: float
    y: float
    width: float
    setup: float
    colour: str
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A plan laid out: bars, rows with their names, and hour marks."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    rows: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, str], ...]


def layout(plan: Plan, *, width: int = 1200) -> Chart:
    """Where everything goes. An empty plan is an empty chart."""
    machines = sorted({placement.machine for placement in plan.placements})
    if not machines:
        return Chart(width, TOP + ROW, (), ((TOP + ROW / 2, "nothing is placed"),), ())
    first = min(placement.start for placement in plan.placements)
    last = max(placement.finish for placement in plan.placements)
    scale = (width - LEFT - 10) / max(60.0, (last - first).total_seconds())
    row = {machine: TOP + i * ROW for i, machine in enumerate(machines)}
    orders = list(dict.fromkeys(placement.job for placement in plan.placements))
    bars = tuple(_bar(p, first, scale, row[p.machine], COLOURS[orders.index(p.job) % 8]) for p in plan.placements)
    rows = tuple((y + ROW * 0.65, machine) for machine, y in row.items())
    return Chart(width, TOP + ROW * len(machines) + 10, bars, rows, _marks(first, last, scale))


def _bar(placement: Placement, first: datetime, scale: float, y: float, colour: str) -> Bar:
    x = LEFT + (placement.start - first).total_seconds() * scale
    width = max(1.0, (placement.finish - placement.start).total_seconds() * scale)
    title = f"{placement.job}: {placement.start:%a %H:%M} to {placement.finish:%a %H:%M} UTC on {placement.machine}"
    return Bar(x, y, width, min(width, placement.setup_s * scale), colour, placement.job, title)


def _marks(first: datetime, last: datetime, scale: float) -> tuple[tuple[float, str], ...]:
    hours = max(1.0, (last - first).total_seconds() / 3600)
    step = next((s for s in (1, 2, 4, 6, 12, 24, 48, 168) if hours / s <= 14), 720)
    at = first.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    while at.hour % min(step, 24):
        at += timedelta(hours=1)
    out = []
    while at <= last:
        out.append((LEFT + (at - first).total_seconds() * scale, f"{at:%a %H:%M}"))
        at += timedelta(hours=step)
    return tuple(out)


def svg(plan: Plan, *, width: int = 1200) -> str:
    """The plan as an SVG document; every bar says its job and times when pointed at."""
    chart = layout(plan, width=width)
    parts: list[str] = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{chart.width}" height="{chart.height}" role="img">',
        "<style>text { font: 11px sans-serif }</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for x, text in chart.marks:
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{chart.height}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{escape(text)}</text>')
    parts += [f'<text x="6" y="{y:.1f}">{escape(name)}</text>' for y, name in chart.rows]
    for bar in chart.bars:
        label = bar.label if bar.width > 7 * len(bar.label) else ""
        parts.append(
            f'<g><title>{escape(bar.title)}</title><rect x="{bar.x:.1f}" y="{bar.y + 3}" width="{bar.width:.1f}" '
            f'height="{ROW - 6}" fill="{bar.colour}" rx="2"/><rect x="{bar.x:.1f}" y="{bar.y + 3}" '
            f'width="{bar.setup:.1f}" height="{ROW - 6}" fill="black" opacity="0.35"/>'
            f'<text x="{bar.x + bar.setup + 3:.1f}" y="{bar.y + ROW * 0.65:.1f}" fill="white">{escape(label)}</text>'
            "</g>"
        )
    return "\n".join([*parts, "</svg>\n"])


def png(plan: Plan, *, width: int = 1200) -> bytes:
    """The same picture as PNG."""
    chart = layout(plan, width=width)
    image = Image.new("RGB", (chart.width, chart.height), "white")
    pen = ImageDraw.Draw(image)
    for x, text in chart.marks:
        pen.line((x, TOP - 6, x, chart.height), fill="#dddddd")
        pen.text((x - 24, TOP - 24), text, fill="black")
    _write(pen, [(6, y - 12, name) for y, name in chart.rows])
    for bar in chart.bars:
        pen.rectangle((bar.x, bar.y + 3, bar.x + bar.width, bar.y + ROW - 3), fill=bar.colour)
        pen.rectangle((bar.x, bar.y + 3, bar.x + bar.setup, bar.y + ROW - 3), fill="#333333")
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _write(pen: ImageDraw.ImageDraw, texts: Sequence[tuple[float, float, str]]) -> None:
    for x, y, text in texts:
        pen.text((x, y), text.encode("latin-1", "replace").decode("latin-1"), fill="black")
