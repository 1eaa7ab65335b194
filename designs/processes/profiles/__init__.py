"""Printing profiles kept as data: machines, materials, qualities (TOML files beside this one).

Lives here: the figures and their reader. Touches only these files. In: names as people write them; out: one set of
print settings, or CannotMake that says which names are known.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

from designs.processes.model import CannotMake, MachineProfile, Stock

DEFAULT_QUALITY: Final = "draft"


class Adhesion(StrEnum):
    """What holds the first layer besides itself."""

    NONE = "none"
    SKIRT = "skirt"
    BRIM = "brim"


SKIRT_LOOPS: Final = 2
SKIRT_MM: Final = 2.0
"""From the pieces to the skirt."""


@dataclass(frozen=True, slots=True)
class PrintSettings:
    """Everything a slicer is told. mm, mm/s, °C, percent; names say from which profiles it came."""

    printer: str
    material: str
    quality: str
    nozzle_mm: float
    filament_mm: float
    layer_mm: float
    first_layer_mm: float
    nozzle_c: int
    first_nozzle_c: int
    bed_c: int
    density_g_cm3: float
    fan_percent: int
    fan_from_layer: int
    flow_mm3_s: float
    retract_mm: float
    retract_mm_s: float
    travel_mm_s: float
    perimeters: int
    top_layers: int
    bottom_layers: int
    infill_percent: float
    perimeter_mm_s: float
    infill_mm_s: float
    first_layer_mm_s: float
    bed_mm: tuple[float, float, float]
    accel_mm_s2: float
    max_feed_mm_s: float
    adhesion: Adhesion
    brim_mm: float
    support_deg: float
    """Undersides nearer to level than this are held up, degrees."""
    support_percent: float
    support_gap_mm: float
    support: bool = False

    @property
    def line_mm(self) -> float:
        """Width of one extruded line: the nozzle and an eighth."""
        return round(self.nozzle_mm * 1.125, 3)

    @property
    def summary(self) -> str:
        """For the record: which profiles, and what differs from them."""
        brim = f", {self.brim_mm:g} mm brim" if self.adhesion is Adhesion.BRIM else ""
        support = ", with support" if self.support else ""
        return (
            f"{self.printer} / {self.material} / {self.quality}: {self.layer_mm:g} mm layers, "
            f"{self.infill_percent:g} % infill, {self.perimeters} perimeters, "
            f"nozzle {self.nozzle_mm:g} mm at {self.nozzle_c} °C, bed {self.bed_c} °C{brim}{support}"
        )


@cache
def _table(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum() or letter == "+")


def _find(table: str, wanted: str) -> str | None:
    key = _plain(wanted)
    for name, row in _table(table).items():
        if key in {_plain(name), *(_plain(alias) for alias in row.get("aliases", ()))}:
            return name
    return None


def known_materials() -> tuple[str, ...]:
    """Materials there is a printing profile for."""
    return tuple(_table("materials"))


def print_settings(
    profile: MachineProfile, stock: Stock, quality: str = DEFAULT_QUALITY, *, support: bool = False
) -> PrintSettings:
    """The settings for this class of printer, this filament and this quality.

    Raises CannotMake for a material or quality without a profile, and for a nozzle or bed that cannot get so hot.
    """
    material = _find("materials", stock.material)
    if material is None:
        raise CannotMake(
            f"{stock.material or 'No material'} cannot be printed",
            "there is no printing profile for it",
            f"Known are {', '.join(known_materials())}.",
        )
    if quality not in _table("qualities"):
        raise CannotMake(
            "It cannot be sliced", f"no quality is called {quality!r}", f"Use {', '.join(_table('qualities'))}."
        )
    printer = _find("printers", profile.model) or "generic"
    machine, filament, fineness = (
        _table("printers")[printer],
        _table("materials")[material],
        _table("qualities")[quality],
    )
    for part, limit in (("nozzle", machine["max_nozzle_c"]), ("bed", machine["max_bed_c"])):
        needed = max(filament[f"{part}_c"], filament["first_nozzle_c"] if part == "nozzle" else 0)
        if needed > limit:
            raise CannotMake(
                f"{material} cannot be printed on {profile.model}",
                f"its {part} reaches {limit} °C and {needed} °C are needed",
                "Choose another material or printer.",
            )
    nozzle = next((tool.diameter_mm for tool in profile.tools if tool.kind == "nozzle"), machine["nozzle_mm"])
    scale = nozzle / 0.4
    top_mm_s = (profile.max_feed_mm_min or 9000.0) / 60.0
    speed = filament["speed_factor"]
    return PrintSettings(
        printer=profile.model if printer == "generic" else printer,
        material=material,
        quality=quality,
        nozzle_mm=nozzle,
        filament_mm=machine["filament_mm"],
        layer_mm=round(fineness["layer_mm"] * scale, 3),
        first_layer_mm=round(fineness["first_layer_mm"] * scale, 3),
        nozzle_c=filament["nozzle_c"],
        first_nozzle_c=filament["first_nozzle_c"],
        bed_c=filament["bed_c"],
        density_g_cm3=filament["density_g_cm3"],
        fan_percent=filament["fan_percent"],
        fan_from_layer=filament["fan_from_layer"],
        flow_mm3_s=filament["flow_mm3_s"],
        retract_mm=round(machine["retract_mm"] * filament["retract_factor"], 2),
        retract_mm_s=machine["retract_mm_s"],
        travel_mm_s=min(machine["travel_mm_s"], top_mm_s),
        perimeters=fineness["perimeters"],
        top_layers=fineness["top_layers"],
        bottom_layers=fineness["bottom_layers"],
        infill_percent=fineness["infill_percent"],
        perimeter_mm_s=min(fineness["perimeter_mm_s"] * speed, top_mm_s),
        infill_mm_s=min(fineness["infill_mm_s"] * speed, top_mm_s),
        first_layer_mm_s=min(fineness["first_layer_mm_s"] * speed, top_mm_s),
        bed_mm=profile.envelope_mm,
        accel_mm_s2=profile.accel_mm_s2 or 1000.0,
        max_feed_mm_s=top_mm_s,
        adhesion=Adhesion(filament["adhesion"]),
        brim_mm=filament["brim_mm"],
        support_deg=fineness["support_deg"],
        support_percent=fineness["support_percent"],
        support_gap_mm=filament["support_gap_mm"],
        support=support,
    )


def same_material(one: str, other: str) -> bool:
    """Whether two names mean the same filament; a name without a profile is only the same as itself."""
    return (_find("materials", one) or _plain(one)) == (_find("materials", other) or _plain(other))


def known_density_g_cm3(material: str) -> float | None:
    """Density of a filament there is a profile for."""
    found = _find("materials", material)
    return float(_table("materials")[found]["density_g_cm3"]) if found else None
