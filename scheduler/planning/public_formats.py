"""Readers of the public instance formats: flexible shops (with setups), one machine's queues, unrelated machines.

Any text comes out as an instance or as `BadInstance` with a sentence. Numbers are read in order whatever the line
breaks, as the collections differ in them; machines are numbered from 1 in files of shops and from 0 in the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scheduler.planning.flexible_shop import FlexibleShop, shop_of
from scheduler.planning.tardiness import Queue
from scheduler.planning.unrelated import Unrelated

#: No number in a file is larger: what thousands of them add up to still has room.
LARGEST = 10**9
#: No count is larger: a file of a few bytes must not ask for all memory.
MOST = 100_000


class BadInstance(ValueError):
    """The text is not an instance; the message says why."""


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        BadInstance: the file is no text.
        OSError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise BadInstance(f"{path.name} is not a text file: {wrong.reason} at byte {wrong.start}") from None


def read_shop(text: str) -> FlexibleShop:
    """`#jobs #machines …` in the first line, then per job `#ops (#options (machine duration)*)*`.

    What may follow are setups: for every machine a table of operations by operations, all operations numbered through.

    Raises:
        BadInstance: the numbers end early, are too many, or name a machine that does not exist.
    """
    head, _, rest = text.strip().partition("\n")
    words = head.split()
    if len(words) < 2:
        raise BadInstance("the first line must hold the number of jobs and of machines")
    jobs, machines = _count(_whole(words[0]), "jobs"), _count(_whole(words[1]), "machines")
    numbers = _numbers(rest.split())
    chains: list[list[list[tuple[int, int]]]] = []
    for number in range(1, jobs + 1):
        where = f"job {number} of {jobs}"
        chain: list[list[tuple[int, int]]] = []
        for _ in range(_count(_next(numbers, where), f"operations of {where}")):
            options = _count(_next(numbers, where), f"machines for an operation of {where}")
            chain.append([(_next(numbers, where) - 1, _next(numbers, where)) for _ in range(options)])
        chains.append(chain)
    n = sum(len(chain) for chain in chains)
    left = list(numbers)
    if left and len(left) != machines * n * n:
        raise BadInstance(
            f"{len(left)} numbers follow the {jobs} jobs: setups of {n} operations on {machines} machines "
            f"would be {machines * n * n}"
        )
    setup = np.array(left, np.int64).reshape(machines, n, n) if left else None
    try:
        return shop_of(machines, chains, setup)
    except ValueError as wrong:
        raise BadInstance(str(wrong)) from None


def read_shop_file(path: Path) -> FlexibleShop:
    """`read_shop` of a file."""
    return read_shop(text_of(path))


def read_queues(text: str, jobs: int) -> list[Queue]:
    """OR-Library's weighted tardiness files: per instance all durations, then all weights, then all due dates.

    Raises:
        BadInstance: a word is no number, the count of numbers is not a multiple of three times `jobs`, or costs could
            grow beyond 64 bits.
    """
    numbers = np.array(list(_numbers(text.split())), np.int64)
    if jobs < 1 or len(numbers) % (3 * jobs):
        raise BadInstance(f"{len(numbers)} numbers are not whole instances of {jobs} jobs (three numbers a job)")
    queues = [Queue(*block) for block in numbers.reshape(-1, 3, jobs)]
    if any(int(queue.ticks.sum()) * int(queue.weight.sum()) >= 1 << 60 for queue in queues):
        raise BadInstance("durations and weights are too large for their products to add up")
    return queues


def read_unrelated(text: str) -> Unrelated:
    """Unrelated machines with setups (Vallada and Ruiz's collection).

    `#jobs #machines` and another line; a line per job with `machine duration` pairs; `SSD`; per machine a line `M0`,
    `M1`, … and a table of jobs by jobs.

    Raises:
        BadInstance: a part is missing, or numbers are too few or too many.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or len(lines[0]) < 2:
        raise BadInstance("the first line must hold the number of jobs and of machines")
    n, m = _count(_whole(lines[0][0]), "jobs"), _count(_whole(lines[0][1]), "machines")
    if n < 1 or m < 1:
        raise BadInstance("there must be at least one job and one machine")
    mark = next((i for i, line in enumerate(lines) if line[0].upper() == "SSD"), None)
    if mark is None or mark < n + 1:
        raise BadInstance(f"the line SSD must follow the durations of {n} jobs")
    ticks = np.zeros((n, m), np.int64)
    for job, line in enumerate(lines[mark - n : mark]):
        pairs = list(_numbers(line))
        if pairs[::2] != list(range(m)) or len(pairs) != 2 * m:
            raise BadInstance(f"job {job} needs a duration for each of the machines 0 to {m - 1}, in order")
        ticks[job] = pairs[1::2]
    tables = [word for line in lines[mark + 1 :] for word in line if not word.upper().startswith("M")]
    setups = list(_numbers(tables))
    if len(setups) != m * n * n:
        raise BadInstance(f"the setups are {len(setups)} numbers; {m} tables of {n} by {n} jobs would be {m * n * n}")
    return Unrelated(ticks, np.array(setups, np.int64).reshape(m, n, n))


def _whole(word: str) -> int:
    try:
        value = float(word)
    except ValueError:
        raise BadInstance(f"{word[:20]!r} is not a number") from None
    if not 0 <= value <= LARGEST or value != int(value):
        raise BadInstance(f"{word[:20]!r} is not a whole number from 0 to {LARGEST:,}")
    return int(value)


def _numbers(words: list[str]) -> Iterator[int]:
    return (_whole(word) for word in words)


def _next(numbers: Iterator[int], where: str) -> int:
    for number in numbers:
        return number
    raise BadInstance(f"the numbers end within {where}")


def _count(value: int, what: str) -> int:
    if value > MOST:
        raise BadInstance(f"{value:,} {what} are more than the {MOST:,} that this reads")
    return value
