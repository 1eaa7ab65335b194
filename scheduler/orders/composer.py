"""Composing in a process of its own: a table goes out, loads come back, and a wait that is bounded.

Laying hundreds of outlines beside each other takes seconds of a processor. A child that dies or does not answer in
time is killed; everything then stays where it lies, and the next table starts another child.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Final, Protocol

from scheduler.orders.laying import Table, compose_table
from scheduler.planning.batch import Load
from scheduler.planning.child import Child, ChildLost

_log: Final = logging.getLogger(__name__)
#: A table of 500 jobs takes some seconds; a first one loads the geometry libraries too.
PATIENCE_S: Final = 60.0

Answer = tuple[Load, ...] | None
"""The loads of a table, composed; None: nobody could say, all stays."""


class Composer(Protocol):
    """Composes one table at a time."""

    def begin(self, table: Table) -> Future[Answer]:
        """Begin with a table; the future ends with the answer."""
        ...

    def close(self) -> None:
        """Nothing is composed any more."""
        ...


class ComposerHere:
    """Composes in the caller's thread, before `begin` returns, for tests that own the clock."""

    def begin(self, table: Table) -> Future[Answer]:
        """The answer, there already."""
        future: Future[Answer] = Future()
        future.set_result(compose_table(table))
        return future

    def close(self) -> None:
        """Nothing is held."""


class ComposerProcess:
    """A `Composer` in a child. A lost child is replaced for the next table."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="composing")
        self._child = Child("composer", serve)
        self._closing = False
        self.lost = 0
        """Children that died or did not answer in time."""

    @property
    def pid(self) -> int | None:
        """The child's process id; None where there is none."""
        return self._child.pid

    def begin(self, table: Table) -> Future[Answer]:
        """Hand a table to the child, without waiting."""
        return self._asking.submit(self._compose, table)

    def _compose(self, table: Table) -> Answer:
        if not table.loads:
            return ()
        with self._lock:
            return None if self._closing else self._ask(table)

    def close(self) -> None:
        """End the child at once; afterwards nothing is composed any more."""
        self._closing = True
        self._child.kill()
        with self._lock:
            self._child.end()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def _ask(self, table: Table) -> Answer:
        try:
            answer = self._child.ask(table, self._patience_s)
        except ChildLost as lost:
            self.lost += 1
            if not self._closing:
                _log.error("nothing is moved: %s", lost)
            return None
        if isinstance(answer, Exception):
            _log.error("a table of %d loads could not be composed: %r", len(table.loads), answer)
            return None
        assert isinstance(answer, tuple), "the child answers with nothing else"
        return answer


def serve(line: Connection) -> None:
    """The child's life: answer tables, end when nobody holds the line any more."""
    while True:
        try:
            table = line.recv()
            try:
                line.send(compose_table(table))
            except (ValueError, KeyError, ArithmeticError) as error:
                line.send(error)
        except (EOFError, OSError, KeyboardInterrupt):
            return
