"""Toolpaths by hash: fetched over HTTP with ranges, verified, kept within a space limit, surveyed against a machine.

In: a `ToolpathRef` and a machine. Out: a file whose SHA-256 is the one asked for, and what is wrong with it for that
machine. Nothing about a toolpath is believed: size, hash, bounds and dialect are checked here.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import logging
import os
import random
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from agents.clock import Clock
from agents.config import CacheSettings, MachineSettings
from agents.contract.messages import ToolpathRef
from agents.contract.vocabulary import Process
from agents.spool import Spool
from firmware_bridges.modal import Dialect
from firmware_bridges.survey import Survey, survey
from firmware_bridges.toolpath_file import ToolpathFile, UnreadableToolpath

_log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 1 << 18
_END_BYTES: Final = 1 << 16
_HANDED_IN: Final = "handed-in-"
_LONGEST_PAUSE_S: Final = 20.0
_GRBL_FAMILY: Final = frozenset({"grbl", "grblhal", "fluidnc"})
#: Rounding of coordinates in toolpaths, not a licence to leave the bed.
ENVELOPE_TOLERANCE_MM: Final = 0.05


class ToolpathUnavailable(Exception):
    """The bytes could not be had now; trying again may help."""


class ToolpathWrong(Exception):
    """What was sent is not what was asked for (size or hash); nobody should run it."""


class GivenUp(Exception):
    """Nobody wants the toolpath any more, or the agent is ending."""


class Readable(Protocol):
    """Bytes to be read piece by piece: a file, the body of a request."""

    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A program that a person handed in."""

    sha256: str
    size_bytes: int
    lines: int
    ends: bytes
    """Its first and its last 64 kB, where slicers say how long it takes; all of a short one."""


