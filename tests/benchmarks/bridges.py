"""How well the bridges stream: wire use, starvation, CPU beside printrun, stops, memory. GRBL's bars come along.

`python -m tests.benchmarks.bridges [--quick]`. Machines are twins, or a firmware that acknowledges at once, in
processes of their own. The peer is Debian's printcore, looked for in PRINTRUN (a folder that holds the package
`printrun`; default /usr/lib/python3/dist-packages or build/peers/printrun/usr/lib/python3/dist-packages).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firmware_bridges.bridge import MachineConfig
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.marlin import MarlinTwin
from tests.benchmarks.bridge_memory import large_file, memory_bar, memory_client
from tests.benchmarks.bridge_runs import client, stream
from tests.benchmarks.bridges_grbl import ask
from tests.benchmarks.report import Bar, write

_MODULE = "tests.benchmarks.bridges"
_PEER_SCRIPT = """
import json, resource, sys, threading
from printrun.printcore import printcore
from printrun import gcoder
core = printcore()
online, done = threading.Event(), threading.Event()
core.onlinecb = online.set
core.endcb = done.set
core.connect(sys.argv[1], 115200)
online.wait(20)
job = gcoder.LightGCode([line.rstrip() for line in open(sys.argv[2])])
before = resource.getrusage(resource.RUSAGE_SELF)
import time
began = time.monotonic()
core.startprint(job)
finished = done.wait(300)
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"finished": finished, "cpu_s": cpu, "wall_s": time.monotonic() - began}), flush=True)
import os
os._exit(0)
"""


def short_segments(path: Path, count: int, feed: int = 12000) -> None:
    """0.1 mm moves on a slowly turning circle, as a slicer writes them."""
    with path.open("w") as file:
        file.write(f"G21\nG90\nM83\nG92 E0\nG92 X60 Y60\nG1 F{feed}\n")
        x, y = 60.0, 60.0
        for i in range(count):
            angle = i * 0.1 / 20.0
            x, y = x + 0.1 * math.cos(angle), y + 0.1 * math.sin(angle)
            file.write(f"G1 X{x:.3f} Y{y:.3f}\n")


@contextmanager
def twin(folder: Path, *, speed: float = 1.0, baud: int = 0) -> Iterator[tuple[Path, Path]]:
    """A printer twin in its own process: (port, control socket)."""
    port, control = folder / "port", folder / "control"
    command = [sys.executable, "-m", "firmware_bridges.twins.run", "marlin", "--port", str(port)]
    command += ["--control", str(control), "--speed", str(speed), "--baud", str(baud)]
    command += ["--setting", "acceleration=12000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port, control
    finally:
        process.terminate()
        process.wait(10)


def answer_at_once() -> None:
    """A firmware that takes every line at once: what it costs the host is the host's own."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    os.write(master, b"start\n")
    rest = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            *lines, rest = (rest + data).split(b"\n")
            out = []
            for line in lines:
                if line[:1] == b"N":
                    number = line[1:].split(b" ", 1)[0]
                    out.append(b"ok N%b P15 B3\n" % number)
                elif b"M115" in line:
                    out.append(b"FIRMWARE_NAME:Marlin 2.1 MACHINE_TYPE:bench UUID:0\nCap:EMERGENCY_PARSER:1\nok\n")
                elif b"M105" in line:
                    out.append(b"ok T:20.00 /0.00 B:20.00 /0.00 @:0 B@:0\n")
                elif line:
                    out.append(b"ok P15 B3\n")
            os.write(master, b"".join(out))


