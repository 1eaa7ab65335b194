"""Dispatch with the planner in a process of its own: what is offered comes from it, and it may be killed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client import generate_latest

from agents.contract.vocabulary import JobState
from scheduler import metrics
from scheduler.api.application import create_app
from scheduler.plan_metrics import REASONS, late_promises, reason_of
from scheduler.planning import Snapshot, plan
from scheduler.planning.cli import main as plan_command
from scheduler.planning.process import PlannerHere, PlannerProcess
from tests.scheduler.line import Agent, Line
from tests.scheduler.planning.worlds import HOUR, NOW, print_job, printer, world


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with_process = PlannerProcess(0.05)
    made = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")), planner=with_process)
    made.arrive()
    yield made
    made.close()
    with_process.close()


def test_what_the_process_plans_is_offered_also_after_it_was_killed(line: Line) -> None:
    (agent,) = line.agents.values()
    planner = line.scheduler.planner
    assert isinstance(planner, PlannerProcess)
    for lost in range(2):
        (job,) = line.order()
        line.plan()
        line.plan()
        line.exchange(agent)
        assert line.job(job).state is JobState.LEASED
        assert planner.restarts == lost
        assert planner.pid is not None
        os.kill(planner.pid, signal.SIGKILL)


def test_the_figures_of_planning_are_told_and_name_no_job(line: Line) -> None:
    orders = [line.order() for _ in range(3)]
    line.plan()
    line.plan()
    serving = line.scheduler
    told = generate_latest(metrics.registry(serving.store, line.clock, serving.ingest, serving.planner)).decode()
    figures = {name: float(value) for name, value in re.findall(r"^(workshed_[^#\n]+) (\S+)$", told, re.M)}
    assert figures["workshed_planner_rounds_total"] == 2
    assert figures["workshed_replan_latency_seconds"] >= figures["workshed_planner_solve_seconds"] > 0
    assert figures['workshed_plan_cost{term="time in the shops"}'] > 0
    assert {f'workshed_plan_waiting_jobs{{reason="{reason}"}}' for reason in REASONS} <= set(figures)
    assert figures["workshed_plan_late_promises"] == 0
    assert not any(job in told for (job,) in orders)


def test_a_job_waits_for_the_reason_that_its_nearest_machine_gives() -> None:
    shuts = [{"machine": "a", "checker": "process"}, {"machine": "b", "checker": "material"}, {"checker": "envelope"}]
    assert reason_of({"why": "no machine", "machines": shuts}) == "material"
    assert reason_of({"why": "it needs the part of job x, which waits itself", "machines": []}) == "parts"
    assert reason_of({"why": "the order is not accepted yet"}) == "other"


def test_promises_that_a_plan_breaks_are_counted() -> None:
    jobs = [print_job("kept", promised=NOW + 9 * HOUR), print_job("broken", promised=NOW + timedelta(minutes=5))]
    snapshot: Snapshot = world([printer("m")], [*jobs, print_job("none"), print_job("no", options=(), promised=NOW)])
    assert late_promises(snapshot, plan(snapshot, moves=50)) == 2


def test_a_kept_plan_is_made_again_over_http_and_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")), planner=PlannerHere(0.05))
    line.arrive()
    jobs = [line.order()[0] for _ in range(3)]
    line.plan()
    line.plan()
    with TestClient(create_app(line.settings, scheduler=line.scheduler)) as client:
        token = (line.settings.data / "admin.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {token}"
        number = (line.job(jobs[0]).placement or {})["plan"]
        told = client.get(f"/api/v1/plans/{number}/replay").json()
        assert told == {"plan": number, "same": True, "whole": False, "differences": []}
        kept = client.get(f"/api/v1/plans/{number}")
        assert client.get("/api/v1/plans/999999").status_code == 404
        (waits,) = line.order()
        line.hear(line.agents["mill.pi"].presence(line.now, online=False))
        line.plan()
        line.plan()
        (lift, *_) = client.get(f"/api/v1/jobs/{waits}/lifts").json()
        assert (lift["checker"], lift["change"]) == ("machine", "switch it on and connect its agent")
        assert client.get("/api/v1/jobs/nobody/lifts").status_code == 404
    line.close()
    file = tmp_path / "plan.json"
    file.write_bytes(kept.content)
    assert plan_command(["plan", "replay", str(file)]) == 0
    forged = kept.json()
    forged["plan"]["placements"][0]["terms"][0]["value"] += 1
    file.write_text(json.dumps(forged))
    assert plan_command(["replay", str(file)]) == 1
    assert forged["plan"]["placements"][0]["job"] in capsys.readouterr().out
    file.write_text("[]")
    assert plan_command(["replay", str(file)]) == 2