class ToolpathStore:
    """The cache. Safe from any thread; each hash is fetched by one thread at a time."""

    def __init__(self, folder: Path, spool: Spool, settings: CacheSettings, clock: Clock) -> None:
        self._folder = folder
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._slots = threading.BoundedSemaphore(settings.parallel)
        self._ending = threading.Event()
        self._opener = _http_only()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_HANDED_IN}*.part"):  # somebody handed it in when an earlier process died
            left.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the toolpath lies, or would."""
        return self._folder / f"{sha256}.gcode"

    def has(self, sha256: str) -> bool:
        """Whether a verified file of that hash was put there."""
        return self.path(sha256).exists()

    def verified(self, sha256: str) -> bool:
        """Whether the file on disk still has that hash (read now, all of it)."""
        path = self.path(sha256)
        with contextlib.suppress(OSError):
            return _hash_of(path) == sha256
        return False

    def end(self) -> None:
        """Give up all fetches."""
        self._ending.set()

    def put(self, data: bytes) -> str:
        """`take_in` for what is in memory; its hash."""
        return self.take_in(io.BytesIO(data), len(data)).sha256

    def take_in(self, source: Readable, size_bytes: int) -> HandedIn:
        """Keep a program that a person hands in, piece by piece: it may be larger than this computer's memory.

        Raises ToolpathUnavailable where it does not fit in the limit or ends early, OSError when the disk is full.
        """
        self.make_room(size_bytes, keep=frozenset())
        part = self._folder / f"{_HANDED_IN}{uuid.uuid4().hex}.part"
        try:
            kept = _written(source, part, size_bytes)
            self._keep(part, kept.sha256, size_bytes)
        finally:
            part.unlink(missing_ok=True)
        return kept

    def fetch(self, ref: ToolpathRef, wanted: Callable[[], bool]) -> Path:
        """Get the toolpath, however often that takes while it is `wanted`.

        Raises ToolpathWrong after every source sent something else, ToolpathUnavailable where there is no source,
        GivenUp, OSError for a full disk.
        """
        with self._lock:
            own = self._busy.setdefault(ref.sha256, threading.Lock())
        with own:
            if self.has(ref.sha256):
                if self.verified(ref.sha256):
                    self._spool.touch_toolpath(ref.sha256, ref.size_bytes, self._clock.now())
                    return self.path(ref.sha256)
                self.drop(ref.sha256)
            if not ref.urls:
                raise ToolpathUnavailable("the file is no longer on this computer as it was queued: queue it again")
            self._check_size(ref)
            self.make_room(ref.size_bytes, keep=frozenset({ref.sha256}))
            return self._fetch_patiently(ref, wanted)

    def _check_size(self, ref: ToolpathRef) -> None:
        if ref.size_bytes > self._settings.largest_bytes:
            raise ToolpathWrong(
                f"the toolpath has {ref.size_bytes} bytes; this shop takes {self._settings.largest_bytes} at most"
            )

    def _fetch_patiently(self, ref: ToolpathRef, wanted: Callable[[], bool]) -> Path:
        pause_s, wrong = 0.5, 0
        while wanted() and not self._ending.is_set():
            for url in ref.urls:
                try:
                    with self._slots:  # not while waiting: a dead server keeps nobody else from fetching
                        return self._fetch_once(url, ref, wanted)
                except ToolpathWrong as error:
                    wrong += 1
                    _log.warning("toolpath %s from %s: %s", ref.sha256[:12], url, error)
                    if wrong >= 2 * len(ref.urls):
                        raise
                except ToolpathUnavailable as error:
                    _log.warning("toolpath %s from %s: %s", ref.sha256[:12], url, error)
            self._ending.wait(pause_s * random.uniform(0.7, 1.3))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise GivenUp(f"toolpath {ref.sha256[:12]} is no longer wanted")

    def _fetch_once(self, url: str, ref: ToolpathRef, wanted: Callable[[], bool]) -> Path:
        """One attempt, resumed from what an earlier one left."""
        part = self.path(ref.sha256).with_suffix(".part")
        have = part.stat().st_size if part.exists() else 0
        if have > ref.size_bytes:
            part.unlink()
            have = 0
        if have < ref.size_bytes:
            self._download(url, ref, part, have, wanted)
        if part.stat().st_size < ref.size_bytes:
            raise ToolpathUnavailable("the transfer ended early; it will be resumed")
        if part.stat().st_size != ref.size_bytes or _hash_of(part) != ref.sha256:
            part.unlink()
            raise ToolpathWrong("the bytes do not have the hash that was promised")
        self._keep(part, ref.sha256, ref.size_bytes)
        return self.path(ref.sha256)

    def _download(self, url: str, ref: ToolpathRef, part: Path, have: int, wanted: Callable[[], bool]) -> None:
        if not url.startswith(("http://", "https://")):
            raise ToolpathWrong(f"{url[:80]!r} is not an http address")
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
        try:
            request = urllib.request.Request(url, headers=headers)
            with self._opener.open(request, timeout=self._settings.timeout_s) as answer:
                resumed = have > 0 and answer.status == 206
                with part.open("ab" if resumed else "wb") as file:
                    self._copy(answer, file, ref.size_bytes - (have if resumed else 0), wanted)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                part.unlink(missing_ok=True)
            raise ToolpathUnavailable(f"the server answered {error.code} {error.reason}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise ToolpathUnavailable(f"the transfer broke off: {error}") from error
        except ValueError as error:
            raise ToolpathWrong(f"{url[:80]!r} is not an address: {error}") from error

    def _copy(
        self, answer: http.client.HTTPResponse, file: IO[bytes], expected: int, wanted: Callable[[], bool]
    ) -> None:
        """Copy at most `expected` bytes; one more is a lie about the size. A drip is left when nobody waits for it."""
        left = expected
        while chunk := answer.read1(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ToolpathWrong("more bytes were sent than the offer said")
            file.write(chunk)
            if self._ending.is_set() or not wanted():
                raise ToolpathUnavailable("nobody waits for it any more")

    def _keep(self, part: Path, sha256: str, size: int) -> None:
        """Make the file durable under its final name, then note it."""
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(self.path(sha256))
        self._spool.touch_toolpath(sha256, size, self._clock.now())

    def drop(self, sha256: str) -> None:
        """Remove a toolpath from the disk."""
        self.path(sha256).unlink(missing_ok=True)
        self.path(sha256).with_suffix(".part").unlink(missing_ok=True)
        self._spool.forget_toolpath(sha256)

    def make_room(self, needed: int, keep: frozenset[str]) -> None:
        """Drop the least recently used toolpaths that no live lease needs, until `needed` bytes fit in the limit.

        Raises ToolpathUnavailable when they cannot fit: live leases need the rest.
        """
        live = {lease.toolpath.sha256 for lease in self._spool.leases()} | keep
        files = self._spool.cached()
        used = sum(size for _, size in files)
        for sha256, size in files:
            if used + needed <= self._settings.space_bytes:
                return
            if sha256 not in live:
                self.drop(sha256)
                used -= size
        if used + needed > self._settings.space_bytes:
            raise ToolpathUnavailable(
                f"{needed} bytes do not fit: {used} of {self._settings.space_bytes} are taken by jobs that wait here"
            )


def problems_for(path: Path, ref: ToolpathRef, machine: MachineSettings) -> tuple[str, ...]:
    """What is wrong with a toolpath for this machine, as sentences; empty when it is fit to run.

    Reads the whole file once. Raises OSError.
    """
    description = machine.description
    if ref.dialect != description.dialect:
        return (f"it speaks {ref.dialect}, the machine {description.dialect}",)
    try:
        if description.process is Process.MANUAL or description.dialect == "manual":
            return _card_problems(ToolpathFile(path))
        found = survey(ToolpathFile(path), description.process.value, dialect=_dialect(description.dialect))
    except UnreadableToolpath as error:
        return (f"it cannot be read: {error}",)
    return problems_of(found, machine)


def problems_of(found: Survey, machine: MachineSettings) -> tuple[str, ...]:
    """Dangers, and motion outside the machine's own envelope."""
    problems = [f"line {danger.line}: {danger.text}" for danger in found.dangers[:10]]
    low, high = machine.envelope_min_mm, machine.description.envelope_mm
    box = found.bounds_mm
    if box is None:
        return (*problems, "it moves nothing")
    for axis, name in enumerate("xyz"):
        if name not in found.placed_axes.casefold():
            continue
        if box.low[axis] < low[axis] - ENVELOPE_TOLERANCE_MM or box.high[axis] > high[axis] + ENVELOPE_TOLERANCE_MM:
            problems.append(
                f"it moves {name} from {box.low[axis]:.2f} to {box.high[axis]:.2f} mm; this machine goes from "
                f"{low[axis]:g} to {high[axis]:g}"
            )
    return tuple(problems)


