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

from firmware_bridges.bridge import Event, RunCancelled, RunFailed, RunFinished
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.wire_bridge import WireBridge


def stream(bridge: WireBridge, path: Path, within_s: float = 600.0) -> dict[str, Any]:
    """How the run ended and what it cost this process, reading the file for the first time included."""
    ended = threading.Event()
    outcome: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, RunFinished | RunFailed | RunCancelled):
            outcome.append(event)
            ended.set()

    bridge.listen(listen)
    bridge.connect()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    out_before = bridge.link.bytes_out
    toolpath = ToolpathFile(path)
    bridge.run(toolpath)
    ended.wait(within_s)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    sent = bridge.link.bytes_out - out_before
    bridge.close()
    return {
        "finished": bool(outcome) and isinstance(outcome[0], RunFinished),
        "outcome": str(outcome[:1]),
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
