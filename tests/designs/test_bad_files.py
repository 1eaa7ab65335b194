"""The zoo of bad files: each is refused with the sentence that the person sees, in little memory."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pytest

from designs.geometry import inspect, part_file
from designs.processes.model import CannotMake, Severity
from tests.designs.bad_files import ZOO, BadFile

KINDS = {
    "truncated", "wrong units", "NaN", "zip bomb", "entity bomb", "recursion", "path traversal", "2 GB declared",
}  # fmt: skip
SENTENCES = dict(
    line.split(": ", 1) for line in (Path(__file__).parent / "golden" / "bad_files.txt").read_text().splitlines()
)
"""By file name; `N` stands for a packed size, which differs between versions of zlib."""


def sentence(bad: BadFile) -> str:
    """What a person sees: the refusal, or the errors that stop the job."""
    try:
        report = inspect(part_file(bad.name, bad.data))
    except CannotMake as refused:
        return str(refused)
    wrong = [f.text for f in report.findings if f.severity is Severity.ERROR]
    assert wrong, f"{bad.name} was taken"
    return " ".join(wrong)


@pytest.mark.parametrize("bad", ZOO, ids=[f"{bad.kind}: {bad.name}" for bad in ZOO])
def test_the_sentence(bad: BadFile) -> None:
    tracemalloc.start()
    try:
        said = sentence(bad)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert re.sub(r"unpack from \d+ to", "unpack from N to", said) == SENTENCES[bad.name]
    assert peak < 64e6


def test_every_kind_of_harm_is_in_the_zoo() -> None:
    assert {bad.kind for bad in ZOO} == KINDS
    assert len({bad.name for bad in ZOO}) == len(ZOO) == len(SENTENCES)
