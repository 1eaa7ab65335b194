"""Tables with room at their ends: rows, alternatives and links are written in place, or where there is room.

What a row leaves behind is dead until the next whole compilation. An alternative that a machine's change makes
impossible stays with a start that never comes, and is alive again when the machine is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from scheduler.planning.core import (
    AFTER,
    COST,
    ELIG_HIGH,
    ELIG_LOW,
    NUMBER,
    PINNED,
    PRED_HIGH,
    PRED_LOW,
    SUCC_HIGH,
    SUCC_LOW,
    TAIL_TICKS,
    Core,
)
from scheduler.planning.eligibility import Alternatives
from scheduler.planning.problem import NEVER, Ints, Longs

#: Rows and alternatives kept free at the ends of the tables when they have grown.
ROOM: Final = 256
#: Alternatives kept free behind those of a row that a new machine made longer: the next few machines need not move it.
SPARE: Final = 4
#: No row.
NOWHERE: Final = -1


class Roomy:
    """A packed problem whose rows may grow. `moving` has an entry for every alternative of the core."""

    core: Core
    moving: Longs

    def _take_tables(self, core: Core, moving: Longs) -> None:
        e = len(core.elig_machine)
        more = core.elig_more if len(core.elig_more) else np.zeros((e, 3), NUMBER)
        self.core = core._replace(elig_more=more)
        self.moving = moving
        self._used, self._linked = e, len(core.links)
        owner = np.zeros(e, np.int64)
        ops = core.ops
        if len(ops):
            owner = np.repeat(np.arange(len(ops)), ops[:, ELIG_HIGH] - ops[:, ELIG_LOW])
        self._owner = owner
        self._kind = np.full(len(ops), -1, np.int64)
        self._span = np.full(len(ops), -1, np.int64)
        self._before = np.full(len(ops), NOWHERE, np.int64)
        self._room_of = (ops[:, ELIG_HIGH] - ops[:, ELIG_LOW]).astype(np.int64)
        self._link_room = np.zeros((len(ops), 2), np.int64)

    def choices(self, o: int) -> slice:
        """Where the row's alternatives are."""
        return slice(int(self.core.ops[o, ELIG_LOW]), int(self.core.ops[o, ELIG_HIGH]))

    def choice_on(self, o: int, m: int) -> int:
        """The row's possible alternative on the machine; -1 for none."""
        here = self.choices(o)
        k = int(here.start) + int(np.searchsorted(self.core.elig_machine[here], m))
        possible = k < here.stop and self.core.elig_machine[k] == m and self.core.elig_more[k, AFTER] < NEVER
        return k if possible else -1

    def _put_row(self, o: int, made: Ints, alternatives: Alternatives) -> None:
        """A packed row and its alternatives; its links stay."""
        kept = self.core.ops[o, [PRED_LOW, PRED_HIGH, SUCC_LOW, SUCC_HIGH]].tolist()
        place = self.choices(o) if self._room_of[o] else slice(0, 0)
        if place.stop > place.start:
            self._owner[place] = NOWHERE
        self.core.ops[o] = made
        self.core.ops[o, [PRED_LOW, PRED_HIGH, SUCC_LOW, SUCC_HIGH]] = kept
        count = len(alternatives.machine)
        low = place.start
        if count > self._room_of[o]:
            self._widen(0, self._used + count, 0)
            low, self._used = self._used, self._used + count
            self._room_of[o] = count
        self.core.ops[o, ELIG_LOW], self.core.ops[o, ELIG_HIGH] = low, low + count
        here = slice(low, low + count)
        self._owner[here] = o
        self.core.elig_machine[here] = alternatives.machine
        self.core.elig_ticks[here] = alternatives.ticks
        self.core.elig_more[here, TAIL_TICKS] = alternatives.tail
        self.core.elig_more[here, COST] = alternatives.cost
        self.core.elig_more[here, AFTER] = alternatives.after
        self.moving[here] = alternatives.moved

    def _put_links(self, o: int, before: list[int], after: list[int]) -> None:
        """Rows that it waits for, and that wait for it."""
        for column, rows in enumerate((before, after)):
            low = int(self.core.ops[o, (PRED_LOW, SUCC_LOW)[column]])
            if len(rows) > self._link_room[o, column]:
                self._widen(0, 0, self._linked + len(rows))
                low, self._linked = self._linked, self._linked + len(rows)
                self._link_room[o, column] = len(rows)
            self.core.links[low : low + len(rows)] = rows
            self.core.ops[o, (PRED_LOW, SUCC_LOW)[column]] = low
            self.core.ops[o, (PRED_HIGH, SUCC_HIGH)[column]] = low + len(rows)

    def _same_place(self, entries: Longs, had: Longs, place: Longs, found: Alternatives, able: Any) -> Longs:
        """Alternatives that were there: new numbers, or a start that never comes. Returns rows that changed."""
        core, still = self.core, able[had]
        at, i = entries[still], place[had[still]]
        new = np.column_stack([found.tail[i], found.cost[i], found.after[i]])
        same = (core.elig_ticks[at] == found.ticks[i]) & (core.elig_more[at] == new).all(axis=1)
        core.elig_ticks[at], core.elig_more[at] = found.ticks[i], new
        self.moving[at] = found.moved[i]
        lost = entries[~still]
        newly = core.elig_more[lost, AFTER] < NEVER
        core.elig_more[lost, AFTER] = NEVER
        changed: Longs = np.concatenate([had[still][~same], had[~still][newly]])
        return changed

    def _add_alternatives(self, rows: Longs, more: Alternatives) -> None:
        """One more machine for each of these rows; `more` has an entry a row."""
        low = self.core.ops[rows, ELIG_LOW].astype(np.int64)
        count = self.core.ops[rows, ELIG_HIGH] - low
        old, owner = _spread(low, count), np.repeat(np.arange(len(rows)), count)
        kept = [column[old] for column in self._columns()]
        start, room = low.copy(), count + 1 + SPARE
        full = count + 1 > self._room_of[rows]
        start[full] = self._used + np.cumsum(room[full]) - room[full]
        self._widen(0, self._used + int(room[full].sum()), 0)
        self._used += int(room[full].sum())
        self._room_of[rows[full]] = room[full]
        behind = kept[0] > more.machine[owner]
        to = _spread(start, count) + behind
        new = start + np.bincount(owner[~behind], minlength=len(rows))
        for column, values, added in zip(self._columns(), kept, more, strict=True):
            column[to], column[new] = values, added
        self._owner[old] = NOWHERE
        self._owner[_spread(start, count + 1)] = np.repeat(rows, count + 1)
        self.core.ops[rows, ELIG_LOW], self.core.ops[rows, ELIG_HIGH] = start, start + count + 1

    def _columns(self) -> tuple[Any, ...]:
        """The tables' columns, in the order of `Alternatives`."""
        return (self.core.elig_machine, self.core.elig_ticks, *self.core.elig_more.T, self.moving)

    def _widen(self, rows: int, entries: int, links: int) -> None:
        """Room for so many of each (0: as it is)."""
        core = self.core
        if rows > len(core.ops):
            new = max(rows + ROOM, len(core.ops) * 5 // 4)
            ops = _longer(core.ops, new, 0)
            ops[len(core.ops) :, PINNED] = -1
            self.core = core = core._replace(ops=ops)
            self._kind, self._span, self._before = (
                _longer(column, new, -1) for column in (self._kind, self._span, self._before)
            )
            self._room_of, self._link_room = _longer(self._room_of, new, 0), _longer(self._link_room, new, 0)
        if entries > len(core.elig_machine):
            new = max(entries + ROOM, entries * 5 // 4)
            self.core = core = core._replace(
                elig_machine=_longer(core.elig_machine, new, 0),
                elig_ticks=_longer(core.elig_ticks, new, 1),
                elig_more=_longer(core.elig_more, new, 0),
            )
            self.moving, self._owner = _longer(self.moving, new, 0), _longer(self._owner, new, NOWHERE)
        if links > len(core.links):
            self.core = core._replace(links=_longer(core.links, max(links + ROOM, links * 5 // 4), 0))


def _longer(array: Any, length: int, fill: int) -> Any:
    out = np.full((length, *array.shape[1:]), fill, array.dtype)
    out[: len(array)] = array
    return out


def _spread(low: Longs, count: Longs) -> Longs:
    """low[0], low[0] + 1, … so many of them, then those of the next."""
    ends = np.cumsum(count)
    out: Longs = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(low - ends + count, count)
    return out
