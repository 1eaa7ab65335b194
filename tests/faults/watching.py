"""What is seen from outside of real processes: letters on the lines, toolpaths on their way, lines a machine made.

Nothing here is asked of the processes that are tested; everything is seen on its way or in files they wrote.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.contract import messages as m
from tests.faults.relays import Letter, Relay, Way

#: How long something that is held on its way waits for the controller to strike.
_HOLD_S: Final = 30.0
_MOTION: Final = re.compile(r"G0?[0123](?!\d).*[XYZE]|G28|G29|G30|\$H|\$J|M(104|109|140|190)\D*S[1-9]")


@dataclass(frozen=True)
class Permit:
    """A scheduler's word that a start is committed, as it left the scheduler."""

    job: str
    fence: int
    at: float


@dataclass
class _Trap:
    wanted: str
    sprung: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


class Watch:
    """All that passed, and one trap: what it waits for is held on its way until it is let go."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, Letter]] = []
        self.permits: list[Permit] = []
        self.grants: list[Permit] = []
        self.over: set[str] = set()
        """Jobs that are done with: late letters about them spring nothing."""
        self._intents: dict[str, tuple[int, str, int]] = {}
        self._trap: _Trap | None = None
        self._lock = threading.Lock()

    def letter(self, line: str) -> Callable[[Letter], None]:
        """The watcher of one line ("agent" or "scheduler")."""

        def seen(letter: Letter) -> None:
            with self._lock:
                self.letters.append((line, letter))
                job = self._understand(line, letter) or letter.job
            if job and job not in self.over:
                kind = "Permit" if isinstance(letter.envelope.body, m.JournalAck) else letter.kind
                self.passing(f"{line}: {kind} {letter.way.value}")

        return seen

    def _understand(self, line: str, letter: Letter) -> str:
        """Keeps what permits and grants say; the job of a permit."""
        body, job = letter.envelope.body, ""
        if line == "agent" and isinstance(body, m.StartIntended):
            self._intents[letter.envelope.id] = (letter.envelope.seq or 0, body.job, body.fence)
        elif isinstance(body, m.Grant) and line == "scheduler":
            self.grants.append(Permit(body.job, body.fence, letter.at))
        elif isinstance(body, m.JournalAck):
            refused = {item.seq for item in body.refused}
            known = {(permit.job, permit.fence) for permit in self.permits}
            for seq, of, fence in self._intents.values():
                if seq > body.upto or seq in refused:
                    continue
                job = of if of not in self.over else job
                if line == "scheduler" and letter.way is Way.TO_BROKER and (of, fence) not in known:
                    self.permits.append(Permit(of, fence, letter.at))
        return job

    def passing(self, what: str) -> None:
        """Something passes; it waits here if the trap is for it."""
        trap = self._trap
        if trap is not None and trap.wanted == what and not trap.sprung.is_set():
            trap.sprung.set()
            trap.go_on.wait(_HOLD_S)

    def set_trap(self, wanted: str) -> None:
        """Hold the next `wanted` on its way."""
        self._trap = _Trap(wanted)

    @property
    def sprung(self) -> bool:
        """Whether it is held."""
        return self._trap is not None and self._trap.sprung.is_set()

    def let_go(self) -> None:
        """Let it go on."""
        if self._trap is not None:
            self._trap.sprung.set()
            self._trap.go_on.set()
            self._trap = None


class FileRelay(Relay):
    """A relay of HTTP that shows when a toolpath is asked for, and when half of it has passed."""

    def __init__(self, to_port: int, watch: Watch, host: str = "127.0.0.1") -> None:
        self._watch = watch
        super().__init__(to_port, host)

    def passing(self, data: bytes, one: socket.socket, other: socket.socket) -> bytes:
        """Bytes are about to go on; those of a toolpath go in two halves."""
        if data.startswith(b"GET ") and b"/toolpaths/" in data[:200]:
            self._watch.passing("toolpath: asked for")
        elif one.getpeername()[1] == self.to_port and len(data) > 1000:
            other.sendall(data[: len(data) // 2])
            self._watch.passing("toolpath: half sent")
            return data[len(data) // 2 :]
        return data


def plain(line: str) -> str:
    """A line of a toolpath as firmware understands it: without comment and spaces."""
    return re.sub(r"\([^)]*\)|\s", "", line.split(";", 1)[0]).upper()


def moves(line: str) -> bool:
    """Whether a line moves or heats."""
    return _MOTION.match(plain(line)) is not None


class MachineRecord:
    """The lines that a twin carried out, from the file that it writes itself."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._lines: list[tuple[float, str]] = []

    def lines(self, since: float = 0.0) -> list[tuple[float, str]]:
        """(monotonic seconds, line) of each since then."""
        if self._file.exists():
            with self._file.open(encoding="latin-1") as file:
                file.seek(self._read)
                fresh = file.read()
            whole = fresh[: fresh.rfind("\n") + 1]
            self._read += len(whole)
            for row in whole.splitlines():
                at, _, text = row.partition(" ")
                self._lines.append((float(at), plain(text)))
        return [one for one in self._lines if one[0] >= since]


@dataclass(frozen=True)
class Program:
    """A toolpath: its motion, and lines of it that occur once."""

    begin: str
    """The first that moves or heats."""
    first: str
    """The first of the part."""
    last: str
    motion: frozenset[str]
    half: str

    @classmethod
    def of(cls, text: str) -> Program:
        """From the text of the toolpath."""
        lines = [plain(line) for line in text.splitlines()]
        cuts = [line for line in lines if line.startswith("G1") and ("X" in line or "Y" in line)]
        once = [line for line in cuts if cuts.count(line) == 1]
        motion = [line for line in lines if moves(line)]
        begin = next(line for line in motion if lines.count(line) == 1)
        return cls(begin, once[0], once[-1], frozenset(motion), once[len(once) // 2])


def rows(database: Path, question: str, *values: Any) -> list[Any]:
    """What a database says now; nothing while it cannot be read."""
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.2)) as db,
    ):
        return db.execute(question, values).fetchall()
    return []


def put_copy(database: Path, to: Path) -> bool:
    """A copy of a database that is in use. False while it cannot be read."""
    with contextlib.suppress(sqlite3.DatabaseError):
        to.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=2)) as one,
            contextlib.closing(sqlite3.connect(to)) as other,
        ):
            one.backup(other)
        return True
    return False


def put_back(copy: Path, database: Path) -> None:
    """An old copy in the place of a database that nobody has open."""
    for name in (database, database.with_name(database.name + "-wal"), database.with_name(database.name + "-shm")):
        name.unlink(missing_ok=True)
    database.write_bytes(copy.read_bytes())


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()
