"""The body and the G-code of the Marlin twin: what each command does, apart from how lines arrive and are answered.

Behaviour and texts after Marlin bugfix-2.1.x (src/gcode/**, src/module/temperature.cpp, src/core/language.h), with
recordings of an ATmega2560 RAMPS build as the yardstick.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from typing import Final

from firmware_bridges.twins.marlin_heat import Guard
from firmware_bridges.twins.marlin_words import ACCEPTED, centre_from_radius, positive_zero
from firmware_bridges.twins.physics import Beam, Heater, Planner
from firmware_bridges.twins.witness import Witness, nobody

STEPS_PER_MM: Final = (80.0, 80.0, 400.0, 500.0)
MAX_RATE_MM_S: Final = (300.0, 300.0, 5.0, 25.0)
MAX_ACCELERATION: Final = (3000.0, 3000.0, 100.0, 10000.0)
SIZE_MM: Final = (200.0, 200.0, 200.0)
COLDEST_EXTRUSION_C: Final = 170.0
ARC_SEGMENT_MM: Final = 1.0
HOMING_MM_S: Final = (50.0, 50.0, 4.0)
HOMING_BUMP_S: Final = 2.4
WINDOW_C: Final = {"E0": 1.0, "bed": 1.0}
RESIDENCY_S: Final = 10.0
WORD: Final = re.compile(r"([A-Z])\s*([-+]?\d*\.?\d*)")

Ended = Callable[[float], bool]


class MarlinMachine:
    """Position, modal state, planner, heaters. `blocked` is set while a command waits; `say` sends a line."""

    def __init__(self, say: Callable[[str], None], acceleration: float = MAX_ACCELERATION[0]) -> None:
        self.say = say
        self.planner = Planner(15, MAX_RATE_MM_S, (acceleration, acceleration, *MAX_ACCELERATION[2:]))
        self.heaters = {
            "E0": Heater("E0", power_w=40.0, mass_j_per_k=6.5, loss_w_per_k=0.1, most_c=275.0),
            "bed": Heater("bed", power_w=200.0, mass_j_per_k=107.0, loss_w_per_k=1.0, most_c=150.0),
        }
        self.beam = Beam()
        self.witness: Witness = nobody
        self.start_over(0.0)

    def start_over(self, now: float) -> None:
        """Modal state after power-up or reset; the steppers' position is lost with it."""
        self.planner.drop(now, at_once=True)
        self.planner.set_position((0.0,) * 4)
        self.guards = {name: Guard() for name in self.heaters}
        for heater in self.heaters.values():
            heater.target_c = 0.0
        self.beam.power = 0.0
        self.absolute, self.absolute_e, self.inches = True, True, False
        self.feed_mm_s, self.feed_percent = 50.0, 100
        self.offset = [0.0] * 4
        self.homed = False
        self.fan = 0
        self.pending: deque[tuple[tuple[float, ...], float]] = deque()
        self.blocked: Ended | None = None
        self.waiting_heater = ""
        self.residency: float | None = None
        self.next_wait_report = 0.0
        self.user_wait = ""
        self.keep_alive_s = 2.0
        self.break_wait = False

    # --- time ---------------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> str:
        """Move, heat, guard. Returns the text of a thermal failure, or ""."""
        self.planner.advance(now)
        self.planner.done_tags.clear()
        self.feed_planner(now)
        self.beam.advance(now, moving=self.planner.moving)
        for name, heater in self.heaters.items():
            heater.advance(now)
            trip = self.guards[name].trip(heater, now)
            if trip:
                return f"{trip}, system stopped! Heater_ID: {name}"
        if self.waiting_heater and now >= self.next_wait_report:
            self._report_wait(now)
        return ""

    def feed_planner(self, now: float) -> None:
        """Blocks of the present command into the planner, as far as they fit."""
        while self.pending and self.planner.free > 0:
            target, speed = self.pending.popleft()
            self.planner.add(target, speed, now)

    def next_change(self) -> float | None:
        """When the planner frees a block."""
        return self.planner.next_change()

    def drop_all(self, now: float) -> None:
        """M410: planner emptied, position where slowing down brought the tool (motion/quickstop_stepper)."""
        self.pending.clear()
        self.planner.drop(now)

    def heaters_off(self) -> None:
        """All targets to zero."""
        for heater in self.heaters.values():
            heater.target_c = 0.0

    # --- commands -----------------------------------------------------------------------------------------------------

    def execute(self, text: str, now: float) -> bool:
        """Do one command (without number and checksum). False for one that this firmware does not know."""
        match = re.match(r"([GMT])\s*(\d+)(?:\.\d+)?", text)
        if match is None:
            return False
        code = match[1] + str(int(match[2]))
        rest = text[match.end() :]
        if code.startswith("T"):
            if code != "T0":
                self.say(f"echo:{code} Invalid extruder")
            return True
        action = getattr(self, f"_do_{code.lower()}", None)
        if action is None:
            return code in ACCEPTED
        action(rest, now)
        return True

    @staticmethod
    def words(rest: str) -> dict[str, float]:
        """Letters and numbers of a command; a letter without a number counts as 0."""
        found = {}
        for letter, number in WORD.findall(rest.upper()):
            try:
                found[letter] = float(number or 0)
            except ValueError:
                found[letter] = 0.0
        return found

    def _target(self, words: dict[str, float]) -> tuple[float, ...]:
        scale = 25.4 if self.inches else 1.0
        end = self.pending[-1][0] if self.pending else self.planner.end
        goal = list(end)
        for i, letter in enumerate("XYZE"):
            if letter in words:
                value = words[letter] * scale
                absolute = self.absolute_e if letter == "E" else self.absolute
                goal[i] = value + self.offset[i] if absolute else end[i] + value
        if self.homed:
            for i, size in enumerate(SIZE_MM):
                goal[i] = min(max(goal[i], 0.0), size)
        if goal[3] != end[3] and self.heaters["E0"].reading_c() < COLDEST_EXTRUSION_C:
            self.say("echo: cold extrusion prevented")
            self.offset[3] += end[3] - goal[3]
            goal[3] = end[3]
        if "F" in words and words["F"] > 0:
            self.feed_mm_s = words["F"] * scale / 60.0
        return tuple(goal)

    def _do_g0(self, rest: str, now: float) -> None:
        goal = self._target(self.words(rest))
        self.pending.append((goal, self.feed_mm_s * self.feed_percent / 100.0))
        self.feed_planner(now)

    _do_g1 = _do_g0

    def _do_g2(self, rest: str, now: float) -> None:
        self._arc(rest, now, clockwise=True)

    def _do_g3(self, rest: str, now: float) -> None:
        self._arc(rest, now, clockwise=False)

    def _arc(self, rest: str, now: float, *, clockwise: bool) -> None:
        words = self.words(rest)
        start = self.pending[-1][0] if self.pending else self.planner.end
        goal = self._target(words)
        scale = 25.4 if self.inches else 1.0
        if "R" in words:
            i, j = centre_from_radius(start, goal, words["R"] * scale, clockwise=clockwise)
        else:
            i, j = words.get("I", 0.0) * scale, words.get("J", 0.0) * scale
        centre = (start[0] + i, start[1] + j)
        radius = math.hypot(i, j)
        begin = math.atan2(-j, -i)
        sweep = math.atan2(goal[1] - centre[1], goal[0] - centre[0]) - begin
        if clockwise:
            sweep = sweep - 2 * math.pi if sweep > 0 else sweep
        else:
            sweep = sweep + 2 * math.pi if sweep < 0 else sweep
        if abs(sweep) < 1e-9:
            sweep = -2 * math.pi if clockwise else 2 * math.pi
        count = max(1, int(abs(sweep) * radius / ARC_SEGMENT_MM))
        speed = self.feed_mm_s * self.feed_percent / 100.0
        for k in range(1, count):
            part = k / count
            angle = begin + sweep * part
            middle = tuple(a + (b - a) * part for a, b in zip(start, goal, strict=True))
            on_arc = (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle), *middle[2:])
            self.pending.append((on_arc, speed))
        self.pending.append((goal, speed))
        self.feed_planner(now)

    def _still(self, _now: float) -> bool:
        return not self.planner.blocks and not self.pending

    def _do_g4(self, rest: str, now: float) -> None:
        words = self.words(rest)
        pause_s = words.get("S", 0.0) + words.get("P", 0.0) / 1000.0
        ends: list[float] = []

        def over(t: float) -> bool:
            if not self._still(t):
                return False
            if not ends:
                ends.append(t + pause_s)
            return t >= ends[0]

        self.blocked = over

    def _do_m400(self, _rest: str, _now: float) -> None:
        self.blocked = self._still

    def _do_g20(self, _rest: str, _now: float) -> None:
        self.inches = True

    def _do_g21(self, _rest: str, _now: float) -> None:
        self.inches = False

    def _do_g90(self, _rest: str, _now: float) -> None:
        self.absolute = self.absolute_e = True

    def _do_g91(self, _rest: str, _now: float) -> None:
        self.absolute = self.absolute_e = False

    def _do_m82(self, _rest: str, _now: float) -> None:
        self.absolute_e = True

    def _do_m83(self, _rest: str, _now: float) -> None:
        self.absolute_e = False

    def _do_g92(self, rest: str, _now: float) -> None:
        words = self.words(rest)
        for i, letter in enumerate("XYZE"):
            if letter in words or not words:
                self.offset[i] = self.planner.end[i] - words.get(letter, 0.0)

    def _do_g28(self, rest: str, now: float) -> None:
        wanted = [i for i, letter in enumerate("XYZ") if letter in rest.upper()] or [0, 1, 2]
        took = sum(abs(self.planner.end[i]) / HOMING_MM_S[i] + HOMING_BUMP_S for i in wanted)
        ends: list[float] = []

        def over(t: float) -> bool:
            if not self._still(t):
                return False
            if not ends:
                ends.append(t + took)
            if t < ends[0]:
                return False
            at = list(self.planner.position)
            for i in wanted:
                at[i] = self.offset[i] = 0.0
            self.planner.set_position(at)
            self.homed = self.homed or len(wanted) == 3
            self.say(self.position_report())
            return True

        self.blocked = over

    def position_report(self) -> str:
        """M114: the planner's end in the program's coordinates, and the steppers' count (M114.cpp)."""
        end = self.pending[-1][0] if self.pending else self.planner.end
        shown = " ".join(f"{n}:{positive_zero(end[i] - self.offset[i]):.2f}" for i, n in enumerate("XYZE"))
        counts = " ".join(f"{n}:{round(self.planner.position[i] * STEPS_PER_MM[i])}" for i, n in enumerate("XYZ"))
        return f"{shown} Count {counts}"

    def _do_m119(self, _rest: str, _now: float) -> None:
        self.say("Reporting endstop status")
        for i, axis in enumerate("xyz"):
            pressed = self.homed and self.planner.position[i] < 0
            self.say(f"{axis}_min: {'TRIGGERED' if pressed else 'open'}")

    def _do_m31(self, _rest: str, _now: float) -> None:
        self.say("//action:notification 0s\r")
        self.say("echo:Print time: 0s")

    # --- heat ---------------------------------------------------------------------------------------------------------

    def temperatures(self) -> str:
        """The middle of every temperature report (temperature.cpp print_heater_states)."""
        hot, bed = self.heaters["E0"], self.heaters["bed"]
        return (
            f"T:{hot.reading_c():.2f} /{hot.target_c:.2f} B:{bed.reading_c():.2f} /{bed.target_c:.2f}"
            f" @:{int(hot.duty * 127)} B@:{int(bed.duty * 127)}"
        )

    def _do_m104(self, rest: str, _now: float) -> None:
        words = self.words(rest)
        if "S" in words:
            self.heaters["E0"].target_c = words["S"]

    def _do_m140(self, rest: str, _now: float) -> None:
        words = self.words(rest)
        if "S" in words:
            self.heaters["bed"].target_c = words["S"]
            if words["S"] > self.heaters["bed"].temperature_c:
                self.say("//action:notification Bed Heating...")

    def _do_m109(self, rest: str, now: float) -> None:
        self._wait_for("E0", rest, now)

    def _do_m190(self, rest: str, now: float) -> None:
        self._wait_for("bed", rest, now)

    def _wait_for(self, name: str, rest: str, now: float) -> None:
        words = self.words(rest)
        heater = self.heaters[name]
        if "S" not in words and "R" not in words:
            return
        heater.target_c = words.get("S", words.get("R", 0.0))
        if "R" not in words and heater.temperature_c > heater.target_c:
            return
        self.waiting_heater, self.residency = name, None
        self.next_wait_report = now
        self.break_wait = False

        def over(t: float) -> bool:
            if not self.break_wait and heater.target_c > 0:
                if abs(heater.target_c - heater.reading_c()) < WINDOW_C[name]:
                    if self.residency is None:
                        self.residency = t + RESIDENCY_S
                elif abs(heater.target_c - heater.reading_c()) > 3 * WINDOW_C[name]:
                    self.residency = None
                if self.residency is None or t < self.residency:
                    return False
            self.waiting_heater = ""
            return True

        self.blocked = over

    def _report_wait(self, now: float) -> None:
        self.next_wait_report = now + 1.0
        left = "?" if self.residency is None else str(max(0, math.floor(self.residency - now)))
        self.say(f" {self.temperatures()} W:{left}")

    # --- spindle, fan, words ------------------------------------------------------------------------------------------

    def _do_m3(self, rest: str, _now: float) -> None:
        self.beam.power, self.beam.dynamic = self.words(rest).get("S", 255.0), False

    def _do_m4(self, rest: str, _now: float) -> None:
        self.beam.power, self.beam.dynamic = self.words(rest).get("S", 255.0), True

    def _do_m5(self, _rest: str, _now: float) -> None:
        self.beam.power = 0.0

    def _do_m106(self, rest: str, _now: float) -> None:
        self.fan = int(self.words(rest).get("S", 255.0))

    def _do_m107(self, _rest: str, _now: float) -> None:
        self.fan = 0

    def _do_m220(self, rest: str, _now: float) -> None:
        self.feed_percent = int(self.words(rest).get("S", 100.0)) or 100

    def _do_m113(self, rest: str, _now: float) -> None:
        words = self.words(rest)
        if "S" in words:
            self.keep_alive_s = words["S"]
        else:
            self.say(f"echo:  M113 S{self.keep_alive_s:.0f}")

    def _do_m0(self, rest: str, _now: float) -> None:
        message = rest.strip() or "Click to Resume..."
        if rest.strip():
            self.say(f"echo:{message}\r")
        for line in ("prompt_end", f"prompt_begin {message}", "prompt_button Continue", "prompt_show"):
            self.say(f"//action:{line}")
        self.user_wait = "paused for user"
        self.break_wait = False

        def over(_t: float) -> bool:
            if self.break_wait:
                self.user_wait = ""
                return True
            return False

        self.blocked = over

    _do_m1 = _do_m0
    _do_m600 = _do_m0

    def _do_m118(self, rest: str, _now: float) -> None:
        text = rest.strip()
        prefix = ""
        while match := re.match(r"([AE])1\s*", text):
            prefix += "//" if match[1] == "A" else "echo:"
            text = text[match.end() :]
        self.say(f"{prefix}{text}\r")
