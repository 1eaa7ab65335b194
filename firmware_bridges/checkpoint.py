"""How far the machine confirmed, in a file that is safe to read after a crash.

Two records of one fixed size, written in turn, each with a checksum: a crash in the middle of one leaves the other.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from firmware_bridges.bridge import Checkpoint, Position

_RECORD: Final = struct.Struct("<QQ?dddI")  # count of writes, line, position known, x, y, z, CRC-32 of what precedes


class CheckpointFile:
    """Writes checkpoints to `path`. Survives the end of the process at once; `sync=True` survives a power cut."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._count = max((count for count, _ in _records(self._fd)), default=0)

    def write(self, checkpoint: Checkpoint, *, sync: bool = False) -> None:
        """Put the checkpoint into the older of the two records."""
        self._count += 1
        at = checkpoint.position
        values = (at.x_mm, at.y_mm, at.z_mm) if at is not None else (0.0, 0.0, 0.0)
        head = _RECORD.pack(self._count, checkpoint.line, at is not None, *values, 0)[:-4]
        os.pwrite(self._fd, head + struct.pack("<I", zlib.crc32(head)), (self._count % 2) * _RECORD.size)
        if sync:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file; a late write fails rather than go into whatever file has its number next."""
        os.close(self._fd)
        self._fd = -1


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The newest whole record, or None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return max(_records(fd), key=lambda record: record[0], default=(0, None))[1]
    finally:
        os.close(fd)


def _records(fd: int) -> list[tuple[int, Checkpoint]]:
    found = []
    for slot in (0, 1):
        raw = os.pread(fd, _RECORD.size, slot * _RECORD.size)
        if len(raw) < _RECORD.size:
            continue
        count, line, known, x, y, z, check = _RECORD.unpack(raw)
        if zlib.crc32(raw[:-4]) == check:
            found.append((count, Checkpoint(line, Position(x, y, z) if known else None)))
    return found
