"""OctoPrint's virtual printer as an independent Marlin: the bridge prints on it through a pseudo-terminal.

`python -m tests.benchmarks.octoprint_virtual`. OctoPrint is looked for in the virtual environment OCTOPRINT_PYTHON (or
build/peers/bin/python; `python -m venv`, `pip install OctoPrint`); where it is not found, nothing is claimed. Its
own faults are on in two of three runs: refused lines, a lost line number, resends for every ninth line.
Its `resend_ratio` is not used: it takes the number of a line, forgets the line, and asks for the next.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from firmware_bridges.bridge import Event, MachineConfig, RunFinished
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.toolpath_file import ToolpathFile
from tests.benchmarks.bridge_runs import Ending
from tests.benchmarks.report import Bar, write

_PYTHON = Path(os.environ.get("OCTOPRINT_PYTHON", "build/peers/bin/python"))
_CHILD = r"""
import os, pty, sys, tempfile, threading, tty
import octoprint.plugin
octoprint.plugin.plugin_manager(init=True, plugin_folders=[], plugin_entry_points=[])
from octoprint.plugins.virtual_printer import VirtualPrinterPlugin
from octoprint.plugins.virtual_printer.virtual import VirtualPrinter
values = VirtualPrinterPlugin().get_settings_defaults()
values.update(firmwareName="Marlin Virtual", throttle=0.0,
              simulated_errors=sys.argv[1].split(",") if sys.argv[1] else [], sendBusy=True, supportM112=True)
class Settings:
    def get(self, path, **_):
        found = values
        for name in path: found = found[name]
        return found
    def get_int(self, path, **_): return int(self.get(path))
    def get_float(self, path, **_): return float(self.get(path))
    def get_boolean(self, path, **_): return bool(self.get(path))
    def global_get_basefolder(self, _): return tempfile.mkdtemp()
class Profiles:
    def get_current_or_default(self):
        volume = {"width": 200, "depth": 200, "height": 200, "formFactor": "rectangular", "custom_box": False}
        return {"extruder": {"count": 1}, "volume": volume}
executed = open(sys.argv[2], "w")
process = VirtualPrinter._performMove
def noted(self, line):
    executed.write(line + "\n"); executed.flush()
    return process(self, line)
VirtualPrinter._performMove = noted
printer = VirtualPrinter(Settings(), Profiles(), tempfile.mkdtemp(), read_timeout=0.5)
master, slave = pty.openpty(); tty.setraw(slave)
print(os.ttyname(slave), flush=True)
def back():
    while True:
        line = printer.readline()
        if line: os.write(master, line.rstrip(b"\n") + b"\n")
threading.Thread(target=back, daemon=True).start()
rest = b""
while True:
    try: data = os.read(master, 4096)
    except OSError: continue
    *lines, rest = (rest + data).split(b"\n")
    for line in lines:
        if line.strip(): printer.write(line + b"\n")
"""


def print_on_it(folder: Path, errors: str) -> tuple[Event | None, list[str], list[str], float]:
    """(outcome, moves it was told, moves of the file, seconds)."""
    moves = [f"G1 X{i % 150 + 0.5:.2f} Y{i * 7 % 130:.2f} F6000" for i in range(400)]
    path, log = folder / "job.gcode", folder / "moves.txt"
    path.write_text("; a job\nG21\nG90\n" + "\n".join(moves) + "\n")
    child = subprocess.Popen([str(_PYTHON), "-c", _CHILD, errors, str(log)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        bridge = MarlinBridge(MachineConfig(port=port, dialect="marlin", options=(("banner_wait_s", "2"),)))
        ending = Ending(bridge)
        bridge.connect()
        began = time.monotonic()
        bridge.run(ToolpathFile(path))
        outcome = ending.wait(180)
        took = time.monotonic() - began
        print(f"resends {bridge.status().resends}, {outcome}")
        bridge.close()
        told = [line.split("*")[0].strip() for line in log.read_text().splitlines()]
        return outcome, told, moves, took
    finally:
        child.kill()
        child.wait(10)


def bars() -> list[Bar]:
    """Every move once and in order, clean and with OctoPrint's own faults on."""
    if not _PYTHON.exists():
        print(f"peer not found: OctoPrint in {_PYTHON}")
        return []
    found = []
    kinds = ("resend", "checksum_mismatch", "missing_lineno")
    some = ",".join(f"{100 + 30 * i}:{kind}" for i, kind in enumerate(kinds))
    many = ",".join(f"{n}:{kinds[n % 2]}" for n in range(7, 400, 9))
    for name, errors in (("clean", ""), ("its faults", some), ("11 % resends", many)):
        with tempfile.TemporaryDirectory() as folder:
            outcome, told, moves, took = print_on_it(Path(folder), errors)
        holds = isinstance(outcome, RunFinished) and told == moves
        found.append(Bar(f"octoprint virtual, {name}", took, "s for 400 moves", "each once", holds))
    return found


def main() -> int:
    """The table; exit code 1 where a bar does not hold."""
    found = bars()
    write("octoprint_virtual", found)
    return 0 if all(bar.holds for bar in found) else 1


if __name__ == "__main__":
    sys.exit(main())
