"""Shards: which machines each worker may search in a round, by kind and region, with borders that move.

Machines that share jobs, however indirectly, are of one kind. The machines of every kind are cut into twice as many
cells as there are shards, along a line through the region; a shard is two cells of every kind, and a round-robin
tournament decides which two, so that after 2 × shards - 1 rounds every cell has met every other one. Then the line is
drawn anew elsewhere. A job may so come to any machine that can make it, and no list of candidates is ever closed.

What a shard takes from the others in a round are promises: a part that goes to another shard is free by an agreed tick
(`Cut.latest`), and comes to whoever waits for it no earlier. Both sides keep to that, so the answers fit together: all
times of the merged schedule, computed anew, are at most those that the shards counted with. Pure: no process, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import (
    AVAIL,
    CHOICE,
    ELIG_HIGH,
    ELIG_LOW,
    LATEST,
    MACHINE,
    NUMBER,
    PINNED,
    POS,
    SHOP,
    START,
    SUCC_HIGH,
    SUCC_LOW,
    Core,
    Schedule,
    copy_schedule,
    restore_schedule,
)
from scheduler.planning.problem import NEVER, Ints, Longs
from scheduler.planning.timing import retime_all, total_cost

Flags = NDArray[np.bool_]

#: How much of the time between a part and its next start goes to the shard that makes the part, in quarters, round by
#: round; the rest to the shard that waits for it.
SHARES: Final = (0, 4, 2)


class Cut(NamedTuple):
    """One round's borders."""

    shard: Ints
    """(m) the shard of each machine."""
    latest: Ints
    """(n) when a part must be free because another shard counts on it; NEVER where none does."""


class Part(NamedTuple):
    """A shard as a problem of its own: the same rows, everything of other shards retired."""

    core: Core
    schedule: Schedule
    entries: Longs
    """The whole problem's number of each alternative."""
    own: Flags
    """(n) operations of this shard."""


class Answer(NamedTuple):
    """A shard's schedule after its search (alternatives with the whole problem's numbers), and the cost change."""

    schedule: Schedule
    delta: int


def kinds(core: Core) -> Ints:
    """(m) the kind of each machine: machines between which jobs can be passed on are of one."""
    entries, owner = _alternatives(core, np.ones(len(core.ops), bool))
    machine = core.elig_machine[entries]
    label = np.arange(len(core.mach), dtype=np.int32)
    while len(entries):
        least = np.full(len(core.ops), len(label), np.int32)
        np.minimum.at(least, owner, label[machine])
        before = label.copy()
        np.minimum.at(label, machine, least[owner])
        label = label[label]
        if np.array_equal(label, before):
            break
    return np.unique(label, return_inverse=True)[1].astype(np.int32)


def rounds_of(shards: int) -> int:
    """Rounds of one tournament, after which all machines of a kind have shared a shard pair by pair."""
    return 2 * shards - 1


def deal(core: Core, kind: Ints, shards: int, seed: int, number: int) -> Ints:
    """(m) the shard of each machine in round `number`."""
    turn, game = divmod(number, rounds_of(shards))
    return meeting(shards, game)[cells(core, kind, 2 * shards, seed, turn)]


def meeting(shards: int, game: int) -> Ints:
    """(2 × shards) the shard of each cell in one game of a round-robin tournament.

    The circle method (Kirkman, Cambridge and Dublin Mathematical Journal 2, 1847): the last cell stays, the others
    turn.
    """
    around = rounds_of(shards)
    out = np.zeros(2 * shards, np.int32)
    out[[2 * shards - 1, game]] = 0
    for i in range(1, shards):
        out[[(game + i) % around, (game - i) % around]] = i
    return out


def cells(core: Core, kind: Ints, count: int, seed: int, turn: int) -> Ints:
    """(m) the cell of each machine: the machines of every kind in order along a line, cut into equal stretches.

    The line runs through two shops; every other shop's place on it follows from its ways to both (FastMap: Faloutsos
    and Lin, SIGMOD 1995). Every turn has another line, and begins to cut it elsewhere; its ends are one stretch.
    """
    shop = core.mach[:, SHOP]
    draw = np.random.default_rng((seed, turn))
    place, chance = _along_a_line(core.legs, draw), draw.permutation(len(core.legs))
    first = draw.random()
    out = np.zeros(len(shop), np.int32)
    for one in range(int(kind.max(initial=-1)) + 1):
        rows = np.flatnonzero(kind == one)
        order = rows[np.lexsort((rows, chance[shop[rows]], place[shop[rows]]))]
        out[order] = ((np.arange(len(order)) + first) * count / max(1, len(order)) + first).astype(np.int32) % count
    return out


def _along_a_line(legs: Ints, draw: np.random.Generator) -> NDArray[np.float64]:
    ways = legs.astype(float) + legs.T
    if len(ways) < 2:
        return np.zeros(len(ways))
    one, other = draw.choice(len(ways), 2, replace=False)
    base = max(1.0, ways[one, other])
    projected: NDArray[np.float64] = (ways[one] ** 2 + base**2 - ways[other] ** 2) / (2 * base)
    return projected


def cut(core: Core, s: Schedule, shard: Ints, number: int) -> Cut:
    """The borders with what is promised across them: between the part's tick and the last that delays nobody."""
    latest = np.full(len(core.ops), NEVER, NUMBER)
    before, after = _links(core)
    m1, m2 = s.at[before, MACHINE], s.at[after, MACHINE]
    across = (s.at[before, POS] >= 0) & (s.at[after, POS] >= 0)
    across[across] = shard[m1[across]] != shard[m2[across]]
    before, after, m1, m2 = before[across], after[across], m1[across], m2[across]
    way = core.legs[core.mach[m1, SHOP], core.mach[m2, SHOP]]
    np.minimum.at(latest, before, (s.at[after, START] - way).astype(NUMBER))
    bound = np.flatnonzero(latest < NEVER)
    avail = s.at[bound, AVAIL].astype(np.int64)
    room = np.maximum(0, latest[bound] - avail)
    latest[bound] = avail + room * SHARES[number % len(SHARES)] // 4
    return Cut(shard, latest)


