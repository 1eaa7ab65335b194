"""What hangs together, over others too: machines that share people, pieces that lie on one sheet.

The disjoint-set forest of Galler and Fischer ("An improved equivalence algorithm", Communications of the ACM 7 (5),
1964), with path halving. `independent.py` has its own, compiled, for whole networks.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Groups(Generic[T]):
    """Groups of things; each is alone until it is joined with others."""

    def __init__(self) -> None:
        self._above: dict[T, T] = {}

    def join(self, *things: T) -> None:
        """They hang together from now on, with all that hung together with any of them; the first one's name stays."""
        for other in things[1:]:
            self._above[self.name(other)] = self.name(things[0])

    def name(self, thing: T) -> T:
        """The one that the thing's group is named after: the same for all of a group, itself where it is alone."""
        above = self._above
        while (over := above.setdefault(thing, thing)) != thing:
            above[thing] = thing = above[over]
        return thing
