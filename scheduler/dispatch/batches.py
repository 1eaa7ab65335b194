"""Long work in parts of a few, so that no transaction is long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def in_batches(values: Iterable[_T], number: int) -> Iterator[list[_T]]:
    """The values in their order, `number` at a time; the last batch may be smaller. None are empty."""
    rest = iter(values)
    while batch := list(islice(rest, number)):
        yield batch
