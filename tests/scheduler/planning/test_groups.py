"""What hangs together: the same as walking from neighbour to neighbour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.groups import Groups

THINGS = 12
JOINS = st.lists(st.lists(st.integers(0, THINGS - 1), max_size=4), max_size=12)


def reached(thing: int, joins: list[list[int]]) -> set[int]:
    """Everything that can be walked to from `thing`."""
    found, todo = {thing}, [thing]
    while todo:
        here = todo.pop()
        for together in joins:
            if here in together:
                todo += set(together) - found
                found |= set(together)
    return found


@given(JOINS)
def test_things_have_one_name_exactly_if_they_hang_together(joins: list[list[int]]) -> None:
    groups = Groups[int]()
    for together in joins:
        groups.join(*together)
    for thing in range(THINGS):
        same = {other for other in range(THINGS) if groups.name(other) == groups.name(thing)}
        assert same == reached(thing, joins)
        assert groups.name(thing) in same


def test_a_long_chain_is_named_after_the_first_of_the_last_that_were_joined() -> None:
    groups = Groups[str]()
    for n in range(3_000):
        groups.join(f"{n + 1}", f"{n}")
    assert {groups.name(f"{n}") for n in range(3_001)} == {"3000"}
    assert groups.name("alone") == "alone"
