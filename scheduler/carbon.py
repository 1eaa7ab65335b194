"""How clean each shop's current is, hour by hour: a file of curves beside the scheduler's database, read at its start.

The planner counts what a job's current costs the climate where a curve is known (`docs/planning.md`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

from scheduler.config import BadSetting
from scheduler.planning.snapshot import Carbon

#: In the scheduler's folder.
CURVES: Final = "carbon.toml"
HOURS: Final = 24
_HIGHEST: Final = 5_000


def read_curves(path: Path) -> tuple[Carbon, ...]:
    """The curves of the file, one a shop; none where there is no file.

    The file has one table, `g_per_kwh`: a shop's name and 24 numbers, grams of CO2 per kWh in each hour of the UTC day.

    Raises:
        BadSetting: it is no such file; the sentence says where.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as wrong:
        raise BadSetting(f"{path} cannot be read: {wrong}") from wrong
    curves = raw.pop("g_per_kwh", {})
    if raw or not isinstance(curves, dict):
        raise BadSetting(f"{path} has one table, g_per_kwh, with a line for each shop: remove what else is in it")
    return tuple(Carbon(shop, _hourly(path, shop, hourly)) for shop, hourly in sorted(curves.items()))


def _hourly(path: Path, shop: str, hourly: object) -> tuple[float, ...]:
    numbers = hourly if isinstance(hourly, list) else []
    good = [g for g in numbers if isinstance(g, int | float) and not isinstance(g, bool) and 0 <= g <= _HIGHEST]
    if len(good) != HOURS or len(numbers) != HOURS:
        raise BadSetting(f"{path}: {shop} needs {HOURS} numbers from 0 to {_HIGHEST}, one for each hour of the UTC day")
    return tuple(float(g) for g in good)
