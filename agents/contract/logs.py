"""Structured logs with the same field names on both sides: shop, machine, order, job, lease in every line.

`bound(job=…, lease=…)` adds fields to all records of the current context; `--log-format json|text` picks the shape.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

LogFormat = Literal["json", "text"]
#: Always present in JSON, `null` where they do not apply, so that a log store can index them.
FIELDS: Final = ("shop", "machine", "order", "job", "lease")

_context: ContextVar[Mapping[str, str] | None] = ContextVar("workshed_log_fields", default=None)


@contextlib.contextmanager
def bound(**fields: str | None) -> Iterator[None]:
    """Add fields to every record logged inside; None removes one."""
    merged = {**(_context.get() or {}), **fields}
    token = _context.set({key: value for key, value in merged.items() if value is not None})
    try:
        yield
    finally:
        _context.reset(token)


def record_fields(record: logging.LogRecord) -> dict[str, str]:
    """The fields of one record: those bound around it, overridden by `extra={"fields": {…}}`."""
    own = getattr(record, "fields", None)
    return {**(_context.get() or {}), **(own if isinstance(own, dict) else {})}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time (UTC, RFC 3339), level, logger, message, then the fields."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **dict.fromkeys(FIELDS),
            **record_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One readable line: time, level, message, then `key=value` of the fields that are set."""

    def format(self, record: logging.LogRecord) -> str:
        """`12:00:00.000 info  scheduler.dispatch  offered  job=j1 lease=l1`."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{key}={value}" for key, value in record_fields(record).items())
        line = f"{moment} {record.levelname.lower():<7} {record.name}  {record.getMessage()}"
        if fields:
            line += f"  {fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(log_format: LogFormat = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log to `stream` (standard error by default) in the chosen shape. Call once, in a program's `main`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
