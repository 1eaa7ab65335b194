"""Composing in a process of its own: a table goes out, loads come back, and a wait that is bounded.

Laying hundreds of outlines beside each other takes seconds of a processor. A child that dies or does not answer in
time is killed; everything then stays where it lies, and the next table starts another child.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final, Protocol

from scheduler.orders.laying import Table, compose_table
from scheduler.planning.batch import Load

_log: Final = logging.getLogger(__name__)
#: A table of 500 jobs takes some seconds; a first one loads the geometry libraries too.
PATIENCE_S: Final = 60.0
_FAREWELL_S: Final = 2.0

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
        self._child: BaseProcess | None = None
        self._line: Connection | None = None
        self._closing = False
        self.lost = 0
        """Children that died or did not answer in time."""

    @property
    def pid(self) -> int | None:
        """The child's process id; None where there is none."""
        return None if self._child is None else self._child.pid

    def begin(self, table: Table) -> Future[Answer]:
        """Hand a table to the child, without waiting."""
        return self._asking.submit(self._compose, table)

    def _compose(self, table: Table) -> Answer:
        if not table.loads:
            return ()
        with self._lock:
            if self._closing:
                return None
            found = self._ask(table)
            if found is None:
                self.lost += 1
                self._end()
            return found

    def close(self) -> None:
        """End the child at once; afterwards nothing is composed any more."""
        self._closing = True
        child = self._child
        if child is not None:
            with contextlib.suppress(ValueError):
                child.kill()
        with self._lock:
            self._end()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def _ask(self, table: Table) -> Answer:
        line = self._line or self._start()
        assert self._child is not None, "a line has a child at its other end"
        # A child that does not read would hold up the sender too: killing it ends both waits.
        watchdog = threading.Timer(self._patience_s, self._child.kill)
        watchdog.start()
        try:
            line.send(table)
            answer = line.recv()
        except (EOFError, OSError) as error:
            if not self._closing:
                _log.error("composing ended, or took longer than %.0f s: nothing is moved: %r", self._patience_s, error)
            return None
        finally:
            watchdog.cancel()
        if isinstance(answer, Exception):
            _log.error("a table of %d loads could not be composed: %r", len(table.loads), answer)
            return None
        assert isinstance(answer, tuple), "the child answers with nothing else"
        return answer

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(target=serve, args=(theirs,), name="composer", daemon=True)
        child.start()
        theirs.close()
        self._child, self._line = child, ours
        return ours

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._child is not None:
            self._child.join(_FAREWELL_S)
            if self._child.is_alive():
                self._child.kill()
                self._child.join()
            self._child.close()
        self._child, self._line = None, None


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
