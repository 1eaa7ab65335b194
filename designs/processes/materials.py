"""What materials want: speed, power and kerf under a beam; chip load and depth under a bit. The figures are data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from designs.processes.model import CannotMake, ToolSpec

_REFERENCE_BIT_MM = 3.175
_SLOWEST, _FASTEST = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class BeamUse:
    """Power as a share of full, speed, passes."""

    power: float
    speed_mm_min: float
    passes: int = 1


@dataclass(frozen=True, slots=True)
class LaserRecipe:
    """How a sheet is cut, engraved and marked on one laser."""

    material: str
    cut: BeamUse
    engrave: BeamUse
    mark: BeamUse
    kerf_mm: float
    air: bool


@dataclass(frozen=True, slots=True)
class RouterRecipe:
    """How a board is milled with one bit."""

    material: str
    rpm: float
    feed_mm_min: float
    plunge_mm_min: float
    stepdown_mm: float
    stepover_mm: float


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("designs.processes").joinpath("materials.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1_024)
def canonical(material: str) -> str:
    """The table's name for a material: lower case, aliases resolved, a leading thickness or colour passed over."""
    name = " ".join(material.lower().replace("_", " ").replace("-", " ").split())
    aliases: dict[str, str] = _table()["aliases"]
    name = aliases.get(name, name)
    known = {row["material"] for row in (*_table()["laser"], *_table()["router"])} | set(_table()["forbidden"]["laser"])
    if name in known:
        return name
    words = [aliases.get(word, word) for word in name.split()]
    return next((word for word in reversed(words) if word in known), name)


def density_g_cm3(material: str) -> float | None:
    """Density, None where the table has none."""
    found = _table()["density_g_cm3"].get(canonical(material))
    return None if found is None else float(found)


def laser_recipe(material: str, thickness_mm: float | None, power_w: float | None) -> LaserRecipe:
    """The recipe for this sheet and this beam; speed scales with power and with thickness, passes fill what is missing.

    Raises CannotMake for materials that must not be lasered, that the table does not know, or that are too thick.
    """
    name = canonical(material)
    why = _table()["forbidden"]["laser"].get(name)
    if why is not None:
        raise CannotMake(f"{material} must not be laser-cut", why, "Choose another material or another process.")
    rows = sorted((r for r in _table()["laser"] if r["material"] == name), key=lambda r: float(r["thickness_mm"]))
    if not rows:
        raise CannotMake(
            f"{material} has no laser settings", "the material table does not know it", "Run a test grid and add a row."
        )
    if thickness_mm is None or thickness_mm <= 0.0:
        raise CannotMake(f"The sheet of {material} has no thickness", "kerf and speed depend on it", "State it in mm.")
    row = next((r for r in rows if float(r["thickness_mm"]) >= thickness_mm - 0.05), rows[-1])
    thicker = thickness_mm / float(row["thickness_mm"])
    if thicker > 1.7:
        raise CannotMake(
            f"{thickness_mm:g} mm {material} is too thick",
            f"the table goes to {float(row['thickness_mm']):g} mm",
            "Use a thinner sheet or a router.",
        )
    strength = (power_w or float(row["power_w"])) / float(row["power_w"])
    cut = _scaled(row["cut"], strength / max(1.0, thicker))
    return LaserRecipe(
        material=name,
        cut=cut,
        engrave=_gentle(row["engrave"], strength),
        mark=_gentle(row["mark"], strength),
        kerf_mm=float(row["kerf_mm"]),
        air=bool(row["air"]),
    )


def _scaled(use: dict[str, Any], strength: float) -> BeamUse:
    """Another beam: as much slower as it is weaker; below a quarter of the speed, more passes."""
    passes = int(use.get("passes", 1))
    speed = float(use["speed_mm_min"]) * min(strength, _FASTEST)
    floor = float(use["speed_mm_min"]) * _SLOWEST
    while speed < floor and passes < 12:
        passes += 1
        speed = float(use["speed_mm_min"]) * strength * passes / int(use.get("passes", 1))
    return BeamUse(float(use["power"]), round(speed), passes)


def _gentle(use: dict[str, Any], strength: float) -> BeamUse:
    """Engraving: keep the speed, change the power; slower only where full power is not enough."""
    power = float(use["power"]) / strength
    speed = float(use["speed_mm_min"])
    if power > 1.0:
        power, speed = 1.0, speed / power
    return BeamUse(round(max(power, 0.02), 3), round(speed))


def router_recipe(material: str, tool: ToolSpec, max_rpm: float | None, max_feed_mm_min: float | None) -> RouterRecipe:
    """Feed = rpm × flutes × chip load, within the machine; raises CannotMake for materials the table does not know."""
    name = canonical(material)
    row = next((r for r in _table()["router"] if r["material"] == name), None)
    if row is None:
        raise CannotMake(
            f"{material} has no router settings", "the material table does not know it", "Add a row after a test cut."
        )
    rpm = min(float(row["rpm"]), max_rpm or 24000.0)
    chip = float(row["chip_mm"]) * tool.diameter_mm / _REFERENCE_BIT_MM
    feed = rpm * max(1, tool.flutes) * chip
    if max_feed_mm_min is not None and feed > max_feed_mm_min:
        slower = max(0.6, max_feed_mm_min / feed)
        rpm, feed = rpm * slower, min(max_feed_mm_min, feed)
    return RouterRecipe(
        material=name,
        rpm=round(rpm),
        feed_mm_min=round(feed),
        plunge_mm_min=round(feed * float(row["plunge"])),
        stepdown_mm=round(float(row["stepdown"]) * tool.diameter_mm, 3),
        stepover_mm=round(float(row["stepover"]) * tool.diameter_mm, 3),
    )
