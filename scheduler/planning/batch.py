"""Plates and sheets: a job whose content may still change. Which pieces, of whomever, had better lie together?

Pure: loads in, loads out, no piece lost or doubled. Whether pieces fit is asked of a packing function that the caller
brings; the exact polygons are checked once more when a plate is frozen and its toolpath made. Minutes count from now.

A composition is priced as the plan will price it (`objective`): weight × (tardiness + flow share), handling between
runs, and the work that a failed run loses. So short pieces gather on plates and sheets, long ones do not, and a large
plate is divided where machines stand idle and the date or the hours saved are worth another start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from math import inf

Pack = Callable[[str, Mapping[str, int]], bool]
"""(kind, pieces by key): whether so many of each lie on one plate or sheet of this kind."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Equal pieces of one order. `kind` names all that must agree on one plate: process, material, thickness, colour,
    who may make it, how far it may travel.
    """

    key: str
    kind: str
    minutes: float
    """Machine time of one piece."""
    area_mm2: float
    weight: float
    """Of one minute late, for all pieces of the key together."""
    need: int
    """Rank of the need class, 0 the most pressing."""
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What lies on one job: pieces by key. `job` is empty for a job that does not exist yet."""

    job: str
    kind: str
    pieces: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Capacity:
    """The machines that can take loads of a kind: when each is free, and what a start costs."""

    free: tuple[float, ...]
    handling: float
    """Minutes between two runs: clearing, loading, clamping."""
    most_pieces: int
    """On one plate or sheet, whatever would fit."""
    pressure: float = 0.0
    """What a machine minute costs all other waiting work, in weight-minutes."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The declared rules of sharing plates and sheets."""

    window: float = 3 * 1_440.0
    """Dates further apart than this share nothing."""
    riders: float = 0.25
    """Less pressing pieces may add this share to the time of the most pressing ones, or fit well before their date."""
    flow: float = 0.02
    """Cost of a minute from now to the finish, in minutes late (as `PlanPolicy.flow_percent`)."""
    setup: float = 1.0
    """Cost of one minute of handling, in weight-minutes (as `PlanPolicy.setup_cost`)."""
    failures_per_hour: float = 0.01
    """Runs that fail, for each hour they take: half their time is lost with them."""
    gain: float = 0.05
    """A change must cost at least this share less, or everything stays where it is."""
    paired: int = 8
    """Loads of one kind tried pair by pair; with more of them only the most pressing are."""
    tries: int = 1_500
    """Changes priced for one kind at most, in pairs."""
    misses: int = 5
    """Loads in a row that did not fit on another, after which it counts as full."""
    most_loads: int = 40
    """Loads of one kind looked at together, the most pressing first."""


def compose(
    loads: Sequence[Load],
    pieces: Mapping[str, Pieces],
    capacity: Mapping[str, Capacity],
    pack: Pack,
    policy: BatchPolicy | None = None,
) -> tuple[Load, ...]:
    """The same pieces on cheaper loads; a kind that cannot be bettered keeps its loads.

    Loads keep their job where their first pieces stay; further ones have no job yet. Deterministic. Raises ValueError
    if a piece was lost or doubled (a defect here, never the caller's).
    """
    rules = policy or BatchPolicy()
    result: list[Load] = []
    for kind in sorted({load.kind for load in loads}):
        own = sorted((load for load in loads if load.kind == kind), key=lambda load: _press(load, pieces))
        head, rest = own[: rules.most_loads], own[rules.most_loads :]
        room = capacity.get(kind)
        best = head if room is None or not room.free else _best(head, pieces, room, pack, rules)
        if _counted(best) != _counted(head):
            raise ValueError(f"composing loads of {kind} lost or doubled a piece")
        result += [*best, *rest]
    return tuple(result)


def why(
    before: Sequence[Load],
    after: Sequence[Load],
    pieces: Mapping[str, Pieces],
    room: Capacity,
    policy: BatchPolicy | None = None,
) -> str:
    """What other loads of one kind would cost, as a sentence: runs, the hour at which all is made, weight-minutes."""
    rules = policy or BatchPolicy()
    (was, then), (now, soon) = (
        (cost(loads, pieces, room, rules), max(_finishes(loads, pieces, room).values(), default=0.0) / 60.0)
        for loads in (before, after)
    )
    idle = sum(free <= 0 for free in room.free)
    return (
        f"{len(before)} {_runs(before)} of {_number(before)} pieces, made after {then:.1f} h, would cost {was:.0f}; "
        f"{len(after)} {_runs(after)}, made after {soon:.1f} h, cost {now:.0f} "
        f"({idle} of {len(room.free)} machines are idle, {room.handling:.0f} min between runs)"
    )


def _runs(loads: Sequence[Load]) -> str:
    return "run" if len(loads) == 1 else "runs"


def _number(loads: Sequence[Load]) -> int:
    return sum(count for load in loads for _, count in load.pieces)


