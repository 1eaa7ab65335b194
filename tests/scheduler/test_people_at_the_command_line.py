"""What the pages tell a person to do, done by a command: cancel, pause, release, declare lost, inspect, hand over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from agents.contract.vocabulary import FailureClass, JobState
from scheduler import cli
from scheduler.api.application import create_app
from scheduler.store import queries
from tests.scheduler.line import Agent, Line, agent_of, offer, start


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1",)))
    made.arrive()
    app = create_app(made.settings, scheduler=made.scheduler)
    token = (made.settings.data / "admin.token").read_text().strip()
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        monkeypatch.setattr(cli, "_client", lambda *_: contextlib.nullcontext(client))
        yield made
    made.close()


def say(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(cli.app, list(words), input=answer)


def test_an_attempt_is_declared_lost_and_only_the_one_that_was_looked_at(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    assert say("lost", job, "--why", "cold and empty", answer="n\n").exit_code == 1
    assert line.job(job).state is JobState.RUNNING
    done = say("lost", job, "--why", "cold and empty", answer="y\n")
    assert (done.exit_code, line.job(job).state, line.job(job).attempt) == (0, JobState.WAITING, 2)
    line.exchange(agent_of(line))
    line.clock.pass_(hours=2)
    line.hear(agent_of(line).report("m1", line.now))
    offer(line)
    start(line, job)
    with cli._client("", "") as client:
        late = client.post(f"/api/v1/jobs/{job}/declare-lost", json={"why": "cold and empty", "attempt": 1})
    assert (late.status_code, late.json()["code"]) == (409, "other_attempt")
    assert line.job(job).state is JobState.RUNNING


def test_a_job_is_paused_cancelled_and_released(line: Line) -> None:
    first, second = line.order(2)
    offer(line)
    held = next(job for job in (first, second) if line.job(job).state is JobState.LEASED)
    other = ({first, second} - {held}).pop()
    start(line, held)
    assert say("pause", held).exit_code == 0
    assert say("pause", other).exit_code == 1, "nothing moves for it"
    assert say("cancel", other).exit_code == 0
    assert line.job(other).state is JobState.CANCELLED
    order = line.job(held).order
    assert "is cancelled" in say("cancel", order, "--why", "changed my mind").output
    with line.scheduler.store.read() as c:
        assert queries.order(c, order).state == "cancelled"  # type: ignore[union-attr]
    assert line.job(held).cancel_why == "changed my mind"
    assert say("release", held).exit_code == 1, "a machine may be moving for it"


def test_a_quarantined_machine_is_released(line: Line) -> None:
    agent = agent_of(line)
    line.order()
    for _ in range(2):
        offer(line)
        (row,) = line.jobs(JobState.LEASED)
        job = row.id
        start(line, job)
        agent.fail(job, line.now, FailureClass.THERMAL)
        line.exchange(agent)
        line.clock.pass_(hours=2)
        line.hear(agent.report("m1", line.now))
    with line.scheduler.store.read() as c:
        assert [row.quarantined_at is not None for row in queries.machines(c)] == [True]
    assert say("release", "mill.pi.m1").exit_code == 0
    with line.scheduler.store.read() as c:
        assert [row.quarantined_at for row in queries.machines(c)] == [None]


def test_parts_are_inspected_and_handed_over(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent_of(line).finish(job, line.now)
    line.exchange(agent_of(line))
    assert say("inspect", job, "2").exit_code == 1, "there is one piece"
    assert say("inspect", job, "1").exit_code == 0
    assert line.job(job).state is JobState.INSPECTED
    assert say("inspect", job, "1").exit_code == 1
    order = line.job(job).order
    assert "handed over" in say("hand-over", order).output
    assert say("hand-over", order).exit_code == 0, "twice is once"


def test_a_home_is_declared_lost_after_a_question(line: Line) -> None:
    assert say("lost", "mill.pi", "--why", "it burnt down", answer="n\n").exit_code == 1
    assert "0 jobs" in say("lost", "mill.pi", "--why", "it burnt down", "--yes").output
    assert say("lost", "mil.pi", "--why", "it burnt down", "--yes").exit_code == 1, "nobody is called that"


def test_an_order_whose_answer_got_lost_is_placed_once(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with cli._client("", "") as client:
        request = client.request
        lost: list[httpx.Response] = []

        def deaf_once(method: str, path: str, **kwargs: Any) -> httpx.Response:
            answer = request(method, path, **kwargs)
            if path == "/api/v1/orders" and not lost:
                lost.append(answer)
                raise httpx.ReadTimeout("the answer got lost")
            return answer

        monkeypatch.setattr(client, "request", deaf_once)
        done = say("order", "wall_hook", "--json")
    assert (done.exit_code, len(lost)) == (0, 1), done.output
    with line.scheduler.store.read() as c:
        assert len(queries.orders(c)) == 1
