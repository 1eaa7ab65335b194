"""The broker that `workshed serve` brings along: same folder, port and passwords at every start, and only one of it.

Who holds the folder's lock owns the broker; the system frees it when that process ends, however it ends. Further
processes on the same folder use the broker that runs, and one of them takes it over when its owner is gone. A scheduler
that was killed leaves its broker running: the next owner finds it by its command line and ends it first, so that queues
and credentials have one owner. What is queued is on disk either way.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from scheduler.broker.access import Principal, agent_principal, scheduler_principal
from scheduler.broker.process import BrokerFailed, BrokerProgram, EmbeddedBroker, await_state, probe

_log: Final = logging.getLogger(__name__)
#: The number registered for MQTT (IANA); taken where it is free.
USUAL_PORT: Final = 1883
_ENDS_WITHIN_S: Final = 5.0
_ANSWERS_WITHIN_S: Final = 20.0
_LOOK_EVERY_S: Final = 2.0
_MOST_RESTARTS: Final = 20


class StandingBroker:
    """See the module. `start` and `stop` from one thread; between them a thread starts the broker again if it dies."""

    def __init__(
        self, folder: Path, scheduler: str, agents: Sequence[str] = (), *, program: BrokerProgram | None = None
    ) -> None:
        """`agents` are `SHOP/AGENT`; who was let in before stays. Raises ValueError for a bad name, BrokerMissing."""
        self._folder = folder
        self._note = folder / "running"
        credentials = folder / "credentials"
        known = [name for name in agents if name] + _let_in_before(credentials)
        principals = {one.username: one for one in map(_agent, known)}
        self._own = scheduler_principal(scheduler)
        self.agents = tuple(sorted(principals))
        self._newcomers = sorted(set(principals) - {_agent(name).username for name in _let_in_before(credentials)})
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock: IO[bytes] | None = _locked(folder / "lock")
        if self._lock is not None:
            self._end_left_over()
        self.broker = EmbeddedBroker(folder, (self._own, *principals.values()), program=program, port=self._port())
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="broker", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the port counts after `start`."""
        return self.broker.host, self.broker.port

    @property
    def username(self) -> str:
        """The scheduler's own."""
        return self._own.username

    @property
    def password(self) -> str:
        """The scheduler's own."""
        return self.broker.setup.password(self._own.username)

    def credential_file(self, agent_username: str) -> Path:
        """Where an agent's password is."""
        return self.broker.setup.credential_file(agent_username)

    @property
    def owned(self) -> bool:
        """Whether this process runs the broker; otherwise another one does, and this one uses it."""
        return self._lock is not None

    def start(self) -> None:
        """Start it, or see that the one of this folder's owner answers. Raises BrokerFailed."""
        if self.owned:
            self.broker.start()
            self._write_note()
        else:
            self._join()
        self._watcher.start()

    def stop(self) -> None:
        """End it, if it is ours."""
        self._ending.set()
        if self._watcher.ident is not None:
            self._watcher.join(timeout=_ENDS_WITHIN_S)
        if self._lock is not None:
            self.broker.stop()
            self._note.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _join(self) -> None:
        if self._newcomers:
            raise BrokerFailed(
                f"Another process runs the broker of {self._folder}, and {', '.join(self._newcomers)} is new to it: end"
                " that process, or say --admit where the broker is started."
            )

        def answers() -> bool:
            self.broker.setup.port = self._port() or self.broker.port  # its owner may just have begun
            return self._answers()

        if not await_state(answers, _ANSWERS_WITHIN_S):
            raise BrokerFailed(
                f"Another process holds {self._folder / 'lock'}, and no broker answers on port {self.broker.port}: look"
                " at that process, or end it."
            )
        _log.info("another process runs the broker on port %d; it is used", self.broker.port)

    def _answers(self) -> bool:
        try:
            return probe(self.broker.host, self.broker.port, self.username, self.password)
        except OSError:
            return False  # the password is not made yet

    def __enter__(self) -> StandingBroker:
        """As `start`."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """As `stop`."""
        self.stop()

    def _watch(self) -> None:
        restarts = 0
        while not self._ending.wait(_LOOK_EVERY_S):
            if self._lock is None:
                self._lock = _locked(self._folder / "lock")
                if self._lock is None:
                    continue
                _log.warning("the process that ran the broker is gone; this one runs it from here on")
                self._end_left_over()
                admitted = map(_agent, _let_in_before(self._folder / "credentials"))
                self.broker.setup.principals |= {one.username: one for one in admitted}
            elif self.broker.alive:
                continue
            restarts += 1
            if restarts > _MOST_RESTARTS:
                _log.error("the broker ended %d times; it is left alone now: look at %s", restarts - 1, self._folder)
                return
            _log.error("the broker ended (%s); it is started", self.broker.last_words() or "no word")
            try:
                self.broker.start()
                self._write_note()
            except BrokerFailed as error:
                _log.error("%s", error)

    def _write_note(self) -> None:
        self._note.write_text(f"{self.broker.pid}\n", encoding="ascii")
        (self._folder / "port").write_text(f"{self.broker.port}\n", encoding="ascii")

    def _port(self) -> int | None:
        """The port agents were told before, else the usual one, else (None) any that is free."""
        with contextlib.suppress(OSError, ValueError):
            return int((self._folder / "port").read_text(encoding="ascii"))
        return USUAL_PORT if _free(USUAL_PORT) else None

    def _end_left_over(self) -> None:
        for pid in _left_over(self._folder):
            _log.warning("a broker of an earlier start still runs (process %d); it is ended first", pid)
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                if await_state(lambda: pid not in _left_over(self._folder), _ENDS_WITHIN_S):  # noqa: B023
                    break


def _locked(file: Path) -> IO[bytes] | None:
    """The file, locked while it is open; None where another process has it. No child keeps it: it is closed on exec."""
    held = file.open("ab")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held


def _let_in_before(credentials: Path) -> list[str]:
    """`SHOP/AGENT` of every agent with a password file here."""
    names = (file.name.split(".") for file in credentials.glob("agent.*.*") if not file.name.endswith(".new"))
    return [f"{parts[1]}/{parts[2]}" for parts in names if len(parts) == 3]


def _agent(name: str) -> Principal:
    shop, slash, agent = name.partition("/")
    if not slash:
        raise ValueError(f"{name!r} is not SHOP/AGENT, as in garage/pi")
    return agent_principal(shop, agent)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _left_over(folder: Path) -> tuple[int, ...]:
    """Processes that are a broker on this folder. Their command lines decide: a note could name a number that was given
    out again, and is not written yet where a start was cut short."""
    ours = [b"-c", str(folder / "broker.conf").encode(), b""]
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().split(b"\0")[-3:] == ours:
                found.append(int(entry.name))
    return tuple(found)
