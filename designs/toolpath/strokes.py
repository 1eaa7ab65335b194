"""Motion as straight pieces to look at, each travel or work, arcs flattened. For pictures and previews."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from designs.toolpath import motions as m
from designs.toolpath.parser import Source, read_motions
from designs.toolpath.program_bounds import moving

_ARC_SAGITTA_MM = 0.005
_MOST_CHORDS = 720


class StrokeKind(IntEnum):
    """What a stroke does."""

    TRAVEL = 0
    WORK = 1


@dataclass(frozen=True, slots=True)
class Segments:
    """Straight pieces: `ends` (n, 6) x0 y0 z0 x1 y1 z1; `kinds` (n,); `lines` (n,); `powers` (n,) the S word."""

    ends: NDArray[np.float64]
    kinds: NDArray[np.int8]
    lines: NDArray[np.int64]
    powers: NDArray[np.float64]


def read_segments(gcode: Source, dialect: str = "grbl") -> Iterator[Segments]:
    """All straight pieces, in order, a window at a time. Work is: extruding, or a feed move with the tool on."""
    at = np.zeros(3)
    filament = 0.0
    for block in read_motions(gcode, dialect):
        table = block.table()
        moves = table[moving(table)]
        if not len(moves):
            continue
        ends = moves[:, m.X : m.Z + 1]
        before = np.vstack([at[None, :], ends[:-1]])
        extruded = np.diff(moves[:, m.E], prepend=filament) > 1e-9
        powered = (moves[:, m.SPIN] > 0.0) & (moves[:, m.POWER] > 0.0) & (moves[:, m.KIND] != m.RAPID)
        kinds = np.where(extruded | powered, int(StrokeKind.WORK), int(StrokeKind.TRAVEL)).astype(np.int8)
        at, filament = ends[-1].copy(), float(moves[-1, m.E])
        pieces = np.concatenate([before, ends], axis=1)
        lines, powers = moves[:, m.LINE].astype(np.int64), moves[:, m.POWER]
        arcs = moves[:, m.KIND] == m.ARC
        if arcs.any():
            pieces, repeats = _with_chords(pieces, moves, arcs)
            kinds, lines, powers = np.repeat(kinds, repeats), np.repeat(lines, repeats), np.repeat(powers, repeats)
        yield Segments(pieces, kinds, lines, powers)


def _with_chords(
    pieces: NDArray[np.float64], moves: NDArray[np.float64], arcs: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    repeats = np.ones(len(pieces), dtype=np.int64)
    parts: list[NDArray[np.float64]] = []
    last = 0
    for k in np.flatnonzero(arcs).tolist():
        parts.append(pieces[last:k])
        chords = _chords(pieces[k], moves[k])
        repeats[k] = len(chords)
        parts.append(chords)
        last = k + 1
    parts.append(pieces[last:])
    return np.concatenate(parts), repeats


def _chords(piece: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = ((0, 1), (2, 0), (1, 2))[int(row[m.PLANE])]
    ra, rb = piece[a] - row[m.CENTRE_A], piece[b] - row[m.CENTRE_B]
    step = 2.0 * np.arccos(max(0.9, 1.0 - _ARC_SAGITTA_MM / max(float(np.hypot(ra, rb)), 1e-6)))
    count = max(2, min(_MOST_CHORDS, int(abs(row[m.SWEEP]) / step) + 1))
    share = np.linspace(0.0, 1.0, count + 1)
    points = piece[:3] + (piece[3:] - piece[:3]) * share[:, None]
    turn = row[m.SWEEP] * share[:-1]
    points[:-1, a] = row[m.CENTRE_A] + ra * np.cos(turn) - rb * np.sin(turn)
    points[:-1, b] = row[m.CENTRE_B] + ra * np.sin(turn) + rb * np.cos(turn)
    return np.concatenate([points[:-1], points[1:]], axis=1)
