"""Why a job is where it is: for every machine of its kind, and for a place what it costs term by term."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from agents.contract.granting import Hold
from agents.contract.vocabulary import JobState, MachineState, Process
from scheduler.api.application import create_app
from scheduler.dispatch import people
from scheduler.orders.making import Impossible
from scheduler.planning import plan
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.board_tables import lendings
from tests.scheduler.line import Agent, Line


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    mill, forge = Agent("mill", "pi", ("m1", "m2")), Agent("forge", "pi", ("f1",))
    cutter = Agent("cut", "pi", ("l1",), Process.LASER)
    made = Line(tmp_path, mill, forge, cutter, planner=lambda snapshot: plan(snapshot, budget_s=0.05))
    made.arrive()
    yield made
    made.close()


def why(line: Line, job: str) -> dict[str, Any]:
    with TestClient(create_app(line.settings, scheduler=line.scheduler)) as client:
        found: dict[str, Any] = client.get(f"/api/v1/jobs/{job}/why").json()
    return found


def lifts(answer: dict[str, Any]) -> dict[str, str]:
    return {shut["machine"]: shut["lift"] for shut in answer["machines"]}


PRINTERS = {"mill.pi.m1", "mill.pi.m2", "forge.pi.f1"}


def test_an_order_nobody_accepted_says_so_for_every_machine_of_its_kind(line: Line) -> None:
    (job,) = line.order(accept=False)
    line.plan()
    line.plan()
    answer = why(line, job)
    assert "not accepted" in answer["why"]
    assert lifts(answer) == dict.fromkeys(PRINTERS, "accept the order")


def test_a_job_in_doubt_says_for_every_machine_what_would_lift_it(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    with line.scheduler.store.write() as c:
        row = queries.job(c, job)
        assert row is not None
        queries.update_job(c, row, {"flag": "look at the machine"})
    line.plan()
    answer = why(line, job)
    assert answer["why"] == "look at the machine"
    assert lifts(answer) == dict.fromkeys(PRINTERS, "look at it, then release the job")
    with line.scheduler.store.write() as c:
        people.release_job(c, line.scheduler.mover, job, line.now)
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_a_job_no_machine_can_take_has_one_reason_for_every_machine(line: Line) -> None:
    line.plan()
    for agent in line.agents.values():
        for machine in agent.machines:
            line.hear(agent.report(machine, line.now, MachineState.ALARM, why="probe fail"))
    (job,) = line.order()
    line.plan()
    line.plan()
    answer = why(line, job)
    assert {shut["machine"] for shut in answer["machines"]} == PRINTERS | {"cut.pi.l1"}
    assert all(shut["text"] for shut in answer["machines"])


def test_a_place_says_what_it_costs_term_by_term_and_why_it_is_not_offered_yet(line: Line) -> None:
    jobs = line.order(7)
    line.plan()
    line.plan()
    offered = [job for job in jobs if line.job(job).state is JobState.OFFERED]
    placed = [job for job in jobs if line.job(job).state is JobState.WAITING]
    assert len(offered) == len(PRINTERS)
    for job in placed:
        answer = why(line, job)
        assert "at a time" in answer["why"] or "minutes away" in answer["why"]
        assert answer["terms"]
        assert answer["reasons"]
    stored = line.job(placed[0]).placement
    assert stored is not None
    assert why(line, placed[0])["terms"] == {term["name"]: term["value"] / 100 for term in stored["terms"]}


def test_an_agent_that_is_gone_is_the_reason(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    for agent in line.agents.values():
        line.hear(agent.presence(line.now, online=False))
    line.plan()
    answer = why(line, job)
    by_machine = {shut["machine"]: shut["text"] for shut in answer["machines"]}
    assert line.job(job).state is JobState.WAITING
    assert all("offline" in by_machine[machine] for machine in PRINTERS)


@pytest.mark.parametrize("situation", ["in the making", "impossible", "too large", "file in quarantine", "in doubt"])
def test_whatever_keeps_a_job_out_says_for_every_machine_what_would_lift_it(
    line: Line, monkeypatch: pytest.MonkeyPatch, situation: str
) -> None:
    if situation == "impossible":
        refused = Impossible("The slicer found no layer. Is the file in metres?")
        monkeypatch.setattr(line.scheduler.room, "_maker", lambda recipe, blobs: refused)
    elif situation == "in the making":
        monkeypatch.setattr(line.scheduler.room, "begin", lambda recipes: None)
    (job,) = line.order()
    _put(line, job, situation)
    line.plan()
    line.plan()
    answer = why(line, job)
    told = {shut["machine"]: (shut["text"], shut["lift"]) for shut in answer["machines"]}
    assert set(told) >= PRINTERS
    assert all(text and lift for machine, (text, lift) in told.items() if machine in PRINTERS), told
    assert line.job(job).state is JobState.WAITING


def _put(line: Line, job: str, situation: str) -> None:
    """Bring a job that was just ordered into a situation."""
    with line.scheduler.store.write() as c:
        row = queries.job(c, job)
        assert row is not None
        if situation == "too large":
            queries.update_job(c, row, {"body": {**row.body, "dims_mm": [400, 400, 10]}})
        elif situation == "file in quarantine":
            for machine in ("a.b.c", "a.b.d"):
                fault = {"machine": machine, "failure": "line_rejected", "at": line.now}
                c.execute(sa.insert(t.file_faults).values(file_key=row.file_key, **fault))
        elif situation == "in doubt":
            doubt = {"home": "mill.pi", "epoch": 1, "hold": Hold.DOUBTED.value, "topic": "x", "at": line.now}
            c.execute(sa.insert(lendings).values(job=job, **doubt))
