"""Words to motions, fast: the modal interpreter that every figure about a program comes from.

Each row of the result is what one line does (a motion, a wait, a code) with the modal state in force, so that lint,
time table, use and picture never interpret again. Modal rules: grbl/gcode.c (RS274/NGC) and Marlin src/gcode.
Positions are millimetres in the program's first work coordinates: G92 moves the numbers, not the machine.
"""

from __future__ import annotations

import math
from typing import Any

KERNELS = (
    "fresh_line",
    "emit",
    "axis",
    "arc_centre",
    "move",
    "set_position",
    "modal_g",
    "modal_m",
    "take_words",
    "home",
    "take_m",
    "take_g",
    "allows_motion",
    "close_line",
    "run",
)

# Columns of a row.
LINE, KIND, X, Y, Z, E, FEED, POWER, SPIN, TOOL, CENTRE_A, CENTRE_B, SWEEP, PLANE, VALUE, NOZZLE, HOMED, PARAM = range(
    18
)
WIDTH = 18
# Kinds of row.
RAPID, LINEAR, ARC, DWELL, CODE, HOME, BAD_ARC, SETTING, NO_AXES = range(9)
# Registers of the state, apart from the columns X..TOOL, PLANE, NOZZLE, HOMED, which it shares with a row.
ABSOLUTE, ABSOLUTE_E, SCALE, MODE, SHIFT_X, SHIFT_Y, SHIFT_Z, SHIFT_E, MARLIN, FEED_RAPID, PENDING_TOOL = range(18, 29)
STATE = 29
# A code row's VALUE: 10 × number, M codes from this on.
M_CODES = 100_000

_NAN = float("nan")


def fresh_line(given: Any) -> None:
    """Forget the parameters of the line before."""
    for k in range(26):
        given[k] = _NAN


def emit(out: Any, rows: int, state: Any, line: int, kind: int, value: float) -> int:
    """One row with the state as it is."""
    base = rows * WIDTH
    for k in range(WIDTH):
        out[base + k] = state[k]
    out[base + LINE] = line
    out[base + KIND] = kind
    out[base + CENTRE_A] = 0.0
    out[base + CENTRE_B] = 0.0
    out[base + SWEEP] = 0.0
    out[base + VALUE] = value
    out[base + PARAM] = _NAN
    return rows + 1


def axis(state: Any, given: Any, k: int) -> float:
    """Where axis `k` (X 0, Y 1, Z 2, E 3) goes: its word in force of G90/G91, M82/M83, G20/G21 and G92."""
    word = given[4] if k == 3 else given[23 + k]
    here = state[X + k]
    if word != word:
        return float(here)
    word *= state[SCALE]
    if (k < 3 and state[ABSOLUTE] == 1.0) or (k == 3 and state[ABSOLUTE_E] == 1.0):
        return float(word + state[SHIFT_X + k])
    return float(here + word)


def arc_centre(state: Any, given: Any, a: int, b: int, to_a: float, to_b: float, clockwise: bool) -> Any:
    """(centre a, centre b, sweep in radians, good) of an arc by I/J/K or R, as grbl/gcode.c and motion_control.c do."""
    from_a = state[X + a]
    from_b = state[X + b]
    scale = state[SCALE]
    radius = given[17]
    good = True
    if radius == radius:
        radius *= scale
        da = to_a - from_a
        db = to_b - from_b
        chord = math.sqrt(da * da + db * db)
        height = 4.0 * radius * radius - chord * chord
        if chord < 1e-9 or height < -1e-6 * chord * chord:
            return 0.0, 0.0, 0.0, False
        h = -math.sqrt(max(0.0, height)) / chord
        if not clockwise:
            h = -h
        if radius < 0.0:
            h = -h
        ca = from_a + 0.5 * (da - db * h)
        cb = from_b + 0.5 * (db + da * h)
    else:
        i = given[8 + a]
        j = given[8 + b]
        if i != i and j != j:
            return 0.0, 0.0, 0.0, False
        ca = from_a + (0.0 if i != i else i * scale)
        cb = from_b + (0.0 if j != j else j * scale)
        first = math.sqrt((from_a - ca) ** 2 + (from_b - cb) ** 2)
        last = math.sqrt((to_a - ca) ** 2 + (to_b - cb) ** 2)
        off = abs(first - last)
        good = first > 1e-9 and (off <= 0.005 or (off <= 0.5 and off <= 0.001 * first))
    ra = from_a - ca
    rb = from_b - cb
    ta = to_a - ca
    tb = to_b - cb
    sweep = math.atan2(ra * tb - rb * ta, ra * ta + rb * tb)
    if clockwise:
        if sweep >= -5e-7:
            sweep -= 2.0 * math.pi
    elif sweep <= 5e-7:
        sweep += 2.0 * math.pi
    return ca, cb, sweep, good


