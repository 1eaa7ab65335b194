"""Every bridge beside the twin it is tried on. A new dialect is one more entry in `MACHINES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from firmware_bridges.bridge import Capability, MachineConfig
from firmware_bridges.gcode_words import compact
from firmware_bridges.grbl_scripts import FRESH_MODES
from firmware_bridges.printer_lines import clean
from firmware_bridges.registry import open_bridge
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.grbl_variants import VARIANTS
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.marlin import HOUSEKEEPING, MarlinTwin
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.firmware_bridges.person import Handwork, PersonHost


@dataclass(frozen=True)
class Machine:
    """How to make a twin and the configuration of its bridge."""

    name: str
    dialect: str
    kind: str
    program: Sequence[str]
    """Some seconds of motion at speed 1; comments with letters outside ASCII; ends with everything off."""
    make: Callable[[], Any]
    """What its host drives: a `Twin`, or what the person of a manual machine does."""
    executed: Callable[[Any], list[str]]
    """The program's lines that the twin executed, in order, as text."""
    wanted: Callable[[Sequence[str]], list[str]]
    """What should have been executed of a program."""
    is_off: Callable[[dict[str, Any]], bool]
    """From the twin's state: heaters, spindle and beam are off."""
    stands: Callable[[dict[str, Any]], bool]
    can: frozenset[Capability] = frozenset()
    process: str = "fdm"
    options: tuple[tuple[str, str], ...] = (("banner_wait_s", "0.25"),)
    speed: float = 40.0
    homes_first: bool = False
    greets: bool = True
    """Its controller says hello in words the bridge knows when it starts; others take their port away with them."""
    tells_standing: bool = True
    """The bridge can learn that it stands still."""
    make_host: Callable[..., TwinHost | PersonHost] = TwinHost
    speaks_text: bool = True
    """Its wire carries ASCII."""

    @property
    def seen_working(self) -> int:
        """The line whose progress tells that it works; one that gets its job whole tells the first, then the last."""
        return 1 if Capability.UPLOAD_AND_START in self.can else 8

    def connected(self, host: TwinHost | PersonHost, bridge: Any) -> None:
        """Where people confirm what was done, the person goes to the machine."""
        if isinstance(host, PersonHost):
            host.attend(bridge)

    def config(self, port: str, **changes: Any) -> MachineConfig:
        values: dict[str, Any] = {
            "port": port,
            "dialect": self.dialect,
            "process": self.process,
            "options": self.options,
            **changes,
        }
        return MachineConfig(**values)

    def bridge(self, port: str, **changes: Any):
        return open_bridge(self.config(port, **changes))


def _printer_program() -> list[str]:
    lines = ["; a box ☂ with ümlauts", "G21 ; millimetres — ½", "G90", "M82", "G92 E0", "M106 S128"]
    lines += [f"G1 X{20 + (i * 13) % 60} Y{20 + (i * 7) % 60} F4800 ; línea {i}" for i in range(60)]
    return [*lines, "M107", "", "; end"]


PRINTER_PROGRAM = _printer_program()
_ADDED = {"G4 P0", "M104 S0", "M140 S0"}


def _printer_executed(twin: MarlinTwin) -> list[str]:
    return [text for text in twin.executed if text not in _ADDED]


def _printer_wanted(program: Sequence[str]) -> list[str]:
    return [text for text in map(clean, program) if text and text.split()[0] not in HOUSEKEEPING]


def _printer_off(state: dict[str, Any]) -> bool:
    return state["spindle"] == 0 and all(target == 0 for _, target in state["heaters"].values())


def _stands(state: dict[str, Any]) -> bool:
    return state["planner"] == 0


_PRINTER_CAN = frozenset(
    {
        Capability.HOLD,
        Capability.RESUME,
        Capability.EMERGENCY_STOP,
        Capability.HOMING,
        Capability.HEATERS,
        Capability.START_AT_LINE,
    }
)


def _printer(name: str, kind: str, *settings: tuple[str, str], **changes: Any) -> Machine:
    options = TwinOptions(kind, settings=(("keep_executed", "1"), *settings))
    return Machine(
        name=name,
        dialect=kind,
        kind=kind,
        program=PRINTER_PROGRAM,
        make=lambda: make_twin(options),
        executed=_printer_executed,
        wanted=_printer_wanted,
        is_off=_printer_off,
        stands=_stands,
        **{"can": _PRINTER_CAN, **changes},
    )


class _FlatGrbl(GrblTwin):
    """Its record in the form that the suite reads: one number each for spindle and planner."""

    def state(self, now: float) -> dict[str, Any]:
        record = super().state(now)
        return {**record, "spindle": record["spindle"]["power"], "planner": record["planner"]["blocks"]}


