"""Pictures of the planner's figures as SVG, drawn from the results alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 46
#: Told apart by lightness as well as by hue.
COLOURS = ("#0b6e4f", "#e07a1f", "#8a93a6", "#7a3b8f", "#c2b280", "#2f6fb0", "#b23a48", "#5b8c2a")

Line = tuple[str, Sequence[tuple[float, float]]]


def grouped_bars(
    title: str, unit: str, names: Sequence[str], series: Sequence[tuple[str, Sequence[float | None]]]
) -> str:
    """A group of bars a name; a cross where there is no value."""
    most = max((value for _, values in series for value in values if value is not None), default=1.0) or 1.0
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(names))
    each = 0.8 * wide / max(1, len(series))
    out = _axes(title, unit, _ticks(0.0, most), lambda value: _y(value, 0.0, most))
    for i, name in enumerate(names):
        x = LEFT + wide * i + 0.1 * wide
        out.append(_text(x + 0.4 * wide, HEIGHT - BOTTOM + 16, name, "middle"))
        for k, (_, values) in enumerate(series):
            value = values[i]
            if value is None:
                out.append(_text(x + each * (k + 0.5), _y(0, 0, most) - 3, "×", "middle", COLOURS[k]))
            else:
                top = _y(value, 0.0, most)
                height = max(1.0, _y(0.0, 0.0, most) - top)
                out.append(
                    f'<rect x="{x + each * k:.1f}" y="{top:.1f}" width="{each * 0.92:.1f}" height="{height:.1f}" '
                    f'fill="{COLOURS[k]}"><title>{escape(name)}: {value:.3g}</title></rect>'
                )
    return _svg(out + _legend([name for name, _ in series]))


def step_lines(title: str, x_unit: str, y_unit: str, lines: Sequence[Line], *, until: float) -> str:
    """Values that hold until the next one, from the first point to `until`."""
    stepped = []
    for name, points in lines:
        path: list[tuple[float, float]] = []
        for x, y in points:
            if path:
                path.append((x, path[-1][1]))
            path.append((x, y))
        stepped.append((name, [*path, (until, path[-1][1])] if path else []))
    return straight_lines(title, x_unit, y_unit, stepped)


def straight_lines(title: str, x_unit: str, y_unit: str, lines: Sequence[Line], *, logarithmic: bool = False) -> str:
    """Points joined by lines; with `logarithmic` both axes are, and a slope is an exponent."""
    points = [point for _, line in lines for point in line]
    if not points:
        return _svg([_text(WIDTH / 2, HEIGHT / 2, f"{title}: not measured yet", "middle")])
    scale = math.log10 if logarithmic else float
    xs, ys = [scale(x) for x, _ in points], [scale(y) for _, y in points]
    low_x, high_x = min(xs), max(xs)
    low_y, high_y = (min(ys), max(ys)) if logarithmic or min(ys) > 0.5 * max(ys) else (min(0.0, *ys), max(ys))

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (scale(x) - low_x) / max(1e-12, high_x - low_x)

    def up(y: float) -> float:
        return _y(scale(y), low_y, high_y)

    marks = sorted({y for _, y in points})[:6] if logarithmic else _ticks(low_y, high_y)
    out = _axes(title, y_unit, marks, up)
    for x in sorted({x for x, _ in points})[:6] if logarithmic else _ticks(low_x, high_x):
        out.append(_text(across(x), HEIGHT - BOTTOM + 16, f"{x:,.4g}", "middle"))
    out.append(_text(WIDTH - RIGHT, HEIGHT - BOTTOM + 32, x_unit, "end"))
    for k, (name, line) in enumerate(lines):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        colour = COLOURS[k % len(COLOURS)]
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(name)}</title>'
            "</polyline>"
        )
    return _svg(out + _legend([name for name, _ in lines]))


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / max(1e-12, high - low)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about five."""
    raw = max(1e-12, high - low) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= raw)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(title: str, unit: str, marks: Sequence[float], up: object) -> list[str]:
    assert callable(up), "a function from values to places"
    out = [_text(LEFT, 16, title, "start", weight="bold"), _text(LEFT - 6, TOP - 6, unit, "end")]
    for mark in marks:
        y = up(mark)
        out.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#8886" stroke-width="0.5"/>'
        )
        out.append(_text(LEFT - 6, y + 4, f"{mark:,.4g}", "end"))
    return out


def _legend(names: Sequence[str]) -> list[str]:
    out, x = [], float(LEFT)
    for k, name in enumerate(names[: len(COLOURS)]):
        out.append(f'<rect x="{x:.0f}" y="{HEIGHT - 14}" width="10" height="10" fill="{COLOURS[k]}"/>')
        out.append(_text(x + 14, HEIGHT - 5, name, "start"))
        x += 26 + 6.4 * len(name)
    return out


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#555", weight: str = "normal") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {at} fill="{colour}" font-weight="{weight}">{escape(text)}</text>'


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )
