"""What a program uses: filament, and electric energy while the machine works."""

from __future__ import annotations

import math
from dataclasses import dataclass

from designs.toolpath.timetable import TimeTable


@dataclass(frozen=True, slots=True)
class Consumers:
    """Electric power of a machine's parts, watts. Defaults: round figures for a desktop printer; measure yours."""

    idle_w: float = 10.0
    motion_w: float = 25.0
    heaters_w: float = 80.0
    """Mean power of hot end and bed while printing; 0 for machines without."""
    tool_w: float = 0.0
    """Spindle or laser supply at full power."""
    always_w: float = 0.0
    """Extraction, chiller, compressor: on for the whole run."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one run."""

    filament_mm: float
    filament_g: float
    energy_wh: float
    tool_on_s: float


def filament_mass_g(length_mm: float, diameter_mm: float = 1.75, density_g_cm3: float = 1.24) -> float:
    """Mass of a length of round filament; 1.24 g/cm³ is PLA."""
    return math.pi * (diameter_mm / 2.0) ** 2 * length_mm / 1000.0 * density_g_cm3


def usage(
    table: TimeTable,
    consumers: Consumers,
    power_s_max: float = 1000.0,
    *,
    diameter_mm: float = 1.75,
    density_g_cm3: float = 1.24,
) -> Usage:
    """Material and energy of a run with this time table; tool power in proportion to the S word."""
    hours = table.duration_s / 3600.0
    base = consumers.idle_w + consumers.motion_w + consumers.heaters_w + consumers.always_w
    tool = consumers.tool_w * table.power_s / max(power_s_max, 1e-9) / 3600.0
    return Usage(
        filament_mm=table.filament_mm,
        filament_g=filament_mass_g(table.filament_mm, diameter_mm, density_g_cm3),
        energy_wh=base * hours + tool,
        tool_on_s=table.tool_on_s,
    )