def _cutting_program(process: str) -> list[str]:
    lines = ["; a box ☂ with ümlauts", "G21 (½)", "G90", "M4 S0" if process == "laser" else "M3 S9000", "G0 X20 Y20"]
    feed = "S400 F4800" if process == "laser" else "F3000"
    lines += [f"G1 X{20 + (i * 13) % 60} Y{20 + (i * 7) % 60} {feed} ; línea {i}" for i in range(60)]
    return [*lines, "M5", "", "; end"]


_GRBL_CAN = frozenset(
    {Capability.HOLD, Capability.RESUME, Capability.EMERGENCY_STOP, Capability.START_AT_LINE, Capability.JOG}
)


def _grbl(name: str, kind: str, process: str, *, homes: bool = False) -> Machine:
    profile = "laser" if process == "laser" else "router"
    settings: dict[int, float] = {22: 1 if homes else 0}

    return Machine(
        name=name,
        dialect=kind,
        kind=kind,
        program=_cutting_program(process),
        make=lambda: _FlatGrbl(variant=VARIANTS[kind], profile=profile, settings=settings, keep_lines=True),
        executed=lambda twin: [text for text in twin.consumed if text not in ("M5S0", FRESH_MODES)],
        wanted=lambda program: [text for text in map(compact, program) if text],
        is_off=lambda state: state["spindle"] == 0,
        stands=lambda state: state["planner"] == 0,
        can=_GRBL_CAN | ({Capability.HOMING} if homes else set()),
        process=process,
        options=(("spin_up_s", "0.2"),),
        homes_first=homes,
    )


RUIDA_PROGRAM = [
    "; a box ☂ with ümlauts",
    "88 00 00 00 00 00 00 00 00 00 00 ; ½",
    *(f"a9 00 {1 + i:02x} 00 00 ; línea {i}" for i in range(60)),
    "",
    "d7 ; end",
]


def _ruida(name: str, *settings: tuple[str, str]) -> Machine:
    options = TwinOptions("ruida", settings=settings)
    return Machine(
        name=name,
        dialect="ruida",
        kind="ruida",
        program=RUIDA_PROGRAM,
        make=lambda: make_twin(options),
        executed=lambda twin: list(twin.controller.executed),
        wanted=lambda program: [text for text in (line.split(";")[0].strip() for line in program) if text],
        is_off=lambda state: state["spindle"] == 0,
        stands=_stands,
        can=frozenset({Capability.HOLD, Capability.RESUME, Capability.EMERGENCY_STOP, Capability.UPLOAD_AND_START}),
        process="laser",
        options=(),
        speed=5.0,
        greets=False,
        speaks_text=False,
    )


WORK_CARD = [
    "; a box ☂ with ümlauts",
    "Clamp the bar in the vice ½",
    "",
    *(f"Drill 5 mm at mark {i}" for i in range(60)),
    "; línea",
]


def _manual() -> Machine:
    return Machine(
        name="manual",
        dialect="manual",
        kind="manual",
        program=WORK_CARD,
        make=Handwork,
        make_host=PersonHost,
        executed=lambda work: list(work.executed),
        wanted=lambda program: [text for text in program if text and not text.startswith(";")],
        is_off=lambda state: state["spindle"] == 0,
        stands=_stands,
        can=frozenset({Capability.HUMAN_CONFIRMED, Capability.HOLD, Capability.RESUME, Capability.START_AT_LINE}),
        process="cnc",
        options=(),
        greets=False,
    )


MACHINES: list[Machine] = [
    _printer("marlin", "marlin"),
    _printer("marlin-plain-ok", "marlin", ("advanced_ok", "0"), ("emergency_parser", "0")),
    _printer("prusa", "prusa"),
    _printer("klipper", "klipper", greets=False),
    _printer("smoothie", "smoothie"),
    _printer("reprapfirmware", "reprapfirmware", greets=False),
    _printer("repetier", "repetier"),
    _printer(
        "acknowledge-only",
        "acknowledge-only",
        can=frozenset({Capability.HOLD, Capability.RESUME}),
        greets=False,
        tells_standing=False,
    ),
    _grbl("grbl-laser", "grbl", "laser"),
    _grbl("grbl-router", "grbl", "cnc", homes=True),
    _grbl("grblhal-laser", "grblhal", "laser"),
    _grbl("fluidnc-router", "fluidnc", "cnc"),
    _ruida("ruida-serial"),
    _ruida("ruida-serial-without-acknowledgements", ("acknowledges", "0")),
    _manual(),
]


def machines(*wanted: Capability) -> list[Machine]:
    """Those that can do all of it."""
    return [machine for machine in MACHINES if machine.can.issuperset(wanted)]
