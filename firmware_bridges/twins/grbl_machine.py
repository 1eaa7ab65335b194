"""The metal and the memory behind the GRBL twin: EEPROM, planner, work offsets, travel, spindle or beam.

Times are the twin's; nothing here talks. Sources: grbl/settings.c, limits.c, spindle_control.c, stepper.c.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from firmware_bridges.arcs import Point
from firmware_bridges.modal import ORIGIN, Offsets
from firmware_bridges.modal_cnc import CncInterpreter
from firmware_bridges.twins import grbl_reports
from firmware_bridges.twins.grbl_variants import FACTORY, PROFILES, Variant
from firmware_bridges.twins.physics import Beam, Planner
from firmware_bridges.twins.witness import Witness, nobody


class GrblMachine:
    """What the firmware drives and remembers."""

    def __init__(
        self,
        variant: Variant,
        profile: str,
        settings: dict[int, float],
        work_offset: Point,
        state_file: Path | None,
    ) -> None:
        self.variant = variant
        self.settings = {number: value for number, (value, _) in FACTORY.items()}
        self.settings[10] = variant.status_mask
        self.settings |= PROFILES.get(profile, {})
        self.settings |= settings
        self.systems: list[Point] = [work_offset, *[ORIGIN] * 5]
        self.stored: list[Point] = [ORIGIN, ORIGIN]
        self._state_file = state_file
        self._recall()
        self.now = 0.0
        self.physical_offset = ORIGIN
        self.overrides = [100, 100, 100]
        self.beam = Beam()
        self.witness: Witness = nobody
        self._fields = grbl_reports.StatusFields()
        self._power = 0.0
        self._dynamic = self._spindle_stopped = False
        self.planner = self._fresh_planner(ORIGIN)
        self.reader = CncInterpreter(ORIGIN, self.offsets(fresh=True))

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

    @property
    def laser_mode(self) -> bool:
        return bool(self.settings[32])

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
