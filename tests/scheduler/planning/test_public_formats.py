"""Readers of public formats: what was written is read; any text gives an instance or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning.flexible_shop import FlexibleShop
from scheduler.planning.public_formats import BadInstance, read_queues, read_shop, read_unrelated, text_of
from scheduler.planning.unrelated import Unrelated, made_up

SHOP = "2 2 1\n2 1 1 3 2 1 2 2 4\n1 1 2 5\n"
UNRELATED = "2 2\n1\n0 5 1 6\n0 7 1 8\nSSD\nM0\n0 1\n2 0\nM1\n0 3\n4 0\n"

READERS: list[tuple[Callable[[str], object], str]] = [
    (read_shop, SHOP),
    (read_shop, SHOP + "\n" + "1 2 3\n" * 6),
    (read_unrelated, UNRELATED),
    (lambda text: read_queues(text, 2), "1 2 3 4 5 6"),
]


def test_a_shop_with_and_without_setups() -> None:
    shop = read_shop(SHOP)
    assert (shop.operations, shop.machines, shop.setup) == (3, 2, None)
    assert shop.elig_time.tolist() == [3, 2, 4, 5]
    assert shop.before.tolist() == [-1, 0, -1]
    assert read_shop(SHOP.replace("\n", "\r\n")).elig_time.tolist() == [3, 2, 4, 5]
    with_setups = read_shop(SHOP + "\n" + "0 1 2\n3 4 5\n6 7 8\n" + "9 9 9\n" * 3)
    assert with_setups.setup is not None
    assert with_setups.setup[0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_of_two_durations_on_one_machine_the_shorter_counts() -> None:
    assert read_shop("1 1\n1 2 1 9 1 4\n").elig_time.tolist() == [4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line"),
        ("3", "first line"),
        ("2 2\n1 1 1 3\n", "end within job 2"),
        ("1 2\n2 1 1 3\n", "end within job 1"),
        ("1 1\n1 1 2 3\n", "does not exist"),
        ("1 1\n1 1 0 3\n", "does not exist"),
        ("1 1\n1 0\n", "no machine"),
        ("1 1\n1 1 1 -3\n", "whole number"),
        ("1 1\n1 1 1 inf\n", "whole number"),
        ("1 1\n1 1 1 nan\n", "whole number"),
        ("1 1\n1 1 1 2.5\n", "whole number"),
        ("1 1\n1 1 1 three\n", "not a number"),
        ("1 1\n1 1 1 3 7 7\n", "2 numbers follow"),
        ("1 9999999\n1 1 1 3\n", "more than"),
        ("1 1\n99999999\n", "more than"),
    ],
)
def test_shops_that_are_none_are_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(BadInstance, match=words):
        read_shop(text)


def test_unrelated_machines_are_what_was_written() -> None:
    problem = read_unrelated(UNRELATED)
    assert problem.ticks.tolist() == [[5, 6], [7, 8]]
    assert problem.setup.tolist() == [[[0, 1], [2, 0]], [[0, 3], [4, 0]]]
    again = read_unrelated(written(made_up(7, 3, seed=2)))
    assert (again.ticks == made_up(7, 3, seed=2).ticks).all()
    assert (again.setup == made_up(7, 3, seed=2).setup).all()


def written(problem: Unrelated) -> str:
    """The collection's form."""
    n, m = problem.ticks.shape
    lines = [f"{n} {m}", "1", *(" ".join(f"{k} {t}" for k, t in enumerate(row)) for row in problem.ticks), "SSD"]
    for k in range(m):
        lines += [f"M{k}", *(" ".join(map(str, row)) for row in problem.setup[k])]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line"),
        (UNRELATED.replace("SSD", ""), "SSD"),
        (UNRELATED.replace("0 7 1 8", "0 7"), "job 1 needs"),
        (UNRELATED.replace("0 3", "0"), "7 numbers"),
        (UNRELATED.replace("4 0", "4 x"), "not a number"),
    ],
)
def test_unrelated_machines_that_are_none_are_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(BadInstance, match=words):
        read_unrelated(text)


def test_queues_are_durations_then_weights_then_due_dates() -> None:
    (block,) = read_queues("1 2 3 4 5 6", 2)
    assert (block.ticks.tolist(), block.weight.tolist(), block.due.tolist()) == ([1, 2], [3, 4], [5, 6])
    for text in ("1 2 3 4", "1 2 3 4 5 x"):
        with pytest.raises(BadInstance, match=r"whole instances|not a number"):
            read_queues(text, 2)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_instance_or_a_sentence(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(READERS))
    text = data.draw(st.one_of(st.text(), st.text("0123456789 \n.-eMSD"), broken(good)))
    assert isinstance(read_or_reason(read, text), FlexibleShop | Unrelated | list | str)


def read_or_reason(read: Callable[[str], object], text: str) -> object:
    """The instance, or why it is none; any other exception comes through."""
    try:
        return read(text)
    except BadInstance as wrong:
        return str(wrong)


@st.composite
def broken(draw: st.DrawFn, good: str) -> str:
    """A good text with a few words changed, left out or doubled."""
    words = good.replace("\n", " \n ").split(" ")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(words) - 1))
        words[at] = draw(st.sampled_from(["", "0", "-1", "1e30", "nan", "inf", "x", "\x00", words[at] * 2, "99999999"]))
    return " ".join(words)


@given(st.binary())
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_text_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "instance.txt"
    path.write_bytes(content)
    assert isinstance(read_or_reason(lambda name: read_shop(text_of(Path(name))), str(path)), FlexibleShop | str)
