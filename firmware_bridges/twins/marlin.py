"""Marlin 2.1 on an ATmega2560 RAMPS board, as a host sees it: receive ring, numbered lines, queue, acknowledgements.

After Marlin src/gcode/queue.cpp (get_serial_commands, ok_to_send, flush_and_request_resend), src/feature/e_parser.h,
src/gcode/gcode.cpp (host_keepalive), src/MarlinCore.cpp (kill); texts as recorded from that firmware.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from firmware_bridges.twins.marlin_build import MarlinBuild, build_from
from firmware_bridges.twins.marlin_card import Card
from firmware_bridges.twins.marlin_machine import MarlinMachine
from firmware_bridges.twins.marlin_texts import AREA, BANNER, RESET_CAUSES, SCREEN, SETTINGS
from firmware_bridges.twins.marlin_words import leading_int

if TYPE_CHECKING:
    from firmware_bridges.twins.run import TwinOptions

BOOT_S: Final = 0.6
MAX_COMMAND: Final = 96
EMERGENCY: Final = re.compile(rb"^ *(?:N[-0-9 ]*)?M(108|112|410|876 S\d+)")
#: Questions and settings of the conversation: they are no part of a program.
HOUSEKEEPING: Final = frozenset(
    {"M105", "M108", "M110", "M112", "M113", "M114", "M115", "M119", "M154", "M155"}
    | {"M27", "M31", "M400", "M410", "M503", "M876"}
)


class MarlinTwin:
    """See the module. Lines numbered by the host are executed exactly when the firmware would execute them."""

    resets_on_open = True

    def __init__(self, build: MarlinBuild | None = None) -> None:
        self.build = build or MarlinBuild()
        self.resets_on_open = self.build.resets_on_open and type(self).resets_on_open
        self.machine = MarlinMachine(self._say, self.build.acceleration)
        self.card = Card()
        self._out: list[bytes] = []
        self._alive_from = BOOT_S
        self._booted = False
        self._cause = "power"
        self.killed = False
        self.executed: list[str] = []
        self.executed_count = 0
        self._hash = hashlib.sha256()
        self.overruns = 0
        self.unknown = 0
        self.resends = 0
        self.silent_drops = 0
        self._now = 0.0
        self._start_over()

    def _start_over(self) -> None:
        self._rx = bytearray()
        self._line = bytearray()
        self._skip = False
        self._emergency_line = bytearray()
        self._queue: deque[tuple[str, int | None]] = deque()
        self._current: tuple[str, int | None] | None = None
        self._last_n = 0
        self._busy_due = 0.0
        self._cpu_free = 0.0
        self._reports = {"temp": 0.0, "pos": 0.0, "sd": 0.0}
        self._report_due = dict(self._reports)
        self.card.start(None, 0.0)

    # --- the frame's side ---------------------------------------------------------------------------------------------

    def boot(self, now: float, cause: str) -> None:
        """See `Twin.boot`."""
        self._cause, self._alive_from, self._booted, self.killed = cause, now + BOOT_S, False, False
        self._start_over()
        self.machine.start_over(now)

    def receive(self, data: bytes, now: float) -> None:
        """Bytes into the ring; what does not fit is lost without a word. The emergency parser sees all of them."""
        self.advance(now)
        if now < self._alive_from or not self._booted:
            return  # the bootloader eats them
        for byte in data:
            if self.build.emergency_parser:
                self._watch_emergency(byte, now)
            if len(self._rx) >= self.build.receive_bytes - 1:
                self._read_lines(now)
                if len(self._rx) >= self.build.receive_bytes - 1:
                    self.overruns += 1
                    continue
            self._rx.append(byte)
        self.advance(now)

    def advance(self, now: float) -> None:
        """Live until `now`, event by event, so that a clock that runs fast changes nothing."""
        while True:
            due = self.wakes_at()
            t = now if due is None or due <= self._now else min(now, due)
            self._now = t
            self._live(t)
            if t >= now:
                return

    def take_output(self) -> list[bytes]:
        """See `Twin.take_output`."""
        out, self._out = self._out, []
        return out

    def wakes_at(self) -> float | None:
        """The next event: boot, planner, report, keep-alive, heater step."""
        if self.killed:
            return None
        if not self._booted:
            return self._alive_from
        times = [self._now + 0.25] if any(h.target_c or h.fault for h in self.machine.heaters.values()) else []
        times += [due for name, due in self._report_due.items() if self._reports[name]]
        times += [due for due in (self.machine.next_change(), self.card.ends_at()) if due is not None]
        if self._current is not None:
            times += [self._busy_due, self._now + 0.02]
        elif self._queue:
            times.append(self._cpu_free)
        return min((t for t in times if t > self._now), default=None)

    # --- living -------------------------------------------------------------------------------------------------------

    def _live(self, now: float) -> None:
        if self.killed or now < self._alive_from:
            return
        if not self._booted:
            self._booted = True
            self._greet()
        failure = self.machine.advance(now)
        if failure:
            self._fail_heater(failure)
            return
        self._read_lines(now)
        while self._turn(now):
            self._read_lines(now)
        self._auto_report(now)

    def _greet(self) -> None:
        for i, line in enumerate(BANNER):
            self._say(line)
            if i == 0 and self._cause in RESET_CAUSES:
                self._say(RESET_CAUSES[self._cause])

    def _turn(self, now: float) -> bool:
        """One turn of the main loop; True when there may be more to do at once."""
        machine = self.machine
        if self._current is not None:
            machine.feed_planner(now)
            over = machine.blocked is None or machine.blocked(now)
            if over and not machine.pending:
                machine.blocked = None
                self._acknowledge(self._current, now)
                return True
            self._keep_alive(now)
            return False
        if not self._queue or now < self._cpu_free:
            return False
        self._current = self._queue[0]
        self._busy_due = now + machine.keep_alive_s
        self._cpu_free = now + self.build.line_cost_s
        self._execute(self._current, now)
        return not self.killed and self._current is not None

    def _keep_alive(self, now: float) -> None:
        if self.build.busy and self.machine.keep_alive_s > 0 and now >= self._busy_due:
            self._busy_due = now + self.machine.keep_alive_s
            self._say(f"echo:busy: {self.machine.user_wait or 'processing'}")

    def _auto_report(self, now: float) -> None:
        if done := self.card.finish(now):
            self._say(done)
        for name, every in self._reports.items():
            if every and now >= self._report_due[name]:
                self._report_due[name] = now + every
                self._say(self._report(name, now))

    def _report(self, name: str, now: float) -> str:
        if name == "sd":
            return self.card.report(now)
        return f" {self.machine.temperatures()}" if name == "temp" else self.machine.position_report()

    # --- lines in -----------------------------------------------------------------------------------------------------

    def _read_lines(self, now: float) -> None:
        """GCodeQueue::get_serial_commands: characters become lines while the queue has room."""
        rx = self._rx
        while rx and len(self._queue) < self.build.queue_lines:
            byte = rx[0]
            del rx[0]
            if byte in (10, 13):
                line, self._line, self._skip = bytes(self._line), bytearray(), False
                if line and not self._take_line(line):
                    rx.clear()
            elif self._skip or byte == 0x3B or len(self._line) >= MAX_COMMAND - 1:
                self._skip = True
            elif byte != 32 or self._line:
                self._line.append(byte)

    def _take_line(self, line: bytes) -> bool:
        """Number and checksum, then the queue. False when the rest of the ring was thrown away."""
        text = line.decode("latin-1")
        number: int | None = None
        if text.startswith("N"):
            at = 1
            renumber = "M110" in text
            if renumber and "N" in text[4:]:
                at = text.index("N", 4) + 1
            number = leading_int(text[at:])
            if number != self._last_n + 1 and not renumber:
                if self._last_n - 1 <= number <= self._last_n:
                    self.silent_drops += 1
                    return True
                return self._refuse_line("Line Number is not Last Line Number+1")
            star = text.rfind("*")
            if star < 0:
                return self._refuse_line("No Checksum with line number")
            check = 0
            for byte in line[:star]:
                check ^= byte
            if leading_int(text[star + 1 :]) != check:
                return self._refuse_line("checksum mismatch")
            self._last_n = number
        self._queue.append((text, number))
        return True

    def _refuse_line(self, why: str) -> bool:
        self.resends += 1
        self._say(f"Error:{why}, Last Line: {self._last_n}")
        self._say(self.build.resend_style.format(n=self._last_n + 1))
        if self.build.ok_after_resend:
            self._say("ok")
        return False

    def _watch_emergency(self, byte: int, now: float) -> None:
        """e_parser.h: acts when the line ends, whatever else waits."""
        if byte not in (10, 13):
            if len(self._emergency_line) < 64:
                self._emergency_line.append(byte)
            return
        match = EMERGENCY.match(bytes(self._emergency_line))
        self._emergency_line.clear()
        if match is None or self.killed:
            return
        code = match[1]
        if code == b"112":
            self._say("echo:M112 Shutdown")
            self._kill()
        elif code == b"410":
            self.machine.drop_all(now)
        else:
            self.machine.break_wait = True

    # --- commands -----------------------------------------------------------------------------------------------------

    def _execute(self, command: tuple[str, int | None], now: float) -> None:
        text = re.sub(r"^N-?\d+\s*", "", command[0])
        text = text.split("*", 1)[0].rstrip(" ") if not text.startswith(("M117", "M118")) else text
        code = re.match(r"[GMT]\d+", text)
        name = code[0] if code else ""
        if name not in HOUSEKEEPING:
            self._record(text)
        question = getattr(self, f"_ask_{name.lower()}", None)
        if question is not None and (name != "M27" or self.build.sd_card):
            question(text[len(name) :], command, now)
        elif not self.machine.execute(text, now):
            self.unknown += 1
            if name not in HOUSEKEEPING:
                self._unrecord()
            self._say_unknown(text)

    def _say_unknown(self, text: str) -> None:
        self._say(f'echo:Unknown command: "{text}"')

    def _record(self, text: str) -> None:
        self.machine.witness(text)
        self.executed_count += 1
        self._before = self._hash.copy()
        self._hash.update(text.encode("latin-1") + b"\n")
        if self.build.keep_executed:
            self.executed.append(text)

    def _unrecord(self) -> None:
        self.executed_count -= 1
        self._hash = self._before
        if self.build.keep_executed:
            self.executed.pop()

    def _acknowledge(self, command: tuple[str, int | None], now: float) -> None:
        """queue.cpp ok_to_send, before the line leaves the queue."""
        self._current = None
        if not command[0]:
            self._queue.popleft()
            return
        if not self.build.advanced_ok:
            self._say("ok")
        else:
            number = "" if command[1] is None else f" N{command[1]}"
            if command[1] is not None and "M110" in command[0]:
                number = f" N{leading_int(command[0][1:])}"
            planner = self.machine.planner
            self._say(f"ok{number} P{planner.free} B{self.build.queue_lines - len(self._queue)}")
        self._queue.popleft()

    def _done_without_ok(self) -> None:
        self._current = ("", None)

    def _ask_m105(self, _rest: str, _command: tuple[str, int | None], _now: float) -> None:
        self._say(f"ok {self.machine.temperatures()}")
        self._done_without_ok()

    def _ask_m108(self, _rest: str, _command: tuple[str, int | None], _now: float) -> None:
        self.machine.break_wait = True

    _ask_m876 = _ask_m108

    def _ask_m110(self, rest: str, command: tuple[str, int | None], _now: float) -> None:
        match = re.search(r"N(-?\d+)", rest)
        if match is not None:
            self._last_n = int(match[1])

    def _ask_m112(self, _rest: str, _command: tuple[str, int | None], _now: float) -> None:
        self._say("echo:M112 Shutdown")
        self._kill()

    def _ask_m410(self, _rest: str, _command: tuple[str, int | None], now: float) -> None:
        self.machine.drop_all(now)

    def _ask_m114(self, _rest: str, _command: tuple[str, int | None], _now: float) -> None:
        self._say(self.machine.position_report())

    def _ask_m115(self, _rest: str, _command: tuple[str, int | None], _now: float) -> None:
        build = self.build
        self._say(
            "FIRMWARE_NAME:Marlin bugfix-2.1.x (Nov 22 2026 22:08:37) SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin"
            f" PROTOCOL_VERSION:1.0 MACHINE_TYPE:{build.machine_type} EXTRUDER_COUNT:1 UUID:{build.uuid}"
        )
        for capability in build.capabilities():
            self._say(f"Cap:{capability}")
        self._say(AREA)

    def _ask_m27(self, rest: str, _command: tuple[str, int | None], now: float) -> None:
        if self.build.sd_reports and "S" in self.machine.words(rest):
            self._set_report("sd", rest, now)
        else:
            self._say(self.card.report(now))

    def _ask_m154(self, rest: str, _command: tuple[str, int | None], now: float) -> None:
        self._set_report("pos", rest, now)

    def _ask_m155(self, rest: str, _command: tuple[str, int | None], now: float) -> None:
        self._set_report("temp", rest, now)

    def _set_report(self, name: str, rest: str, now: float) -> None:
        words = self.machine.words(rest)
        if "S" in words:
            self._reports[name] = min(words["S"], 60.0)
            self._report_due[name] = now + self._reports[name]

    def _ask_m503(self, _rest: str, _command: tuple[str, int | None], _now: float) -> None:
        for line in SETTINGS:
            self._say(f"echo:{line}")

    # --- death --------------------------------------------------------------------------------------------------------

    def _fail_heater(self, failure: str) -> None:
        self._say(f"Error:{failure}")
        if not self.machine.homed:
            self._say("")
            self._say("echo:Home XYZ First\r")
            self._say("//action:notification Home XYZ First\r")
        self._say(f"echo:{SCREEN[failure.split(',')[0]]}")
        self._kill()

    def _kill(self) -> None:
        self._say("Error:Printer halted. kill() called!")
        self._say("//action:poweroff")
        self.killed = True
        self._current = None
        self.machine.heaters_off()
        self.machine.planner.drop(self._now, at_once=True)
        self.machine.beam.power = 0.0

    # --- the record, faults, people -----------------------------------------------------------------------------------

    def state(self, now: float) -> dict[str, Any]:
        """See `Twin.state`."""
        position, speed = self.machine.planner.where(now)
        return {
            "firmware": "marlin",
            "position": list(position),
            "speed_mm_s": speed,
            "lines": self.executed_count,
            "sha256": self._hash.hexdigest(),
            "spindle": self.machine.beam.power,
            "stationary_burn_ms": self.machine.beam.stationary_burn_ms,
            "heaters": {h.name: [h.temperature_c, h.target_c] for h in self.machine.heaters.values()},
            "fan": self.machine.fan,
            "planner": len(self.machine.planner.blocks),
            "starved": self.machine.planner.starved,
            "homed": self.machine.homed,
            "killed": self.killed,
            "overruns": self.overruns,
            "unknown": self.unknown,
            "resends": self.resends,
            "queue": len(self._queue),
        }

    def fault(self, name: str, options: dict[str, Any], now: float) -> bool:
        """heater_dead, heater_stuck_on, sensor_open (`heater`: E0 or bed) · watchdog · runout · heal."""
        if name in ("heater_dead", "heater_stuck_on", "sensor_open"):
            self.machine.heaters[options.get("heater", "E0")].fault = name.removeprefix("heater_")
        elif name == "heal":
            for heater in self.machine.heaters.values():
                heater.fault = ""
        elif name == "watchdog":
            self.boot(now, "watchdog")
        elif name == "runout":
            self._say("//action:out_of_filament T0")
        else:
            return False
        return True

    def person(self, act: str, options: dict[str, Any], now: float) -> bool:
        """pause, resume, cancel: the display's menu, told to the host as host actions · continue: the knob.

        print_from_card (`bytes`), stop_card: a file of the machine's own card, where it has one.
        """
        if act in ("pause", "resume", "cancel"):
            self._say(f"//action:{act}")
        elif act in ("print_from_card", "stop_card") and self.build.sd_card:
            self.card.start(int(options.get("bytes", 4096)) if act == "print_from_card" else None, now)
        elif act == "continue":
            self.machine.break_wait = True
        else:
            return False
        return True

    def _say(self, line: str) -> None:
        if not self.killed:
            self._out.append(line.encode("latin-1") + b"\n")


def build_twin(options: TwinOptions) -> MarlinTwin:
    """For `twins.run`: settings name fields of `MarlinBuild` (advanced_ok=0, queue_lines=8, machine_type=…)."""
    return MarlinTwin(build_from(MarlinBuild(), options.settings))
