"""What people and shops say after the fact: of cancelled orders, of times that are over, of older attempts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.contract import decode
from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass, JobState
from scheduler.dispatch import people
from scheduler.store import queries
from tests.scheduler.line import Agent, Line, agent_of, offer, start


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1",)))
    made.arrive()
    yield made
    made.close()


def cancel(line: Line, job: str) -> None:
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, line.job(job).order, "no longer needed", line.now)


def asked(line: Line) -> m.Offer:
    """The offer that lies in the agent's box, taken out unheard."""
    line.send()
    bodies = [decode(payload).body for payload in line.office.boxes.pop(agent_of(line).inbox_topic())]
    (found,) = [body for body in bodies if isinstance(body, m.Offer)]
    return found


def test_a_time_to_ask_again_that_is_over_already_is_no_invitation_to_ask_at_once(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    line.plan()
    agent, sent = agent_of(line), asked(line)
    past = line.now - timedelta(hours=1)  # by a clock that is an hour slow
    agent.say(m.Declined(offer=sent.offer, job=job, machine="m1", reasons=("asleep",), not_before=past), line.now)
    line.exchange(agent)
    line.clock.pass_(seconds=5)
    line.plan()
    assert line.job(job).state is JobState.WAITING
    line.clock.pass_(minutes=2)
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_what_a_cancelled_order_had_made_badly_is_not_made_again(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent = agent_of(line)
    held = agent.finish(job, line.now)
    line.exchange(agent)
    cancel(line, job)
    agent.inspect(held, line.now, good=0, rejected=1)
    line.exchange(agent)
    assert line.job(job).state is JobState.INSPECTED
    assert [row.id for row in line.jobs()] == [job]


def test_a_job_that_finished_before_it_heard_of_its_cancellation_is_not_made_again(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    cancel(line, job)
    agent = agent_of(line)
    held = agent.finish(job, line.now)
    line.hear(*agent.unacked())
    agent.inspect(held, line.now, good=0, rejected=1)
    line.exchange(agent)
    assert line.job(job).state is JobState.INSPECTED
    assert [row.id for row in line.jobs()] == [job]
    with line.scheduler.store.read() as c:
        (order,) = queries.orders(c)
    assert order.state == "cancelled"


def test_a_failed_attempt_of_a_cancelled_order_ends_it(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    cancel(line, job)
    agent = agent_of(line)
    agent.fail(job, line.now, FailureClass.MATERIAL_RUNOUT)
    line.hear(*agent.unacked())
    assert line.job(job).state is JobState.CANCELLED


def test_a_job_cancelled_during_its_start_that_is_given_up_is_not_offered_again(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    agent = agent_of(line)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.hear(*agent.unacked())
    assert line.job(job).state is JobState.STARTING
    with line.scheduler.store.write() as c:
        people.cancel_job(c, line.scheduler.mover, job, "the file is wrong", line.now)
    agent.say(m.GivenUp(job=job, fence=1, machine="m1", why="nothing moved"), line.now)
    line.hear(*agent.unacked())
    assert line.job(job).state is JobState.CANCELLED


def test_a_machine_that_its_shop_has_no_more_is_offered_nothing(line: Line) -> None:
    agent = agent_of(line)
    topic, _ = agent.report("m1", line.now)
    line.hear((topic, b""))
    (job,) = line.order()
    line.plan()
    line.plan()
    assert line.job(job).state is JobState.WAITING
    with line.scheduler.store.read() as c:
        (machine,) = queries.machines(c)
    assert (machine.state, machine.report["why"]) == ("offline", "its shop's file names it no more")
    line.hear(agent.report("m1", line.now))
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_a_machine_that_does_not_confirm_its_end_is_asked_again_and_shown(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent = agent_of(line)

    def asked_to_end() -> int:
        line.send()
        bodies = [decode(payload).body for payload in line.office.boxes.pop(agent.inbox_topic(), [])]
        return sum(isinstance(body, m.CancelRequest) for body in bodies)

    cancel(line, job)
    assert asked_to_end() == 1
    line.clock.pass_(minutes=1)
    line.plan()
    assert (asked_to_end(), line.job(job).flag) == (0, "")
    line.clock.pass_(minutes=2)
    line.plan()
    assert asked_to_end() == 1
    agent.progress(job, line.now, 0.5)
    line.hear(*agent.unacked())
    assert "did not confirm that it ended" in line.job(job).flag
    assert line.job(job).state is JobState.RUNNING
    agent.holdings(line.now)  # the agent comes back after days: the request is over, the wish is not
    line.hear(*agent.unacked())
    assert asked_to_end() == 1
    body = m.CancelConfirmed(job=job, fence=1, machine="m1", last_line=3, why="no longer needed")
    agent.say(body, line.now)
    line.hear(*agent.unacked())
    assert (line.job(job).state, line.job(job).flag) == (JobState.CANCELLED, "")
