"""What a Marlin bridge asks outside of runs: who is there, is it ready again, home, are the heaters off."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from firmware_bridges.bridge import (
    BridgeError,
    BridgeState,
    Capability,
    Identity,
    Notice,
    NotNow,
    WrongMachine,
)
from firmware_bridges.dialogue import Ask, Script
from firmware_bridges.marlin_answers import (
    Card,
    Death,
    Heat,
    Ok,
    Refused,
    Started,
    Unknown,
    heat,
    read,
)
from firmware_bridges.printer_dialect import PrinterDialect
from firmware_bridges.session import Happening
from firmware_bridges.wire_bridge import WireBridge

BANNER_WAIT_S: Final = 2.5
QUIET_S: Final = 0.15
ANSWER_S: Final = 3.0
#: Sixty lines at 115200 baud take 0.3 s; a busy display takes longer.
LONG_ANSWER_S: Final = 6.0
QUESTIONS: Final = 4
LONGEST_SILENCE_S: Final = 900.0
"""Of a firmware that says nothing during long commands (homing, heating)."""


class MarlinScripts(WireBridge):
    """The scripts of the Marlin family; see `dialogue`."""

    protocol: PrinterDialect
    _emergency_parser: bool
    _auto_temperature: bool
    _auto_position: bool
    _auto_card: bool
    _has_card: bool
    _prints_from_card: bool
    _keeps_alive: bool
    _homed: bool | None

    def _identification(self, *, again: bool) -> Script[Identity]:
        wait_s = float(self.config.option("banner_wait_s", str(BANNER_WAIT_S)))
        heard = yield Ask(b"", lambda line: isinstance(read(line), Started), wait_s)
        if heard.complete:
            yield from self._quiet()
        for attempt in range(QUESTIONS):
            lines: list[str] = []
            heard = yield Ask(b"M115\n" if attempt == 0 else b"\nM115\n", _ends_m115, ANSWER_S)
            lines += heard.lines
            if any("FIRMWARE_NAME" in line for line in lines):
                return (yield from self._settle(lines, again=again))
            if any(_KLIPPER_NOT_READY.search(line) for line in lines):
                raise WrongMachine(f"Klipper answers, but is not ready: {' '.join(lines)[:300]}")
        raise WrongMachine(
            f"Nothing on {self.config.port} answers M115 as {self.protocol.name} firmware does: check the power, the"
            f" baud rate ({self.config.baud}) and the dialect, or run detect."
        )

    def _quiet(self) -> Script[None]:
        """Let a greeting come to its end."""
        for _ in range(60):
            heard = yield Ask(b"", lambda line: line != "wait", QUIET_S)
            if not heard.complete:
                return

    def _settle(self, lines: list[str], *, again: bool) -> Script[Identity]:
        name = next(line for line in lines if "FIRMWARE_NAME" in line)
        if not re.search(self.protocol.firmware_name, name):
            raise WrongMachine(
                f"On {self.config.port} answers «{name[:80]}», but the dialect {self.protocol.name} was configured:"
                " correct the configuration, or look which machine sits in this socket."
            )
        caps = dict(re.findall(r"^Cap:([A-Z_0-9]+):([01])", "\n".join(lines), re.MULTILINE))
        self._emergency_parser = caps.get("EMERGENCY_PARSER") == "1"
        self._auto_temperature = caps.get("AUTOREPORT_TEMP") == "1"
        self._auto_position = caps.get("AUTOREPORT_POS") == "1"
        self._auto_card = caps.get("AUTOREPORT_SD_STATUS") == "1"
        self._has_card = self._auto_card or caps.get("SDCARD") == "1"
        yield from self._quiet()
        self._keeps_alive = False
        if self.protocol.name in ("marlin", "prusa"):
            heard = yield Ask(b"M113\n", lambda line: isinstance(read(line), Ok), ANSWER_S)
            self._keeps_alive = heard.complete and not any("Unknown command" in line for line in heard.lines)
        limits = yield from self._ask_limits()
        yield from self._set_up()
        if again and not self._prints_from_card:
            yield from self._switch_off()
        version = re.search(r"FIRMWARE_VERSION:\s?(\S+)|FIRMWARE_NAME:\s?([^(]*)", name)
        firmware = re.search(r"FIRMWARE_NAME:\s?([\w.+-]+)", name)
        return Identity(
            dialect=self.protocol.name,
            firmware=firmware[1] if firmware else self.protocol.name,
            version=(version[1] or version[2] or "").strip() if version else "",
            fingerprint=_fingerprint(self.protocol.name, name),
            capabilities=self.protocol.capabilities | ({Capability.AUTO_REPORT} if self._auto_temperature else set()),
            settings=(*sorted(caps.items()), *limits),
        )

    def _ask_limits(self) -> Script[tuple[tuple[str, str], ...]]:
        """Speeds, accelerations and jerk in force, from M503 (Marlin src/module/settings.cpp, `report`); in mm only."""
        if self.protocol.name not in ("marlin", "prusa"):
            return ()
        heard = yield Ask(b"M503\n", lambda line: isinstance(read(line), Ok), LONG_ANSWER_S)
        return limits_of(heard.lines) if heard.complete else ()

    def _set_up(self) -> Script[None]:
        """Reports that the firmware offers; asked again after every reset."""
        for text in self._reports():
            yield Ask(f"{text}\n".encode(), lambda line: isinstance(read(line), Ok), ANSWER_S)
        if self._has_card:  # the first report by itself is 2 s away
            yield from self._ask_card()

    def _reports(self) -> tuple[str, ...]:
        """M155, M154 and M27 with their intervals (Marlin src/gcode/temp/M155.cpp, host/M154.cpp, sd/M27.cpp)."""
        wanted = ((self._auto_temperature, "M155 S2"), (self._auto_position, "M154 S1"), (self._auto_card, "M27 S2"))
        return tuple(text for offered, text in wanted if offered)

    def _ask_card(self) -> Script[bool]:
        """Whether the machine told if it prints from its card; what it told is in `_prints_from_card`."""
        for _ in range(QUESTIONS):
            heard = yield Ask(b"M27\n", lambda line: isinstance(read(line), Ok), ANSWER_S)
            answers = [read(line) for line in heard.lines]
            if any(isinstance(answer, Card | Unknown) for answer in answers):
                return True
        return False

    def _card_script(self) -> Script[None]:
        if not (yield from self._ask_card()):
            raise NotNow("The machine does not tell whether it prints from its own card: look at it, then try again.")

    def _leave_idle(self) -> None:
        """Reports off again: the next program on this port may not expect them."""
        for text in self._reports():
            self.link.write(f"{text.split()[0]} S0\n".encode())

    def _rearm_script(self) -> Script[Happening]:
        state = self.session.state
        if self.protocol.clears_halt and state in (BridgeState.FAULT, BridgeState.ALARM):
            yield Ask(self.protocol.clears_halt, lambda line: isinstance(read(line), Ok), ANSWER_S)
            yield from self._quiet()
        for _ in range(QUESTIONS):
            heard = yield Ask(b"\nM105\n", _tells_heat, ANSWER_S)
            if heard.complete:
                break
        else:
            raise BridgeError(
                "The machine does not answer. After a kill or a thermal fault only a reset helps: look at the machine,"
                " press its reset button or switch it off and on, then re-arm it again."
            )
        yield from self._set_up()
        return Happening.REARMED

    def _home_script(self) -> Script[None]:
        heard = yield Ask(b"G28\n", _ok_or_refused, LONGEST_SILENCE_S)
        if not heard.complete or any(isinstance(read(line), Refused | Death) for line in heard.lines):
            raise BridgeError(f"Homing did not end well: {' / '.join(heard.lines[-3:])}. Look at the machine.")
        self._homed = True

    def _switch_off(self) -> Script[None]:
        """The link is back, and what heated the machine is over: it must not stay hot until somebody comes by."""
        if self.config.process in ("laser", "cnc"):
            yield Ask(b"M5\n", lambda line: isinstance(read(line), Ok), ANSWER_S)
        if (yield from self._verify_off()):
            why = "The link came back, but the machine does not report its heaters off. Look at it now."
            self.emit(Notice("alarm", why))

    def _verify_off(self) -> Script[str]:
        """Targets must read zero; where the firmware reports none, its ok has to do."""
        if not self.protocol.question:
            return ""
        for _ in range(QUESTIONS):
            heard = yield Ask(b"M105\n", _tells_heat, ANSWER_S)
            targets = [target for line in heard.lines if _tells_heat(line) for _, _, target in heat(line)]
            if heard.complete and not any(targets):
                return ""
            if heard.complete:
                for text in self.protocol.heaters_off:
                    yield Ask(text.encode() + b"\n", lambda line: isinstance(read(line), Ok), ANSWER_S)
        return "The run was cancelled, but the machine does not report its heaters off. Look at it now."


_KLIPPER_NOT_READY: Final = re.compile(r"Printer is not ready|Klipper state: (?!Ready)|!! ")


def _ends_m115(line: str) -> bool:
    return line.startswith("ok") and not line.startswith("ok T:")


def _tells_heat(line: str) -> bool:
    """The answer to M105, not a report that came by itself (Marlin begins those with a space)."""
    return not line.startswith(" ") and (line.startswith("ok T") or isinstance(read(line), Heat) or "ok B:" in line)


def _ok_or_refused(line: str) -> bool:
    answer = read(line)
    return isinstance(answer, Refused | Death) or (isinstance(answer, Ok) and not answer.warm)


def _fingerprint(dialect: str, answer: str) -> str:
    """What stays the same over a firmware update: kind of machine and its own id, where M115 tells them."""
    facts = [dialect]
    for name in ("MACHINE_TYPE", "UUID", "EXTRUDER_COUNT", "ELECTRONICS"):
        match = re.search(rf"{name}:\s?(.*?)(?=\s[A-Z_]+:|$)", answer)
        facts.append(match[1] if match else "")
    return f"{dialect}-{hashlib.sha256('|'.join(facts).encode()).hexdigest()[:12]}"


def limits_of(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(word, values) of M201, M203, M204 and M205 in an answer to M503; none where it is in inches (G20)."""
    lines = tuple(lines)
    if any(re.match(r"(echo:)?\s*G20\b", line) for line in lines):
        return ()
    found = (re.match(r"(?:echo:)?\s*(M20[1345])\s+(.+)", line) for line in lines)
    return tuple((hit[1], hit[2].split(";")[0].strip()) for hit in found if hit)