@contextmanager
def instant() -> Iterator[str]:
    """The port of `answer_at_once`, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bridges", "--instant"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(10)


def wire_use(folder: Path) -> list[Bar]:
    """Short segments over a wire paced at its true rate: the share of the wire that carried the file."""
    found = []
    for baud, count in ((115200, 8000), (250000, 16000)):
        path = folder / f"segments{baud}.gcode"
        short_segments(path, count)
        with twin(folder, baud=baud) as (port, control):
            result = client(_MODULE, port, path)
            record = ask(control)
        share = result["bytes"] / result["wall_s"] / (baud / 10)
        holds = share >= 0.98 and result["finished"] and record["overruns"] == 0
        print(f"{baud}: {count} lines in {result['wall_s']:.2f} s, {record['resends']} resends, {result['outcome']}")
        found.append(Bar(f"marlin wire use, {baud}", share, "of the wire", ">= 0.98", holds))
    return found


def starvation(folder: Path) -> list[Bar]:
    """20,000 segments of arcs at a feed the wire can just feed: how often the planner ran dry."""
    path = folder / "arcs.gcode"
    short_segments(path, 20_000, feed=3600)
    with twin(folder, baud=250000) as (port, control):
        result = client(_MODULE, port, path)
        record = ask(control)
    good = result["finished"] and record["overruns"] == 0 and record["starved"] == 0
    return [Bar("marlin planner starved in 20,000", float(record["starved"]), "times", "0", good)]


def _printrun() -> Path | None:
    places = [os.environ.get("PRINTRUN", ""), "/usr/lib/python3/dist-packages"]
    places += ["build/peers/printrun/usr/lib/python3/dist-packages", "build/peers/printrun/usr/share/printrun"]
    for place in places:
        if place and (Path(place) / "printrun" / "printcore.py").exists():
            return Path(place)
    return None


def processor(folder: Path) -> list[Bar]:
    """Lines per CPU-second of the host process, unpaced, beside printcore in the same run."""
    count = 30_000
    path = folder / "cpu.gcode"
    short_segments(path, count)
    with instant() as port:
        ours = client(_MODULE, port, path)
    figure = count / ours["cpu_s"]
    found = [
        Bar("marlin cpu per line", ours["cpu_s"] / count * 1e6, "us", "reported", ours["finished"]),
        Bar("marlin lines per second", count / ours["wall_s"], "lines/s", "reported", ours["finished"]),
    ]
    peer = None
    where = _printrun()
    if where is None:
        print("peer not found: printrun (apt-get install printcore, or unpack it and set PRINTRUN)")
    else:
        with instant() as port:
            done = subprocess.run(
                [sys.executable, "-c", _PEER_SCRIPT, str(port), str(path)],
                capture_output=True,
                text=True,
                timeout=600,
                env={**os.environ, "PYTHONPATH": str(where)},
            )
        theirs = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
        if theirs.get("finished"):
            peer = count / theirs["cpu_s"]
        else:
            print(f"printrun did not finish: {done.stderr[-300:]}")
    ratio = figure / peer if peer else None
    holds = ours["finished"] and (ratio is None or ratio >= 3)
    return [*found, Bar("marlin lines per CPU-second", figure, "lines/s", ">= 3x peer", holds, peer, ratio)]


class _Stamped(MarlinTwin):
    """Notes when M112 came off the wire."""

    seen = 0.0

    def receive(self, data: bytes, now: float) -> None:
        self.tail = (getattr(self, "tail", b"") + data)[-64:]
        if b"M112" in self.tail and not self.seen:
            self.seen = time.monotonic()
        super().receive(data, now)


def stops(folder: Path) -> list[Bar]:
    """From the call to the whole of M112 off the wire, with the machine's planner and queue full, and as much
    in flight as the flow ever lets out (so that the system's own buffers stay empty)."""
    path = folder / "stop.gcode"
    short_segments(path, 20_000, feed=600)
    worst = 0.0
    for _ in range(6):
        machine = _Stamped()
        with TwinHost(machine, baud=115200) as host:
            bridge = MarlinBridge(MachineConfig(port=host.port, dialect="marlin"))
            bridge.connect()
            bridge.run(ToolpathFile(path))
            deadline = time.monotonic() + 20
            full = False
            while time.monotonic() < deadline and not full:
                state = host.state()
                full = state["queue"] == 4 and state["planner"] == 15 and bridge._flow.fill() == b""
                threading.Event().wait(0.02)
            assert full, "the machine's buffers did not fill"
            began = time.monotonic()
            bridge.emergency_stop()
            while not machine.seen and time.monotonic() < began + 2:
                threading.Event().wait(0.001)
            worst = max(worst, (machine.seen or began + 2) - began)
            bridge.close()
    return [Bar("marlin emergency stop", worst * 1000, "ms", "<= 20", worst <= 0.02)]


def memory(folder: Path) -> list[Bar]:
    """A 200 MB file opened whole and streamed for 20 s."""
    path = folder / "large.gcode"
    short_segments(path, 20_000)
    block = "".join(path.read_text().splitlines(keepends=True)[6:]).encode()
    large_file(path, b"G21\nG90\nM83\nG92 E0\nG92 X60 Y60\nG1 F12000\n", block)
    with instant() as port:
        return [memory_bar("marlin memory, 200 MB file", _MODULE, port, path)]


PARTS = (wire_use, starvation, processor, stops, memory)


def _bridge(port: str) -> MarlinBridge:
    return MarlinBridge(MachineConfig(port=port, dialect="marlin", options=(("banner_wait_s", "1.0"),)))


def bars(parts: tuple[Any, ...] = PARTS) -> list[Bar]:
    """The Marlin family's."""
    found: list[Bar] = []
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            found += part(Path(folder))
    return found


def main() -> int:
    """The figures; `--only NAME` takes one part."""
    match sys.argv[1:2]:
        case ["--instant"]:
            answer_at_once()
        case ["--client"]:
            print(json.dumps(stream(_bridge(sys.argv[2]), Path(sys.argv[3]))))
        case ["--memory"]:
            memory_client(_bridge(sys.argv[2]), Path(sys.argv[3]))
        case ["--only"]:
            write("bridges_part", bars(tuple(part for part in PARTS if part.__name__ in sys.argv[2:])))
        case _:
            from tests.benchmarks import bridges_grbl

            write("bridges", [*bars(), *bridges_grbl.bars()])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
