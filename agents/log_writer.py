"""Logs leave through a thread of their own: who logs never waits for a disk, a terminal, or a pipe that nobody empties.

`set_aside` is for the program's edge. What finds the queue full is dropped and counted; the count is written as soon as
somebody reads again. In: records of any thread. Out: their lines on one stream.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import logging.handlers
import os
import sys
import time
from collections.abc import Iterator
from queue import Full, Queue
from typing import Final, TextIO

from agents.contract.logs import JsonFormatter, LogFormat, TextFormatter, record_fields

#: Some megabytes of records; an agent at work logs a few a second.
LONGEST_QUEUE: Final = 4096
#: What is left at the end has so long to be read.
_FLUSH_WITHIN_S: Final = 2.0


class DroppingHandler(logging.handlers.QueueHandler):
    """Puts records into a bounded queue; drops what does not fit. Never waits."""

    def __init__(self, waiting: Queue[logging.LogRecord | None]) -> None:
        super().__init__(waiting)
        self.dropped = 0
        """Records since the start; written under the handler's own lock."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fix what belongs to this moment and this thread: message and fields.

        Not the text of an exception, which is made of source files on the disk.
        """
        fixed = copy.copy(record)
        fixed.msg, fixed.args = record.getMessage(), None
        fixed.fields = record_fields(record)
        return fixed

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand it over, or count it as lost."""
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1


class LogWriter(logging.handlers.QueueListener):
    """The thread that writes, a daemon: stuck in a full pipe, it is left behind at the process's end.

    It writes to the stream's descriptor: a stream has a lock, which the interpreter's end would wait for.
    """

    def __init__(
        self,
        waiting: Queue[logging.LogRecord | None],
        handler: DroppingHandler,
        formatter: logging.Formatter,
        stream: TextIO,
    ) -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self._handler, self._formatter, self._stream, self._told = handler, formatter, stream, 0
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, io.UnsupportedOperation):
            self._descriptor = None  # held in memory: nothing that could be full

    def handle(self, record: logging.LogRecord) -> None:
        """Write one record, after the count of those that were dropped before it."""
        with contextlib.suppress(Exception):  # one that cannot be written keeps no later one from it
            self._tell_dropped()
            self._write(record)

    def _tell_dropped(self) -> None:
        dropped = self._handler.dropped
        if dropped > self._told:
            text = f"{dropped - self._told} log records were dropped: nobody read the log fast enough"
            self._told = dropped
            self._write(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))

    def _write(self, record: logging.LogRecord) -> None:
        line = self._formatter.format(record) + "\n"
        if self._descriptor is None:
            self._stream.write(line)
            return
        left = line.encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):  # the terminal is gone: nobody is left to be told
            while left:
                left = left[os.write(self._descriptor, left) :]

    def enqueue_sentinel(self) -> None:
        """Ask the thread to end, behind all that waits. Raises Full."""
        self._waiting.put(None, timeout=_FLUSH_WITHIN_S)

    def stop(self) -> None:
        """Write what is left, for a while: nobody may be reading."""
        thread, ends = self._thread, time.monotonic() + _FLUSH_WITHIN_S
        if thread is None:
            return
        with contextlib.suppress(Full):
            self.enqueue_sentinel()
        thread.join(timeout=max(0.0, ends - time.monotonic()))
        if not thread.is_alive():
            self._tell_dropped()
        self._thread = None


@contextlib.contextmanager
def set_aside(
    log_format: LogFormat = "text", level: str = "info", stream: TextIO | None = None, *, longest: int = LONGEST_QUEUE
) -> Iterator[LogWriter]:
    """Inside, every log of the process goes to `stream` (standard error by default) by a thread of its own."""
    waiting = Queue[logging.LogRecord | None](longest)
    handler = DroppingHandler(waiting)
    formatter = JsonFormatter() if log_format == "json" else TextFormatter()
    writer = LogWriter(waiting, handler, formatter, stream or sys.stderr)
    writer.start()
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    try:
        yield writer
    finally:
        writer.stop()
