"""The store on both databases: migrations compare clean, one writer, nothing half-written, files whole or none."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from agents.contract.vocabulary import JobState
from scheduler.store import Blobs, Store, StoreTooNew, UnknownBlob, content_tables, open_store, queries
from scheduler.store import tables as t
from scheduler.store.database import alembic_config
from tests.scheduler.line import Agent, Line

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
OLD_ROWS = (
    (
        "INSERT INTO designs (id, name, licence, licence_open, licence_why, body, created_at)"
        " VALUES ('d1', 'Hook', 'CC0-1.0', true, '', '{}', '2026-03-02 08:00:00')"
    ),
    (
        "INSERT INTO orders (id, design, title, state, quantity, need_class, ring, own_use, requester, delivery, note,"
        " created_at) VALUES ('o1', 'd1', 'Hook', 'making', 3, 'personal', 'city', false, '', '', '',"
        " '2026-03-02 08:00')"
    ),
    "INSERT INTO order_parts (\"order\", part, quantity, process, body) VALUES ('o1', 'hook', 3, 'fdm', '{}')",
    (
        'INSERT INTO jobs (id, "order", part, pieces, process, state, version, fence, attempt, file_key, body,'
        " created_at, since, machine_s, line, progress, good, rejected, flag, cancel_why)"
        " VALUES ('j1', 'o1', 'hook', 3, 'fdm', 'inspected', 9, 1, 1, 'k', '{\"title\": \"hook\"}',"
        " '2026-03-02 08:00:00', '2026-03-02 09:00:00', 60.0, 10, 1.0, 2, 1, '', '')"
    ),
)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def test_the_migrations_make_exactly_the_tables_of_the_code(store: Store) -> None:
    with store.engine.connect() as c:
        context = MigrationContext.configure(c, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, t.metadata) == []


def test_opening_twice_migrates_once(url: str, store: Store) -> None:
    again = open_store(url)
    again.close()


def test_rows_of_the_first_version_survive_and_become_their_own_contents(url: str) -> None:
    engine = sa.create_engine(url)
    command.upgrade(alembic_config(engine), "0001")
    with engine.begin() as c:
        for statement in OLD_ROWS:
            c.execute(sa.text(statement))
    engine.dispose()
    opened = open_store(url)
    with opened.read() as c:
        (line,) = c.execute(sa.select(content_tables.job_pieces)).mappings()
        kept = queries.order(c, "o1")
        job = queries.job(c, "j1")
    opened.close()
    assert (line["job"], line["order"], line["part"], line["pieces"], line["good"]) == ("j1", "o1", "hook", 3, 2)
    assert line["body"] == {"title": "hook"}
    assert kept is not None
    assert (kept.title, kept.promised) == ("Hook", None)
    assert job is not None
    assert job.pieces == 3


def test_the_second_version_goes_back_to_the_first(url: str, store: Store) -> None:
    command.downgrade(alembic_config(store.engine), "0001")
    assert "job_pieces" not in sa.inspect(store.engine).get_table_names()
    command.upgrade(alembic_config(store.engine), "head")


def test_a_database_of_a_newer_version_is_refused(url: str, store: Store) -> None:
    with store.engine.begin() as c:
        c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="9999"):
        open_store(url)


def test_times_come_back_aware_and_naive_ones_stay_out(store: Store) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    with store.write() as c:
        c.execute(sa.insert(t.schedulers).values(id="a", term=1, started_at=elsewhere))
    with store.read() as c:
        found = c.execute(sa.select(t.schedulers.c.started_at)).scalar_one()
    assert (found, found.tzinfo) == (NOW, UTC)
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="no zone"), store.write() as c:
        c.execute(sa.insert(t.schedulers).values(id="b", term=1, started_at=naive))


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def stumble() -> None:
        with store.write() as c:
            c.execute(sa.insert(t.schedulers).values(id="a", term=1, started_at=NOW))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    with store.read() as c:
        assert c.execute(sa.select(sa.func.count()).select_from(t.schedulers)).scalar() == 0


def test_large_plans_are_kept_small_and_come_back_whole_beside_older_ones(store: Store) -> None:
    small = {"term": 1, "snapshot": {"jobs": []}}
    large = {"term": 2, "snapshot": {"jobs": [{"id": f"j{i}", "options": [60.5, None, "ä"]} for i in range(3_000)]}}
    named_like_it = {"zlib": 5}
    with store.write() as c:
        for body in (small, large, named_like_it):
            c.execute(sa.insert(t.plans).values(at=datetime.now(UTC), body=body))
        older = sa.insert(sa.table("plans", sa.column("at", t.UtcTime), sa.column("body", sa.JSON)))
        c.execute(older.values(at=datetime.now(UTC), body=large))
    with store.read() as c:
        assert list(c.execute(sa.select(t.plans.c.body).order_by(t.plans.c.id)).scalars()) == [
            small, large, named_like_it, large,
        ]  # fmt: skip
        kept = [len(text) for text in c.execute(sa.text("SELECT CAST(body AS text) FROM plans ORDER BY id")).scalars()]
    assert kept[1] < kept[3] / 5


def test_foreign_keys_hold(store: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError), store.write() as c:
        c.execute(sa.insert(t.declines).values(job="none", agent="a", machine="m", until=NOW, reasons=[]))


def test_many_writers_are_one_after_another(store: Store) -> None:
    with store.write() as c:
        c.execute(sa.insert(t.schedulers).values(id="a", term=0, started_at=NOW))

    def count_up() -> None:
        for _ in range(10):
            with store.write() as c:
                term = c.execute(sa.select(t.schedulers.c.term)).scalar_one()
                c.execute(sa.update(t.schedulers).values(term=term + 1))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as c:
        assert c.execute(sa.select(t.schedulers.c.term)).scalar_one() == 40


def test_the_database_itself_allows_one_live_lease_a_job(url: str, tmp_path: Path) -> None:
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)), database=url)
    line.arrive()
    (job,) = line.order()
    line.plan()
    line.plan()
    line.exchange(next(iter(line.agents.values())))
    assert line.job(job).state is JobState.LEASED
    with line.scheduler.store.read() as c:
        lease = queries.live_lease(c, job)
    assert lease is not None
    second = {
        "id": "another",
        "job": job,
        "fence": 2,
        "attempt": 1,
        "offer": lease.offer,
        "agent": lease.agent,
        "machine": "m2",
        "granted_at": NOW,
        "start_by": NOW,
        "ended_why": "",
    }
    with pytest.raises(sa.exc.IntegrityError), line.scheduler.store.write() as c:
        c.execute(sa.insert(t.leases).values(**second))
    same_fence = {**second, "fence": 1, "ended_at": NOW}
    with pytest.raises(sa.exc.IntegrityError), line.scheduler.store.write() as c:
        c.execute(sa.insert(t.leases).values(**same_fence))
    line.close()


def test_the_whole_line_runs_on_either_database(url: str, tmp_path: Path) -> None:
    agent = Agent("mill", "pi", ("m1",))
    line = Line(tmp_path, agent, database=url)
    line.arrive()
    (job,) = line.order()
    line.plan()
    line.plan()
    line.exchange(agent)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    agent.progress(job, line.now, 0.25)
    line.exchange(agent)
    line.restart_scheduler()
    assert line.job(job).progress == 0.25
    held = agent.finish(job, line.now)
    agent.inspect(held, line.now, good=1)
    line.exchange(agent)
    assert line.job(job).state is JobState.INSPECTED
    line.close()


def test_a_stale_row_is_never_written(url: str, tmp_path: Path) -> None:
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)), database=url)
    (job,) = line.order()
    old = line.job(job)
    with line.scheduler.store.write() as c:
        queries.update_job(c, old, {"flag": "first"})
    with pytest.raises(queries.StaleVersion), line.scheduler.store.write() as c:
        queries.update_job(c, old, {"flag": "second"})
    assert line.job(job).flag == "first"
    line.close()


def test_sqlite_is_durable_and_checks_its_keys(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with store.engine.connect() as c:
        asked = {name: c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")}
        assert asked == {"journal_mode": "wal", "synchronous": 2}
        assert c.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()
    with sqlite3.connect(tmp_path / "store.db") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_blobs_keep_bytes_by_their_hash(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    name = blobs.put(b"G0 X1")
    assert blobs.get(name) == b"G0 X1"
    assert blobs.put(b"G0 X1") == name
    for wrong in ("..", "A" * 64, "0" * 64, "../" + name):
        with pytest.raises(UnknownBlob):
            blobs.get(wrong)


def test_a_damaged_blob_is_noticed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    name = blobs.put(b"G0 X1")
    blobs.path(name).write_bytes(b"G0 X9")
    with pytest.raises(UnknownBlob, match="damaged"):
        blobs.get(name)


def test_a_blob_that_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        blobs.put(b"G0 X1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
