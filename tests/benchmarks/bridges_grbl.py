"""How well the GRBL bridge streams: wire use, starvation, CPU beside another streamer, stops, memory.

`python -m tests.benchmarks.bridges_grbl`. The machine is the GRBL twin in a process of its own. The peer is
`grbl-streamer` from PyPI, looked for in a virtual environment given by GRBL_STREAMER_PYTHON (or build/peers).
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firmware_bridges.bridge import MachineConfig
from firmware_bridges.grbl import GrblBridge
from firmware_bridges.link import PortSettings, open_serial
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.host import TwinHost
from tests.benchmarks.bridge_memory import large_file, memory_bar, memory_client
from tests.benchmarks.bridge_runs import client, stream
from tests.benchmarks.report import Bar, write

_MODULE = "tests.benchmarks.bridges_grbl"
BAUD = 115200
FAST = ("$110=60000", "$111=60000", "$120=30000", "$121=30000")
_PEER = Path(os.environ.get("GRBL_STREAMER_PYTHON", "build/peers/bin/python"))
_PEER_SCRIPT = """
import json, resource, sys, threading, time
from grbl_streamer import GrblStreamer
booted, told, done, started = (threading.Event() for _ in range(4))
def heard(event, *data):
    if event == "on_boot": booted.set()
    if event == "on_stateupdate": told.set()
    if event == "on_job_completed" and started.is_set(): done.set()
machine = GrblStreamer(heard)
machine.setup_logging()
machine.cnect(sys.argv[1], 115200)
booted.wait(20)
machine.poll_interval = 0.1
machine.poll_start()
told.wait(20)
before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
machine.load_file(sys.argv[2])
started.set()
machine.job_run()
finished = done.wait(300)
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"finished": finished, "cpu_s": cpu, "wall_s": time.monotonic() - began}), flush=True)
machine.disconnect()
"""


def short_segments(path: Path, count: int, feed: int = 30000) -> None:
    """A laser job of 0.1 mm moves on a slowly turning circle."""
    with path.open("w") as file:
        file.write(f"G21 G90\nM4 S500\nG1 X0 Y0 F{feed}\n")
        x = y = 0.0
        for i in range(count):
            angle = i * 0.1 / 20.0
            x, y = x + 0.1 * math.cos(angle), y + 0.1 * math.sin(angle)
            file.write(f"X{x:.3f}Y{y:.3f}\n")
        file.write("M5\n")


@contextmanager
def twin(folder: Path, *, speed: float = 1.0, baud: int = 0) -> Iterator[tuple[Path, Path]]:
    """A laser twin in its own process: (port, control socket)."""
    port, control = folder / "port", folder / "control"
    command = [sys.executable, "-m", "firmware_bridges.twins.run", "grbl", "--profile", "laser", "--port", str(port)]
    command += ["--control", str(control), "--speed", str(speed), "--baud", str(baud)]
    for setting in FAST:
        command += ["--setting", setting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port, control
    finally:
        process.terminate()
        process.wait(10)


def ask(control: Path) -> dict[str, Any]:
    """The twin's own record."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(b'{"cmd":"state"}\n')
        answer: dict[str, Any] = json.loads(connection.makefile().readline())
        return answer


def count_only(port: str, path: Path) -> dict[str, Any]:
    """The same file by a client that counts characters and does nothing else: what this computer allows."""
    opened = open_serial(PortSettings(port, BAUD))
    fd = opened.fileno()
    os.set_blocking(fd, False)
    threading.Event().wait(2.0)
    lines = [line.replace(" ", "").encode() + b"\n" for line in path.read_text().splitlines()]
    sizes: deque[int] = deque()
    room, place, sent = 127, 0, 0
    began = time.monotonic()
    while place < len(lines) or sizes:
        batch = b""
        while place < len(lines) and len(lines[place]) <= room:
            room -= len(lines[place])
            sizes.append(len(lines[place]))
            batch += lines[place]
            place += 1
        if batch:
            sent += os.write(fd, batch)
        if select.select([fd], [], [], 1.0)[0]:
            for _ in range(os.read(fd, 4096).count(b"ok")):
                room += sizes.popleft() if sizes else 0
    wall = time.monotonic() - began
    opened.close()
    return {"bytes": sent, "wall_s": wall}


