"""A GRBL controller and its machine: receive ring, real-time bytes, planner, EEPROM, alarms, holds, spindle or beam.

Answers as GRBL 1.1h does on an ATmega328P, overflow of the 128-byte receive ring included (grbl/serial.c: what does not
fit is dropped without a word). grblHAL and FluidNC are variants of it (`grbl_variants`): their greetings, buffers and
report fields, not every one of their further commands.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firmware_bridges.arcs import Point
from firmware_bridges.modal import ORIGIN, Offsets
from firmware_bridges.modal_cnc import CncInterpreter
from firmware_bridges.twins import grbl_reports
from firmware_bridges.twins.grbl_execution import Wait, Waits, execute
from firmware_bridges.twins.grbl_variants import FACTORY, GRBL, PROFILES, VARIANTS, Variant
from firmware_bridges.twins.physics import Beam, Planner

if TYPE_CHECKING:
    from firmware_bridges.twins.run import TwinOptions

LINE_BUFFER: Final = 80
MESSAGE_DELAY_S: Final = 0.5
BOOT_S: Final = 0.6
_LINES_KEPT: Final = 200_000


class GrblTwin:
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
        self.variant = variant
        self.blank_eeprom = blank_eeprom
        self.settings = {number: value for number, (value, _) in FACTORY.items()}
        self.settings[10] = variant.status_mask
        if not blank_eeprom:
            self.settings |= PROFILES.get(profile, {})
            self.settings |= settings or {}
        self.systems: list[Point] = [work_offset, *[ORIGIN] * 5]
        self.stored: list[Point] = [ORIGIN, ORIGIN]
        self._state_file = state_file
        self._recall()
        self.keep_lines = keep_lines
        self.consumed: deque[str] = deque(maxlen=_LINES_KEPT)
        self.consumed_count = 0
        self._hash = hashlib.sha256()
        self.now = 0.0
        self.until = self.deaf_until = 0.0
        self.switch_broken = False
        self.door_open = False
        self.physical_offset = ORIGIN
        self.overruns = 0
        self.stationary_burn_ms = 0.0
        self.beam = Beam()
        self._out: list[bytes] = []
        self._rx: deque[int] = deque()
        self._later: deque[tuple[float, bytes]] = deque()
        self.planner = self._fresh_planner(ORIGIN)
        self._listening_from = 0.0
        self._start(ORIGIN)

    # --- state of the firmware ------------------------------------------------------------------------------------

    def _fresh_planner(self, position: Point) -> Planner:
        settings = self.settings
        planner = Planner(
            self.variant.planner_blocks,
            [settings[110 + axis] / 60 for axis in range(3)],
            [settings[120 + axis] for axis in range(3)],
            settings[11],
        )
        planner.set_position(position)
        return planner

    def _start(self, position: Point) -> None:
        """What every reset clears (grbl/main.c)."""
        self.reader = CncInterpreter(position, self.offsets(fresh=True))
        self._line: list[str] = []
        self._line_too_long = False
        self._comment = ""
        self._task: Waits | None = None
        self._wait: Wait | None = None
        self._rx.clear()
        self.alarm = getattr(self, "alarm", False)
        self.critical = False
        self.check = self.homing = self.held = self.jogging = self.sleeping = False
        self._was_held = self._jog_cancel = self.door = False
        self._spindle_stopped = False
        self.overrides = [100, 100, 100]
        self._fields = grbl_reports.StatusFields()
        self._power = 0.0
        self._dynamic = False

    @property
    def laser_mode(self) -> bool:
        return bool(self.settings[32])

    @property
    def busy(self) -> bool:
        """Motion in the planner, a hold or homing."""
        return bool(self.planner.blocks) or self.held or self.homing

    def offsets(self, *, fresh: bool = False) -> Offsets:
        """Work offsets as the parser knows them; after a reset G92 and the tool length are gone."""
        stored = (self.stored[0], self.stored[1])
        if fresh:
            return Offsets(systems=tuple(self.systems), stored=stored)
        state = self.reader.state()
        return Offsets(tuple(self.systems), state.g92, state.tool_length_mm, stored)

    def offsets_lines(self) -> list[str]:
        """`$#`."""
        state = self.reader.state()
        return grbl_reports.offsets_lines(self.systems, self.stored, state.g92, state.tool_length_mm)

    def remember_offsets(self) -> None:
        """G10, G28.1 and G30.1 are kept in EEPROM."""
        offsets = self.reader.offsets()
        self.systems = list(offsets.systems)
        self.stored = [point or ORIGIN for point in offsets.stored]
        self.report_wco()
        self.keep()

    def _recall(self) -> None:
        """What the state file kept."""
        if self._state_file is None or not self._state_file.exists():
            return
        kept = json.loads(self._state_file.read_text())
        self.settings |= {int(number): value for number, value in kept["settings"].items()}
        self.systems = [(x, y, z) for x, y, z in kept["systems"]]
        self.stored = [(x, y, z) for x, y, z in kept["stored"]]

    def keep(self) -> None:
        """Write the EEPROM to the state file."""
        if self._state_file is not None:
            kept = {"settings": self.settings, "systems": self.systems, "stored": self.stored}
            self._state_file.write_text(json.dumps(kept))

    def report_wco(self) -> None:
        self._fields.wco_wait = 0

    def machine_position(self) -> Point:
        """Steps counted, in mm, rounded to whole steps."""
        where, _ = self.planner.where(self.now)
        steps = [self.settings[100 + axis] for axis in range(3)]
        rounded = [math.trunc(where[i] * steps[i] + math.copysign(0.5, where[i])) / steps[i] for i in range(3)]
        return (rounded[0], rounded[1], rounded[2])

    def home_position(self) -> Point:
        """Where homing ends: pulled off the switch; $23 says which switches are at the negative end (grbl/limits.c)."""
        mask, pull_off = int(self.settings[23]), self.settings[27]
        at = [pull_off - self.settings[130 + axis] if mask >> axis & 1 else -pull_off for axis in range(3)]
        return (at[0], at[1], at[2])

    def homed(self) -> None:
        home = self.home_position()
        self.planner.set_position(home)
        self.reader.stand_at(home)
        self.physical_offset = ORIGIN

    def within_limits(self, target: Point) -> bool:
        """Soft limits: machine space is negative, from -max travel to 0 (grbl/system.c)."""
        return all(-self.settings[130 + axis] - 1e-9 <= target[axis] <= 1e-9 for axis in range(3))

    def apply_settings(self) -> None:
        """Rates and accelerations in force for later moves."""
        self.keep()
        if not self.planner.blocks:
            self.planner = self._fresh_planner(self._planner_position())

    def _planner_position(self) -> Point:
        x, y, z = self.planner.position
        return (x, y, z)

    def restore_defaults(self, which: str) -> None:
        if which in "$*":
            self.settings = {number: value for number, (value, _) in FACTORY.items()}
        if which in "#*":
            self.systems, self.stored = [ORIGIN] * 6, [ORIGIN, ORIGIN]

    # --- spindle and beam -----------------------------------------------------------------------------------------

    def set_spindle(self, *, standing: bool) -> None:
        """M3, M4, M5 and S outside a cutting move take effect at once (grbl/spindle_control.c)."""
        state = self.reader.state()
        on = state.spindle != "M5"
        self._dynamic = self.laser_mode and state.spindle == "M4"
        power = state.spindle_value if on else 0.0
        if self.laser_mode and standing and (self._dynamic or state.motion in ("G0", "G80")):
            power = 0.0
        self._set_power(power)
        self._fields.overrides_wait = 0

    def _set_power(self, power: float) -> None:
        self._account()
        self._power = power

    def _account(self) -> None:
        self.beam.power = 0.0 if self._spindle_stopped else self._effective_power()
        self.beam.dynamic = False
        standing = not self.planner.moving and not self.planner.stopping
        self.beam.advance(self.now, moving=not standing)

    def _effective_power(self) -> float:
        """What leaves the pin: in laser mode a cutting block carries its own S, scaled by speed under M4."""
        if not self.laser_mode:
            return self._power
        blocks = self.planner.blocks
        if not blocks or self.planner.held:
            return 0.0 if self._dynamic else self._power
        power = blocks[0].power
        if self._dynamic:
            _, speed = self.planner.where(self.now)
            power *= min(1.0, speed / blocks[0].nominal)
        return power

    def add_block(self, target: Point, speed_mm_s: float, *, cutting: bool) -> None:
        """Queue one straight piece."""
        state = self.reader.state()
        power = state.spindle_value if state.spindle != "M5" and (cutting or not self.laser_mode) else 0.0
        if not cutting and self.overrides[1] != 100:
            speed_mm_s = min(self.settings[110 + axis] for axis in range(3)) / 60 * self.overrides[1] / 100
        self._account()
        self._dynamic = self.laser_mode and state.spindle == "M4"
        if self.laser_mode:
            self._power = power if not self._dynamic else 0.0
        self.planner.add(target, speed_mm_s, self.now, power=power)

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
        elif byte in _OVERRIDES:
            self._override(byte)

    def _override(self, byte: int) -> None:
        place, change = _OVERRIDES[byte]
        low, high = ((10, 200), (25, 100), (10, 200))[place]
        value = change if abs(change) >= 25 else self.overrides[place] + change
        value = 100 if abs(change) == 100 else value
        self.overrides[place] = max(low, min(high, value))
        self._fields.overrides_wait = 0

    def _hold(self) -> None:
        if self.alarm or self.homing or self.check or self.held:
            return
        if self.jogging:
            self._cancel_jog()
            return
        self._account()
        self.held = True
        self.planner.hold(self.now)

    def _door(self) -> None:
        if self.alarm or self.homing or self.check:
            return
        self._account()
        self.held = self.door = True
        self.planner.hold(self.now)

    def _cycle_start(self) -> None:
        if not self.held or self.planner.stopping or self.door_open:
            return
        if self._spindle_stopped or (self.laser_mode and self._was_held):
            if self.reader.spindle_on:
                self.say("[MSG:Restoring spindle]")
            self._spindle_stopped = False
        self._account()
        self.held = self.door = self._was_held = False
        self.planner.resume(self.now)

    def _cancel_jog(self) -> None:
        if self.jogging:
            self._jog_cancel = True
            self.planner.hold(self.now)

    def _toggle_spindle_stop(self) -> None:
        """0x9E acts in Hold only (grbl/protocol.c, EXEC_SPINDLE_OVR_STOP)."""
        if not self.held or self.planner.stopping or self.laser_mode:
            return
        self._account()
        if self._spindle_stopped:
            if self.reader.spindle_on:
                self.say("[MSG:Restoring spindle]")
            self._spindle_stopped = False
        elif self.reader.spindle_on:
            self._spindle_stopped = True
        self._fields.overrides_wait = 0

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
            return bool(self.planner.blocks) and not self.critical and not self.planner.held
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
                self._consume(line)
                self._task = execute(self, line)
                self._wait = None
            elif self._waiting():
                return
            task = self._task
            try:
                self._wait = next(task)
            except StopIteration as end:
                if end.value:
                    self.say(end.value)
                if self._task is task:
                    self._task = self._wait = None

    def _consume(self, line: str) -> None:
        if not line or line[0] == "$":
            return
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
        if name == "alarm":
            self.raise_alarm(int(options.get("number", 1)), critical=int(options.get("number", 1)) in (1, 2))
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
#: byte → (which: feed, rapid, spindle; change; ±100 means back to 100, 25 and 50 are absolute). grbl/config.h.
_OVERRIDES: Final = {
    0x90: (0, 100), 0x91: (0, 10), 0x92: (0, -10), 0x93: (0, 1), 0x94: (0, -1),
    0x95: (1, 100), 0x96: (1, 50), 0x97: (1, 25),
    0x99: (2, 100), 0x9A: (2, 10), 0x9B: (2, -10), 0x9C: (2, 1), 0x9D: (2, -1),
}  # fmt: skip
