"""Bodies of simulated machines: a look-ahead planner, heaters with thermal mass, switches, a spindle or a beam.

All take the twin's own time in seconds as an argument and never look at a clock.

The planner does what Marlin (src/module/planner.cpp) and Grbl (grbl/planner.c) do: junction speeds from the junction
deviation, a backward and a forward pass over the blocks not yet started, trapezoids between.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

MIN_JUNCTION_SPEED_MM_S: Final = 0.05
LONGEST_STARVATION_S: Final = 0.5


@dataclass(slots=True)
class Block:
    """One straight move. Speeds in mm/s, times in the twin's seconds."""

    start: tuple[float, ...]
    target: tuple[float, ...]
    unit: tuple[float, ...]
    length: float
    nominal: float
    acceleration: float
    max_entry: float
    entry: float
    tag: int
    power: float = 0.0
    exit: float = 0.0
    began: float = -1.0
    ramp_up_s: float = 0.0
    cruise_s: float = 0.0
    ramp_down_s: float = 0.0
    peak: float = 0.0

    @property
    def ends(self) -> float:
        """When it is over (only once begun)."""
        return self.began + self.ramp_up_s + self.cruise_s + self.ramp_down_s

    def shape(self, exit_speed: float) -> None:
        """Fix the trapezoid from the entry speed to `exit_speed`."""
        a, v0, v1 = self.acceleration, self.entry, exit_speed
        peak = min(self.nominal, math.sqrt(max(0.0, (2 * a * self.length + v0 * v0 + v1 * v1) / 2)))
        peak = max(peak, v0, v1)
        self.exit, self.peak = v1, peak
        self.ramp_up_s = (peak - v0) / a
        self.ramp_down_s = (peak - v1) / a
        ramps = (peak * peak - v0 * v0) / (2 * a) + (peak * peak - v1 * v1) / (2 * a)
        self.cruise_s = max(0.0, self.length - ramps) / peak if peak > 0 else 0.0

    def travelled(self, t: float) -> tuple[float, float]:
        """(distance from the start in mm, speed in mm/s) at time `t`."""
        s = t - self.began
        if s <= 0:
            return 0.0, self.entry
        if s < self.ramp_up_s:
            return self.entry * s + self.acceleration * s * s / 2, self.entry + self.acceleration * s
        up = (self.entry + self.peak) / 2 * self.ramp_up_s
        s -= self.ramp_up_s
        if s < self.cruise_s:
            return up + self.peak * s, self.peak
        s -= self.cruise_s
        cruise = self.peak * self.cruise_s
        if s < self.ramp_down_s:
            return up + cruise + self.peak * s - self.acceleration * s * s / 2, self.peak - self.acceleration * s
        return self.length, self.exit

    def at(self, distance: float) -> tuple[float, ...]:
        """The position `distance` mm along the move."""
        return tuple(s + u * distance for s, u in zip(self.start, self.unit, strict=True))


@dataclass(slots=True)
class Stopping:
    """A deceleration in progress, along the path that was planned."""

    began: float
    ends: float
    speed: float
    deceleration: float


