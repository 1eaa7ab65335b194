"""What the twin says: settings, offsets, modal words and status lines, in the very form of grbl/report.c."""

from __future__ import annotations

from firmware_bridges.arcs import Point
from firmware_bridges.modal import ModalState
from firmware_bridges.twins.grbl_variants import FACTORY


def settings_lines(settings: dict[int, float]) -> list[str]:
    """`$$`."""
    lines = []
    for number, value in sorted(settings.items()):
        decimals = FACTORY[number][1] if number in FACTORY else 3
        lines.append(f"${number}={value:.{decimals}f}")
    return lines


def coordinates(point: Point) -> str:
    """x,y,z with three decimals; no negative zero."""
    return ",".join(f"{value + 0.0:.3f}" if abs(value) >= 0.0005 else "0.000" for value in point)


def offsets_lines(systems: list[Point], stored: list[Point], g92: Point, tool_mm: float) -> list[str]:
    """`$#`."""
    lines = [f"[G{54 + place}:{coordinates(system)}]" for place, system in enumerate(systems)]
    lines += [f"[G28:{coordinates(stored[0])}]", f"[G30:{coordinates(stored[1])}]", f"[G92:{coordinates(g92)}]"]
    return [*lines, f"[TLO:{tool_mm:.3f}]", "[PRB:0.000,0.000,0.000:0]"]


def modal_line(state: ModalState) -> str:
    """`$G`. Feed and speed without decimals in millimetres (grbl/report.c, report_gcode_modes)."""
    coolant = " ".join(word for word, on in (("M7", state.mist), ("M8", state.flood)) if on) or "M9"
    feed = state.feed_mm_min if state.millimetres else state.feed_mm_min / 25.4
    return (
        f"[GC:{state.motion} G{state.system} G{state.plane} {'G21' if state.millimetres else 'G20'}"
        f" {'G90' if state.absolute else 'G91'} {'G93' if state.inverse_time else 'G94'} {state.spindle} {coolant}"
        f" T{state.tool} F{feed:.0f} S{state.spindle_value:.0f}]"
    )


class StatusFields:
    """Which of the rare fields the next status report carries (grbl/report.c, report_realtime_status)."""

    def __init__(self) -> None:
        self.wco_wait = 0
        self.overrides_wait = 0

    def rare(self, *, busy: bool, wco: Point, overrides: tuple[int, int, int], accessories: str) -> str:
        """The WCO or the Ov field, when its turn has come."""
        text = ""
        if self.wco_wait > 0:
            self.wco_wait -= 1
        else:
            self.wco_wait = 29 if busy else 9
            self.overrides_wait = self.overrides_wait or 1
            text += f"|WCO:{coordinates(wco)}"
        if self.overrides_wait > 0:
            self.overrides_wait -= 1
        else:
            self.overrides_wait = 19 if busy else 9
            text += f"|Ov:{overrides[0]},{overrides[1]},{overrides[2]}"
            if accessories:
                text += f"|A:{accessories}"
        return text
