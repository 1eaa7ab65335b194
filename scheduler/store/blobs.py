"""Files by content: written once under their hash, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

_HASH: Final = re.compile(r"^[0-9a-f]{64}$")


class UnknownBlob(LookupError):
    """No file with this hash is kept here."""


class Removal(StrEnum):
    """What became of a file that nobody needs any more."""

    GONE = "gone"
    YOUNG = "young"
    """Written, or asked to be written again, a short while ago: left where it is."""


class Blobs:
    """A folder of files named by their SHA-256; two levels deep so that no folder grows huge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Keep `data`, durably, and return its SHA-256. Kept twice, the bytes are only young again.

        The file is written beside its place, synced, then renamed: a crash or a full disk leaves nothing half-written.
        Raises OSError when the disk does.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        place = self._place(sha256)
        with contextlib.suppress(FileNotFoundError):
            if place.stat().st_size == len(data):
                os.utime(place)
                return sha256
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            Path(temporary).replace(place)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return sha256

    def holds(self, sha256: str) -> bool:
        """Whether the file is here."""
        return self._place(sha256).exists()

    def remove(self, sha256: str, *, older_than: timedelta) -> Removal:
        """Take a file away unless it is younger, by this computer's clock. What is not here is gone already."""
        place = self._place(sha256)
        with contextlib.suppress(FileNotFoundError):
            if time.time() - place.stat().st_mtime < older_than.total_seconds():
                return Removal.YOUNG
            place.unlink()
        return Removal.GONE

    def path(self, sha256: str) -> Path:
        """Where the file is. Raises UnknownBlob for a hash that is not one, or not kept here."""
        if not _HASH.match(sha256):
            raise UnknownBlob(f"{sha256[:80]!r} is not a SHA-256 in lower-case hexadecimal")
        place = self._place(sha256)
        if not place.exists():
            raise UnknownBlob(f"no file with the hash {sha256} is kept here")
        return place

    def get(self, sha256: str) -> bytes:
        """The bytes. Raises UnknownBlob, also when the file on disk no longer has its own hash."""
        data = self.path(sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UnknownBlob(f"the file {sha256} is damaged on disk: its content has another hash")
        return data

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256
