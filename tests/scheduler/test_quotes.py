"""Quotes: a date with reasons before the yes, a promise after it, and a promise that is broken is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.contract.vocabulary import JobState
from scheduler.dispatch import people
from scheduler.orders import quotes
from scheduler.orders.quotes import VALID, Promises
from scheduler.orders.refusal import Refused
from scheduler.planning import plan
from scheduler.store import content_queries, queries
from scheduler.store.content_queries import QuoteRow
from scheduler.store.rows import OrderRow
from tests.scheduler.line import Agent, Line
from tests.scheduler.shelf import ask, block


@pytest.fixture
def printer() -> Agent:
    return Agent("shed", "pi", ("m1",))


@pytest.fixture
def line(url: str, tmp_path: Path, printer: Agent) -> Iterator[Line]:
    made = Line(tmp_path, printer, database=url, planner=lambda snapshot: plan(snapshot, budget_s=0.2))
    made.arrive()
    yield made
    made.close()


def asked(line: Line, name: str = "clip.stl", side: int = 150) -> OrderRow:
    return ask(line, name, block(side, side, 5), accept=False, quote=True)


def order(line: Line, order_id: str) -> OrderRow:
    with line.scheduler.store.read() as c:
        found = queries.order(c, order_id)
    assert found is not None
    return found


def quote(line: Line, order_id: str) -> QuoteRow:
    with line.scheduler.store.read() as c:
        found = content_queries.last_quote(c, order_id)
    assert found is not None
    return found


def accept(line: Line, order_id: str) -> OrderRow:
    with line.scheduler.store.write() as c:
        return people.accept_order(c, order_id, line.now)


def counted(line: Line) -> Promises:
    with line.scheduler.store.read() as c:
        return quotes.promises(c, line.now)


def quoted(line: Line) -> str:
    wanted = asked(line)
    line.plan()
    line.plan()
    return wanted.id


def test_a_date_is_given_with_reasons_and_nothing_is_offered(line: Line) -> None:
    name = quoted(line)
    found = quote(line, name)
    assert order(line, name).state == "quoted"
    assert found.finish_p50 is not None
    assert found.finish_p90 is not None
    assert line.now + timedelta(minutes=25) < found.finish_p50 < found.finish_p90 < line.now + timedelta(hours=2)
    assert found.valid_until == line.now + VALID
    assert "shed.pi.m1" in found.reasons[0]
    assert [job.state for job in line.jobs()] == [JobState.WAITING]
    line.plan()
    assert quote(line, name).id == found.id, "a quote that stands is not given again"


def test_a_queue_before_it_moves_the_date(line: Line) -> None:
    early = quote(line, quoted(line)).finish_p90
    ask(line, "brick.stl", block(140, 140, 30))
    line.plan()
    other = asked(line, "other.stl", 160)
    line.plan()
    line.plan()
    late = quote(line, other.id).finish_p90
    assert early is not None
    assert late is not None
    assert late >= early + timedelta(minutes=30)


def test_accepting_makes_the_date_a_promise_that_the_plan_knows(line: Line) -> None:
    name = quoted(line)
    found = quote(line, name)
    assert accept(line, name).promised == found.finish_p90
    assert quote(line, name).accepted_at == line.now
    (job,) = line.scheduler.dispatcher.look(line.now).snapshot.jobs
    assert job.promised == found.finish_p90
    assert counted(line) == Promises(kept=0, broken=0, overdue=0, standing=1)


def test_a_promise_is_kept_or_broken_and_either_is_counted(line: Line, printer: Agent) -> None:
    name = quoted(line)
    accept(line, name)
    line.plan()
    line.exchange(printer)
    (job,) = [row.id for row in line.jobs()]
    printer.stage(job, line.now)
    printer.intend(job, line.now)
    line.exchange(printer)
    printer.run(job, line.now)
    line.exchange(printer)
    line.clock.pass_(hours=5)
    assert counted(line) == Promises(kept=0, broken=0, overdue=1, standing=0)
    held = printer.finish(job, line.now)
    printer.inspect(held, line.now, good=1)
    line.exchange(printer)
    assert order(line, name).state == "made"
    assert counted(line) == Promises(kept=0, broken=1, overdue=0, standing=0)
    with line.scheduler.store.read() as c:
        (said,) = [event.body for event in queries.events(c, order=name) if event.kind == "order_made"]
    assert "promised by" in said["why"]


def test_a_quote_that_stands_no_longer_promises_nothing_and_a_new_one_comes(line: Line, printer: Agent) -> None:
    name = quoted(line)
    old = quote(line, name)
    line.clock.pass_(seconds=VALID.total_seconds() + 1)
    with pytest.raises(Refused, match="stood until"):
        accept(line, name)
    line.plan()
    fresh = quote(line, name)
    assert fresh.id != old.id
    assert accept(line, name).promised == fresh.finish_p90


def test_what_nobody_can_make_gets_a_reason_and_no_date(line: Line) -> None:
    wanted = ask(line, "clip.stl", block(150, 150, 5), accept=False, quote=True, material="PETG")
    line.plan()
    line.plan()
    found = quote(line, wanted.id)
    assert (found.finish_p50, found.finish_p90) == (None, None)
    assert found.reasons
    assert order(line, wanted.id).state == "requested"
    assert accept(line, wanted.id).promised is None


def test_an_order_that_did_not_ask_gets_none_and_one_accepted_at_once_promises_nothing(line: Line) -> None:
    silent = ask(line, "clip.stl", block(150, 150, 5), accept=False)
    at_once = ask(line, "peg.stl", block(140, 140, 5), accept=True, quote=True)
    line.plan()
    line.plan()
    with line.scheduler.store.read() as c:
        assert quotes.newest(c, [silent.id, at_once.id]) == {}
    assert order(line, at_once.id).promised is None
