"""A GRBL controller and its machine: receive ring, real-time bytes, planner, EEPROM, alarms, holds, spindle or beam.

Answers as GRBL 1.1h does on an ATmega328P, overflow of the 128-byte receive ring included (grbl/serial.c: what does not
fit is dropped without a word). grblHAL and FluidNC are variants of it (`grbl_variants`): their greetings, buffers and
report fields, not every one of their further commands.
"""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firmware_bridges.arcs import Point
from firmware_bridges.modal import ORIGIN
from firmware_bridges.modal_cnc import CncInterpreter
from firmware_bridges.twins import grbl_reports
from firmware_bridges.twins.grbl_execution import Wait, Waits, execute
from firmware_bridges.twins.grbl_holds import OVERRIDES, GrblHolds
from firmware_bridges.twins.grbl_variants import FACTORY, GRBL, VARIANTS, Variant

if TYPE_CHECKING:
    from firmware_bridges.twins.run import TwinOptions

LINE_BUFFER: Final = 80
MESSAGE_DELAY_S: Final = 0.5
BOOT_S: Final = 0.6
_LINES_KEPT: Final = 200_000


class GrblTwin(GrblHolds):
    """One controller; see `twins.host.Twin` for the methods. `eeprom` survives power cuts and may be shared."""

    resets_on_open = True

    def __init__(
        self,
        *,
        variant: Variant = GRBL,
        profile: str = "",
        settings: dict[int, float] | None = None,
        work_offset: Point = ORIGIN,
        blank_eeprom: bool = False,
        keep_lines: bool = False,
        state_file: Path | None = None,
    ) -> None:
        machine_settings = {} if blank_eeprom else (settings or {})
        super().__init__(variant, "" if blank_eeprom else profile, machine_settings, work_offset, state_file)
        self.blank_eeprom = blank_eeprom
        self.keep_lines = keep_lines
        self.consumed: deque[str] = deque(maxlen=_LINES_KEPT)
        self.consumed_count = 0
        self._hash = hashlib.sha256()
        self.until = self.deaf_until = 0.0
        self.switch_broken = False
        self.overruns = 0
        self._out: list[bytes] = []
        self._rx: deque[int] = deque()
        self._later: deque[tuple[float, bytes]] = deque()
        self._listening_from = 0.0
        self._start(ORIGIN)

    # --- state of the firmware ------------------------------------------------------------------------------------

    def _start(self, position: Point) -> None:
        """What every reset clears (grbl/main.c)."""
        self.reader = CncInterpreter(position, self.offsets(fresh=True))
        self._line: list[str] = []
        self._line_too_long = False
        self._comment = self._now_line = ""
        self._task: Waits | None = None
        self._wait: Wait | None = None
        self._rx.clear()
        self.critical = False
        self.check = self.homing = self.held = self.jogging = self.sleeping = False
        self._was_held = self._jog_cancel = self.door = False
        self._spindle_stopped = False
        self.overrides = [100, 100, 100]
        self._fields = grbl_reports.StatusFields()
        self._power = 0.0
        self._dynamic = False

    @property
    def busy(self) -> bool:
        """Motion in the planner, a hold or homing."""
        return bool(self.planner.blocks) or self.held or self.homing

    # --- talking --------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self._out.append(text.encode("ascii") + b"\r\n")

    def take_output(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    def boot(self, now: float, cause: str) -> None:
        """Power-up or a pulse on RESET: steps under way are lost, the EEPROM stays."""
        self.now = max(now, self.now)
        power = cause in ("power", "watchdog", "reset")
        moving = bool(self.planner.blocks)
        where = self.machine_position() if moving else ORIGIN
        if moving or power:
            self.physical_offset = where
        self._account()
        self.planner = self._fresh_planner(ORIGIN)
        self.alarm = False
        self._start(ORIGIN)
        self._out.clear()
        self.alarm = bool(self.settings[22])
        self._later.clear()
        self._listening_from = self.now + BOOT_S
        lines: list[str] = []
        if self.blank_eeprom:
            lines += ["error:7", *grbl_reports.settings_lines(self.settings)]
        lines += ["", self.variant.banner]
        if self.alarm:
            lines.append(self.variant.unlock_hint)
        elif self.blank_eeprom:
            lines += [">:error:7", ">:error:7"]
        self.blank_eeprom = False
        for line in lines:
            self._later.append((self._listening_from, line.encode() + b"\r\n"))

    def soft_reset(self) -> None:
        """Ctrl-X (grbl/motion_control.c, mc_reset): in motion it costs the position and raises alarm 3."""
        lost = (self.planner.moving or self.planner.stopping or self.homing) and not self.critical
        where = self.machine_position()
        self._account()
        after_critical = self.critical
        if after_critical and self._task is not None:
            self.say("ok")
        self.planner.drop(self.now, at_once=True)
        self.planner = self._fresh_planner(where)
        if lost:
            self.physical_offset = (0.3, 0.3, 0.0)
            self.alarm = True
        self._start(where)
        self._account()
        delay = 0.0
        self._later.clear()
        if lost:
            self.say("ALARM:3" if not self.homing else "ALARM:6")
            delay = MESSAGE_DELAY_S
        lines = ["", self.variant.banner]
        if self.alarm:
            lines.append(self.variant.unlock_hint)
        for line in lines:
            self._later.append((self.now + delay, line.encode() + b"\r\n"))

    def raise_alarm(self, number: int, *, critical: bool) -> None:
        """ALARM:N; the critical ones (1 and 2) then ignore everything but a reset (grbl/protocol.c)."""
        self._account()
        self.alarm = True
        self.say(f"ALARM:{number}")
        if critical:
            self.critical = True
            self._set_power(0.0)
            self._later.append((self.now + MESSAGE_DELAY_S, b"[MSG:Reset to continue]\r\n"))
        self.planner.drop(self.now, at_once=True)

    # --- hearing --------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        self.advance(now)
        for byte in data:
            if self.now < self._listening_from or self.now < self.deaf_until:
                continue
            if byte in _REALTIME or byte > 0x7F:
                self._realtime(byte)
            elif len(self._rx) < self.variant.rx_bytes:
                self._rx.append(byte)
            else:
                self.overruns += 1
            if byte == 0x0A or len(self._rx) >= self.variant.rx_bytes:
                self._pump()
        self._pump()

    def _realtime(self, byte: int) -> None:
        if byte == 0x18:
            self.soft_reset()
            return
        if self.critical or self.sleeping:
            return
        act = {
            0x3F: self._status, 0x21: self._hold, 0x7E: self._cycle_start, 0x84: self._door, 0x85: self._cancel_jog,
            0x9E: self._toggle_spindle_stop,
        }.get(byte)  # fmt: skip
        if act is not None:
            act()
        elif byte == 0x87 and self.variant.full_status_0x87:
            self.report_wco()
            self._status()
        elif byte in OVERRIDES:
            self._override(byte)

    # --- living ---------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        while True:
            change = self._next_change()
            if change is None or change > now:
                break
            self._live(max(change, self.now))
        self._live(max(now, self.now))

    def _next_change(self) -> float | None:
        times = [self._later[0][0]] if self._later else []
        if self._wait is Wait.TIME:
            times.append(self.until)
        change = self.planner.next_change()
        if change is not None:
            times.append(change)
        return min(times) if times else None

    def _live(self, now: float) -> None:
        self._account()
        self.now = now
        while self._later and self._later[0][0] <= now:
            self._out.append(self._later.popleft()[1])
        self.planner.advance(now)
        self.planner.done_tags.clear()
        if self.held and self.planner.held and not self._was_held:
            self._was_held = True
            if self.laser_mode:
                self._account()
                self._spindle_stopped = True
        if self._jog_cancel and not self.planner.stopping:
            self._end_jog()
        elif self.jogging and not self.planner.blocks:
            self.jogging = False
        self._account()
        self._pump()

    def _end_jog(self) -> None:
        where = self._planner_position()
        self.planner.drop(self.now, at_once=True)
        self.planner.set_position(where)
        self.reader.stand_at(where)
        self.jogging = self._jog_cancel = False

    def wakes_at(self) -> float | None:
        return self._next_change()

    def _waiting(self) -> bool:
        wait = self._wait
        if wait is None:
            return False
        if wait is Wait.TIME:
            return self.now < self.until
        if wait is Wait.SPACE:
            return self.planner.free < 1
        if wait is Wait.EMPTY:
            return bool(self.planner.blocks) and not self.critical
        if wait is Wait.STAND:
            return self.planner.stopping
        return wait is Wait.RESET or self.held

    def _pump(self) -> None:
        """Read characters and carry out lines as far as nothing has to be waited for (grbl/protocol.c main loop)."""
        while not self.critical and not self.sleeping:
            if self._task is None:
                line = self._next_line()
                if line is None:
                    return
                if line == "\x00":
                    self.say("error:11")
                    continue
                self._task, self._now_line = execute(self, line), line
                self._wait = None
            elif self._waiting():
                return
            task = self._task
            try:
                self._wait = next(task)
            except StopIteration as end:
                if end.value == "ok" and not self.check:
                    self._consume(self._now_line)
                if end.value:
                    self.say(end.value)
                if self._task is task:
                    self._task = self._wait = None

    def _consume(self, line: str) -> None:
        """A line of a program was carried out (refused ones and those of check mode are not counted)."""
        self.witness(line)
        if line and line[0] != "$":
            self.consumed_count += 1
            self._hash.update(line.encode() + b"\n")
            if self.keep_lines:
                self.consumed.append(line)

    def _next_line(self) -> str | None:
        """The next whole line from the ring, stripped as GRBL strips it; a lone NUL stands for one too long."""
        rx, line = self._rx, self._line
        while rx:
            byte = rx.popleft()
            if byte in (0x0A, 0x0D):
                text = "".join(line)
                too_long = self._line_too_long
                line.clear()
                self._line_too_long, self._comment = False, ""
                return "\x00" if too_long else text
            character = chr(byte)
            if self._comment:
                if character == ")" and self._comment == "(":
                    self._comment = ""
            elif byte <= 0x20 or character == "/":
                continue
            elif character in "(;":
                self._comment = character
            elif len(line) >= LINE_BUFFER - 1:
                self._line_too_long = True
            else:
                line.append(character.upper())
        return None

    # --- reports --------------------------------------------------------------------------------------------------

    def state_name(self) -> str:
        """The first field of a status report."""
        if self.alarm:
            return "Alarm"
        if self.check:
            return "Check"
        if self.homing:
            return "Home"
        if self.door:
            return "Door:2" if self.planner.stopping else ("Door:1" if self.door_open else "Door:0")
        if self.held:
            return "Hold:1" if self.planner.stopping else "Hold:0"
        if self.jogging:
            return "Jog"
        return "Run" if self.planner.blocks else "Idle"

    def _status(self) -> None:
        mask = int(self.settings[10])
        position, wco = self.machine_position(), self.reader.shift
        if mask & 1:
            text = f"<{self.state_name()}|MPos:{grbl_reports.coordinates(position)}"
        else:
            work = (position[0] - wco[0], position[1] - wco[1], position[2] - wco[2])
            text = f"<{self.state_name()}|WPos:{grbl_reports.coordinates(work)}"
        if mask & 2:
            text += f"|Bf:{self.planner.free},{self.variant.rx_bytes - len(self._rx)}"
        _, speed = self.planner.where(self.now)
        text += f"|FS:{speed * 60:.0f},{self._reported_power():.0f}"
        if self.door_open:
            text += "|Pn:D"
        busy = self.busy or self.jogging
        accessories = {"M3": "S", "M4": "C"}.get(self.reader.state().spindle, "")
        accessories = "" if self._spindle_stopped else accessories
        accessories += "F" if self.reader.state().flood else ""
        overrides = (self.overrides[0], self.overrides[1], self.overrides[2])
        text += self._fields.rare(busy=busy, wco=wco, overrides=overrides, accessories=accessories)
        self.say(text + self.variant.extra_status + ">")

    def _reported_power(self) -> float:
        """GRBL reports the programmed S of the block under way, unscaled."""
        if self._spindle_stopped:
            return 0.0
        if self.laser_mode and self.planner.blocks and not self.planner.held:
            return self.planner.blocks[0].power
        return self._effective_power()

    def state(self, now: float) -> dict[str, Any]:
        self.advance(now)
        position, physical = self.machine_position(), self.physical_offset
        state = self.reader.state()
        return {
            "firmware": self.variant.name,
            "state": self.state_name(),
            "position": list(position),
            "work_offset": list(self.reader.shift),
            "physical": [position[i] + physical[i] for i in range(3)],
            "consumed": self.consumed_count,
            "consumed_sha256": self._hash.hexdigest(),
            "spindle": {"word": state.spindle, "power": 0.0 if self._spindle_stopped else self._effective_power()},
            "stationary_burn_ms": self.beam.stationary_burn_ms,
            "planner": {"blocks": len(self.planner.blocks), "starved": self.planner.starved},
            "overruns": self.overruns,
            "rx": len(self._rx),
            "settings": {str(number): value for number, value in self.settings.items()},
            "heaters": {},
        }

    # --- faults and people ----------------------------------------------------------------------------------------

    def fault(self, name: str, options: dict[str, Any], now: float) -> bool:
        """alarm: number (1 hard limit, 3 …) · switch_broken: homing finds no switch · skip_steps: x, y, z in mm."""
        self.advance(now)
        number = int(options.get("number", 1))
        if name == "alarm" and number == 3:
            self.soft_reset()
        elif name == "alarm":
            self.raise_alarm(number, critical=number in (1, 2))
        elif name == "switch_broken":
            self.switch_broken = bool(options.get("on", True))
        elif name == "skip_steps":
            offset = self.physical_offset
            self.physical_offset = tuple(  # type: ignore[assignment]
                offset[i] + float(options.get(axis, 0.0)) for i, axis in enumerate("xyz")
            )
        else:
            return False
        return True

    def person(self, act: str, options: dict[str, Any], now: float) -> bool:
        """feed_hold, cycle_start, reset_button (the controller's own inputs), open_door, close_door."""
        self.advance(now)
        if act == "feed_hold":
            self._hold()
        elif act == "cycle_start":
            self._cycle_start()
        elif act == "reset_button":
            self.soft_reset()
        elif act == "open_door":
            self.door_open = True
            self._door()
        elif act == "close_door":
            self.door_open = False
        else:
            return False
        return True


def build_twin(options: TwinOptions) -> GrblTwin:
    """A twin of kind grbl, grblhal or fluidnc from command-line options. Raises ValueError for unknown settings.

    `settings` are ("$32", "1") …; the state file keeps settings and offsets over restarts.
    """
    settings: dict[int, float] = {}
    for name, value in options.settings:
        number = name.removeprefix("$")
        if not number.isdigit() or int(number) not in FACTORY:
            raise ValueError(
                f"{name} is not a setting of this controller: settings are $0 to $132, as `$$` lists them."
            )
        settings[int(number)] = float(value)
    return GrblTwin(
        variant=VARIANTS[options.kind],
        profile=options.profile or "router",
        settings=settings,
        work_offset=options.work_offset or ORIGIN,
        state_file=options.state_file,
    )


_REALTIME: Final = frozenset({0x3F, 0x21, 0x7E, 0x18})
