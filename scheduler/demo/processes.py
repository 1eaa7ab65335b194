"""The demo's child processes: each in its own process group, restarted a bounded number of times, all ended together.

A reaper process stands by: should the demo itself be killed, it ends the groups that are left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from scheduler.broker.process import await_state
from scheduler.demo.reaper import start_time

#: As a systemd unit with Restart=on-failure would: so many starts, this far apart.
RESTART_PAUSE_S: Final = 0.5
_STOP_WITHIN_S: Final = 10.0


class ChildFailed(RuntimeError):
    """A child ended for good; the text names it and carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `restarts` is how often it may be started again after it died."""

    name: str
    command: tuple[str, ...]
    log: Path
    restarts: int = 0
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    starts: int = 1
    died_at: float | None = None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait meanwhile: what was started and not noted yet would be ended by nobody."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda which, _: came.append(which)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


class Children:
    """Starts, watches and ends programs. Use it from one thread, as a context manager."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}
        self._reaper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Children:
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "scheduler.demo.reaper"], stdin=subprocess.PIPE, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start it in a process group of its own. Raises ValueError when a program of that name was started before."""
        if program.name in self._children:
            raise ValueError(f"{program.name} was started already")
        with _undisturbed():
            self._children[program.name] = _Child(program, self._spawn(program))

    @property
    def names(self) -> tuple[str, ...]:
        """Everything started, in order."""
        return tuple(self._children)

    def pid(self, name: str) -> int:
        """Process id of the present run of `name`."""
        return self._children[name].process.pid

    def alive(self, name: str) -> bool:
        """Whether it runs now."""
        return self._children[name].process.poll() is None

    def starts(self, name: str) -> int:
        """How often it was started."""
        return self._children[name].starts

    def kill(self, name: str) -> None:
        """End it without warning, as a power cut would; `look_after` starts it again."""
        os.killpg(self.pid(name), signal.SIGKILL)

    def look_after(self) -> tuple[str, ...]:
        """Start again what died, after a pause; the names. Raises ChildFailed for one that may not start again."""
        restarted: list[str] = []
        for child in self._children.values():
            code = child.process.poll()
            if code is None:
                continue
            if child.starts > child.program.restarts:
                raise ChildFailed(
                    f"{child.program.name} ended with code {code} after {child.starts} start(s). "
                    f"Its last words: {last_words(child.program.log)}"
                )
            if child.died_at is None:
                child.died_at = time.monotonic()
                self._tell(f"-{child.process.pid}")
            if time.monotonic() - child.died_at >= RESTART_PAUSE_S:
                with _undisturbed():
                    child.process = self._spawn(child.program)
                child.starts, child.died_at = child.starts + 1, None
                restarted.append(child.program.name)
        return tuple(restarted)

    def stop(self) -> None:
        """End everything, the last started first; whoever does not go is made to. Harmless when done twice."""
        for child in reversed(self._children.values()):
            _signal_group(child.process, signal.SIGTERM)
        waiting = [child.process for child in self._children.values()]
        await_state(lambda: all(process.poll() is not None for process in waiting), _STOP_WITHIN_S)
        for child in self._children.values():
            _signal_group(child.process, signal.SIGKILL)  # also what a leader left behind in its group
            child.process.wait()
        self._children.clear()
        reaper, self._reaper = self._reaper, None
        if reaper is not None and reaper.stdin is not None:
            with contextlib.suppress(OSError):
                reaper.stdin.write(b"bye\n")
                reaper.stdin.close()
            reaper.wait(_STOP_WITHIN_S)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            process = _spawn(program.command, log, program.environ)
        self._tell(f"+{process.pid} {start_time(process.pid)}")
        return process

    def _tell(self, line: str) -> None:
        if self._reaper is not None and self._reaper.stdin is not None:
            with contextlib.suppress(OSError):
                self._reaper.stdin.write(line.encode() + b"\n")
                self._reaper.stdin.flush()


def last_words(log: Path, lines: int = 6) -> str:
    """The end of a log, on one line."""
    if not log.exists():
        return "(no log)"
    return " · ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:]) or "(none)"


def _spawn(command: Sequence[str], log: IO[bytes], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env={**os.environ, **environ},
    )


def _signal_group(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, number)