class Planner:
    """A queue of `size` blocks; the first one moves. Positions are tuples of as many axes as `limits`."""

    def __init__(
        self,
        size: int,
        max_rate_mm_s: Sequence[float],
        max_acceleration_mm_s2: Sequence[float],
        junction_deviation_mm: float = 0.01,
    ) -> None:
        self.size = size
        self.rates = tuple(max_rate_mm_s)
        self.accelerations = tuple(max_acceleration_mm_s2)
        self.deviation = junction_deviation_mm
        self.blocks: deque[Block] = deque()
        self.position: tuple[float, ...] = (0.0,) * len(self.rates)
        """Where the tool is when nothing moves; the end of the last block taken off."""
        self.override = 1.0
        self.done_tags: list[int] = []
        self.starved = 0
        """Times that the queue ran empty while moving and the next block came within LONGEST_STARVATION_S."""
        self._emptied_at = -math.inf
        self._last: Block | None = None
        self._stopping: Stopping | None = None
        self._held = False

    # --- queue --------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> tuple[float, ...]:
        """Where the tool will be when all blocks are done."""
        return self.blocks[-1].target if self.blocks else self.position

    @property
    def free(self) -> int:
        """Blocks that fit."""
        return self.size - len(self.blocks)

    @property
    def moving(self) -> bool:
        """Whether a block is being executed."""
        return bool(self.blocks) and not self._held

    @property
    def held(self) -> bool:
        """Whether a hold came to a stand."""
        return self._held and self._stopping is None

    @property
    def stopping(self) -> bool:
        """Whether a hold is still slowing down."""
        return self._stopping is not None

    def add(self, target: Sequence[float], speed_mm_s: float, now: float, *, tag: int = 0, power: float = 0.0) -> bool:
        """Queue a move to `target`; False for a move of no length. The caller makes sure that one fits."""
        start = self.end
        goal = tuple(target)
        delta = [b - a for a, b in zip(start, goal, strict=True)]
        linear = math.sqrt(sum(d * d for d in delta[:3]))
        length = linear if linear > 1e-9 else max(abs(d) for d in delta)
        if length < 1e-9:
            return False
        unit = tuple(d / length for d in delta)
        nominal, acceleration = max(1e-3, speed_mm_s * self.override), math.inf
        for u, rate, most in zip(unit, self.rates, self.accelerations, strict=True):
            if abs(u) > 1e-12:
                nominal = min(nominal, rate / abs(u))
                acceleration = min(acceleration, most / abs(u))
        fresh = not self.blocks
        if fresh and 0 < now - self._emptied_at < LONGEST_STARVATION_S:
            self.starved += 1
        previous = self.blocks[-1] if self.blocks else None
        junction = 0.0 if previous is None else self._junction(previous, unit, nominal, acceleration)
        block = Block(start, goal, unit, length, nominal, acceleration, junction, 0.0, tag, power)
        self.blocks.append(block)
        self._replan()
        if fresh and not self._held:
            self._begin(block, now)
        return True

    def advance(self, now: float) -> None:
        """Bring the queue to `now`."""
        if self._stopping is not None:
            if now < self._stopping.ends:
                return
            self._come_to_stand()
        if self._held:
            return
        blocks = self.blocks
        while blocks:
            head = blocks[0]
            if head.began < 0:
                self._begin(head, now)
            ends = head.ends
            if ends > now:
                return
            blocks.popleft()
            self.position = head.target
            self.done_tags.append(head.tag)
            if blocks:
                self._begin(blocks[0], ends)
            else:
                self._emptied_at = ends

    def next_change(self) -> float | None:
        """When the first block (or the deceleration) ends; None when nothing moves."""
        if self._stopping is not None:
            return self._stopping.ends
        if not self.blocks or self._held:
            return None
        return self.blocks[0].ends

    def where(self, now: float) -> tuple[tuple[float, ...], float]:
        """(position, speed in mm/s) at `now`, without changing anything."""
        if self._stopping is not None:
            stop = self._stopping
            s = max(0.0, min(now, stop.ends) - stop.began)
            distance = stop.speed * s - stop.deceleration * s * s / 2
            return self._along(distance), max(0.0, stop.speed - stop.deceleration * s)
        if not self.blocks or self._held:
            return self.position, 0.0
        head = self.blocks[0]
        distance, speed = head.travelled(now)
        return head.at(min(distance, head.length)), speed

    # --- stopping -----------------------------------------------------------------------------------------------------

    def hold(self, now: float) -> None:
        """Slow down along the path and stand; blocks stay. Also when nothing moves: later blocks wait."""
        if self._held:
            return
        self.advance(now)
        self._held = True
        if not self.blocks:
            return
        head = self.blocks[0]
        at, speed = self.where_in(head, now)
        self.position = at
        self._cut_head(at)
        a = head.acceleration
        if speed > 0:
            self._stopping = Stopping(now, now + speed / a, speed, a)

    def where_in(self, head: Block, now: float) -> tuple[tuple[float, ...], float]:
        """(position, speed) in a block that has begun."""
        distance, speed = head.travelled(now)
        return head.at(min(distance, head.length)), speed

    def resume(self, now: float) -> None:
        """Go on after a hold."""
        if self._stopping is not None:
            self._come_to_stand()
        self._held = False
        if self.blocks:
            self.blocks[0].max_entry = 0.0
            self._replan()
            self._begin(self.blocks[0], now)

    def drop(self, now: float, *, at_once: bool = False) -> None:
        """Forget all blocks; the tool stands where it is (`at_once`) or where slowing down brings it."""
        if self.blocks and not self._held and not at_once:
            self.hold(now)
        if self._stopping is not None:
            self._come_to_stand()
        elif self.blocks and not self._held:
            self.position = self.where(now)[0]
        self.blocks.clear()
        self._held = False
        self._stopping = None
        self._emptied_at = -math.inf

    def set_position(self, position: Sequence[float]) -> None:
        """Say where the tool is (G92, homing). Only with an empty queue."""
        self.position = tuple(position)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _come_to_stand(self) -> None:
        stop = self._stopping
        if stop is None:
            return
        self._stopping = None
        distance = stop.speed * stop.speed / (2 * stop.deceleration)
        at = self._along(distance)
        while self.blocks and distance >= self.blocks[0].length - 1e-9:
            done = self.blocks.popleft()
            distance -= done.length
            self.done_tags.append(done.tag)
        self.position = at
        if self.blocks:
            self._cut_head(at)

    def _along(self, distance: float) -> tuple[float, ...]:
        for block in self.blocks:
            if distance <= block.length:
                return block.at(distance)
            distance -= block.length
        return self.end

    def _cut_head(self, at: tuple[float, ...]) -> None:
        head = self.blocks[0]
        left = [b - a for a, b in zip(at, head.target, strict=True)]
        linear = math.sqrt(sum(d * d for d in left[:3]))
        head.start, head.length = at, max(linear or max(abs(d) for d in left), 1e-9)
        head.entry = head.max_entry = 0.0
        head.began = -1.0

    def _junction(self, before: Block, unit: tuple[float, ...], nominal: float, acceleration: float) -> float:
        """Highest speed through a corner: Marlin and Grbl, "junction deviation" (S. Jeon, Grbl planner.c)."""
        cosine = -sum(a * b for a, b in zip(before.unit[:3], unit[:3], strict=True))
        limit = min(nominal, before.nominal)
        if cosine > 0.999999:
            return MIN_JUNCTION_SPEED_MM_S
        if cosine < -0.999999:
            return limit
        half = math.sqrt(0.5 * (1.0 - cosine))
        least = min(acceleration, before.acceleration)
        return min(limit, math.sqrt(least * self.deviation * half / (1.0 - half)))

    def _replan(self) -> None:
        """Backward then forward pass over blocks that have not begun; the last one ends at a stand.

        A block that moves keeps the exit it was given: its follower starts from there, as in the firmware.
        """
        blocks = list(self.blocks)
        first = 1 if blocks and blocks[0].began >= 0 else 0
        following = 0.0
        for block in reversed(blocks[first:]):
            reachable = math.sqrt(following * following + 2 * block.acceleration * block.length)
            following = block.entry = min(block.max_entry, block.nominal, reachable)
        if first and len(blocks) > 1:
            blocks[1].entry = min(blocks[1].entry, blocks[0].exit)
        for block, after in itertools.pairwise(blocks[first:]):
            reachable = math.sqrt(block.entry * block.entry + 2 * block.acceleration * block.length)
            after.entry = min(after.entry, reachable)

    def _begin(self, block: Block, now: float) -> None:
        block.began = now
        following = self.blocks[1].entry if len(self.blocks) > 1 else 0.0
        reachable = math.sqrt(block.entry * block.entry + 2 * block.acceleration * block.length)
        block.shape(min(following, reachable))


