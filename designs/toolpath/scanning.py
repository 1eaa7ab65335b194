"""Bytes of G-code to words, fast: the kernel that looks at every byte of a program once.

A word is a letter and a number (NaN where none follows, as in Marlin's `G28 X`). What is no word becomes an oddity:
(kind, line). Numbers follow grbl/nuts_bolts.c `read_float`: sign, digits, one point, no exponent; comments follow
grbl/protocol.c and Marlin src/gcode/queue.cpp: `;` to the end of the line, `(`…`)`, `*` starts a checksum.
"""

from __future__ import annotations

from typing import Any

KERNELS = ("text_follows", "read_number", "note", "scan_comment", "scan_word", "scan_special", "scan")

# Oddity kinds.
EXTENDED = 1
"""A command that is a name, as Klipper's macros are."""
DOLLAR = 2
"""A GRBL `$` system command: settings, homing, unlock."""
REALTIME = 3
"""A byte GRBL acts upon at once: `?`, `!`, `~`, 0x18."""
NON_ASCII = 4
GARBAGE = 5
BAD_NUMBER = 6
LONG_LINE = 7
NON_ASCII_COMMENT = 8
BLOCK_DELETE = 10
OPEN_COMMENT = 11
CUT_LINE = 12
"""A line longer than the reader's window: only its beginning was looked at."""

_NAN = float("nan")


def text_follows(code: float) -> bool:
    """Whether the rest of an M line is text, not words (Marlin src/gcode/parser.cpp: string commands)."""
    return (
        code == 117.0
        or code == 118.0
        or code == 16.0
        or code == 23.0
        or code == 28.0
        or code == 30.0
        or code == 32.0
        or code == 36.0
        or code == 72.0
        or code == 73.0
        or code == 115.0
        or code == 486.0
        or code == 928.0
        or (code >= 862.0 and code < 863.0)
    )


def read_number(data: Any, at: int, size: int) -> tuple[float, int, bool]:
    """(value, next index, good) of the number at `at`; NaN and good where there is none at all."""
    start = at
    sign = 1.0
    if at < size and (data[at] == 45 or data[at] == 43):
        if data[at] == 45:
            sign = -1.0
        at += 1
    value = 0.0
    scale = 0.0
    digits = 0
    while at < size:
        byte = data[at]
        if byte >= 48 and byte <= 57:
            digits += 1
            if digits <= 17:
                value = value * 10.0 + (byte - 48)
                scale *= 10.0
            elif scale == 0.0:
                value *= 10.0
        elif byte == 46 and scale == 0.0:
            scale = 1.0
        else:
            break
        at += 1
    if digits == 0:
        return _NAN, at, at == start
    if scale > 1.0:
        value /= scale
    return sign * value, at, True


def note(kind: int, line: int, odd_kinds: Any, odd_lines: Any, odd: int, most: int) -> int:
    """Record an oddity while there are fewer than `most`; one of a kind a line."""
    if odd >= most or (odd > 0 and odd_lines[odd - 1] == line and odd_kinds[odd - 1] == kind):
        return odd
    odd_kinds[odd] = kind
    odd_lines[odd] = line
    return odd + 1


def scan_comment(data: Any, at: int, size: int) -> tuple[int, int]:
    """Skip the comment that begins at `at`: (next index, oddity kind or 0). A `;` comment ends before the line end."""
    bracket = data[at] == 40
    found = 0
    at += 1
    while at < size and data[at] != 10 and data[at] != 13:
        if data[at] > 126:
            found = NON_ASCII_COMMENT
        if bracket and data[at] == 41:
            return at + 1, found
        at += 1
    if bracket:
        found = OPEN_COMMENT
    return at, found


def scan_special(byte: int) -> int:
    """The oddity that a byte outside words and comments is, or 0 for harmless ones (blank, tab, `%`)."""
    if byte == 32 or byte == 9 or byte == 37:
        return 0
    if byte == 36:
        return DOLLAR
    if byte == 33 or byte == 63 or byte == 126 or byte == 24:
        return REALTIME
    if byte == 47:
        return BLOCK_DELETE
    if byte > 126:
        return NON_ASCII
    return GARBAGE


def scan_word(data: Any, at: int, size: int) -> tuple[int, float, int, int]:
    """(letter, value, next index, oddity kind or 0) of the word whose letter stands at `at`."""
    letter = data[at]
    if letter >= 97:
        letter -= 32
    at += 1
    while at < size and (data[at] == 32 or data[at] == 9):
        at += 1
    if at < size and data[at] == 34:
        at += 1
        while at < size and data[at] != 34 and data[at] != 10:
            at += 1
        if at < size and data[at] == 34:
            at += 1
        return letter, _NAN, at, 0
    value, at, good = read_number(data, at, size)
    bad = 0 if good else BAD_NUMBER
    if at < size and data[at] == 46:
        bad = BAD_NUMBER
        while at < size and (data[at] == 46 or (data[at] >= 48 and data[at] <= 57)):
            at += 1
    if value > 1e9 or value < -1e9:
        value = _NAN
        bad = BAD_NUMBER
    return letter, value, at, bad


def scan(
    data: Any,
    size: int,
    line: int,
    limit: int,
    letters: Any,
    values: Any,
    lines: Any,
    odd_kinds: Any,
    odd_lines: Any,
    most: int,
) -> tuple[int, int, int]:
    """Words of `data[:size]`, whole lines whose first is number `line`: (words, oddities, number of the next line).

    `limit`: longest line in bytes the firmware takes, comments and blanks left out. `most`: room for oddities.
    """
    at = 0
    words = 0
    odd = 0
    sent = 0
    fresh = True
    while at < size:
        byte = data[at]
        if byte == 10 or byte == 13:
            if sent > limit:
                odd = note(LONG_LINE, line, odd_kinds, odd_lines, odd, most)
            line += 1
            sent = 0
            fresh = True
            at += 1
            if byte == 13 and at < size and data[at] == 10:
                at += 1
            continue
        skip_line = False
        kind = 0
        start = at
        if byte == 59 or byte == 40:
            at, kind = scan_comment(data, at, size)
            start = at
        elif (byte >= 65 and byte <= 90) or (byte >= 97 and byte <= 122):
            second = data[at + 1] if at + 1 < size else 0
            if fresh and (second == 95 or (second >= 65 and second <= 90) or (second >= 97 and second <= 122)):
                kind = EXTENDED
                skip_line = True
            else:
                letter, value, at, kind = scan_word(data, at, size)
                letters[words] = letter
                values[words] = value
                lines[words] = line
                words += 1
                skip_line = letter == 77 and text_follows(value)
            fresh = letters[words - 1] == 78 and fresh if words > 0 else False
        elif byte == 42:
            skip_line = True
        else:
            kind = scan_special(byte)
            skip_line = kind == DOLLAR
            at += 1
            start = at if byte == 32 or byte == 9 else start
        sent += at - start
        if kind != 0:
            odd = note(kind, line, odd_kinds, odd_lines, odd, most)
        if skip_line:
            while at < size and data[at] != 10 and data[at] != 13:
                at += 1
    if sent > limit:
        odd = note(LONG_LINE, line, odd_kinds, odd_lines, odd, most)
    return words, odd, line