def move(state: Any, given: Any, out: Any, rows: int, line: int) -> int:
    """The motion of a line in the mode in force; nothing where it names no axis."""
    mode = int(state[MODE])
    has_axis = given[23] == given[23] or given[24] == given[24] or given[25] == given[25] or given[4] == given[4]
    arc = mode == 20 or mode == 30
    if not has_axis and not (arc and (given[8] == given[8] or given[9] == given[9] or given[17] == given[17])):
        return rows
    if state[MARLIN] == 1.0 and mode < 0:
        mode = 0
    x = axis(state, given, 0)
    y = axis(state, given, 1)
    z = axis(state, given, 2)
    e = axis(state, given, 3)
    ca = 0.0
    cb = 0.0
    sweep = 0.0
    kind = RAPID if mode == 0 else LINEAR
    if mode < 0:
        kind = NO_AXES
    if arc:
        plane = int(state[PLANE])
        a = 0 if plane == 0 else (2 if plane == 1 else 1)
        b = 1 if plane == 0 else (0 if plane == 1 else 2)
        to_a = x if a == 0 else (z if a == 2 else y)
        to_b = y if b == 1 else (x if b == 0 else z)
        ca, cb, sweep, good = arc_centre(state, given, a, b, to_a, to_b, mode == 20)
        kind = ARC if good else BAD_ARC
    if kind != NO_AXES:
        state[X] = x
        state[Y] = y
        state[Z] = z
        state[E] = e
    rows = emit(out, rows, state, line, kind, mode)
    base = (rows - 1) * WIDTH
    out[base + CENTRE_A] = ca
    out[base + CENTRE_B] = cb
    out[base + SWEEP] = sweep
    return rows


def set_position(state: Any, given: Any) -> None:
    """G92: the numbers given are where the machine stands; a bare G92 in Marlin is all zeros."""
    for k in range(4):
        word = given[4] if k == 3 else given[23 + k]
        if word == word:
            state[SHIFT_X + k] = state[X + k] - word * state[SCALE]


def modal_g(state: Any, code: int) -> bool:
    """Take a G code (× 10) that only changes state; whether it was one."""
    if code == 900 or code == 910:
        state[ABSOLUTE] = 1.0 if code == 900 else 0.0
        if state[MARLIN] == 1.0:
            state[ABSOLUTE_E] = state[ABSOLUTE]
    elif code == 200 or code == 210:
        state[SCALE] = 25.4 if code == 200 else 1.0
    elif code == 170 or code == 180 or code == 190:
        state[PLANE] = (code - 170) // 10
    elif code == 921:
        for k in range(4):
            state[SHIFT_X + k] = 0.0
    elif code == 0 or code == 10 or code == 20 or code == 30:
        state[MODE] = code
    elif code == 800:
        state[MODE] = -1.0
    else:
        return False
    return True


def modal_m(state: Any, given: Any, code: int) -> None:
    """Take an M code (× 10) that changes the state rows carry."""
    s = given[18]
    if code == 30 or code == 40:
        state[SPIN] = code // 10
    elif code == 50 or code == 20 or code == 300:
        state[SPIN] = 0.0
    elif code == 60 and state[PENDING_TOOL] == state[PENDING_TOOL]:
        state[TOOL] = state[PENDING_TOOL]
    elif code == 820 or code == 830:
        state[ABSOLUTE_E] = 1.0 if code == 820 else 0.0
    elif code == 1040 or code == 1090:
        heat = s if s == s else given[17]
        if heat == heat:
            state[NOZZLE] = heat


