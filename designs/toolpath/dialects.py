"""Which words a firmware takes in a job, and which must never be in one, with the reason.

GRBL: grbl/gcode.c, doc/markdown/commands.md; grblHAL adds tool changes and canned cycles (core gcode.c). Printers:
Marlin src/gcode/gcode.cpp and marlinfw.org/meta/gcode, with what the common slicers write.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from designs.processes.model import ProcessKind
from designs.toolpath.motions import M_CODES
from designs.toolpath.parser import is_marlin

_EEPROM = "writes the controller's memory"
_RESET = "resets the firmware"


@dataclass(frozen=True, slots=True)
class Words:
    """Known code names, and forbidden ones with why (as a predicate: `M500 writes …`)."""

    known: frozenset[str]
    forbidden: dict[str, str] = field(default_factory=dict)


_GRBL = frozenset(
    {
        "G0",
        "G1",
        "G2",
        "G3",
        "G4",
        "G17",
        "G18",
        "G19",
        "G20",
        "G21",
        "G40",
        "G43.1",
        "G49",
        "G54",
        "G55",
        "G56",
        "G57",
        "G58",
        "G59",
        "G61",
        "G80",
        "G90",
        "G91",
        "G91.1",
        "G92",
        "G92.1",
        "G93",
        "G94",
        "M0",
        "M1",
        "M2",
        "M3",
        "M4",
        "M5",
        "M7",
        "M8",
        "M9",
        "M30",
    }
)
_GRBL_FORBIDDEN = {
    "G10": _EEPROM,
    "G28": "moves to a stored place the program cannot know",
    "G28.1": _EEPROM,
    "G30": "moves to a stored place the program cannot know",
    "G30.1": _EEPROM,
    "G38.2": "probes, which a job must not",
    "G38.3": "probes, which a job must not",
    "G38.4": "probes, which a job must not",
    "G38.5": "probes, which a job must not",
    "G53": "moves in machine coordinates, which depend on where the work was clamped",
    "M56": "switches parking off",
}
_GRBLHAL = frozenset(
    {
        "G5",
        "G43",
        "G73",
        "G81",
        "G82",
        "G83",
        "G85",
        "G86",
        "G89",
        "G95",
        "G96",
        "G97",
        "G98",
        "G99",
        "M6",
        "M48",
        "M49",
        "M61",
    }
)
_PRINTER = frozenset(
    {
        "G0",
        "G1",
        "G2",
        "G3",
        "G4",
        "G5",
        "G10",
        "G11",
        "G12",
        "G17",
        "G18",
        "G19",
        "G20",
        "G21",
        "G27",
        "G28",
        "G29",
        "G60",
        "G61",
        "G80",
        "G90",
        "G91",
        "G92",
        "M0",
        "M1",
        "M17",
        "M18",
        "M25",
        "M31",
        "M42",
        "M73",
        "M74",
        "M75",
        "M76",
        "M77",
        "M82",
        "M83",
        "M84",
        "M92",
        "M104",
        "M105",
        "M106",
        "M107",
        "M108",
        "M109",
        "M110",
        "M113",
        "M114",
        "M115",
        "M117",
        "M118",
        "M140",
        "M141",
        "M145",
        "M149",
        "M150",
        "M155",
        "M190",
        "M191",
        "M200",
        "M201",
        "M203",
        "M204",
        "M205",
        "M207",
        "M208",
        "M209",
        "M211",
        "M220",
        "M221",
        "M226",
        "M240",
        "M290",
        "M300",
        "M400",
        "M401",
        "M402",
        "M403",
        "M404",
        "M405",
        "M406",
        "M407",
        "M412",
        "M413",
        "M420",
        "M425",
        "M486",
        "M569",
        "M572",
        "M593",
        "M600",
        "M601",
        "M602",
        "M603",
        "M605",
        "M701",
        "M702",
        "M800",
        "M801",
        "M862",
        "M862.1",
        "M862.2",
        "M862.3",
        "M862.4",
        "M862.5",
        "M862.6",
        "M862.7",
        "M900",
        "M906",
        "M907",
        "M913",
        "M914",
        "M960",
        "M1002",
    }
)
_PRINTER_FORBIDDEN = {
    "M302": "allows cold extrusion",
    "M112": "is the emergency stop",
    "M206": "moves the home position",
    "M301": "changes the heater's control",
    "M303": "tunes a heater, for minutes and unwatched",
    "M304": "changes the heater's control",
    "M428": "moves the home position",
    "M500": _EEPROM,
    "M501": "loads other settings",
    "M502": "loads factory settings",
    "M504": _EEPROM,
    "M524": "aborts a print",
    "M81": "switches the power off",
    "M851": "moves the probe's offset",
    "M997": "updates the firmware",
    "M999": _RESET,
    "M851.1": _EEPROM,
}
_CUTTERS_ON_PRINTER_FIRMWARE = frozenset({"M3", "M4", "M5", "M7", "M8", "M9"})


def words_of(dialect: str, process: ProcessKind, has_tool_changer: bool) -> Words:
    """The words of a dialect for a process."""
    name = dialect.lower()
    if is_marlin(name):
        known = _PRINTER | (_CUTTERS_ON_PRINTER_FIRMWARE if process is not ProcessKind.FDM else frozenset())
        if has_tool_changer:
            known |= {"M6"}
        return Words(known, _PRINTER_FORBIDDEN)
    forbidden = dict(_GRBL_FORBIDDEN)
    known = _GRBL
    if name.startswith(("grblhal", "fluidnc")):
        known = known | (_GRBLHAL if has_tool_changer else _GRBLHAL - {"M6", "M61"})
    if process is ProcessKind.LASER:
        forbidden["M0"] = "stops and waits with the beam armed"
    return Words(known, forbidden)


def code_name(code: int) -> str:
    """`G43.1` of a code row's value (10 × number, M codes from 100,000 on)."""
    letter, tenths = ("M", code - M_CODES) if code >= M_CODES else ("G", code)
    return f"{letter}{tenths // 10}" + (f".{tenths % 10}" if tenths % 10 else "")
