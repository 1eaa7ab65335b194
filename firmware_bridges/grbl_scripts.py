"""Short exchanges with a GRBL controller: who is there, get ready for a run, home, re-arm. None of them moves anything
but homing. Run on the link's thread by `dialogue`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from firmware_bridges import grbl_lines
from firmware_bridges.arcs import Point
from firmware_bridges.bridge import BridgeError, Capability, Identity, NotNow, WrongMachine
from firmware_bridges.dialogue import Ask, Script
from firmware_bridges.grbl_codes import alarm_text, error_text
from firmware_bridges.grbl_lines import Build, Report
from firmware_bridges.modal import Offsets
from firmware_bridges.session import Happening

RESET: Final = b"\x18"
STATUS: Final = b"?"
HOLD: Final = b"!"
BANNER_S: Final = 2.5
ANSWER_S: Final = 2.0
HOMING_S: Final = 300.0
ORDINARY_RX: Final = 128
#: What a run starts from: the modes of a fresh controller (grbl/gcode.c, gc_init), spindle off.
FRESH_MODES: Final = "G0G17G21G40G49G54G90G91.1G94M5M9"
_FRESH_WORDS: Final = frozenset({"G17", "G21", "G54", "G90", "G94", "M5", "M9"})


@dataclass(frozen=True, slots=True)
class Found:
    """What identification learnt."""

    identity: Identity
    build: Build
    settings: dict[int, float]
    report: Report | None

    def capacity(self) -> int:
        """Bytes that may be in flight: one less than what the controller told; that costs nothing.

        FluidNC's `$I` is no runtime truth (src/Channel.h): its status report tells, else the ordinary size holds.
        """
        told = self.build.rx_bytes
        if self.report is not None and self.report.receive_free:
            told = self.report.receive_free
        elif self.build.firmware == "fluidnc" or not told:
            told = ORDINARY_RX
        return told - 1


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the machine stands before a run, in machine coordinates, and its offsets."""

    position: Point
    offsets: Offsets
    motion: str = "G0"
    """The motion word in force."""


def _ended(line: str) -> bool:
    return line == "ok" or line.startswith("error:")


def _is_report(line: str) -> bool:
    return line.startswith("<")


def _is_banner(line: str) -> bool:
    return grbl_lines.banner(line) is not None


def _status_of(lines: tuple[str, ...], *, inches: bool = False) -> Report | None:
    return next((found for line in reversed(lines) if (found := grbl_lines.report(line, inches=inches))), None)


def _ask_status(*, inches: bool = False, timeout_s: float = 1.0) -> Script[Report | None]:
    heard = yield Ask(STATUS, _is_report, timeout_s, interject=True)
    return _status_of(heard.lines, inches=inches)


# --- who is there ----------------------------------------------------------------------------------------------------


def identify(dialect: str, port: str, process: str) -> Script[Found]:
    """Listen for a greeting, then `?`, `$I` and `$$`. A machine found in motion is stopped: its host is gone.

    A controller that did not greet is reset at rest: half a line of an earlier host may wait in it, and a line end
    would make it move. Raises WrongMachine.
    """
    greeting = (yield Ask(b"", _is_banner, BANNER_S)).lines
    report = yield from _ask_status()
    moving = report is not None and report.state not in ("Idle", "Alarm")
    if moving or not any(map(_is_banner, greeting)):
        lines = yield from _stand_down(moving=moving)
        greeting = (*greeting, *lines)
        report = yield from _ask_status()
    heard = yield Ask(b"$I\n", _ended, ANSWER_S)
    build = grbl_lines.build((*greeting, *heard.lines))
    if build is None or (report is None and not heard.complete):
        raise WrongMachine(
            f"Nothing on {port} answers as a GRBL controller: check the power, the baud rate and the dialect,"
            " or run detect."
        )
    if dialect in ("grblhal", "fluidnc") and build.firmware != dialect:
        raise WrongMachine(f"On {port} answers {build.firmware}, but {dialect} was configured: correct the dialect.")
    heard = yield Ask(b"$$\n", _ended, 2 * ANSWER_S)
    settings = _floats(grbl_lines.settings(heard.lines))
    if not heard.complete or not settings:
        raise WrongMachine(
            f"The controller on {port} did not tell its settings ($$): it is hung; switch it off and on."
        )
    return Found(_identity(build, settings, process), build, settings, report)


def _stand_down(*, moving: bool) -> Script[tuple[str, ...]]:
    """Feed hold, wait until it stands, reset: nothing is left in the controller. Returns its greeting."""
    if moving:
        yield Ask(HOLD, _is_report, 0.05, interject=True)
    for _ in range(30 if moving else 0):
        report = yield from _ask_status(timeout_s=0.5)
        if report is None or (report.state not in ("Run", "Jog") and report.substate == 0):
            break
        yield Ask(b"", lambda _line: False, 0.1)
    heard = yield Ask(RESET, _is_banner, BANNER_S, interject=True)
    return heard.lines


def _floats(found: dict[int, str]) -> dict[int, float]:
    values = {}
    for number, text in found.items():
        try:
            values[number] = float(text)
        except ValueError:
            continue
    return values


