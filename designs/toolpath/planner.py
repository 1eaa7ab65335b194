"""Motions to time, as the firmwares plan them: look-ahead over a finite queue of blocks, trapezoids between.

The plan of a queue, and the junction speed by deviation, follow grbl/planner.c (`planner_recalculate`,
`plan_buffer_line`) and Marlin src/module/planner.cpp (`reverse_pass`, `forward_pass`, `calculate_trapezoid_for_block`);
jerk limits follow Marlin's CLASSIC_JERK. A block leaves the queue when the queue is full, or when the program makes the
machine wait; its leaving speed is the best one from which the last block in the queue can still stop.
Lengths mm, speeds mm/s, times s.
"""

from __future__ import annotations

import math
from typing import Any

KERNELS = (
    "junction_speed_2",
    "push",
    "exit_speed_2",
    "pop",
    "drain",
    "limits_of",
    "straight",
    "arc",
    "setting",
    "heat",
    "wait",
    "advance",
)

# Registers of the plan's state (floats): queue, previous direction, accumulated figures.
HEAD, COUNT, ENTRY_2, PREV_NOMINAL, PREV_X, PREV_Y, PREV_Z, PREV_E = range(8)
TIME, LAST_POINT, POINT_STEP, AT_X, AT_Y, AT_Z, AT_E = range(8, 15)
RAPID_MM, FEED_MM, ON_S, POWER_S, FILAMENT_MM, BLOCKS, PRINT_MM, REACHED_E = range(15, 23)
LAST_LINE, WAIT_S = 23, 24
# Heaters: temperature, target, and when that was so; nozzle, then bed.
NOZZLE_C, NOZZLE_TARGET_C, NOZZLE_AT_S, BED_C, BED_TARGET_C, BED_AT_S = range(25, 31)
ROOM = 31
"""How many (line, time) points the caller's lists can take."""
PLAN_STATE = 32
# Limits (floats): max speed and acceleration per axis X Y Z E, then these.
MAX_V, MAX_A, JERK = 0, 4, 8
ACCEL, TRAVEL_ACCEL, RETRACT_ACCEL, DEVIATION, QUEUE, RAPID_V, ARC_STEP, ARC_TOLERANCE = range(12, 20)
USE_JERK, OBEYS, NOZZLE_C_S, HOME_S, TOOL_S, MIN_V, BED_C_S, RESIDENCY_S = range(20, 28)
LIMITS = 28
AMBIENT_C = 22.0
# A block in the queue: length, nominal speed, greatest entry speed squared, acceleration, line, power, cutting.
LENGTH, NOMINAL, MAX_ENTRY_2, BLOCK_A, BLOCK_LINE, BLOCK_POWER, BLOCK_ON = range(7)
BLOCK = 7

# Columns and kinds of the rows, as in motions.py (a compiled module must stand alone).
_LINE, _KIND, _X, _E, _FEED, _POWER, _SPIN = 0, 1, 2, 5, 6, 7, 8
_CENTRE_A, _CENTRE_B, _SWEEP, _PLANE, _VALUE, _PARAM, _WIDTH = 10, 11, 12, 13, 14, 17, 18
_RAPID, _LINEAR, _ARC, _DWELL, _CODE, _HOME, _BAD_ARC, _SETTING = range(8)


def junction_speed_2(plan: Any, limits: Any, unit: Any, nominal: float, accel: float) -> float:
    """Square of the greatest speed from the last direction into `unit`."""
    top = min(nominal, plan[PREV_NOMINAL])
    floor_2 = limits[MIN_V] * limits[MIN_V]
    if top <= 0.0:
        return float(floor_2)
    if limits[USE_JERK] > 0.0:
        for k in range(4):
            change = abs(unit[k] - plan[PREV_X + k]) * top
            if change > limits[JERK + k] and change > 0.0:
                top *= limits[JERK + k] / change
        return float(max(top * top, floor_2))
    cosine = 0.0
    for k in range(4):
        cosine -= plan[PREV_X + k] * unit[k]
    if cosine > 0.999999:
        return float(floor_2)
    if cosine < -0.999999:
        return float(top * top)
    bend_a = 1e30
    size = 0.0
    for k in range(4):
        size += (unit[k] - plan[PREV_X + k]) ** 2
    size = math.sqrt(size)
    for k in range(4):
        part = abs(unit[k] - plan[PREV_X + k]) / size
        if part > 1e-12 and limits[MAX_A + k] < bend_a * part:
            bend_a = limits[MAX_A + k] / part
    if limits[TRAVEL_ACCEL] > 0.0:
        bend_a = min(bend_a, accel)
    sine_half = math.sqrt(0.5 * (1.0 - cosine))
    if sine_half >= 0.9999999:
        return float(top * top)
    corner_2 = bend_a * limits[DEVIATION] * sine_half / (1.0 - sine_half)
    return float(min(top * top, max(corner_2, floor_2)))


