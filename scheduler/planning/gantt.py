"""A picture of any plan: machines down the side, time along the top, one bar a job. SVG, and PNG where asked.

With the snapshot beside the plan the picture also shows when nobody is there, when a machine is down or reserved, and
which jobs end after they are due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from scheduler.planning.snapshot import Placement, Plan, PlanMachine, Snapshot, Window

ROW, LEFT, TOP, FOOT = 26, 130, 30, 24
#: Colours that keep apart for most eyes (Okabe and Ito, 2008).
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
#: Colours on which black can be read better than white.
PALE: Final = frozenset({"#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#999999"})
LATE, AWAY, DOWN, SETTING_UP = "#B00020", "#EEF1F4", "#C9CED6", "#333333"
LEGEND: Final = (("setting up", SETTING_UP), ("nobody there", AWAY), ("down or reserved", DOWN), ("late", LATE))


@dataclass(frozen=True, slots=True)
class Bar:
    """One job in pixels."""

    x: float
    y: float
    width: float
    setup: float
    colour: str
    ink: str
    label: str
    title: str
    late: bool


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch in which a machine cannot be started, or not be used, in pixels."""

    x: float
    y: float
    width: float
    colour: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A plan laid out: bars, shades behind them, rows with their names, and hour marks."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    shades: tuple[Shade, ...]
    rows: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From times to pixels, between the first start and the last finish."""

    first: datetime
    last: datetime
    per_s: float

    def x(self, at: datetime) -> float:
        """Pixels from the left, kept inside the picture."""
        return LEFT + (min(max(at, self.first), self.last) - self.first).total_seconds() * self.per_s


def layout(plan: Plan, snapshot: Snapshot | None = None, *, width: int = 1200) -> Chart:
    """Where everything goes. An empty plan is an empty chart; machines without work have a row only with a snapshot."""
    if not plan.placements:
        return Chart(width, TOP + ROW + FOOT, (), (), ((TOP + ROW / 2, "nothing is placed"),), ())
    known = () if snapshot is None else snapshot.machines
    machines = sorted({placement.machine for placement in plan.placements} | {machine.id for machine in known})
    first = min([*(placement.start for placement in plan.placements), *([snapshot.now] if snapshot else [])])
    last = max(placement.finish for placement in plan.placements)
    scale = _Scale(first, last, (width - LEFT - 10) / max(60.0, (last - first).total_seconds()))
    row = {machine: TOP + i * ROW for i, machine in enumerate(machines)}
    jobs = {} if snapshot is None else {job.id: job for job in snapshot.jobs}
    orders = [jobs[p.job].order if p.job in jobs else p.job for p in plan.placements]
    colour = {order: COLOURS[i % len(COLOURS)] for i, order in enumerate(dict.fromkeys(orders))}
    bars = tuple(
        _bar(p, scale, row[p.machine], colour[order], jobs[p.job].due if p.job in jobs else None)
        for p, order in zip(plan.placements, orders, strict=True)
    )
    shades = tuple(shade for machine in known for shade in _shades(machine, scale, row[machine.id]))
    rows = tuple((y + ROW * 0.65, machine) for machine, y in row.items())
    return Chart(width, TOP + ROW * len(machines) + FOOT, bars, shades, rows, _marks(scale))


def _bar(placement: Placement, scale: _Scale, y: float, colour: str, due: datetime | None) -> Bar:
    x, end = scale.x(placement.start), scale.x(placement.finish)
    width, late = max(1.0, end - x), due is not None and placement.finish > due
    title = f"{placement.job}: {placement.start:%a %H:%M} to {placement.finish:%a %H:%M} UTC on {placement.machine}"
    if due is not None:
        title += f", due {due:%a %H:%M}"
    ink = "black" if colour in PALE else "white"
    return Bar(x, y, width, min(width, placement.setup_s * scale.per_s), colour, ink, placement.job, title, late)


def _shades(machine: PlanMachine, scale: _Scale, y: float) -> Iterable[Shade]:
    """Stretches without a person, then on top of them those in which the machine is down or reserved."""
    if machine.attended_windows is not None:
        for start, end in _between(machine.attended_windows, scale):
            yield Shade(scale.x(start), y, scale.x(end) - scale.x(start), AWAY, f"{machine.id}: nobody there")
    for windows, why in ((machine.maintenance, "down"), (machine.reserved, "reserved")):
        for window in windows:
            if window.end > scale.first and window.start < scale.last:
                a, b = scale.x(window.start), scale.x(window.end)
                yield Shade(a, y, b - a, DOWN, f"{machine.id}: {why}")


def _between(windows: Sequence[Window], scale: _Scale) -> Iterable[tuple[datetime, datetime]]:
    """The stretches of the picture outside all windows."""
    at = scale.first
    for window in sorted(windows, key=lambda window: window.start):
        if window.start > at:
            yield at, min(window.start, scale.last)
        at = max(at, window.end)
        if at >= scale.last:
            return
    yield at, scale.last


def _marks(scale: _Scale) -> tuple[tuple[float, str], ...]:
    hours = max(1.0, (scale.last - scale.first).total_seconds() / 3600)
    step = next((s for s in (1, 2, 4, 6, 12, 24, 48, 168) if hours / s <= 14), 720)
    at = scale.first.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    while at.hour % min(step, 24):
        at += timedelta(hours=1)
    out = []
    while at <= scale.last:
        out.append((scale.x(at), f"{at:%a %H:%M}"))
        at += timedelta(hours=step)
    return tuple(out)


def svg(plan: Plan, snapshot: Snapshot | None = None, *, width: int = 1200) -> str:
    """The plan as an SVG document; every bar says its job and times when pointed at."""
    chart = layout(plan, snapshot, width=width)
    parts: list[str] = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{chart.width}" height="{chart.height}" role="img">',
        "<title>Which machine makes which job when</title>",
        "<style>text { font: 11px sans-serif }</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for shade in chart.shades:
        box = f'<rect x="{shade.x:.1f}" y="{shade.y + 1}" width="{shade.width:.1f}" height="{ROW - 2}"'
        parts.append(f'<g><title>{escape(shade.title)}</title>{box} fill="{shade.colour}"/></g>')
    for x, text in chart.marks:
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{chart.height - FOOT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{escape(text)}</text>')
    parts += [f'<text x="6" y="{y:.1f}">{escape(name)}</text>' for y, name in chart.rows]
    parts += [_bar_svg(bar) for bar in chart.bars]
    for i, (text, colour) in enumerate(LEGEND):
        x, y = LEFT + 130 * i, chart.height - FOOT + 8
        parts.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{y + 10}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _bar_svg(bar: Bar) -> str:
    edge = f' stroke="{LATE}" stroke-width="3"' if bar.late else ""
    label = bar.label if bar.width - bar.setup > 7 * len(bar.label) else ""
    return (
        f'<g><title>{escape(bar.title)}</title><rect x="{bar.x:.1f}" y="{bar.y + 3}" width="{bar.width:.1f}" '
        f'height="{ROW - 6}" fill="{bar.colour}" rx="2"{edge}/><rect x="{bar.x:.1f}" y="{bar.y + 3}" '
        f'width="{bar.setup:.1f}" height="{ROW - 6}" fill="{SETTING_UP}"/>'
        f'<text x="{bar.x + bar.setup + 3:.1f}" y="{bar.y + ROW * 0.65:.1f}" fill="{bar.ink}">{escape(label)}</text>'
        "</g>"
    )


def png(plan: Plan, snapshot: Snapshot | None = None, *, width: int = 1200) -> bytes:
    """The same picture as PNG."""
    chart = layout(plan, snapshot, width=width)
    image = Image.new("RGB", (chart.width, chart.height), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default()
    for shade in chart.shades:
        pen.rectangle((shade.x, shade.y + 1, shade.x + shade.width, shade.y + ROW - 1), fill=shade.colour)
    for x, text in chart.marks:
        pen.line((x, TOP - 6, x, chart.height - FOOT), fill="#dddddd")
        pen.text((x - 24, TOP - 24), text, fill="black", font=font)
    _write(pen, [(6, y - 12, name) for y, name in chart.rows], "black")
    for bar in chart.bars:
        box = (bar.x, bar.y + 3, bar.x + bar.width, bar.y + ROW - 3)
        pen.rectangle(box, fill=bar.colour)
        pen.rectangle((bar.x, bar.y + 3, bar.x + bar.setup, bar.y + ROW - 3), fill=SETTING_UP)
        if bar.late:
            pen.rectangle(box, outline=LATE, width=3)
        if pen.textlength(bar.label.encode("latin-1", "replace"), font=font) + 6 < bar.width - bar.setup:
            _write(pen, [(bar.x + bar.setup + 3, bar.y + 7, bar.label)], bar.ink)
    for i, (text, colour) in enumerate(LEGEND):
        x, y = LEFT + 130 * i, chart.height - FOOT + 8
        pen.rectangle((x, y, x + 11, y + 11), fill=colour)
        pen.text((x + 16, y), text, fill="black", font=font)
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _write(pen: ImageDraw.ImageDraw, texts: Sequence[tuple[float, float, str]], ink: str) -> None:
    for x, y, text in texts:
        pen.text((x, y), text.encode("latin-1", "replace").decode("latin-1"), fill=ink)
