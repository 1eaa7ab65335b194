"""The town's files are ones that agents read, and the summary tells the truth, also when it is a sad one."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.config import load
from agents.contract.vocabulary import Process
from agents.policy import read_policy
from scheduler.demo import cli
from scheduler.demo.orders import ORDERS, _entry
from scheduler.demo.shops import TOWN, ShopFiles, twin_command, write_shop
from scheduler.demo.summary import sentences, summarise, tell
from scheduler.demo.table import Lines, machines_table, orders_table
from scheduler.demo.verify import Check

MACHINES = [machine for shop in TOWN for machine in shop.machines]


def test_the_town_is_three_shops_with_two_printers_a_router_and_two_lasers() -> None:
    assert len(TOWN) == 3
    assert Counter(machine.process for machine in MACHINES) == {"fdm": 2, "cnc": 1, "laser": 2}
    assert all("$32=1" in machine.settings for machine in MACHINES if machine.process == "laser")


@pytest.mark.parametrize("shop", TOWN, ids=[shop.shop for shop in TOWN])
def test_agents_read_the_files_of_their_shop(shop: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    files = ShopFiles(tmp_path / shop.shop, 8765)
    write_shop(shop, files, broker_port=1883, password_file=secret)
    config = load(files.config)
    assert config.mqtt.username == shop.username
    assert [machine.name for machine in config.machines] == [machine.machine for machine in shop.machines]
    for machine in config.machines:
        assert machine.requires_homing == (machine.description.process in {Process.LASER, Process.CNC})
    read_policy(files.folder / "policy.toml")
    assert len(files.token) >= 24


def test_a_twin_is_told_all_that_makes_it_this_machine() -> None:
    laser = next(machine for machine in MACHINES if machine.process == "laser")
    command = twin_command(laser, ShopFiles(Path("/x"), 1), speed=60.0, seed=7)
    assert command[1:3] == ("twin", "grbl")
    assert command[command.index("--speed") + 1] == "60"
    assert "--work-offset=-399,-399,-1" in command
    assert command[-2:] == ("--setting", "$23=3")


def test_what_is_ordered_is_in_the_catalogue_and_covers_the_main_job() -> None:
    kinds = Counter(wanted.file.rpartition(".")[2] for wanted in ORDERS)
    assert kinds == {"stl": 1, "svg": 1, "dxf": 2, "": 1}
    assert any(wanted.quantity == 3 and wanted.file.endswith(".stl") for wanted in ORDERS)
    assert {wanted.said["process"] for wanted in ORDERS if wanted.file.endswith(".dxf")} == {"laser", "cnc"}
    for wanted in ORDERS:
        entry = _entry(wanted.entry)
        if wanted.file:
            assert entry.read(wanted.file)
    product = next(_entry(wanted.entry) for wanted in ORDERS if not wanted.file)
    assert len({part.process for part in product.manifest.parts}) > 1
    with pytest.raises(KeyError, match="the catalogue has no 'moon'"):
        _entry("moon")


def order(state: str, job_state: str, good: int) -> dict[str, Any]:
    job = {
        "id": "j1",
        "title": "Clip",
        "pieces": 3,
        "state": job_state,
        "machine": "garage.pi.printer1",
        "process": "fdm",
        "good": good,
        "machine_s": 5.0,
        "started_at": "2026-03-02T12:00:10+00:00",
        "progress": 1.0,
    }
    return {
        "id": "o1",
        "title": "Clip",
        "state": state,
        "quantity": 3,
        "accepted_at": "2026-03-02T12:00:00+00:00",
        "created_at": "2026-03-02T11:00:00+00:00",
        "parts": [{"part": "clip", "quantity": 3, "good": good}],
        "jobs": [job],
        "steps": [],
    }


PAGE = {"j1": {"toolpath": {"duration_s": 500.0, "made_by": "Slicer 1", "settings": "draft"}, "history": []}}


def summary(one: dict[str, Any], *checks: Check):
    hands = Counter({"homed": 2})
    return summarise([one], PAGE, {"j1": "no wood"}, checks=checks, hands=hands, elapsed_s=30.0, speed=120.0)


def test_all_made_is_all_made_with_figures_from_the_record() -> None:
    told = summary(order("handed_over", "inspected", 3), Check("m", agrees=True))
    assert told.complete
    assert told.parts == 3
    (run,) = told.runs
    assert (run.shop, run.machine, run.waited_s, run.planned_s, run.actual_s) == (
        "garage",
        "printer1",
        10.0,
        500.0,
        600.0,
    )
    text = "\n".join(sentences(told))
    for part in ("3 parts from 1 runs in 30 s", "garage 10.0 min", "120%", "Slicer 1 (draft)", "2 × homed"):
        assert part in text
    assert "NOT" not in text
    out = io.StringIO()
    tell(told, Console(file=out, width=120))
    assert "What was made" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_summary_reads_well_at_80_columns(terminal: bool) -> None:
    one = order("handed_over", "inspected", 3)
    one["jobs"][0]["title"] = "Drawer divider: long"
    out = io.StringIO()
    tell(summary(one, Check("m", agrees=True)), Console(file=out, width=80, force_terminal=terminal, color_system=None))
    lines = out.getvalue().splitlines()
    (row,) = [line for line in lines if "Drawer divider: long" in line]
    assert row.split() == [
        "Drawer",
        "divider:",
        "long",
        "garage",
        "printer1",
        "3",
        "10",
        "s",
        "8.3",
        "min",
        "10.0",
        "min",
    ]
    assert len(row) <= 80
    assert not any("program by" in line for line in lines)
    if not terminal:
        assert not set("─│┌\x1b") & set(out.getvalue())
        assert "Programs by: Slicer 1 (draft)." in lines, "sentences are one line each"


@pytest.mark.parametrize(
    ("one", "check", "why"),
    [
        (order("making", "waiting", 0), Check("m", agrees=True), "Clip (j1) is waiting: no wood"),
        (order("made", "inspected", 3), Check("m", agrees=True), "Clip (o1) is made"),
        (order("handed_over", "inspected", 2), Check("m", agrees=True), "clip: 2 of 3 are good"),
        (order("handed_over", "inspected", 3), Check("laser", agrees=False, detail="5 lines"), "laser: 5 lines"),
    ],
)
def test_anything_missing_is_named_and_counts(one: dict[str, Any], check: Check, why: str) -> None:
    told = summary(one, check)
    assert not told.complete
    assert why in "\n".join(sentences(told))


def test_nothing_made_is_not_success() -> None:
    assert not summarise([], {}, {}, checks=(), hands=Counter(), elapsed_s=1.0, speed=1.0).complete


def test_lines_say_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(as_json=True)
    for state in ("running", "running", "inspected"):
        lines.show([order("making", state, 0)], [])
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one.get("order"), one.get("job"), one["state"]) for one in said] == [
        ("o1", None, "making"),
        (None, "j1", "running"),
        (None, "j1", "inspected"),
    ]


def test_both_tables_can_be_drawn() -> None:
    machine = {"name": "Printer", "shop": "garage", "state": "idle", "job": None}
    machine["shut_gates"] = [{"gate": "bed_clear", "lift": "clear it"}]
    one = {**order("making", "running", 0), "steps": [{"step": "glue", "state": "open"}]}
    out = io.StringIO()
    console = Console(file=out, width=100)
    console.print(orders_table([one]), machines_table([machine], [one]))
    assert all(word in out.getvalue() for word in ("3 × Clip", "running", "glue", "clear it"))


@pytest.mark.parametrize("wrong", ["moon@running", "garage@dancing", "garage"])
def test_a_wrong_kill_is_refused_before_anything_starts(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--kill-agent", wrong]) == 2
    assert "SHOP@STATE" in capsys.readouterr().err
