"""One run through a bridge, timed; in this process, or in one of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from firmware_bridges.bridge import Bridge, Event, RunCancelled, RunFailed, RunFinished
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.wire_bridge import WireBridge


class Ending:
    """How a bridge's run ends. Make it before the run begins."""

    def __init__(self, bridge: Bridge) -> None:
        self._ended = threading.Event()
        self._outcome: Event | None = None
        bridge.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event, RunFinished | RunFailed | RunCancelled) and self._outcome is None:
            self._outcome = event
            self._ended.set()

    def wait(self, within_s: float) -> Event | None:
        """What ended it; None where nothing did in time."""
        self._ended.wait(within_s)
        return self._outcome


def stream(bridge: WireBridge, path: Path, within_s: float = 600.0) -> dict[str, Any]:
    """How the run ended and what it cost this process, reading the file for the first time included."""
    ending = Ending(bridge)
    bridge.connect()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    out_before = bridge.link.bytes_out
    toolpath = ToolpathFile(path)
    bridge.run(toolpath)
    outcome = ending.wait(within_s)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    sent = bridge.link.bytes_out - out_before
    bridge.close()
    return {
        "finished": isinstance(outcome, RunFinished),
        "outcome": str(outcome),
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_s": wall,
        "bytes": sent,
        "lines": toolpath.total_lines,
    }


def client(module: str, port: str | Path, path: Path) -> dict[str, Any]:
    """What `python -m module --client port path` printed last."""
    command = [sys.executable, "-m", module, "--client", str(port), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
