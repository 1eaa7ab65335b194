"""Ends process groups whose starter is gone: `python -m scheduler.demo.reaper`, told by lines on standard input.

`+PID START` names a group to watch over, `-PID` takes it off, `bye` says all is well. The end of the input without it
means that the starter died: every group still named is asked to end, then made to. START is the kernel's start time of
the group's leader (field 22 of /proc/PID/stat, proc(5)), so that a number used anew by somebody else is let be.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

GRACE_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.1


def start_time(pid: int) -> str:
    """When the kernel started `pid`, in its own ticks; empty where there is no such process or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def watched(lines: Iterable[str]) -> dict[int, str] | None:
    """The groups left at the end of the input; None where the starter said goodbye."""
    groups: dict[int, str] = {}
    for line in lines:
        word, _, started = line.strip().partition(" ")
        if word == "bye":
            return None
        if word.startswith("+"):
            groups[int(word[1:])] = started
        elif word.startswith("-"):
            groups.pop(int(word[1:]), None)
    return groups


def end(groups: Mapping[int, str], grace_s: float = GRACE_S) -> None:
    """Ask every group to end; after `grace_s` make those that are left."""
    _signal_each(groups, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    pause = threading.Event()
    while any(_exists(pid) for pid in groups) and time.monotonic() < deadline:
        pause.wait(_LOOK_EVERY_S)
    _signal_each(groups, signal.SIGKILL)


def _signal_each(groups: Mapping[int, str], number: signal.Signals) -> None:
    for pid, started in groups.items():
        now = start_time(pid)
        if started and now and now != started:
            continue  # the number belongs to somebody else by now
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> int:
    """Read until the input ends, then do what is left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups = watched(sys.stdin)
    if groups:
        end(groups)
    return 0


if __name__ == "__main__":
    sys.exit(main())
