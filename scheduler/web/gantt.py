"""The schedule as an ECharts custom series: one lane a machine, one bar a job, a line for now. Pure.

Source: Apache ECharts option manual, `series-custom.renderItem`. Keys that start with `:` are JavaScript for NiceGUI.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from scheduler.web.models import BarShown
from scheduler.web.words import PROCESS_WORDS, named

#: Fill of a bar by process; text on it is always dark or always light enough in both modes.
COLOURS: Final = {"fdm": "#2f6fb5", "laser": "#b3402e", "cnc": "#7a5aa8", "manual": "#5a646b"}
#: How a bar looks by kind: (opacity of its fill, dashed edge).
LOOKS: Final = {
    "planned": (0.28, True),
    "running": (1.0, False),
    "done": (0.62, False),
    "reserved": (0.2, False),
    "maintenance": (0.2, False),
}
#: What keeps a machine from the pool: drawn grey behind the work, and not what the chart's length goes by.
KEPT: Final = frozenset({"reserved", "maintenance"})
#: Drawn this far ahead even where nothing is planned so late; further only beside the plan.
KEPT_DRAWN_FOR: Final = timedelta(hours=12)
LANE_PX: Final = 46
_SHORTEST: Final = timedelta(minutes=3)

#: Only numbers reach `api.value`; texts stand in an array of their own, by the bar's index.
_RENDER: Final = """
(params, api) => {
  const titles = TITLES, colours = COLOURS;
  const lane = api.value(0), from = api.coord([api.value(1), lane]), to = api.coord([api.value(2), lane]);
  const high = api.coord([api.value(3), lane])[0], height = Math.min(26, api.size([0, 1])[1] * 0.6);
  const area = params.coordSys, left = Math.max(from[0], area.x);
  const right = Math.min(Math.max(to[0], from[0] + 3), area.x + area.width);
  if (right <= left) return;
  const shape = {x: left, y: from[1] - height / 2, width: right - left, height};
  const colour = colours[api.value(4)], opacity = api.value(5), dashed = api.value(6) > 0;
  const dark = document.body.classList.contains('body--dark');
  const children = [{type: 'rect', shape: {...shape, r: 6}, style: {fill: colour, opacity}}];
  if (dashed) children.push({type: 'rect', shape: {...shape, r: 6},
    style: {fill: 'none', stroke: colour, lineWidth: 1.4, lineDash: [4, 3]}});
  if (high > to[0] + 2) children.push({type: 'line', silent: true,
    shape: {x1: to[0], y1: from[1], x2: Math.min(high, area.x + area.width), y2: from[1]},
    style: {stroke: colour, lineWidth: 2, lineDash: [2, 3], opacity: .7}});
  if (shape.width > 56) children.push({type: 'text', silent: true, style: {text: titles[params.dataIndex],
    x: shape.x + 9, y: from[1], textVerticalAlign: 'middle', width: shape.width - 16, overflow: 'truncate',
    fontSize: 12, fontWeight: 600, fill: opacity < .5 && !dark ? '#1c2226' : '#ffffff'}});
  return {type: 'group', children};
}
"""
_TOOLTIP: Final = (
    "(p) => (p.data.tip || '').replace(/[&<>]/g, c => ({'&':'&amp;','<':'&lt;','>':'&gt;'}[c])).replace(/\\n/g, '<br>')"
)
_PROCESSES: Final = tuple(COLOURS)
_INK, _LINE, _NOW = (
    f"document.body.classList.contains('body--dark') ? '{dark}' : '{light}'"
    for dark, light in (("#a3afb6", "#5a646b"), ("#2c363b", "#e1dfd6"), ("#5ecdbd", "#0b6b61"))
)


def options(lanes: Sequence[str], bars: Sequence[BarShown], now: datetime) -> dict[str, Any]:
    """The chart's options; times are shown in the reader's zone."""
    start, end = window(bars, now)
    shown = [bar for bar in bars if bar.lane in lanes]
    render = _RENDER.replace("TITLES", json.dumps([bar.title for bar in shown])).replace(
        "COLOURS", json.dumps(list(COLOURS.values()))
    )
    return {
        "animation": False,
        "textStyle": {"fontFamily": "Inter, system-ui, sans-serif"},
        "grid": {"left": 8, "right": 20, "top": 24, "bottom": 8, "containLabel": True},
        "tooltip": {"confine": True, ":formatter": _TOOLTIP},
        "xAxis": {
            "type": "time",
            "position": "bottom",
            "min": _ms(start),
            "max": _ms(end),
            "axisLabel": {":color": _INK, "hideOverlap": True},
            "axisLine": {"show": False},
            "axisTick": {"show": False},
            "splitLine": {"show": True, "lineStyle": {":color": _LINE}},
        },
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": list(lanes),
            "axisLabel": {":color": _INK, "fontSize": 13},
            "axisLine": {"show": False},
            "axisTick": {"show": False},
            "splitLine": {"show": True, "lineStyle": {":color": _LINE}},
        },
        "series": [
            {
                "type": "custom",
                ":renderItem": render,
                "encode": {"x": [1, 2], "y": 0},
                "data": [_item(lanes, bar, now) for bar in shown],
                "markLine": {
                    "silent": True,
                    "symbol": "none",
                    "data": [{"xAxis": _ms(now)}],
                    "label": {
                        "formatter": "now",
                        "position": "start",
                        ":color": _INK,
                        "fontWeight": 600,
                        "distance": 2,
                    },
                    "lineStyle": {":color": _NOW, "type": "solid", "width": 2},
                },
            }
        ],
    }


def window(bars: Sequence[BarShown], now: datetime) -> tuple[datetime, datetime]:
    """What to show: all bars and now, with air on both sides; never shorter than three minutes."""
    work = [bar for bar in bars if bar.kind not in KEPT]
    kept_ends = [min(bar.end, now + KEPT_DRAWN_FOR) for bar in bars if bar.kind in KEPT]
    start = min([now, *(bar.start for bar in work)])
    end = max([now, *(bar.end for bar in work), *kept_ends])
    length = max(end - start, _SHORTEST)
    return start - length * 0.02, start + length * 1.06


def _item(lanes: Sequence[str], bar: BarShown, now: datetime) -> dict[str, object]:
    opacity, dashed = LOOKS[bar.kind]
    open_end = bar.latest if bar.latest is not None and bar.kind != "done" else None
    words = [bar.title, f"{named(PROCESS_WORDS, bar.process)} · {bar.kind}"]
    words = [*([bar.title] if bar.kind in KEPT else words), f"{_clock(bar.start, now)} to {_clock(bar.end, now)}"]
    if open_end is not None:
        words.append(f"nine in ten end before {_clock(open_end, now)}")
    coloured = bar.process in COLOURS and bar.kind not in KEPT
    process = _PROCESSES.index(bar.process if coloured else "manual")
    latest = _ms(open_end or bar.end)
    numbers = [lanes.index(bar.lane), _ms(bar.start), _ms(bar.end), latest, process, opacity, int(dashed)]
    return {"name": bar.job, "value": numbers, "tip": "\n".join(words)}


def _clock(moment: datetime, now: datetime) -> str:
    return moment.astimezone(now.tzinfo).strftime("%H:%M")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