def wire_use(folder: Path) -> list[Bar]:
    """Bytes on the wire against what 115200 baud can carry, for 0.1 mm moves that the machine could make faster.

    The peer is a client that only counts characters, in the same run: where it falls short, this computer does.
    """
    path = folder / "short.nc"
    short_segments(path, 9000)
    with twin(folder, baud=BAUD) as (port, control):
        result = client(_MODULE, port, path)
        record = ask(control)
    with twin(folder, baud=BAUD) as (port, _):
        command = [sys.executable, "-m", _MODULE, "--count-only", str(port), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    bare = json.loads(done.stdout.splitlines()[-1])
    possible = bare["bytes"] * 10 / BAUD / bare["wall_s"]
    seconds = result["wall_s"] - 0.35  # start-up questions before the first line, settling after the last
    use = result["bytes"] * 10 / BAUD / seconds
    good = result["finished"] and record["overruns"] == 0
    lines = result["lines"] / seconds
    return [
        Bar("grbl wire use at 115200", use, "of the wire", ">= 0.98", good and use >= 0.98, possible, use / possible),
        Bar("grbl lines at 115200", lines, "lines/s", "reported", good),
    ]


def starvation(folder: Path) -> list[Bar]:
    """20,000 segments of arcs at a feed the wire can just feed: how often the planner ran dry."""
    path = folder / "arcs.nc"
    short_segments(path, 20_000, feed=3600)
    with twin(folder, baud=BAUD) as (port, control):
        result = client(_MODULE, port, path)
        record = ask(control)
    starved = record["planner"]["starved"]
    good = result["finished"] and record["overruns"] == 0 and starved == 0
    return [Bar("grbl planner starved in 20,000", float(starved), "times", "0", good)]


def processor(folder: Path) -> list[Bar]:
    """Lines per CPU-second of the host process, unpaced, beside a public streamer in the same run."""
    path = folder / "cpu.nc"
    short_segments(path, 20_000)
    count = 20_000
    with twin(folder, speed=300.0) as (port, _):
        ours = client(_MODULE, port, path)
    figure = count / ours["cpu_s"]
    bars = [Bar("grbl cpu per line", ours["cpu_s"] / count * 1e6, "us", "reported", ours["finished"])]
    peer = None
    if _PEER.exists():
        with twin(folder, speed=300.0) as (port, _):
            done = subprocess.run(
                [str(_PEER), "-c", _PEER_SCRIPT, str(port), str(path)], capture_output=True, text=True, timeout=600
            )
        theirs = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else {}
        if theirs.get("finished"):
            peer = count / theirs["cpu_s"]
    else:
        print(f"peer not found: grbl-streamer in {_PEER} (python -m venv, pip install grbl-streamer)")
    ratio = figure / peer if peer else None
    holds = ours["finished"] and (ratio is None or ratio >= 3)
    return [*bars, Bar("grbl lines per CPU-second", figure, "lines/s", ">= 3x peer", holds, peer, ratio)]


class _Stamped(GrblTwin):
    """Notes when a stop byte came off the wire."""

    seen: dict[int, float]

    def receive(self, data: bytes, now: float) -> None:
        for byte in (0x18, 0x21):
            if byte in data:
                self.seen.setdefault(byte, time.monotonic())
        super().receive(data, now)


def stops(folder: Path) -> list[Bar]:
    """From the call to the byte off the wire, controller's and host's buffers full; and the burn of a cancel."""
    path = folder / "stop.nc"
    short_segments(path, 20_000, feed=600)
    settings = {110: 60000.0, 111: 60000.0, 120: 30000.0, 121: 30000.0}
    worst: dict[str, float] = {"hold": 0.0, "stop": 0.0}
    burn = 0.0
    for act in ("hold", "stop", "hold", "stop", "hold", "stop"):
        machine = _Stamped(profile="laser", settings=settings)
        machine.seen = {}
        with TwinHost(machine, baud=BAUD) as host:
            bridge = GrblBridge(MachineConfig(port=host.port, dialect="grbl", process="laser"))
            bridge.connect()
            bridge.run(ToolpathFile(path))
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and len(machine._rx) < 90:
                threading.Event().wait(0.02)
            machine.seen.clear()
            began = time.monotonic()
            (bridge.hold if act == "hold" else bridge.emergency_stop)()
            wanted = 0x21 if act == "hold" else 0x18
            while wanted not in machine.seen and time.monotonic() < began + 2:
                threading.Event().wait(0.001)
            worst[act] = max(worst[act], machine.seen.get(wanted, began + 2) - began)
            threading.Event().wait(0.6)
            burn = max(burn, float(host.state()["stationary_burn_ms"]))
            bridge.close()
    return [
        Bar("grbl emergency stop", worst["stop"] * 1000, "ms", "<= 20", worst["stop"] <= 0.02),
        Bar("grbl hold on a laser", worst["hold"] * 1000, "ms", "<= 20", worst["hold"] <= 0.02),
        Bar("grbl burn at a stand", burn, "ms", "< 100", burn < 100),
    ]


def memory(folder: Path) -> list[Bar]:
    """A 200 MB file opened whole and streamed for 20 s."""
    path = folder / "large.nc"
    short_segments(path, 20_000)
    block = ("\n".join(path.read_text().splitlines()[3:-1]) + "\n").encode()
    large_file(path, b"G21 G90\nM4 S500\nG1 X0 Y0 F30000\n", block)
    with twin(folder, speed=300.0) as (port, _):
        return [memory_bar("grbl memory, 200 MB file", _MODULE, str(port), path)]


def bars() -> list[Bar]:
    """All of them."""
    found: list[Bar] = []
    for part in (wire_use, starvation, processor, stops, memory):
        with tempfile.TemporaryDirectory() as folder:
            found += part(Path(folder))
    return found


def main() -> int:
    if sys.argv[1:2] == ["--client"]:
        print(json.dumps(stream(GrblBridge(MachineConfig(sys.argv[2], "grbl", process="laser")), Path(sys.argv[3]))))
        return 0
    if sys.argv[1:2] == ["--count-only"]:
        print(json.dumps(count_only(sys.argv[2], Path(sys.argv[3]))))
        return 0
    if sys.argv[1:2] == ["--memory"]:
        memory_client(GrblBridge(MachineConfig(sys.argv[2], "grbl", process="laser")), Path(sys.argv[3]))
        return 0
    found = bars()
    write("bridges_grbl", found)
    return 0 if all(bar.holds for bar in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