def exit_speed_2(plan: Any, limits: Any, queue: Any) -> float:
    """Square of the speed at the oldest block's end: backward from a stop after the newest (reverse pass)."""
    size = int(limits[QUEUE])
    head = int(plan[HEAD])
    v_2 = limits[MIN_V] * limits[MIN_V]
    for k in range(int(plan[COUNT]) - 1, 0, -1):
        base = ((head + k) % size) * BLOCK
        v_2 = min(queue[base + MAX_ENTRY_2], v_2 + 2.0 * queue[base + BLOCK_A] * queue[base + LENGTH])
    base = head * BLOCK
    v_2 = min(v_2, plan[ENTRY_2] + 2.0 * queue[base + BLOCK_A] * queue[base + LENGTH])
    return float(min(v_2, queue[base + NOMINAL] * queue[base + NOMINAL]))


def pop(plan: Any, limits: Any, queue: Any, out_lines: Any, out_times: Any, points: int) -> int:
    """Run the oldest block: its trapezoid's time is added; number of points in the table after it."""
    base = int(plan[HEAD]) * BLOCK
    length = queue[base + LENGTH]
    accel = queue[base + BLOCK_A]
    top = queue[base + NOMINAL]
    in_2 = min(plan[ENTRY_2], top * top)
    out_2 = exit_speed_2(plan, limits, queue)
    v_in = math.sqrt(in_2)
    v_out = math.sqrt(out_2)
    ramps = (2.0 * top * top - in_2 - out_2) / (2.0 * accel)
    if ramps <= length:
        seconds = (top - v_in + top - v_out) / accel + (length - ramps) / top
    else:
        peak = math.sqrt(max(0.5 * (2.0 * accel * length + in_2 + out_2), in_2, out_2))
        seconds = (2.0 * peak - v_in - v_out) / accel
        if peak <= 0.0:
            seconds = math.sqrt(2.0 * length / accel)
    plan[TIME] += seconds
    if queue[base + BLOCK_ON] > 0.0:
        plan[ON_S] += seconds
        plan[POWER_S] += seconds * queue[base + BLOCK_POWER]
    plan[ENTRY_2] = out_2
    plan[HEAD] = float((int(plan[HEAD]) + 1) % int(limits[QUEUE]))
    plan[COUNT] -= 1.0
    plan[BLOCKS] += 1.0
    line = queue[base + BLOCK_LINE]
    if plan[TIME] >= plan[LAST_POINT] + plan[POINT_STEP] and line > plan[LAST_LINE] and points < plan[ROOM]:
        out_lines[points] = line
        out_times[points] = plan[TIME]
        plan[LAST_POINT] = plan[TIME]
        plan[LAST_LINE] = line
        points += 1
    return points


def drain(plan: Any, limits: Any, queue: Any, out_lines: Any, out_times: Any, points: int) -> int:
    """Run all that is queued, to a stop."""
    while plan[COUNT] > 0.0:
        points = pop(plan, limits, queue, out_lines, out_times, points)
    plan[ENTRY_2] = 0.0
    plan[PREV_NOMINAL] = 0.0
    return points


def limits_of(unit: Any, limits: Any, first: int, most: float) -> float:
    """Greatest value along `unit` that exceeds no axis's limit (grbl/nuts_bolts.c `limit_value_by_axis_maximum`)."""
    for k in range(4):
        part = abs(unit[k])
        if part > 1e-12 and limits[first + k] < most * part:
            most = limits[first + k] / part
    return most


