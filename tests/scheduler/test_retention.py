"""What is forgotten and what is not, on both databases; a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agents.contract.vocabulary import JobState
from scheduler.dispatch.journal import KEPT_BELOW_CURSOR, prune
from scheduler.store import content_tables as ct
from scheduler.store import dispatch_tables as dt
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.record import record
from scheduler.store.retention import MOST_AT_ONCE, forget_some
from tests.scheduler.line import Agent, Line, agent_of, offer, start


@pytest.fixture
def line(tmp_path: Path, url: str) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")), database=url)
    made.arrive()
    yield made
    made.close()


def forget(line: Line) -> int:
    """Forget all there is to forget; how many transactions it took."""
    times = 1
    with line.scheduler.store.write() as c:
        more = forget_some(c, line.now)
    return times + (forget(line) if more else 0)


def test_the_record_stays_and_what_has_no_meaning_any_more_goes(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    start(line, job)
    agent = agent_of(line)
    agent.inspect(agent.finish(job, line.now), line.now, good=1)
    line.exchange(agent)
    assert line.job(job).state is JobState.INSPECTED
    with line.scheduler.store.write() as c:
        record(c, "refused_word", line.now, agent=agent.id, body={"said": "x"})
        until = line.now + timedelta(minutes=5)
        queries.remember_decline(c, job=job, agent=agent.id, machine="m1", until=until, reasons=["no"])
    before = line.rows()
    line.clock.pass_(days=2)
    forget(line)
    gone = {name for name, number in line.rows().items() if number < before[name]}
    assert gone == {"outbox", "declines"}
    line.clock.pass_(days=400)
    forget(line)
    after = line.rows()
    for table in ("orders", "jobs", "leases", "offers", "job_pieces", "outcomes", "agents", "inbox", "toolpaths"):
        assert after[table] == before[table], table
    assert after["machines"] == before["machines"], "their agent never said goodbye"
    with line.scheduler.store.read() as c:
        kinds = {row.kind for row in queries.events(c)}
    assert "refused_word" not in kinds
    assert {"created", "offered", "claimed", "start_intended", "running", "finished", "inspected"} <= kinds


def test_a_machine_is_forgotten_when_nothing_hangs_on_it(line: Line) -> None:
    (job,) = line.order()
    offer(line)
    held = line.job(job).machine
    line.hear(agent_of(line).presence(line.now, online=False))
    line.clock.pass_(days=100)
    forget(line)
    with line.scheduler.store.read() as c:
        assert [row.machine for row in queries.machines(c)] == [held], "it may be running"
        assert [row.id for row in queries.agents(c)] == ["mill.pi"], "a cursor is never forgotten"
        assert queries.live_lease(c, job) is not None


def test_a_quarantined_machine_comes_back_quarantined(line: Line) -> None:
    with line.scheduler.store.write() as c:
        queries.update_machine(c, "mill.pi", "m1", {"quarantined_at": line.now, "quarantine_why": "it burns"})
    line.hear(agent_of(line).presence(line.now, online=False))
    line.clock.pass_(days=100)
    forget(line)
    with line.scheduler.store.read() as c:
        assert [row.machine for row in queries.machines(c)] == ["m1"]


def test_old_reservations_go_and_standing_ones_keep_their_machine(line: Line) -> None:
    start_, agent = line.now, agent_of(line)
    shared = {"agent": agent.id, "who": "ann", "why": "workshop", "made_at": line.now, "start": start_}
    with line.scheduler.store.write() as c:
        for name, machine, days in (("r1", "m1", 1), ("r2", "m2", 365)):
            end = start_ + timedelta(days=days)
            c.execute(sa.insert(dt.reservations).values(id=name, machine=machine, end=end, **shared))
    line.hear(agent.presence(line.now, online=False))
    line.clock.pass_(days=100)
    forget(line)
    with line.scheduler.store.read() as c:
        assert [row[0] for row in c.execute(sa.select(dt.reservations.c.id))] == ["r2"]
        assert [row.machine for row in queries.machines(c)] == ["m2"]


def test_of_quotes_the_accepted_and_the_newest_stay(line: Line) -> None:
    (job,) = line.order(accept=False)
    order = line.job(job).order
    with line.scheduler.store.write() as c:
        for k in range(4):
            made = line.now + timedelta(hours=k)
            until, accepted = made + timedelta(hours=4), made if k == 1 else None
            values = {"made_at": made, "valid_until": until, "reasons": [], "accepted_at": accepted}
            c.execute(sa.insert(ct.quotes).values(id=f"q{k}", order=order, **values))
    line.clock.pass_(days=20)
    forget(line)
    with line.scheduler.store.read() as c:
        assert sorted(row[0] for row in c.execute(sa.select(ct.quotes.c.id))) == ["q1", "q3"]


def test_much_is_forgotten_in_many_short_transactions(line: Line) -> None:
    row = {"topic": "x", "payload": b"", "retained": False, "created_at": line.now, "sent_at": line.now}
    with line.scheduler.store.write() as c:
        c.execute(sa.insert(t.outbox), [row] * (3 * MOST_AT_ONCE))
        c.execute(sa.insert(t.outbox).values(**{**row, "sent_at": None}))
    line.clock.pass_(days=2)
    assert forget(line) == 4
    assert line.rows()["outbox"] >= 1, "what was not sent is not forgotten"


def test_a_journals_far_past_is_forgotten_and_refused_unseen(line: Line) -> None:
    agent = agent_of(line)
    rows = [
        {"agent": agent.id, "seq": n, "message": f"m{n}", "kind": "held", "received_at": line.now, "applied": True}
        for n in range(100, 1400)
    ]
    with line.scheduler.store.write() as c:
        c.execute(sa.insert(t.inbox), rows)
        cursor = KEPT_BELOW_CURSOR + 1350
        c.execute(sa.update(t.agents).where(t.agents.c.id == agent.id).values(cursor=cursor))
    times = 0
    more = True
    while more:
        with line.scheduler.store.write() as c:
            more = prune(c)
        times += 1
    assert times == 2
    with line.scheduler.store.read() as c:
        assert c.execute(sa.select(sa.func.min(t.inbox.c.seq))).scalar() == 1350


def test_a_long_record_is_not_read_through_to_find_its_old_chatter(tmp_path: Path) -> None:
    """By an index: what nothing is forgotten of costs no more than what is forgotten."""
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("DELETE FROM job_events"):
            asked.append(statement)

    # PostgreSQL scans short tables whatever indexes there are.
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)))
    sa.event.listen(line.scheduler.store.engine, "before_cursor_execute", note)
    forget(line)
    with line.scheduler.store.read() as c:
        marks = asked[0].count("?")
        steps = c.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}", tuple("x" for _ in range(marks))).all()
    assert any("ix_job_events_kind_at" in str(step) for step in steps), steps
    line.close()
