"""How the benchmark keeps its figures: merged seed by seed, medians and worsts, nothing of other settings mixed in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.planning_plots import grouped_bars, step_lines, straight_lines
from tests.benchmarks.planning_results import Sample, decode, encode, holds, load_rows, merge, store

CPU = {"clock": "cpu", "quick": False, "load": 1.0}


def test_pieces_add_up_to_medians_and_worsts_and_a_seed_measured_again_replaces_its_figure(tmp_path: Path) -> None:
    rows = merge({}, "P1", 1, [Sample("P1 mean", 9.0, "%", "≤ 2", {"peer": 8.0})], CPU)
    store(rows, tmp_path / "planning.json")
    for seed, figure in ((2, 3.0), (3, 1.0), (1, 2.0)):
        rows = merge(load_rows(tmp_path / "planning.json"), "P1", seed, [Sample("P1 mean", figure, "%", "≤ 2")], CPU)
        store(rows, tmp_path / "planning.json")
    row = load_rows(tmp_path / "planning.json")["P1 mean"]
    assert (row["figure"], row["worst"], row["seeds"]) == (2.0, 3.0, [1, 2, 3])
    assert (row["holds"], row["worst_holds"]) == (True, False)
    assert row["peers"] == {"peer": 8.0}, "peers run in the first piece only"


def test_figures_of_other_settings_are_not_mixed() -> None:
    rows = merge({}, "P1", 1, [Sample("P1 mean", 9.0, "%", "≤ 2")], CPU)
    rows = merge(rows, "P1", 2, [Sample("P1 mean", 1.0, "%", "≤ 2")], {**CPU, "quick": True})
    assert rows["P1 mean"]["samples"] == {"2": 1.0}


def test_the_worst_of_what_should_be_high_is_the_lowest() -> None:
    rows = merge({}, "P9", 1, [Sample("P9 on time", 99.0, "%", "≥ 95")], CPU)
    rows = merge(rows, "P9", 2, [Sample("P9 on time", 90.0, "%", "≥ 95")], CPU)
    assert (rows["P9 on time"]["worst"], rows["P9 on time"]["worst_holds"]) == (90.0, False)


@pytest.mark.parametrize(
    ("target", "figure", "held"),
    [("≤ 2", 2.0, True), ("≤ 2", 2.1, False), ("≥ 5,000", 5000, True), ("= 0", 1, False), ("-", 9, True)],
)
def test_targets(target: str, figure: float, held: bool) -> None:
    assert holds(target, figure, {}) is held


def test_below_the_peer_means_below_every_one_that_found_something() -> None:
    assert holds("< peer", 1.0, {"a": 2.0, "b": None})
    assert not holds("< peer", 1.0, {"a": 2.0, "b": 0.5})


def test_samples_survive_the_way_between_processes() -> None:
    samples = [Sample("P1 mean", 9.0, "% over best", "≤ 2", {"peer": None}, {"gaps": [["mk01", 0.5]]})]
    assert decode(encode(samples)) == samples


def test_a_bar_that_cannot_be_measured_is_named_with_what_to_do() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.planning", "--only", "P3", "--seeds", "1", "--no-peer"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 1
    assert "not measured: P3 with seed 1: the public instances are not here: give their folder" in run.stdout
    assert "PyJobShop is not here" in run.stdout


def test_pictures_are_well_formed_whatever_is_missing() -> None:
    for svg in (
        grouped_bars("t<", "%", ["a", "b"], [("x", [1.0, None]), ("y", [0.0, 0.0])]),
        step_lines("t", "s", "%", [("a", [(0.0, 3.0), (2.0, 1.0)]), ("b", [])], until=10.0),
        straight_lines("t", "n", "s", [("a", [(10.0, 0.1), (100.0, 2.0)])], logarithmic=True),
        straight_lines("t", "n", "s", []),
    ):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