def straight(
    plan: Any, limits: Any, queue: Any, unit: Any, to: Any, row: Any, base: int, rapid: bool,
    out_lines: Any, out_times: Any, points: int,
) -> int:  # fmt: skip
    """Queue one straight block to `to` (X Y Z E)."""
    span = 0.0
    for k in range(4):
        unit[k] = to[k] - plan[AT_X + k]
        if k < 3:
            span += unit[k] * unit[k]
    length = math.sqrt(span)
    filament = unit[3]
    only_e = length < 1e-6
    if only_e:
        length = abs(filament)
    if length < 1e-6:
        return points
    for k in range(4):
        unit[k] /= length
        plan[AT_X + k] = to[k]
    plan[FILAMENT_MM] += max(0.0, to[3] - max(plan[REACHED_E], to[3] - max(filament, 0.0)))
    plan[REACHED_E] = max(plan[REACHED_E], to[3])
    on = row[base + _SPIN] > 0.0 and not rapid
    prints = filament > 0.0 and not only_e
    if rapid or (limits[TRAVEL_ACCEL] > 0.0 and not prints and not on):
        plan[RAPID_MM] += 0.0 if only_e else length
    else:
        plan[FEED_MM] += length
    wanted = limits[RAPID_V] if rapid and limits[RAPID_V] > 0.0 else row[base + _FEED] / 60.0
    if wanted <= 0.0:
        wanted = limits[MIN_V] if limits[MIN_V] > 0.0 else 1.0
    nominal = limits_of(unit, limits, MAX_V, wanted)
    most = 1e9
    if limits[TRAVEL_ACCEL] > 0.0:
        most = limits[RETRACT_ACCEL] if only_e else (limits[ACCEL] if filament != 0.0 else limits[TRAVEL_ACCEL])
    accel = limits_of(unit, limits, MAX_A, most)
    return push(plan, limits, queue, unit, length, nominal, accel, row, base, on, out_lines, out_times, points)


def push(
    plan: Any, limits: Any, queue: Any, unit: Any, length: float, nominal: float, accel: float, row: Any, base: int,
    on: bool, out_lines: Any, out_times: Any, points: int,
) -> int:  # fmt: skip
    """Put a block at the queue's end; the oldest runs when the queue is full."""
    if plan[COUNT] >= limits[QUEUE]:
        points = pop(plan, limits, queue, out_lines, out_times, points)
    size = int(limits[QUEUE])
    at = ((int(plan[HEAD]) + int(plan[COUNT])) % size) * BLOCK
    queue[at + LENGTH] = length
    queue[at + NOMINAL] = nominal
    queue[at + MAX_ENTRY_2] = junction_speed_2(plan, limits, unit, nominal, accel)
    queue[at + BLOCK_A] = accel
    queue[at + BLOCK_LINE] = row[base + _LINE]
    queue[at + BLOCK_POWER] = row[base + _POWER]
    queue[at + BLOCK_ON] = 1.0 if on else 0.0
    if plan[COUNT] == 0.0:
        plan[ENTRY_2] = min(plan[ENTRY_2], queue[at + MAX_ENTRY_2])
    plan[COUNT] += 1.0
    plan[PREV_NOMINAL] = nominal
    for k in range(4):
        plan[PREV_X + k] = unit[k]
    return points


def arc(
    plan: Any, limits: Any, queue: Any, unit: Any, to: Any, row: Any, base: int,
    out_lines: Any, out_times: Any, points: int,
) -> int:  # fmt: skip
    """Queue an arc as the firmware's chords (grbl/motion_control.c mc_arc; Marlin src/gcode/motion/G2_G3.cpp)."""
    plane = int(row[base + _PLANE])
    a = 0 if plane == 0 else (2 if plane == 1 else 1)
    b = 1 if plane == 0 else (0 if plane == 1 else 2)
    ca = row[base + _CENTRE_A]
    cb = row[base + _CENTRE_B]
    sweep = row[base + _SWEEP]
    ra = plan[AT_X + a] - ca
    rb = plan[AT_X + b] - cb
    radius = math.sqrt(ra * ra + rb * rb)
    if limits[ARC_TOLERANCE] > 0.0:
        step = 2.0 * math.sqrt(max(limits[ARC_TOLERANCE] * (2.0 * radius - limits[ARC_TOLERANCE]), 1e-6))
        chords = math.floor(abs(0.5 * sweep * radius) / (0.5 * step))
    else:
        chords = math.floor(abs(sweep * radius) / max(limits[ARC_STEP], 1e-3))
    chords = int(min(max(chords, 1.0), 20000.0))
    first = (plan[AT_X], plan[AT_Y], plan[AT_Z], plan[AT_E])
    for n in range(1, chords + 1):
        share = n / chords
        for k in range(4):
            to[k] = first[k] + (row[base + _X + k] - first[k]) * share
        if n < chords:
            turn = sweep * share
            to[a] = ca + ra * math.cos(turn) - rb * math.sin(turn)
            to[b] = cb + ra * math.sin(turn) + rb * math.cos(turn)
        points = straight(plan, limits, queue, unit, to, row, base, False, out_lines, out_times, points)
    return points


