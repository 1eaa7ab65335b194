"""After a scheduler's start: how long it waits for the shops' word, whatever happens to its clock and its broker."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agents.contract.vocabulary import JobState
from scheduler.dispatch.hearing import Listening, hearing
from scheduler.store import queries
from tests.scheduler.line import Agent, Line, offer

WAIT = timedelta(seconds=10)


def waits(line: Line) -> bool:
    with line.scheduler.store.read() as c:
        return hearing(c) is not None


@pytest.fixture
def back(line: Line) -> Line:
    """A scheduler that came back just now to a job held by a shop that it has not heard."""
    line.order()
    offer(line)
    line.restart_scheduler()
    return line


@pytest.fixture
def begun(back: Line) -> Line:
    """That shop was asked what it holds."""
    back.send()
    back.scheduler.dispatcher.listen()
    assert waits(back)
    return back


def test_a_shop_that_stays_away_is_not_waited_for_for_ever(begun: Line) -> None:
    begun.listen(9)
    assert waits(begun)
    begun.listen(1)
    assert not waits(begun)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wall_clock_that_is_set_ends_no_wait(begun: Line, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr(begun.clock, "monotonic", lambda: float(next(seconds)))
    begun.clock.pass_(hours=hours)
    begun.scheduler.dispatcher.listen()
    assert waits(begun)


def test_seconds_without_a_connection_do_not_count(begun: Line) -> None:
    begun.office.open = False
    begun.listen(60)
    assert waits(begun), "nobody could have been heard"
    begun.office.open = True
    begun.listen(10)
    assert waits(begun), "a connection's first second is counted from its first look"
    begun.listen(1)
    assert not waits(begun)


def test_seconds_before_the_broker_took_the_questions_do_not_count(back: Line) -> None:
    """Over a line that is dead and not known to be, nobody was asked, and nobody could answer."""
    back.listen(60)
    assert waits(back)
    back.send()
    back.listen(10)
    assert waits(back), "the first second is counted from the first look"
    back.listen(1)
    assert not waits(back)


def test_a_process_that_stood_still_has_not_listened(begun: Line) -> None:
    begun.clock.pass_(minutes=5)
    begun.scheduler.dispatcher.listen()
    assert waits(begun)


def test_a_question_that_was_lost_is_asked_again_until_it_is_answered(line: Line) -> None:
    """A broker that was killed forgot it; nothing would ever be offered to who was not asked."""
    agent = next(iter(line.agents.values()))
    line.restart_scheduler()
    line.send()
    line.office.boxes.clear()
    line.listen(5)
    line.send()
    assert len(line.office.boxes.pop(agent.inbox_topic())) == 1
    line.listen(60)
    line.exchange(agent)
    line.listen(200)
    line.send()
    assert agent.inbox_topic() not in line.office.boxes


def test_the_seconds_of_one_look_are_counted_from_the_look_before() -> None:
    now = [100.0]
    listening = Listening(WAIT, lambda: now[0])
    assert not listening.look(hears=True), "it has heard nobody yet"
    for _ in range(9):
        now[0] += 1.0
        assert not listening.look(hears=True)
    now[0] += 1.0
    assert listening.look(hears=True)


def test_a_claim_of_an_offer_from_before_the_start_is_known_though_the_clock_went_back(tmp_path: Path) -> None:
    """By the wall clock the offer would be younger than the start; another shop may have made the job meanwhile."""
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)), Agent("barn", "pi", ("m2",)))
    try:
        line.arrive()
        (job,) = line.order()
        line.plan()
        line.plan()
        assert line.job(job).state is JobState.OFFERED
        with line.scheduler.store.read() as c:
            standing = queries.open_offer(c, job)
        assert standing is not None
        line.clock.pass_(hours=-1)
        line.restart_scheduler()
        line.scheduler.dispatcher.listen()
        asked = line.agents[standing.agent]
        line.deliver(asked)
        line.hear(*asked.unacked())
        assert line.job(job).state is JobState.WAITING, "the other shop has not said yet what it holds"
    finally:
        line.close()
