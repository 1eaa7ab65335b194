"""Many rows as one parameter: what comes back is what went in, and a crowd costs no more statements than one agent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contract import messages as m
from scheduler.dispatch import journal
from scheduler.store import open_store
from scheduler.store.given import Given, names_of, rows_of
from tests.scheduler.line import Agent, Line

_KINDS = Given(sa.String, sa.BigInteger, sa.Float, sa.Text)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_Row = tuple[str, int, float, str | None]
_ROWS = st.lists(
    st.tuples(_TEXT, st.integers(-(2**62), 2**62), st.floats(0, 1), st.none() | _TEXT), min_size=0, max_size=8
)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[list[sa.Engine]]:
    sqlite = open_store(f"sqlite:///{tmp_path_factory.mktemp('given') / 'store.db'}").engine
    postgres = sa.create_engine(request.getfixturevalue("postgres_url"))
    yield [sqlite, postgres]
    postgres.dispose()
    sqlite.dispose()


@pytest.mark.postgres
@settings(max_examples=60, deadline=None)
@given(rows=_ROWS)
def test_rows_come_out_as_they_went_in(engines: list[sa.Engine], rows: list[_Row]) -> None:
    for engine in engines:
        with engine.connect() as c:
            found = [tuple(row) for row in c.execute(sa.select(*_KINDS.columns), rows_of(rows))]
        assert [(a, b, d) for a, b, _, d in sorted(found, key=repr)] == [
            (a, b, d) for a, b, _, d in sorted(rows, key=repr)
        ]
        assert sorted(row[2] for row in found) == pytest.approx(sorted(row[2] for row in rows), rel=1e-14)


@pytest.mark.postgres
@settings(max_examples=30, deadline=None)
@given(names=st.sets(_TEXT, max_size=8))
def test_names_come_out_as_they_went_in(engines: list[sa.Engine], names: set[str]) -> None:
    for engine in engines:
        with engine.connect() as c:
            assert set(c.execute(_KINDS.names, names_of(names)).scalars()) == names


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of a database, with the values."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        assert not many, f"a round trip a row: {statement}"
        asked.append((statement, values))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_a_crowd_costs_no_more_statements_than_two(line: Line) -> None:
    crowd = [Agent(f"shop{number}", "pi", ()) for number in range(60)]

    def say(agents: list[Agent]) -> list[str]:
        for agent in agents:
            agent.say(m.Progressed(job=f"j{agent.shop}", fence=1, machine="m1", line=1, fraction=0.5), line.now)
        words = [agent.unacked()[-1] for agent in agents]
        with statements(line.scheduler.store.engine) as asked:
            line.hear(*words)
        return [statement for statement, _ in asked if not statement.startswith("BEGIN")]

    line.hear(*(agent.presence(line.now) for agent in crowd))
    say(crowd)
    few, many = say(crowd[:2]), say(crowd)
    assert many == few
    assert len(many) <= 6


def test_a_word_of_progress_does_not_read_all_that_runs(tmp_path: Path) -> None:
    """SQLite: by the job's name, from the words that came; not by the state, from all jobs that run."""
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    try:
        with store.write() as c, statements(store.engine) as asked:
            c.execute(journal._PROGRESS, rows_of([("mill.pi", "j1", 1, 5, 0.5)]))
            (statement, values) = asked[-1]
            plan = [str(row[-1]) for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    finally:
        store.close()
    assert len(plan) == 2
    assert plan[0].startswith("SCAN given")
    assert plan[1].startswith("SEARCH jobs")
    assert plan[1].endswith("(id=?)"), plan