def setting(limits: Any, row: Any, base: int) -> None:
    """M201, M203, M204, M205 in the program change the firmware's limits (Marlin src/gcode/config/M200-M205.cpp)."""
    code = int(row[base + _VALUE]) - 100000
    letter = int(row[base + _CENTRE_A])
    value = row[base + _PARAM]
    index = letter - 23 if letter >= 23 else (3 if letter == 4 else -1)
    if value < 0.0:
        return
    if code == 2010 and index >= 0 and value > 0.0:
        limits[MAX_A + index] = value
    elif code == 2030 and index >= 0 and value > 0.0:
        limits[MAX_V + index] = value
    elif code == 2040 and value > 0.0:
        if letter == 18 or letter == 15:
            limits[ACCEL] = value
        if letter == 18 or letter == 19:
            limits[TRAVEL_ACCEL] = value
        if letter == 17:
            limits[RETRACT_ACCEL] = value
    elif code == 2050:
        if index >= 0:
            limits[JERK + index] = value
        elif letter == 9 and value > 0.0:
            limits[DEVIATION] = value


def heat(plan: Any, limits: Any, code: int, target: float) -> float:
    """Take a heater's new target (M104, M109, M140, M190): seconds the program waits for it, -1 where it does not."""
    nozzle = code in (101040, 101090)
    first = NOZZLE_C if nozzle else BED_C
    rate = limits[NOZZLE_C_S] if nozzle else limits[BED_C_S]
    if target != target or rate <= 0.0:
        return -1.0
    now = plan[TIME]
    if plan[first + 2] == 0.0 and plan[first] == 0.0:
        plan[first] = AMBIENT_C
    warm = plan[first]
    if plan[first + 1] > warm:
        warm = min(plan[first + 1], warm + rate * (now - plan[first + 2]))
    elif plan[first + 1] < warm:
        warm = max(plan[first + 1], AMBIENT_C, warm - 0.3 * rate * (now - plan[first + 2]))
    plan[first] = warm
    plan[first + 1] = target
    plan[first + 2] = now
    if code in (101040, 101400) or target <= warm - 1.0:
        return -1.0
    seconds = max(0.0, target - warm) / rate + limits[RESIDENCY_S]
    plan[first] = target
    plan[first + 2] = now + seconds
    return float(seconds)


def wait(limits: Any, row: Any, base: int) -> float:
    """Seconds the machine stands at this row, -1 where it does not stop at all."""
    kind = int(row[base + _KIND])
    if kind == _DWELL:
        return float(row[base + _VALUE])
    if kind == _HOME:
        return float(limits[HOME_S])
    if kind != _CODE:
        return -1.0
    code = int(row[base + _VALUE])
    if code == 100060:
        return float(limits[TOOL_S])
    if code >= 100000 and code <= 100090:
        return 0.0
    if code == 104000 or code == 100300:
        return 0.0
    return -1.0


def advance(
    row: Any, rows: int, plan: Any, limits: Any, queue: Any, unit: Any, to: Any, out_lines: Any, out_times: Any
) -> int:
    """Plan `rows` rows: number of (line, time) points written, in order of time."""
    points = 0
    for n in range(rows):
        base = n * _WIDTH
        kind = int(row[base + _KIND])
        if kind in (_RAPID, _LINEAR):
            for k in range(4):
                to[k] = row[base + _X + k]
            rapid = kind == _RAPID
            points = straight(plan, limits, queue, unit, to, row, base, rapid, out_lines, out_times, points)
        elif kind == _ARC:
            points = arc(plan, limits, queue, unit, to, row, base, out_lines, out_times, points)
        elif kind == _SETTING:
            if limits[OBEYS] > 0.0:
                setting(limits, row, base)
        else:
            code = int(row[base + _VALUE]) if kind == _CODE else 0
            if code in (101090, 101900):
                points = drain(plan, limits, queue, out_lines, out_times, points)
            if code in (101040, 101090, 101400, 101900):
                seconds = heat(plan, limits, code, row[base + _PARAM])
            else:
                seconds = wait(limits, row, base)
            if seconds >= 0.0:
                points = drain(plan, limits, queue, out_lines, out_times, points)
                plan[TIME] += seconds
                plan[WAIT_S] += seconds
            if kind == _HOME:
                for k in range(4):
                    plan[AT_X + k] = row[base + _X + k]
    return points
