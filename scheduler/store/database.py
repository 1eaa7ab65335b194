"""Opening the database, migrating it, and the one way to write to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_S: Final = 30.0
_IDLE_IN_TRANSACTION_MS: Final = 20_000
#: Kept plans and reports are large: the standard library's reader and writer of JSON took most of many transactions.
_JSON: Final[dict[str, Any]] = {
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": msgspec.json.decode,
}


class StoreTooNew(RuntimeError):
    """The database was written by a newer Workshed than this one."""


class SteppedDown(RuntimeError):
    """Another scheduler dispatches on this database now; the transaction wrote nothing."""

    def __init__(self, holder: str, url: str) -> None:
        self.holder, self.url = holder, url
        super().__init__(f"the scheduler {holder or 'of another term'} dispatches on this database, not this one")


class Store:
    """The database behind one writer. Reads run beside it; `after_commit` tells who waits for news."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writer = threading.Lock()
        self._watchers: list[Callable[[], object]] = []
        self._fence: Callable[[sa.Connection], object] | None = None

    def fence(self, check: Callable[[sa.Connection], object]) -> None:
        """Run `check` inside every `write` from now on, first; what it raises undoes the write."""
        self._fence = check

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction: all of it, or (when anything raises) nothing of it. Not re-entrant.

        Raises SteppedDown, nothing written, where another scheduler dispatches on this database.
        """
        with self.write_unfenced() as connection:
            if self._fence is not None:
                self._fence(connection)
            yield connection
        for watcher in tuple(self._watchers):
            watcher()

    @contextlib.contextmanager
    def write_unfenced(self) -> Iterator[sa.Connection]:
        """One transaction of the question itself who may write; everything else goes through `write`."""
        with self._writer, self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view; whatever is tried in it is rolled back."""
        with self.engine.connect().execution_options(reading=True) as connection:
            yield connection
            connection.rollback()

    def after_commit(self, watcher: Callable[[], object]) -> Callable[[], None]:
        """Call `watcher` (fast, never blocking) after every commit; returns the way to stop that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def close(self) -> None:
        """Give the connections back. On SQLite the write-ahead log is folded into the file."""
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open the database at an SQLAlchemy `url` and bring its tables to this version.

    `sqlite:///path` or `postgresql+psycopg://…`. Raises StoreTooNew for a database of a newer version, and
    sqlalchemy.exc.OperationalError when there is no database to talk to.
    """
    engine = _sqlite(url) if url.startswith("sqlite") else _postgresql(url)
    _migrate(engine)
    return Store(engine)


def _sqlite(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S}, **_JSON)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: object) -> None:
        # The driver must not open transactions by itself: `begin` below does, and takes the write lock at once.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> sa.Engine:
    engine = sa.create_engine(url, pool_pre_ping=True, **_JSON)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: object) -> None:
        # A scheduler that was stopped within a transaction must not keep its locks from its successor for ever.
        connection.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_IN_TRANSACTION_MS}")
        connection.commit()

    return engine


def alembic_config(engine: sa.Engine) -> Config:
    """How alembic finds the migrations and this database."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["engine"] = engine
    return config


def _migrate(engine: sa.Engine) -> None:
    config = alembic_config(engine)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        message = f"the database is at version {current}, which this Workshed does not know: install a newer Workshed"
        raise StoreTooNew(message)
    command.upgrade(config, "head")
