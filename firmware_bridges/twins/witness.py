"""Who sees every line a twin carries out: nobody, or a file that stands when the twin or its host is killed.

A line of the file is `MONOTONIC_SECONDS LINE`: real seconds of this computer's monotonic clock, which all its processes
share and no clock change moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Witness = Callable[[str], None]


def nobody(line: str) -> None:
    """Sees nothing."""


class Record:
    """Appends each line to a file at once."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be made."""
        self._file = path.open("a", buffering=1, encoding="latin-1")

    def __call__(self, line: str) -> None:
        """`line` is being carried out."""
        if line:
            self._file.write(f"{time.monotonic():.4f} {line}\n")


def witnessed(twin: object, record: Record) -> bool:
    """Let `record` see the twin's lines. False for a kind that shows them to nobody."""
    for shown in (twin, getattr(twin, "machine", None)):
        if hasattr(shown, "witness"):
            shown.witness = record
            return True
    return False