def carve(core: Core, s: Schedule, borders: Cut, mine: int) -> Part:
    """One shard as a problem of its own. Its operations have the alternatives inside it; one with a part for another
    shard those in its shop, because the other shard counts with the way from there."""
    queued = s.at[:, POS] >= 0
    own = queued & (borders.shard[s.at[:, MACHINE]] == mine)
    bound = borders.latest < NEVER
    entries, owner = _alternatives(core, own)
    machine = core.elig_machine[entries]
    shop, here = core.mach[:, SHOP], s.at[:, MACHINE]
    stays = ~bound[owner] | (shop[machine] == shop[here[owner]])
    allowed = (borders.shard[machine] == mine) & stays
    entries, owner = entries[allowed], owner[allowed]
    ops = core.ops.copy()
    count = np.bincount(owner, minlength=len(ops))
    ops[:, ELIG_HIGH] = np.cumsum(count)
    ops[:, ELIG_LOW] = ops[:, ELIG_HIGH] - count
    ops[own, LATEST] = np.minimum(ops[own, LATEST], borders.latest[own])
    at, length = s.at.copy(), s.length.copy()
    new = np.zeros(len(core.elig_machine), np.int32)
    new[entries] = np.arange(len(entries))
    at[own, CHOICE] = new[at[own, CHOICE]]
    at[queued & ~own, POS] = -1
    at[queued & ~own & bound, AVAIL] = borders.latest[queued & ~own & bound]
    length[borders.shard != mine] = 0
    more = core.elig_more[entries] if len(core.elig_more) else core.elig_more
    inside = core._replace(
        ops=ops, elig_machine=core.elig_machine[entries], elig_ticks=core.elig_ticks[entries], elig_more=more
    )
    return Part(inside, Schedule(s.seq.copy(), length, at), entries, own)


def whole_numbers(part: Part) -> Schedule:
    """The part's schedule with the whole problem's numbers of alternatives."""
    at = part.schedule.at.copy()
    at[part.own, CHOICE] = part.entries[at[part.own, CHOICE]]
    return part.schedule._replace(at=at)


def take_in(
    core: Core, s: Schedule, cost: int, shard: Ints, answers: Mapping[int, Answer], spare: int = 0
) -> tuple[int, list[int]]:
    """Merge answers into `s`, every time computed anew. Returns the new cost and the shards that were taken in.

    Together they may cost what they counted with and `spare`, no more. Should they (a term of the objective that an
    earlier start makes dearer), they are taken in one by one where that holds; who is left out keeps its sequences.
    """
    every = sorted(answers)
    whole = _with(core, s, shard, answers, every)
    promised = cost + sum(answers[i].delta for i in every)
    if whole is not None and whole[1] <= promised + spare:
        restore_schedule(s, whole[0])
        return whole[1], every
    taken: list[int] = []
    for i in every:
        one = _with(core, s, shard, answers, [i])
        if one is not None and one[1] <= cost + answers[i].delta + spare:
            restore_schedule(s, one[0])
            cost = one[1]
            taken.append(i)
    return cost, taken


def movable(core: Core, s: Schedule, shard: Ints, shards: int) -> Longs:
    """(shards) operations that each may move."""
    free = (s.at[:, POS] >= 0) & (core.ops[:, PINNED] < 0)
    return np.bincount(shard[s.at[free, MACHINE]], minlength=shards)


def dealt_moves(moves: int, weights: Longs) -> list[int]:
    """Moves in proportion to the weights; their sum is exact."""
    ends = np.cumsum(weights.astype(object)) * moves // max(1, int(weights.sum()))
    return [int(n) for n in np.diff(np.concatenate([[0], ends]))]


def _with(
    core: Core, s: Schedule, shard: Ints, answers: Mapping[int, Answer], some: list[int]
) -> tuple[Schedule, int] | None:
    """`s` with the sequences of some shards, timed anew, and its cost; None where that cannot be."""
    out = copy_schedule(s)
    for i in some:
        rows = shard == i
        part = answers[i].schedule
        out.seq[rows], out.length[rows] = part.seq[rows], part.length[rows]
        own = (s.at[:, POS] >= 0) & (shard[s.at[:, MACHINE]] == i)
        out.at[own] = part.at[own]
    n = len(core.ops)
    if not retime_all(core, out, np.empty(n, NUMBER), np.empty(n, NUMBER)):
        return None
    return out, int(total_cost(core, out))


def _alternatives(core: Core, rows: Flags) -> tuple[Longs, Longs]:
    """Numbers of all alternatives of these operations, and whose each is."""
    low = core.ops[:, ELIG_LOW].astype(np.int64)
    count = np.where(rows, core.ops[:, ELIG_HIGH] - low, 0)
    owner = np.repeat(np.arange(len(low)), count)
    return np.arange(len(owner)) + np.repeat(low - (np.cumsum(count) - count), count), owner


def _links(core: Core) -> tuple[Longs, Longs]:
    """Every pair of an operation and one that waits for its part."""
    low = core.ops[:, SUCC_LOW].astype(np.int64)
    count = core.ops[:, SUCC_HIGH] - low
    before = np.repeat(np.arange(len(low)), count)
    places = np.arange(len(before)) + np.repeat(low - (np.cumsum(count) - count), count)
    return before, core.links[places].astype(np.int64)
