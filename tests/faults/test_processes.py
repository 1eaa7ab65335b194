"""Real processes broken at named steps of a job, and what must be true afterwards: some pairs; `real_soak` plays all.

One town serves all of them as long as no rule is broken.
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


class Towns:
    """The town that all pairs share; after one in which a rule was broken there is a new one."""

    def __init__(self, make: Callable[[ExitStack], Town]) -> None:
        self._make, self._stack = make, ExitStack()
        self._town: Town | None = None

    def play(self, pair: Pair) -> None:
        """One pair, in the town as the one before it left it."""
        self._town = self._town or self._make(self._stack)
        lacks = missing(pair, self._town)
        if lacks:
            pytest.skip(lacks)
        try:
            play(self._town, pair)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Take the town down."""
        self._stack.close()
        self._town = None


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory, real_part: Callable[[str], Path]) -> Iterator[Towns]:
    mosquitto = real_part("mosquitto")
    made = Towns(lambda stack: Town(tmp_path_factory.mktemp("town"), mosquitto, stack, seed=_SEED))
    yield made
    made.end()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pair", chosen(_SEED, _COUNT), ids=str)
def test_every_rule_is_kept(towns: Towns, pair: Pair) -> None:
    towns.play(pair)


def test_what_is_played_in_full_names_its_steps() -> None:
    """At least 25 steps of a job, each with each fault that makes sense there; no pair twice."""
    names = [str(pair) for pair in PAIRS]
    assert len(set(names)) == len(names)
    assert len({pair.step.name for pair in PAIRS}) >= 25
    for seed in range(20):
        some = chosen(seed, _COUNT)
        assert len({pair.strike.name for pair in some}) == len({pair.step.name for pair in some}) == _COUNT
        assert len({pair.step.by for pair in some}) >= 4
