"""Every world that the lease protocol can come to, within bounds: `python -m tests.faults.exploring`.

Breadth first from the beginning, so that the first broken rule comes with a shortest story. Afterwards the graph is
walked back from every world in which all jobs have ended: one from which no end can be reached breaks the last rule.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass

from agents.contract.vocabulary import CLOSED_STATES, JobState
from tests.faults.model import Model
from tests.faults.worlds import Bounds, Broken, Guards, World, begin

#: What the suite explores (two agents where nothing else is said), and what only the long form does.
SIZES = {
    "one job": Bounds(deaths=0, loses=False),
    "one job, messages lost and doubled": Bounds(fences=1, offers=2, deaths=0),
    "one job, deaths": Bounds(fences=1, offers=2, fails=False, loses=False),
    "one job, two schedulers": Bounds(replicas=2, fences=1, offers=2, deaths=0, fails=False, loses=False),
    "two jobs on one machine": Bounds(jobs=2, agents=1, fences=1, offers=2, deaths=0, fails=False, loses=False),
    "one job, an old database": Bounds(fences=1, offers=2, deaths=0, restores=True, fails=False, loses=False),
}
LONG = {
    "one job, two attempts, an old database": Bounds(
        fences=2, offers=2, deaths=0, restores=True, fails=False, loses=False
    ),
    "one job, two attempts, messages lost and doubled": Bounds(deaths=0),
    "one job, two in flight": Bounds(in_flight=2, fences=1, offers=2, deaths=0),
    "one job, two attempts, deaths": Bounds(fails=False, loses=False),
    "one job, deaths, messages lost and doubled": Bounds(fences=1, offers=2, fails=False),
    "one job, two attempts, two schedulers": Bounds(replicas=2, deaths=0, fails=False, loses=False),
    "two jobs, two agents": Bounds(jobs=2, agents=2, fences=1, offers=1, deaths=0, fails=False, loses=False),
}


@dataclass
class Found:
    """What an exploration saw."""

    worlds: int
    moves: int
    ended: int
    deepest: int
    seconds: float


def ended(world: World, bounds: Bounds) -> bool:
    """Every job is made, was given up, waits for a person, or was offered as often as the bounds allow."""
    over = CLOSED_STATES | {JobState.FINISHED, JobState.FAILED}
    return all(
        row.state in over
        or row.doubt
        or (row.state is JobState.WAITING and (row.given >= bounds.fences or row.offer >= bounds.offers))
        for row in world.base.jobs
    )


def explore(bounds: Bounds, guards: Guards | None = None, *, most: int = 3_000_000) -> Found:
    """All worlds within bounds. Raises Broken with the shortest story, and MemoryError beyond `most` worlds."""
    model, first, began = Model(bounds, guards), begin(bounds), time.monotonic()
    number: dict[World, int] = {first: 0}
    came: list[tuple[int, str]] = [(-1, "")]
    back: list[list[int]] = [[]]
    queue = deque([first])
    depth = [0]
    moves, ends = 0, [0] if ended(first, bounds) else []
    while queue:
        world = queue.popleft()
        here = number[world]
        try:
            for name, after in model.moves(world):
                moves += 1
                there = number.get(after)
                if there is None:
                    there = number[after] = len(came)
                    if there >= most:
                        raise MemoryError(f"more than {most} worlds")
                    came.append((here, name))
                    back.append([])
                    depth.append(depth[here] + 1)
                    queue.append(after)
                    if ended(after, bounds):
                        ends.append(there)
                back[there].append(here)
        except Broken as error:
            raise Broken(f"{error}, after: {_story(came, here)}") from error
    _every_path_can_end(back, ends, came)
    return Found(len(came), moves, len(ends), max(depth), time.monotonic() - began)


def _every_path_can_end(back: list[list[int]], ends: list[int], came: list[tuple[int, str]]) -> None:
    reached = bytearray(len(back))
    queue = deque(ends)
    for each in ends:
        reached[each] = 1
    while queue:
        for before in back[queue.popleft()]:
            if not reached[before]:
                reached[before] = 1
                queue.append(before)
    stuck = reached.find(0)
    if stuck >= 0:
        raise Broken(f"no end can be reached, after: {_story(came, stuck)}")


def _story(came: list[tuple[int, str]], at: int) -> str:
    names: list[str] = []
    while at >= 0:
        at, name = came[at]
        names.append(name)
    return ", ".join(reversed(names[:-1]))


def main() -> int:
    """Explore every size and print what was seen."""
    sizes = {**SIZES, **(LONG if "--long" in sys.argv else {})}
    for words, bounds in sizes.items():
        found = explore(bounds)
        print(
            f"{words:<46} {found.worlds:>9} worlds {found.moves:>10} moves {found.ended:>8} ends"
            f" depth {found.deepest:>3} {found.seconds:>6.1f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
