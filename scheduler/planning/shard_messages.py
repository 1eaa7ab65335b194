"""What a team and its workers say to each other, and the memory that they share.

Tables (problem, plan, borders, answers) lie in one piece of memory; over the line go the few numbers of these messages.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import Core, Schedule

#: Tables begin at multiples of this: a cache line.
ALIGNED: Final = 64


class Table(msgspec.Struct, frozen=True, array_like=True):
    """Where in the shared memory a table lies, and what it is."""

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int


class Attach(msgspec.Struct, frozen=True, tag="attach"):
    """The shared memory has new tables."""

    tables: tuple[Table, ...]
    size: int


class Search(msgspec.Struct, frozen=True, tag="search"):
    """Anneal one shard of the plan as it lies in the shared memory."""

    shard: int
    moves: int
    hot: float
    cold: float
    frozen: int
    samples: int
    rng: int
    """State of the random numbers, not 0."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker is there, and its code loaded."""


class Searched(msgspec.Struct, frozen=True, tag="searched"):
    """The shard's new plan lies in its own tables. `own_s`: seconds of processor that it took."""

    shard: int
    delta: int
    accepted: int
    own_s: float


Order = Attach | Search
Report = Ready | Searched


def laid_out(arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[Table, ...], int]:
    """A place for every array, and the bytes that all of it takes."""
    tables, offset = [], 0
    for name, array in arrays.items():
        tables.append(Table(name, array.dtype.str, array.shape, offset))
        offset += -(-array.nbytes // ALIGNED) * ALIGNED
    return tuple(tables), max(offset, mmap.PAGESIZE)


def tables_in(memory: mmap.mmap, tables: tuple[Table, ...]) -> dict[str, NDArray[Any]]:
    """The arrays themselves, nothing copied."""
    out = {}
    for table in tables:
        count = int(np.prod(table.shape, dtype=np.int64))
        flat = np.frombuffer(memory, np.dtype(table.kind), count, table.offset)
        out[table.name] = flat.reshape(table.shape)
    return out


def core_in(shared: Mapping[str, NDArray[Any]]) -> Core:
    """The packed problem in the shared tables."""
    return Core(*(shared[f"core.{name}"] for name in Core._fields))


def schedule_in(shared: Mapping[str, NDArray[Any]], whose: str) -> Schedule:
    """The plan (`plan`), or a shard's answer (its number)."""
    return Schedule(*(shared[f"{whose}.{name}"] for name in Schedule._fields))