def cost(loads: Sequence[Load], pieces: Mapping[str, Pieces], room: Capacity, rules: BatchPolicy) -> float:
    """What these loads of one kind cost on machines of one kind, in weight-minutes: list scheduling, densest first."""
    total = 0.0
    for load in loads:
        minutes = _minutes(load, pieces)
        total += room.handling * (rules.setup + room.pressure)
        total += rules.failures_per_hour / 60.0 * minutes * minutes / 2.0
    for key, finish in _finishes(loads, pieces, room).items():
        due = pieces[key].due
        late = 0.0 if due is None else max(0.0, finish - due)
        total += pieces[key].weight * (late + rules.flow * finish)
    return total


def _finishes(loads: Sequence[Load], pieces: Mapping[str, Pieces], room: Capacity) -> dict[str, float]:
    """Minutes after which the last piece of each key is made: list scheduling, densest first."""
    free = sorted(room.free)
    done: dict[str, float] = {}
    for load in sorted(loads, key=lambda load: (-_density(load, pieces, room), load.job)):
        free[0] += room.handling + _minutes(load, pieces)
        for key, _ in load.pieces:
            done[key] = max(done.get(key, 0.0), free[0])
        free.sort()
    return done


def admissible(counts: Mapping[str, int], pieces: Mapping[str, Pieces], room: Capacity, rules: BatchPolicy) -> bool:
    """Whether these pieces may share a plate at all, room aside: number, dates, and no need class held up by others."""
    if sum(counts.values()) > room.most_pieces:
        return False
    lying = [pieces[key] for key in counts]
    dates = [each.due for each in lying if each.due is not None]
    if dates and max(dates) - min(dates) > rules.window:
        return False
    first = min(each.need for each in lying)
    pressing = sum(each.minutes * counts[each.key] for each in lying if each.need == first)
    others = sum(each.minutes * counts[each.key] for each in lying if each.need != first)
    if others <= rules.riders * pressing:
        return True
    whole = 2.0 * (room.handling + pressing + others) + min(room.free)
    return all(each.due is not None and whole <= each.due for each in lying if each.need == first)


def _best(
    head: Sequence[Load], pieces: Mapping[str, Pieces], room: Capacity, pack: Pack, rules: BatchPolicy
) -> Sequence[Load]:
    now = cost(head, pieces, room, rules)
    fill = _Filling(pieces, room, pack, rules)
    merged = [fill.whole(head), fill.partly(head)]
    merged += [fill.climbed(loads) for loads in (head, merged[0])]
    candidates = [part(loads) for loads in (head, *merged) for part in (fill.divided, fill.dealt)] + merged
    found = min(candidates, key=lambda loads: (cost(loads, pieces, room, rules), len(loads)))
    return found if cost(found, pieces, room, rules) <= now * (1.0 - rules.gain) else head