def _card_problems(card: ToolpathFile) -> tuple[str, ...]:
    """A work card is words for people: all it needs is a step."""
    steps = any(text.strip() and not text.lstrip().startswith(";") for _, text in card.lines())
    return () if steps else ("the work card has no step",)


def _dialect(name: str) -> Dialect:
    return Dialect.GRBL if name in _GRBL_FAMILY else Dialect.PRINTER


def _written(source: Readable, part: Path, size_bytes: int) -> HandedIn:
    digest, lines, head, tail, left = hashlib.sha256(), 0, b"", b"", size_bytes
    with part.open("wb") as file:
        while left:
            chunk = source.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise ToolpathUnavailable(f"the program ended {left} bytes early; send it again")
            left -= len(chunk)
            file.write(chunk)
            digest.update(chunk)
            lines += chunk.count(b"\n")
            head += chunk[: _END_BYTES - len(head)]
            tail = (tail + chunk)[-_END_BYTES:]
    lines += bool(tail) and not tail.endswith(b"\n")
    ends = head if size_bytes <= _END_BYTES else head + b"\n" + tail
    return HandedIn(digest.hexdigest(), size_bytes, lines, ends)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _http_only() -> urllib.request.OpenerDirector:
    """An opener that knows http and https and no files, ftp or data."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPRedirectHandler(),
    ):
        opener.add_handler(handler)
    return opener
