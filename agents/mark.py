"""A count that only rises, in a small file of its own: it outlives the database beside it being put back to a copy.

Two records of one size, written in turn and each with a checksum, in place: it needs no room on a full disk, and a
power cut in the middle of one leaves the other.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final, Protocol

_HEAD: Final = struct.Struct("<Q")
_RECORD: Final = struct.Struct("<QI")  # the count, CRC-32 of it


class KeptMark(Protocol):
    """Where a count is kept."""

    def read(self) -> int | None:
        """The highest count ever written; None where nothing is kept. Raises OSError."""

    def write(self, count: int) -> None:
        """Keep a count. Raises OSError."""


class NoMark:
    """Of a spool in memory, which nobody can put back: it begins with nothing."""

    def read(self) -> int | None:
        """Nothing was done yet."""
        return 0

    def write(self, count: int) -> None:
        """There is nothing that could outlive it."""


class Mark:
    """The file at `path`. Durable once `write` returned."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int | None:
        """The highest count ever written; None where there is no file, or nothing whole in it. Raises OSError."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        found = []
        for start in range(0, len(raw) - _RECORD.size + 1, _RECORD.size):
            count, check = _RECORD.unpack_from(raw, start)
            if zlib.crc32(_HEAD.pack(count)) == check:
                found.append(count)
        return max(found, default=None)

    def write(self, count: int) -> None:
        """Put the count into the older of the two records. Raises OSError."""
        record = _RECORD.pack(count, zlib.crc32(_HEAD.pack(count)))
        is_new = not self._path.exists()
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, record, (count % 2) * _RECORD.size)
            os.fsync(fd)
        finally:
            os.close(fd)
        if is_new:
            self._sync_folder()

    def _sync_folder(self) -> None:
        """A new file is only there after a power cut if its folder was written, too."""
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
