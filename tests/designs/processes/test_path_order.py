"""The order of paths: what must come first does, and less is travelled than in file order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.processes.path_order import Path, order, travel_mm


def scattered(count: int, seed: int) -> list[Path]:
    chance = random.Random(seed)
    paths = []
    for _ in range(count):
        x, y = chance.uniform(0, 300), chance.uniform(0, 200)
        paths.append(Path(((x, y), (x + 5, y), (x + 5, y + 5), (x, y + 5)), True))
    return paths


def test_travel_is_much_shorter_than_file_order():
    paths = scattered(80, 1)
    made = [path for _, path in order(paths)]
    assert travel_mm(made) < 0.4 * travel_mm(paths)


@settings(max_examples=30)
@given(st.integers(1, 25), st.integers(0, 10_000))
def test_every_path_once_and_precedence_holds(count: int, seed: int):
    chance = random.Random(seed)
    paths = [
        Path(p.points, chance.random() < 0.7, frozenset(n for n in range(k) if chance.random() < 0.15))
        for k, p in enumerate(scattered(count, seed))
    ]
    made = order(paths)
    places = {index: n for n, (index, _) in enumerate(made)}
    assert sorted(places) == list(range(count))
    for k, path in enumerate(paths):
        assert all(places[before] < places[k] for before in path.after)
    for index, turned in made:
        assert sorted(turned.points) == sorted(paths[index].points)


def test_a_path_with_a_lead_in_keeps_its_direction():
    path = Path(((10.0, 0.0), (0.0, 0.0)), False, reversible=False)
    assert order([path])[0][1].points == path.points


def test_a_circle_of_waiting_is_refused():
    with pytest.raises(ValueError, match="circle"):
        order([Path(((0.0, 0.0), (1.0, 0.0)), False, frozenset({1})), Path(((0.0, 0.0),), False, frozenset({0}))])
