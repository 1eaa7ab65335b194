"""Any program, of any size, read in constant memory: blocks of words, and blocks of motions with their modal state.

`read_blocks` looks at each byte once, an eighth of a megabyte at a time; `read_motions` interprets the words. Any bytes
give a result: what is no G-code becomes oddities with line numbers, for lint to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from designs.toolpath import motions, scanning
from designs.toolpath.compiled import MACHINE_CODE_FROM_BYTES, pick

Source = bytes | Path
"""A program: its bytes, or the file that holds it."""

_WINDOW = 131_072
_MOST_ODDITIES = 512
_LONGEST_LINE = {"grbl": 79, "marlin": 82}
"""Bytes a line may have without comments and blanks: grbl/protocol.h LINE_BUFFER_SIZE 80 with its end mark; Marlin
MAX_CMD_SIZE 96 less line number and checksum."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that is no word: a kind of `designs.toolpath.scanning`, and its line."""

    kind: int
    line: int


@dataclass(frozen=True, slots=True)
class WordBlock:
    """Words of some whole lines: `letters` (ASCII), `values` (NaN: none), `lines`, each `words` long or longer."""

    letters: Any
    values: Any
    lines: Any
    words: int
    oddities: tuple[Oddity, ...]
    next_line: int
    size: int


@dataclass(frozen=True, slots=True)
class MotionBlock:
    """Rows of `designs.toolpath.motions` (flat, WIDTH columns), `rows` of them, with the oddities beside them."""

    flat: Any
    rows: int
    oddities: tuple[Oddity, ...]
    next_line: int
    size: int

    def table(self) -> NDArray[np.float64]:
        """The rows as a table: shape (rows, WIDTH)."""
        flat = np.asarray(self.flat, dtype=np.float64)
        return flat[: self.rows * motions.WIDTH].reshape(self.rows, motions.WIDTH)


@dataclass(frozen=True, slots=True)
class Word:
    """A letter and its number; None where the letter stands alone."""

    letter: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """The words of one line, `number` counting from 1. Lines without words are left out."""

    number: int
    words: tuple[Word, ...]


def is_marlin(dialect: str) -> bool:
    """Whether a dialect follows the printer firmwares (one command a line) and not RS274 as GRBL does."""
    return not dialect.lower().startswith(("grbl", "fluidnc"))


def size_of(source: Source) -> int:
    """Bytes of the program."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def wants_compiled(source: Source) -> bool:
    """Whether the compiled kernels pay for this program."""
    return size_of(source) >= MACHINE_CODE_FROM_BYTES


def _windows(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Whole lines in windows; a line longer than a window is cut (True) and its rest passed over."""
    rest = b""
    first = True
    while True:
        read = file.read(_WINDOW)
        if first:
            read, first = read.removeprefix(b"\xef\xbb\xbf"), False
        data = rest + read
        if not read:
            if data:
                yield data, False
            return
        cut = data.rfind(b"\n") + 1
        if cut == 0 and len(data) < 2 * _WINDOW:
            rest = data
            continue
        if cut == 0:
            while read and b"\n" not in read:
                read = file.read(_WINDOW)
            rest = read[read.find(b"\n") + 1 :] if read else b""
            yield data[:_WINDOW] + b"\n", True
            continue
        rest = data[cut:]
        yield data[:cut], False


def read_blocks(source: Source, dialect: str = "grbl", *, fast: bool | None = None) -> Iterator[WordBlock]:
    """All words of a program, in order, a window at a time.

    `fast`: machine code, where it has been made (default: for large programs). Raises OSError for an unreadable file.
    """
    kernels = pick(scanning, wants_compiled(source) if fast is None else fast)
    plain = kernels is scanning
    limit = _LONGEST_LINE["marlin" if is_marlin(dialect) else "grbl"]
    line = 1
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        for data, was_cut in _windows(file):
            size = len(data)
            letters: Any = bytearray(size + 1) if plain else np.empty(size + 1, np.uint8)
            values: Any = [0.0] * (size + 1) if plain else np.empty(size + 1, np.float64)
            lines: Any = [0] * (size + 1) if plain else np.empty(size + 1, np.int64)
            odd_kinds = np.zeros(_MOST_ODDITIES, np.int64)
            odd_lines = np.zeros(_MOST_ODDITIES, np.int64)
            words, odd, after = kernels.scan(
                data, size, line, limit, letters, values, lines, odd_kinds, odd_lines, _MOST_ODDITIES
            )
            oddities = [
                Oddity(int(k), int(n)) for k, n in zip(odd_kinds[:odd].tolist(), odd_lines[:odd].tolist(), strict=True)
            ]
            if was_cut:
                oddities.append(Oddity(scanning.CUT_LINE, line))
            yield WordBlock(letters, values, lines, words, tuple(oddities), after, size)
            line = after


def read_lines(source: Source, dialect: str = "grbl") -> Iterator[Line]:
    """The program line by line as words, for readers that are not in a hurry."""
    for block in read_blocks(source, dialect):
        at = 0
        while at < block.words:
            number = int(block.lines[at])
            found = []
            while at < block.words and block.lines[at] == number:
                value = float(block.values[at])
                found.append(Word(chr(block.letters[at]), None if value != value else value))
                at += 1
            yield Line(number, tuple(found))


def first_state(dialect: str) -> list[float]:
    """The modal state a controller has after a reset: G54 G17 G21 G90 G94 G0; Marlin M82, no feed yet."""
    state = [0.0] * motions.STATE
    state[motions.ABSOLUTE] = state[motions.ABSOLUTE_E] = state[motions.SCALE] = 1.0
    state[motions.TOOL] = 0.0
    state[motions.PENDING_TOOL] = float("nan")
    state[motions.MARLIN] = 1.0 if is_marlin(dialect) else 0.0
    if is_marlin(dialect):
        state[motions.FEED] = 1500.0
    return state


def read_motions(source: Source, dialect: str = "grbl", *, fast: bool | None = None) -> Iterator[MotionBlock]:
    """All that a program does, in order, a window at a time, from the state after a reset at 0, 0, 0."""
    quick = wants_compiled(source) if fast is None else fast
    kernels = pick(motions, quick)
    plain = kernels is motions
    state: Any = first_state(dialect) if plain else np.array(first_state(dialect))
    given: Any = [0.0] * 26 if plain else np.zeros(26)
    codes: Any = [0] * 40 if plain else np.zeros(40, np.int64)
    for block in read_blocks(source, dialect, fast=quick):
        room = motions.WIDTH * (2 * block.words + 8)
        out: Any = [0.0] * room if plain else np.empty(room)
        rows = kernels.run(block.letters, block.values, block.lines, block.words, state, given, codes, out)
        yield MotionBlock(out, int(rows), block.oddities, block.next_line, block.size)
