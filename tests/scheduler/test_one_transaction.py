"""State, record, outbox, inbox and cursor are one transaction: it may break at any statement and has then not been."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import scheduler
from agents.contract.vocabulary import FailureClass, JobState
from scheduler.store import tables as t
from tests.scheduler.line import Line, agent_of, offer

_CHANGES = ("INSERT", "UPDATE", "DELETE")


@contextmanager
def breaks_at(line: Line, number: int) -> Iterator[Callable[[], bool]]:
    """The database is gone at the `number`-th change from now on; yields whether it came to that."""
    seen = 0

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        if statement.lstrip().upper().startswith(_CHANGES):
            seen += 1
            if seen == number:
                raise sa.exc.OperationalError(statement, {}, OSError("the disk is full"))

    sa.event.listen(line.scheduler.store.engine, "before_cursor_execute", count)
    try:
        yield lambda: seen >= number
    finally:
        sa.event.remove(line.scheduler.store.engine, "before_cursor_execute", count)


def everything(line: Line) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    with line.scheduler.store.read() as c:
        return {
            table.name: sorted(tuple(map(str, row)) for row in c.execute(sa.select(table)))
            for table in t.metadata.sorted_tables
        }


def until_it_holds(line: Line, deed: Callable[[], None]) -> int:
    """Break `deed` at its first, second, … change; each time nothing may be left of it. Returns how many it has."""
    before = everything(line)
    for number in range(1, 200):
        with breaks_at(line, number) as broke:
            try:
                deed()
            except sa.exc.OperationalError:
                assert broke()
                assert everything(line) == before, f"change {number} left something behind"
                continue
        return number - 1
    raise AssertionError("it never held")


def test_a_claim_is_granted_whole_or_not_at_all(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    line.plan()
    agent = agent_of(line)
    line.deliver(agent)
    said = agent.unacked()
    assert said, "the agent claims"
    assert until_it_holds(line, lambda: line.hear(*said)) >= 7
    assert line.job(job).state is JobState.LEASED
    with line.scheduler.store.read() as c:
        kept = c.execute(sa.select(sa.func.count()).where(t.outbox.c.sent_at.is_(None))).scalar()
    assert kept == 1, "the grant stands in the outbox once"


def test_a_start_a_finish_and_a_failure_are_whole_or_not_at_all(line: Line) -> None:
    first, second = line.order(2)
    offer(line)
    agent = agent_of(line)
    for job in (first, second):
        agent.stage(job, line.now)
        agent.intend(job, line.now)
    assert until_it_holds(line, lambda: line.hear(*agent.unacked())) >= 8
    line.exchange(agent)
    for job in (first, second):
        agent.run(job, line.now)
    line.exchange(agent)
    agent.finish(first, line.now)
    assert until_it_holds(line, lambda: line.hear(*agent.unacked())) >= 6
    line.exchange(agent)
    agent.fail(second, line.now, FailureClass.THERMAL)
    assert until_it_holds(line, lambda: line.hear(*agent.unacked())) >= 6
    assert line.job(first).state is JobState.FINISHED
    assert (line.job(second).state, line.job(second).attempt) == (JobState.WAITING, 2)


def test_a_slice_of_a_plan_is_whole_or_not_at_all_and_what_broke_is_planned_anew(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    dispatcher = line.scheduler.dispatcher
    with breaks_at(line, 4) as broke, pytest.raises(sa.exc.OperationalError):
        dispatcher.plan_now()
    assert broke()
    assert line.job(job).state is JobState.WAITING
    with line.scheduler.store.read() as c:
        assert not c.execute(sa.select(t.offers.c.id)).all()
        assert not c.execute(sa.select(t.outbox.c.id).where(t.outbox.c.sent_at.is_(None))).all()
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def _calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of these in the scheduler's source, with its module."""
    for path in Path(scheduler.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
                yield path.name, node


def test_jobs_are_written_in_four_places_and_their_state_in_two() -> None:
    """`Mover.move` through `queries.update_job`, and a job's birth: nothing else may set a state."""
    writers = {
        (module, ast.unparse(call.func))
        for module, call in _calls("sa.update", "sa.insert", "sa.delete")
        if call.args and ast.unparse(call.args[0]) == "t.jobs"
    }
    assert writers == {
        ("queries.py", "sa.update"),
        ("contents.py", "sa.insert"),
        ("journal.py", "sa.update"),
        ("offers.py", "sa.update"),
    }
    for module, call in _calls("queries.update_job"):
        values = ast.unparse(call.args[-1])
        assert "'state'" not in values, f"{module} sets a job's state past the table: {values}"