@dataclass(slots=True)
class Heater:
    """A heater with thermal mass under firmware control. Faults: "dead", "stuck_on", "sensor_open"."""

    name: str
    power_w: float
    mass_j_per_k: float
    loss_w_per_k: float
    most_c: float
    ambient_c: float = 22.5
    temperature_c: float = 22.5
    target_c: float = 0.0
    duty: float = 0.0
    fault: str = ""
    _at: float = field(default=0.0)

    def advance(self, now: float) -> None:
        """Bring the temperature to `now`; a proportional band of 10 K stands for the firmware's PID."""
        while self._at < now:
            step = min(0.25, now - self._at)
            self._at += step
            wanted = 0.0
            if self.target_c > 0:
                feed_forward = self.loss_w_per_k * (self.target_c - self.ambient_c) / self.power_w
                wanted = feed_forward + (self.target_c - self.temperature_c) / 10.0
            self.duty = max(0.0, min(1.0, wanted))
            duty = {"dead": 0.0, "stuck_on": 1.0}.get(self.fault, self.duty)
            flow = duty * self.power_w - self.loss_w_per_k * (self.temperature_c - self.ambient_c)
            self.temperature_c += flow / self.mass_j_per_k * step

    def reading_c(self) -> float:
        """What the sensor says: an open thermistor reads far below freezing."""
        return -14.0 if self.fault == "sensor_open" else self.temperature_c


@dataclass(slots=True)
class Beam:
    """A spindle or a laser beam: what is on, and how long a beam burnt without moving."""

    power: float = 0.0
    dynamic: bool = False
    """M4 on a laser: power follows speed, off at a stand."""
    stationary_burn_ms: float = 0.0
    _at: float = 0.0

    def advance(self, now: float, *, moving: bool) -> None:
        """Account for the time since the last call."""
        if self.power > 0 and not moving and not self.dynamic:
            self.stationary_burn_ms += (now - self._at) * 1000.0
        self._at = now
