"""How much a bridge grows while it streams a file of 200 MB: measured in a process of its own, one bridge each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from firmware_bridges.bridge import Bridge
from firmware_bridges.toolpath_file import ToolpathFile
from tests.benchmarks.report import Bar

LARGE_BYTES = 200_000_000
STREAMED_FOR_S = 20.0
_MOST_MB = 10.0
_ENOUGH_LINES = 10_000


def large_file(path: Path, head: bytes, block: bytes) -> None:
    """`head`, then `block` over and over."""
    with path.open("wb") as file:
        file.write(head)
        for _ in range(LARGE_BYTES // len(block) + 1):
            file.write(block)


def memory_client(bridge: Bridge, path: Path) -> None:
    """Print how resident memory grew from a connected, idle bridge to the most of it while streaming."""
    bridge.connect()
    idle = _resident_kb()
    toolpath = ToolpathFile(path)
    bridge.run(toolpath)
    most, until = idle, time.monotonic() + STREAMED_FOR_S
    while time.monotonic() < until:
        threading.Event().wait(0.1)
        most = max(most, _resident_kb())
    line = bridge.status().line
    bridge.emergency_stop()
    bridge.close()
    print(json.dumps({"grown_kb": most - idle, "lines": line, "total": toolpath.total_lines}))


def memory_bar(name: str, module: str, port: str, path: Path) -> Bar:
    """Run `python -m module --memory port path`, and judge what it printed. Removes the file."""
    command = [sys.executable, "-m", module, "--memory", port, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    path.unlink()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    grown = result["grown_kb"] / 1024
    print(f"streamed {result['lines']} of {result['total']} lines of a 200 MB file")
    return Bar(name, grown, "MB above idle", "<= 10", grown <= _MOST_MB and result["lines"] > _ENOUGH_LINES)


def _resident_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0