def take_words(state: Any, given: Any, first_code: int) -> None:
    """Feed, power and tool words; Marlin takes S as power only with M3/M4 or while the cutter is on."""
    feed = given[5]
    if feed == feed:
        state[FEED] = feed * state[SCALE]
    power = given[18]
    if power == power:
        starts = first_code == M_CODES + 30 or first_code == M_CODES + 40
        if state[MARLIN] == 0.0 or starts or state[SPIN] > 0.0:
            state[POWER] = power
    tool = given[19]
    if tool == tool:
        state[PENDING_TOOL] = tool
        if state[MARLIN] == 1.0:
            state[TOOL] = tool


def home(state: Any, given: Any, bare: int) -> None:
    """G28: the axes named (with or without a number), all where none is."""
    named = bare
    for k in range(3):
        if given[23 + k] == given[23 + k]:
            named |= 1 << k
    for k in range(3):
        if named == 0 or (named >> k) & 1:
            state[X + k] = 0.0
            state[SHIFT_X + k] = 0.0
            state[HOMED] = float(int(state[HOMED]) | (1 << k))


def take_m(state: Any, given: Any, code: int, out: Any, rows: int, line: int) -> int:
    """An M code: its row, and one row a parameter for those that change the firmware's limits."""
    number = code - M_CODES
    modal_m(state, given, number)
    rows = emit(out, rows, state, line, CODE, code)
    out[(rows - 1) * WIDTH + PARAM] = given[18] if given[18] == given[18] else given[15]
    if number == 2010 or number == 2030 or number == 2040 or number == 2050:
        for k in range(26):
            if given[k] == given[k] and k != 13:
                rows = emit(out, rows, state, line, SETTING, code)
                out[(rows - 1) * WIDTH + CENTRE_A] = k
                out[(rows - 1) * WIDTH + PARAM] = given[k]
    return rows


def take_g(state: Any, given: Any, code: int, bare: int, out: Any, rows: int, line: int) -> int:
    """A G code: changes the state, and leaves a row unless it is a plain motion mode."""
    marlin = state[MARLIN] == 1.0
    if code == 40:
        wait = given[15] / (1000.0 if marlin else 1.0)
        if marlin and given[18] == given[18]:
            wait = given[18]
        return emit(out, rows, state, line, DWELL, 0.0 if wait != wait else wait)
    if code == 920:
        set_position(state, given)
    elif code == 280 and marlin:
        home(state, given, bare)
        return emit(out, rows, state, line, HOME, code)
    elif modal_g(state, code) and code <= 30:
        return rows
    return emit(out, rows, state, line, CODE, code)


def allows_motion(code: int) -> bool:
    """Whether axis words beside this code still mean a motion (they do not beside G4, G10, G28, G38, G92, M92, …)."""
    if code >= M_CODES:
        return code < M_CODES + 820
    if code <= 30 or (code >= 170 and code <= 210):
        return True
    return code >= 400 and code != 431 and code != 920 and (code < 810 or code > 890)


def close_line(state: Any, given: Any, codes: Any, count: int, out: Any, rows: int, line: int) -> int:
    """Do what a whole line says, in the order of RS274/NGC: feed, speed, tool, codes, then motion."""
    bare = codes[count]
    take_words(state, given, codes[0] if count > 0 else 0)
    moves = True
    for c in range(count):
        code = codes[c]
        moves = moves and allows_motion(code)
        if code >= M_CODES:
            rows = take_m(state, given, code, out, rows, line)
        else:
            rows = take_g(state, given, code, bare, out, rows, line)
    if moves:
        rows = move(state, given, out, rows, line)
    return rows


def run(letters: Any, values: Any, lines: Any, words: int, state: Any, given: Any, codes: Any, out: Any) -> int:
    """Rows of all `words`: their number. `out` holds WIDTH × (2 × words + 8); `codes` at least 40."""
    rows = 0
    at = 0
    while at < words:
        line = lines[at]
        fresh_line(given)
        count = 0
        bare = 0
        while at < words and lines[at] == line:
            letter = letters[at]
            value = values[at]
            if letter == 71 or letter == 77:
                if value == value and count < 32:
                    codes[count] = int(value * 10.0 + 0.5) + (M_CODES if letter == 77 else 0)
                    count += 1
            elif value == value:
                given[letter - 65] = value
            elif letter >= 88:
                bare |= 1 << (letter - 88)
            at += 1
        codes[count] = bare
        rows = close_line(state, given, codes, count, out, rows, line)
    return rows