@dataclass(frozen=True, slots=True)
class _Filling:
    """Ways to change loads of one kind."""

    pieces: Mapping[str, Pieces]
    room: Capacity
    pack: Pack
    rules: BatchPolicy

    def whole(self, loads: Sequence[Load]) -> list[Load]:
        """Each load takes in whole other loads, the densest first, while they fit."""
        left = list(loads)
        result = []
        while left:
            host, missed = left.pop(0), 0
            for guest in sorted(left, key=lambda load: (-_density(load, self.pieces, self.room), load.job)):
                both = replace(host, pieces=_sum(host.pieces, guest.pieces))
                if self._fits(both):
                    host, missed = both, 0
                    left.remove(guest)
                else:
                    missed += 1
                    if missed == self.rules.misses:
                        break
            result.append(host)
        return result

    def climbed(self, loads: Sequence[Load]) -> list[Load]:
        """Loads joined and lines moved from load to load, each time the change that saves most, while any saves."""
        best = list(loads)
        price = cost(best, self.pieces, self.room, self.rules)
        left = self.rules.tries
        while left > 0:
            found: list[Load] | None = None
            for changed, grown in islice(self._neighbours(best), left):
                left -= 1
                new_price = cost(changed, self.pieces, self.room, self.rules)
                if new_price < price - 1e-9 and self._fits(grown):
                    found, price = changed, new_price
            if found is None:
                break
            best = found
        return best

    def _neighbours(self, loads: Sequence[Load]) -> Iterator[tuple[list[Load], Load]]:
        """Every change of two of the first loads, with the load that grew by it."""
        for one, other in permutations(loads[: self.rules.paired], 2):
            rest = [load for load in loads if load is not one and load is not other]
            both = replace(one, pieces=_sum(one.pieces, other.pieces))
            yield [both, *rest], both
            for line in other.pieces if len(other.pieces) > 1 else ():
                grown = replace(one, pieces=_sum(one.pieces, [line]))
                shrunk = replace(other, pieces=tuple(each for each in other.pieces if each != line))
                yield [grown, shrunk, *rest], grown
                for back in one.pieces:
                    grown = replace(one, pieces=_sum([each for each in one.pieces if each != back], [line]))
                    swapped = replace(other, pieces=_sum(shrunk.pieces, [back]))
                    if self._fits(swapped):
                        yield [grown, swapped, *rest], grown

    def partly(self, loads: Sequence[Load]) -> list[Load]:
        """Each load is filled up with as many pieces of others as fit, the densest first."""
        left = list(loads)
        result = []
        while left:
            host, missed = left.pop(0), 0
            for guest in sorted(left, key=lambda load: (-_density(load, self.pieces, self.room), load.job)):
                host, rest = self._fill(host, guest)
                missed = missed + 1 if rest.pieces == guest.pieces else 0
                if missed == self.rules.misses:
                    break
                where = left.index(guest)
                left[where : where + 1] = [rest] if rest.pieces else []
            result.append(host)
        return result

    def divided(self, loads: Sequence[Load]) -> list[Load]:
        """The longest load is halved again and again, while that costs less."""
        best = list(loads)
        price = cost(best, self.pieces, self.room, self.rules)
        for _ in range(2 * len(self.room.free)):
            long = max(best, key=lambda load: (_minutes(load, self.pieces), load.job))
            halves = _halved(long)
            if halves is None:
                break
            tried = [load for load in best if load is not long] + list(halves)
            new_price = cost(tried, self.pieces, self.room, self.rules)
            if new_price >= price:
                break
            best, price = tried, new_price
        return best

    def dealt(self, loads: Sequence[Load]) -> list[Load]:
        """Equal pieces of one order are dealt evenly over 2, 3, … loads, the longest first, where that costs less.

        Halving stops at 4 + 4 of 8 pieces on three machines; 3 + 3 + 2 are done sooner.
        """
        best = list(loads)
        price = cost(best, self.pieces, self.room, self.rules)
        alone = sorted((load for load in loads if len(load.pieces) == 1), key=lambda load: -_minutes(load, self.pieces))
        for load in alone[: self.rules.paired]:
            rest = [other for other in best if other is not load]
            ways = range(2, min(load.pieces[0][1], len(self.room.free), self.rules.paired) + 1)
            for tried in ([*rest, *_dealt(load, number)] for number in ways):
                new_price = cost(tried, self.pieces, self.room, self.rules)
                if new_price < price:
                    best, price = tried, new_price
        return best

    def _fill(self, host: Load, guest: Load) -> tuple[Load, Load]:
        rest = dict(guest.pieces)
        for key, count in sorted(guest.pieces, key=lambda line: (-_value(self.pieces[line[0]]), line[0])):
            low, high = 0, count
            while low < high:
                middle = (low + high + 1) // 2
                fits = self._fits(replace(host, pieces=_sum(host.pieces, ((key, middle),))))
                low, high = (middle, high) if fits else (low, middle - 1)
            if low:
                host = replace(host, pieces=_sum(host.pieces, ((key, low),)))
                rest[key] -= low
        return host, replace(guest, pieces=tuple((key, count) for key, count in rest.items() if count))

    def _fits(self, load: Load) -> bool:
        counts = dict(load.pieces)
        return admissible(counts, self.pieces, self.room, self.rules) and self.pack(load.kind, counts)


def _value(each: Pieces) -> float:
    """Urgency for each area and minute."""
    return _urgency(each) / (max(each.area_mm2, 1.0) * max(each.minutes, 0.1))


def _urgency(each: Pieces) -> float:
    days = 7.0 if each.due is None else max(0.0, each.due) / 1_440.0
    return each.weight / (1.0 + days)


def _density(load: Load, pieces: Mapping[str, Pieces], room: Capacity) -> float:
    return sum(_urgency(pieces[key]) for key, _ in load.pieces) / (room.handling + _minutes(load, pieces) + 0.1)


def _minutes(load: Load, pieces: Mapping[str, Pieces]) -> float:
    return sum(pieces[key].minutes * count for key, count in load.pieces)


def _press(load: Load, pieces: Mapping[str, Pieces]) -> tuple[int, float, str]:
    lying = [pieces[key] for key, _ in load.pieces]
    due = min((inf if each.due is None else each.due for each in lying), default=inf)
    return min((each.need for each in lying), default=0), due, load.job


def _sum(one: Sequence[tuple[str, int]], other: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    counts = dict(one)
    for key, count in other:
        counts[key] = counts.get(key, 0) + count
    return tuple(counts.items())


def _dealt(load: Load, number: int) -> list[Load]:
    """The pieces of one key on so many loads, as evenly as can be."""
    ((key, count),) = load.pieces
    shares = [count // number + (i < count % number) for i in range(number)]
    return [Load("" if i else load.job, load.kind, ((key, share),)) for i, share in enumerate(shares)]


def _halved(load: Load) -> tuple[Load, Load] | None:
    """Two loads with half of the pieces each; None for a single piece."""
    laid = [key for key, count in load.pieces for _ in range(count)]
    if len(laid) < 2:
        return None
    middle = (len(laid) + 1) // 2
    first, second = Counter(laid[:middle]), Counter(laid[middle:])
    return replace(load, pieces=tuple(first.items())), Load("", load.kind, tuple(second.items()))


def _counted(loads: Sequence[Load]) -> Counter[str]:
    total: Counter[str] = Counter()
    for load in loads:
        total.update(dict(load.pieces))
    return total