def _identity(build: Build, settings: dict[int, float], process: str) -> Identity:
    capabilities = {
        Capability.HOLD,
        Capability.RESUME,
        Capability.EMERGENCY_STOP,
        Capability.START_AT_LINE,
        Capability.UNLOCK,
        Capability.JOG,
        Capability.DRY_RUN,
        Capability.FLOW_BY_CHARACTERS,
        Capability.POSITION_REPORT,
        Capability.LASER if process == "laser" else Capability.SPINDLE,
    }
    if settings.get(22):
        capabilities.add(Capability.HOMING)
    shown = tuple((f"${number}", f"{value:g}") for number, value in sorted(settings.items()))
    who = f"{build.firmware} {build.version} {build.options}"
    fingerprint = f"{build.firmware}:{hashlib.sha256(who.encode()).hexdigest()[:16]}"
    return Identity(build.firmware, build.firmware, build.version, fingerprint, frozenset(capabilities), shown)


# --- before a run ----------------------------------------------------------------------------------------------------


def get_ready(*, inches: bool) -> Script[Ready]:
    """Fresh modes, offsets and position. Raises NotNow when the controller does not stand ready."""
    modes = yield from _modes()
    if not modes >= _FRESH_WORDS:
        heard = yield Ask(FRESH_MODES.encode() + b"\n", _ended, ANSWER_S)
        modes = yield from _modes()
        if not modes >= _FRESH_WORDS:
            raise NotNow(f"The controller did not take its fresh modes ({_last(heard.lines)}): look at the machine.")
    heard = yield Ask(b"$#\n", _ended, ANSWER_S)
    offsets = grbl_lines.offsets(heard.lines, inches=inches)
    if offsets is None:
        heard = yield Ask(b"$#\n", _ended, ANSWER_S)
        offsets = grbl_lines.offsets(heard.lines, inches=inches)
    report = yield from _ask_status(inches=inches)
    if offsets is None or report is None:
        raise NotNow("The controller did not tell its work offsets or its position: the cable may be bad.")
    if report.state != "Idle":
        raise NotNow(f"The controller is in state {report.state}, not Idle: look at the machine.")
    position = report.machine
    if position is None and report.work is not None:
        base = offsets.systems[0]
        shift = [base[i] + offsets.g92[i] + (offsets.tool_length_mm if i == 2 else 0.0) for i in range(3)]
        position = (report.work[0] + shift[0], report.work[1] + shift[1], report.work[2] + shift[2])
    if position is None:
        raise NotNow("The controller did not tell its position.")
    return Ready(position, offsets, next((word for word in ("G0", "G1", "G2", "G3") if word in modes), "G80"))


def check_mode(*, inches: bool) -> Script[Ready]:
    """Get ready, then switch check mode on: lines are tried, nothing moves. Raises NotNow."""
    ready = yield from get_ready(inches=inches)
    heard = yield Ask(b"$C\n", _ended, ANSWER_S)
    if not heard.complete or "[MSG:Enabled]" not in heard.lines:
        raise NotNow(f"The controller did not switch to check mode ({_last(heard.lines)}).")
    return ready


def leave_check_mode() -> Script[None]:
    """Check mode off; the controller resets itself and greets. Raises NotNow."""
    heard = yield Ask(b"$C\n", _is_banner, BANNER_S)
    if not heard.complete:
        raise NotNow(f"The controller did not leave check mode ({_last(heard.lines)}): look at the machine.")


def _modes() -> Script[frozenset[str]]:
    """The words in force, from `$G`."""
    for send in (b"$G\n", b""):  # an ok that was left over may come first
        heard = yield Ask(send, _ended, ANSWER_S)
        for line in heard.lines:
            if line.startswith("[GC:"):
                return frozenset(line[4:].rstrip("]").split())
    return frozenset()


def _last(lines: tuple[str, ...]) -> str:
    return lines[-1] if lines else "no answer"


# --- people's acts ---------------------------------------------------------------------------------------------------


def home(firmware: str) -> Script[None]:
    """`$H`; ends with the controller's word. Raises BridgeError when homing failed."""

    def over(line: str) -> bool:
        return _ended(line) or grbl_lines.alarm_number(line) is not None or _is_banner(line)

    heard = yield Ask(b"$H\n", over, HOMING_S)
    last = _last(heard.lines)
    if heard.complete and last == "ok":
        return
    alarm, error = grbl_lines.alarm_number(last), grbl_lines.error_number(last)
    if alarm is not None:
        raise BridgeError(f"Homing failed: {alarm_text(alarm, firmware)}. Look at the machine, re-arm, home again.")
    if error is not None:
        raise BridgeError(f"The controller does not home: {error_text(error, firmware)}.")
    raise BridgeError(f"Homing did not end ({last}): look at the machine.")


def rearm() -> Script[Happening]:
    """Reset, unlock, spindle and beam off. Moves nothing. Raises BridgeError when the controller stays mute.

    The reset throws away half a line that may wait in the controller (grbl/protocol.c keeps it until a line end).
    """
    report = yield from _ask_status()
    yield from _stand_down(moving=report is not None and report.state not in ("Idle", "Alarm"))
    report = yield from _ask_status()
    if report is None:
        raise BridgeError("The controller does not answer: switch it off and on, then re-arm.")
    if report.state == "Alarm":
        yield Ask(b"$X\n", _ended, ANSWER_S)
    yield Ask(b"M5S0\n", _ended, ANSWER_S)
    report = yield from _ask_status()
    return Happening.REARMED if report is not None and report.state == "Idle" else Happening.REARMED_LOCKED


def jog(line: str, firmware: str) -> Script[None]:
    """One `$J=` line. Raises BridgeError when the controller refuses it."""
    heard = yield Ask(line.encode("ascii") + b"\n", _ended, ANSWER_S)
    error = grbl_lines.error_number(_last(heard.lines))
    if error is not None:
        raise BridgeError(f"The controller does not jog: {error_text(error, firmware)}.")
    if not heard.complete:
        raise BridgeError("The controller did not answer the jog.")
