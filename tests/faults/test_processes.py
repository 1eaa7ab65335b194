"""Real processes broken at named steps of a job, and what must be true afterwards: some pairs; `real_soak` plays all.

One town serves all of them: a pair begins where the one before it left the town.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.scenarios import PAIRS, Pair, chosen, missing, play
from tests.faults.towns import Town

pytestmark = [pytest.mark.processes, pytest.mark.broker]

_SEED = int(os.environ.get("WORKSHED_SEED", "1"))
_COUNT = 9


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, real_part: Callable[[str], Path]) -> Iterator[Town]:
    mosquitto = real_part("mosquitto")
    with ExitStack() as stack:
        yield Town(tmp_path_factory.mktemp("town"), mosquitto, stack, seed=_SEED)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pair", chosen(_SEED, _COUNT), ids=str)
def test_every_rule_is_kept(town: Town, pair: Pair) -> None:
    lacks = missing(pair, town)
    if lacks:
        pytest.skip(lacks)
    play(town, pair)


def test_what_is_played_in_full_names_its_steps() -> None:
    """At least 25 steps of a job, each with each fault that makes sense there; no pair twice."""
    names = [str(pair) for pair in PAIRS]
    assert len(set(names)) == len(names)
    assert len({pair.step.name for pair in PAIRS}) >= 25
    for seed in range(20):
        some = chosen(seed, _COUNT)
        assert len({pair.strike.name for pair in some}) == len({pair.step.name for pair in some}) == _COUNT
        assert len({pair.step.by for pair in some}) >= 4
