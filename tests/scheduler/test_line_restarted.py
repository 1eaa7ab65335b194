"""A scheduler that dies and begins again, on its own database or on an old copy of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from scheduler.dispatch import people
from scheduler.store import tables as t
from tests.scheduler.line import Line, agent_of, offer, start


def test_a_scheduler_that_dies_goes_on_where_it_was(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    line.restart_scheduler()
    assert line.scheduler.term == 2
    line.exchange(agent)
    start(line, job)
    line.restart_scheduler()
    line.exchange(agent)
    assert line.job(job).state is JobState.RUNNING
    assert line.job(job).fence == 1
    assert agent.starts == [(job, 1)]


def test_a_grant_that_got_lost_is_said_again(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    line.plan()
    line.plan()
    line.deliver(agent)
    line.hear(*agent.unacked())
    line.send()
    line.office.boxes.clear()  # the broker lost the grant
    line.restart_scheduler()
    line.exchange(agent)
    assert agent.spool.held[job].fence == 1


def dumped(line: Line) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with line.scheduler.store.read() as c:
        return {
            table.name: [dict(row) for row in c.execute(sa.select(table)).mappings()]
            for table in t.metadata.sorted_tables
        }


def restore(line: Line, copy: dict[str, list[dict[str, Any]]]) -> None:
    """Put the copy in the place of all there is, and start the scheduler on it."""
    with line.scheduler.store.write() as c:
        for table in reversed(t.metadata.sorted_tables):
            c.execute(sa.delete(table))
        for table in t.metadata.sorted_tables:
            if copy[table.name]:
                c.execute(sa.insert(table), copy[table.name])
    line.restart_scheduler()


def test_an_old_copy_of_the_database_does_not_make_a_job_twice(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    copy = dumped(line)
    offer(line)
    start(line, job)
    held = agent.finish(job, line.now)
    line.exchange(agent)
    agent.inspect(held, line.now, good=1)
    line.exchange(agent)
    agent.spool.journal = [entry for entry in agent.spool.journal if entry[0] > agent.spool.acked]
    restore(line, copy)
    line.hear(agent.presence(line.now))
    line.exchange(agent)
    line.plan()
    line.plan()
    line.exchange(agent)
    row = line.job(job)
    assert row.state is JobState.WAITING
    assert "old copy" in row.flag
    assert agent.starts == [(job, 1)]
    with line.scheduler.store.write() as c:
        people.release_job(c, line.scheduler.mover, job, line.now)
    line.plan()
    line.exchange(agent)
    assert line.job(job).fence == 2


def test_after_a_start_what_passed_meanwhile_is_judged_once_its_agent_was_heard(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    agent = agent_of(line)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    fence = line.job(job).fence
    line.clock.pass_(minutes=20)
    line.restart_scheduler()
    line.clock.pass_(seconds=2)
    with line.scheduler.store.write() as c:
        c.execute(sa.update(t.jobs).where(t.jobs.c.id == job).values(deadline=line.now))
    line.scheduler.dispatcher.step()
    assert line.job(job).state is JobState.LEASED, "nothing is taken back before its holder was heard"
    line.exchange(agent)
    assert (line.job(job).state, line.job(job).fence) == (JobState.STARTING, fence), "it had gone on meanwhile"
    line.scheduler.dispatcher.stop()


def test_who_stays_away_after_a_start_is_not_waited_for_for_ever(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    line.clock.pass_(hours=2)
    line.restart_scheduler()
    line.scheduler.dispatcher.step()
    assert line.job(job).state is JobState.LEASED
    line.send()
    line.listen(11)
    line.scheduler.dispatcher.step()
    assert line.job(job).state is JobState.WAITING
    line.scheduler.dispatcher.stop()


def test_a_run_that_its_agent_forgot_waits_for_a_person(line: Line) -> None:
    """Its memory was put back to a copy from before the start: what it now holds unbegun may lie on the bed."""
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent.spool.held[job].state = "staged"
    agent.holdings(line.now)
    line.exchange(agent)
    row = line.job(job)
    assert row.state is JobState.RUNNING
    assert "look at the machine" in row.flag
