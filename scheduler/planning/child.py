"""A child process that answers questions one at a time over a pipe, with a bounded wait. Started when first asked."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

#: Seconds a child has to end by itself when it is no longer wanted.
FAREWELL_S: Final = 2.0


class ChildLost(RuntimeError):
    """The child died, or did not answer in time and was killed; the next question starts another."""


class Child:
    """A process that runs `target(line, *args)` until its line is closed. One caller at a time, but for `kill`.

    The child ends with its parent, however that ends: nobody then holds the other end of its line.
    """

    def __init__(self, name: str, target: Callable[..., None], *args: object) -> None:
        self._name, self._target, self._args = name, target, args
        self._process: BaseProcess | None = None
        self._line: Connection | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None where there is none."""
        return None if self._process is None else self._process.pid

    def ask(self, question: object, bound_s: float) -> Any:
        """What the child answers; an exception it answers with is returned, not raised.

        Raises:
            ChildLost: no answer within `bound_s` seconds; the child has been ended.
        """
        line = self._started()
        # A child that does not read would hold up the sender too: killing it ends both waits.
        watchdog = threading.Timer(bound_s, self.kill)
        watchdog.start()
        try:
            line.send(question)
            return line.recv()
        except (EOFError, OSError) as error:
            watchdog.cancel()
            self.end()
            raise ChildLost(f"the {self._name} is gone, or did not answer in {bound_s:.0f} s: {error!r}") from error
        finally:
            watchdog.cancel()

    def kill(self) -> None:
        """End what the child is at, from any thread; whoever waits for the answer gets ChildLost."""
        process = self._process
        if process is not None:
            # Closed meanwhile: there is nothing to kill.
            with contextlib.suppress(ValueError):
                process.kill()

    def end(self) -> None:
        """Close the line and wait for the end; a child that goes on is killed."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.join(FAREWELL_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()
        self._process, self._line = None, None

    def _started(self) -> Connection:
        if self._line is not None:
            return self._line
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=self._target, args=(theirs, *self._args), name=self._name, daemon=True)
        process.start()
        theirs.close()
        self._process, self._line = process, ours
        return ours
