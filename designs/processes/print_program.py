"""How a print begins and ends on Marlin and those that speak like it (Klipper, RepRapFirmware, Prusa).

Begin: millimetres, absolute, home, heat (bed first, then nozzle), a primed line along the front edge. End: heaters and
fan off, nozzle up, bed forward, motors off. Codes: marlinfw.org/docs/gcode (G28, M109, M190, M107, M84, M83).
"""

from __future__ import annotations

from typing import Final

from designs.processes.profiles import PrintSettings

PRIME_Y_MM: Final = 3.0
PRIME_X_MM: Final = 10.0
PRIME_LONGEST_MM: Final = 60.0
FRONT_MM: Final = 8.0
"""Strip along the front that stays free for the primed line."""
SIDE_MM: Final = 4.0
"""Strip along the other edges that stays free."""


def start_lines(settings: PrintSettings) -> tuple[str, ...]:
    """The program before the first layer. The bed is warm before the nozzle gets hot, so that it does not ooze."""
    length = min(PRIME_LONGEST_MM, settings.bed_mm[0] - 2 * PRIME_X_MM)
    height = settings.first_layer_mm
    area = settings.line_mm * 1.2 * height
    filament = length * area / (3.14159265 * settings.filament_mm**2 / 4)
    return (
        "G21",
        "G90",
        "M83",
        "M107",
        f"M140 S{settings.bed_c}",
        "G28",
        "G0 Z5 F600",
        f"M190 S{settings.bed_c}",
        f"M104 S{settings.first_nozzle_c}",
        f"M109 S{settings.first_nozzle_c}",
        "G92 E0",
        f"G0 X{PRIME_X_MM:g} Y{PRIME_Y_MM:g} F{settings.travel_mm_s * 60:.0f}",
        f"G0 Z{height:g} F600",
        f"G1 X{PRIME_X_MM + length:g} E{filament:.4f} F900",
        f"G1 E-{settings.retract_mm:g} F{settings.retract_mm_s * 60:.0f}",
        f"G0 Z{height + 0.6:g} F600",
        f"G1 E{settings.retract_mm:g} F{settings.retract_mm_s * 60:.0f}",
        "G92 E0",
    )


def end_lines(settings: PrintSettings, top_mm: float) -> tuple[str, ...]:
    """The program after the last layer; `top_mm` is the highest point printed. Stays inside the printer."""
    lifted = min(top_mm + 10.0, settings.bed_mm[2])
    return (
        "M104 S0",
        "M140 S0",
        "M107",
        f"G0 Z{lifted:.3f} F600",
        f"G0 X5 Y{settings.bed_mm[1] - 5:g} F{settings.travel_mm_s * 60:.0f}",
        "M400",
        "M84",
    )
