"""Plates and sheets: no piece is lost or doubled, what must not share does not, and sharing pays or is not done."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.batch import BatchPolicy, Capacity, Load, Pack, Pieces, admissible, compose, cost, why

RULES = BatchPolicy()
LASER = Capacity(free=(0.0,), handling=10.0, most_pieces=60)


def piece(key: str, minutes: float = 2.0, *, kind: str = "sheet", need: int = 2, **more: float | None) -> Pieces:
    values = {"area_mm2": 1_000.0, "weight": 2.0, "due": None, **more}
    return Pieces(key=key, kind=kind, minutes=minutes, need=need, **values)  # type: ignore[arg-type]


def holds(most: int) -> Pack:
    return lambda kind, counts: sum(counts.values()) <= most


def counted(loads: tuple[Load, ...]) -> Counter[str]:
    total: Counter[str] = Counter()
    for load in loads:
        total.update(dict(load.pieces))
    return total


def test_short_cuts_of_three_orders_share_one_sheet() -> None:
    pieces = {key: piece(key) for key in "abc"}
    loads = [Load(f"j{key}", "sheet", ((key, 4),)) for key in "abc"]
    (one,) = compose(loads, pieces, {"sheet": LASER}, lambda kind, counts: True)
    assert one.job == "ja"
    assert dict(one.pieces) == {"a": 4, "b": 4, "c": 4}


def test_long_prints_keep_plates_of_their_own() -> None:
    pieces = {key: piece(key, 240.0) for key in "abcdef"}
    loads = [Load(f"j{key}", "sheet", ((key, 2),)) for key in "abcdef"]
    found = compose(loads, pieces, {"sheet": Capacity((0.0,), 15.0, 60)}, lambda kind, counts: True)
    assert sorted(found, key=str) == sorted(loads, key=str)


def test_three_half_full_sheets_become_two() -> None:
    pieces = {key: piece(key) for key in "abc"}
    loads = [Load(f"j{key}", "sheet", ((key, 5),)) for key in "abc"]
    found = compose(loads, pieces, {"sheet": LASER}, holds(8))
    assert len(found) == 2
    assert counted(found) == Counter(a=5, b=5, c=5)


def test_a_plate_is_divided_where_machines_stand_idle_and_the_date_needs_it() -> None:
    pieces = {"a": piece("a", 60.0, due=300.0)}
    loads = [Load("j", "sheet", (("a", 8),))]
    busy = compose(loads, pieces, {"sheet": Capacity((0.0,), 15.0, 8)}, holds(8))
    assert busy == tuple(loads)
    idle = compose(loads, pieces, {"sheet": Capacity((0.0, 0.0), 15.0, 8)}, holds(8))
    assert [sum(n for _, n in load.pieces) for load in idle] == [4, 4]
    assert [load.job for load in idle] == ["j", ""]


def test_eight_pieces_on_three_idle_machines_are_dealt_three_three_two_and_it_is_said_why() -> None:
    pieces = {"a": piece("a", 60.0, due=200.0)}
    loads = [Load("j", "sheet", (("a", 8),))]
    room = Capacity((0.0, 0.0, 0.0), 15.0, 8)
    found = compose(loads, pieces, {"sheet": room}, holds(8))
    assert sorted(sum(n for _, n in load.pieces) for load in found) == [2, 3, 3]
    said = why(loads, found, pieces, room)
    assert said.startswith("1 run of 8 pieces, made after 8.2 h, would cost ")
    assert "3 runs, made after 3.2 h, cost " in said
    assert said.endswith("(3 of 3 machines are idle, 15 min between runs)")


@given(
    st.integers(1, 40), st.integers(1, 7), st.sampled_from([2.0, 30.0, 300.0]), st.sampled_from([None, 60.0, 4_000.0])
)
def test_however_a_quantity_is_divided_no_piece_is_lost_and_it_costs_no_more(
    count: int, machines: int, minutes: float, due: float | None
) -> None:
    pieces = {"a": piece("a", minutes, due=due), "b": piece("b", 3 * minutes, due=due)}
    loads = [Load("ja", "sheet", (("a", count),)), Load("jb", "sheet", (("b", 1 + count // 3),))]
    room = Capacity(tuple(60.0 * (i // 2) for i in range(machines)), 15.0, 40)
    found = compose(loads, pieces, {"sheet": room}, holds(40))
    assert counted(found) == counted(tuple(loads))
    assert cost(found, pieces, room, BatchPolicy()) <= cost(loads, pieces, room, BatchPolicy()) + 1e-9
    assert all(share > 0 for load in found for _, share in load.pieces)


def test_dates_far_apart_and_other_kinds_share_nothing() -> None:
    week = 7 * 1_440.0
    pieces = {"a": piece("a", due=60.0), "b": piece("b", due=60.0 + week), "c": piece("c", kind="other", due=60.0)}
    loads = [Load("ja", "sheet", (("a", 2),)), Load("jb", "sheet", (("b", 2),)), Load("jc", "other", (("c", 2),))]
    found = compose(loads, pieces, {"sheet": LASER, "other": LASER}, lambda kind, counts: True)
    assert sorted(found, key=str) == sorted(loads, key=str)


def test_a_pressing_need_is_not_held_up_by_a_lesser_one() -> None:
    pieces = {"need": piece("need", 30.0, need=0, weight=8.0), "wish": piece("wish", 60.0)}
    assert not admissible({"need": 1, "wish": 1}, pieces, LASER, RULES)
    short = {"need": piece("need", 30.0, need=0, weight=8.0), "wish": piece("wish", 5.0)}
    assert admissible({"need": 1, "wish": 1}, short, LASER, RULES)
    roomy = {"need": piece("need", 30.0, need=0, due=2_000.0), "wish": piece("wish", 60.0)}
    assert admissible({"need": 1, "wish": 1}, roomy, LASER, RULES)


def test_without_a_machine_nothing_moves() -> None:
    pieces = {key: piece(key) for key in "ab"}
    loads = [Load(f"j{key}", "sheet", ((key, 4),)) for key in "ab"]
    assert compose(loads, pieces, {}, lambda kind, counts: True) == tuple(loads)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Load], dict[str, Pieces], dict[str, Capacity], int]:
    pieces: dict[str, Pieces] = {}
    loads = []
    for n in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["x", "y"]))
        keys = [f"k{n}.{m}" for m in range(draw(st.integers(1, 2)))]
        for key in keys:
            due = draw(st.one_of(st.none(), st.floats(10, 9_000)))
            minutes = draw(st.floats(0.5, 200))
            pieces[key] = piece(key, minutes, kind=kind, need=draw(st.integers(0, 3)), due=due)
        loads.append(Load(f"j{n}", kind, tuple((key, draw(st.integers(1, 6))) for key in keys)))
    free = tuple(draw(st.lists(st.floats(0, 500), max_size=3)))
    room = {kind: Capacity(free, 12.0, 30) for kind in ("x", "y")}
    return loads, pieces, room, draw(st.integers(6, 20))


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_nothing_is_lost_and_nothing_gets_dearer(
    world: tuple[list[Load], dict[str, Pieces], dict[str, Capacity], int],
) -> None:
    loads, pieces, room, most = world

    def pack(kind: str, counts: Mapping[str, int]) -> bool:
        assert {pieces[key].kind for key in counts} == {kind}
        return sum(counts.values()) <= most

    found = compose(loads, pieces, room, pack)
    assert counted(found) == counted(tuple(loads))
    jobs = [load.job for load in found if load.job]
    assert len(jobs) == len(set(jobs))
    assert set(jobs) <= {load.job for load in loads}
    for kind in ("x", "y"):
        if room[kind].free:
            before = [load for load in loads if load.kind == kind]
            after = [load for load in found if load.kind == kind]
            assert cost(after, pieces, room[kind], RULES) <= cost(before, pieces, room[kind], RULES) + 1e-6
    again = compose(found, pieces, room, pack)
    assert counted(again) == counted(found)
    assert compose(loads, pieces, room, pack) == found


def test_against_every_partition_of_small_loads() -> None:
    """The heuristic against all set partitions of five loads: never worse than 15 %."""
    for seed in range(6):
        pieces = {f"k{n}": piece(f"k{n}", 3.0 + 9.0 * ((seed * 7 + n * 5) % 4), due=60.0 + 50 * n) for n in range(5)}
        loads = [Load(f"j{n}", "sheet", ((f"k{n}", 1 + (n + seed) % 3),)) for n in range(5)]
        best = min(
            cost(merged, pieces, LASER, RULES)
            for merged in _partitions(loads)
            if all(admissible(dict(load.pieces), pieces, LASER, RULES) for load in merged)
        )
        found = compose(loads, pieces, {"sheet": LASER}, lambda kind, counts: True)
        assert cost(found, pieces, LASER, RULES) <= best * 1.15


def _partitions(loads: list[Load]) -> list[list[Load]]:
    found = []
    for labels in itertools.product(range(len(loads)), repeat=len(loads)):
        groups: dict[int, list[tuple[str, int]]] = {}
        for label, load in zip(labels, loads, strict=True):
            groups.setdefault(label, []).extend(load.pieces)
        found.append([Load(f"g{label}", "sheet", tuple(lines)) for label, lines in groups.items()])
    return found
