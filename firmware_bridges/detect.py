"""`workshed-agent detect`: which machine sits on which port, and what to write into the configuration.

Opens each port with DTR and RTS low, so that boards are not reset where that can be avoided, listens for a greeting,
then asks in the order that disturbs least: `?` (one byte, GRBL family), `$I`, `M115`. Nothing that could move or stop
a machine is sent. `classify` is pure: lines in, an answer out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from firmware_bridges import grbl_lines
from firmware_bridges.bridge import PortUnavailable
from firmware_bridges.link import Opener, PortSettings, open_serial, stable_name

BAUDS: Final = (115200, 250000, 230400, 57600)
_DEVICES: Final = ("ttyUSB*", "ttyACM*", "ttyAMA*", "cu.usb*")
GREETING_S: Final = 2.5
_NAME: Final = re.compile(
    r"FIRMWARE_NAME:\s*(.*?)(?:\s+(?:SOURCE_CODE_URL|FIRMWARE_VERSION|COMPILED|ELECTRONICS):|,|$)"
)
_VERSION: Final = re.compile(r"FIRMWARE_VERSION:\s*([^\s,]+)")
_MACHINE: Final = re.compile(r"MACHINE_TYPE:\s*(.*?)(?:\s+[A-Z_]+:|,|$)")
#: What a firmware's name begins with → dialect. Longer names first.
_PRINTERS: Final = (
    ("Prusa-Firmware", "prusa"),
    ("Marlin", "marlin"),
    ("Klipper", "klipper"),
    ("Smoothieware", "smoothie"),
    ("RepRapFirmware", "reprapfirmware"),
    ("Repetier", "repetier"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Who spoke: dialect, version as it told, and what kind of machine it may be."""

    dialect: str
    version: str
    model: str = ""
    process: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One port. `answer` is None where nobody known spoke; `why` then says what was seen."""

    port: str
    device: str
    baud: int
    answer: Answer | None
    why: str = ""


def classify(lines: Iterable[str]) -> Answer | None:
    """Who said these lines (a greeting, answers to `?`, `$I`, `$$`, `M115`); None for nobody known."""
    heard = list(lines)
    for line in heard:
        printer = _printer(line)
        if printer is not None:
            return printer
    build = grbl_lines.build(heard)
    if build is not None:
        settings = grbl_lines.settings(heard)
        process = {"1": "laser", "0": "cnc"}.get(settings.get(32, ""), "")
        return Answer(build.firmware, build.version, process=process)
    if any(grbl_lines.report(line) is not None for line in heard):
        return Answer("grbl", "")
    if any(line.strip() == "start" or line.startswith("Marlin ") for line in heard):
        return Answer("marlin", "", process="fdm")
    return None


def _printer(line: str) -> Answer | None:
    found = _NAME.search(line)
    if found is None:
        return None
    name = found[1].strip()
    version, machine = _VERSION.search(line), _MACHINE.search(line)
    for start, dialect in _PRINTERS:
        if name.startswith(start):
            model = machine[1].strip() if machine else ""
            return Answer(dialect, version[1] if version else name.removeprefix(start).strip(" _"), model, "fdm")
    return Answer("acknowledge-only", name, process="fdm")


def ports(device_folder: Path = Path("/dev")) -> list[str]:
    """The serial ports there are, by their most stable names."""
    return sorted({stable_name(str(path)) for pattern in _DEVICES for path in device_folder.glob(pattern)})


class _Ear:
    """Collects lines from a descriptor."""

    def __init__(self, fd: int, monotonic: Callable[[], float]) -> None:
        self._fd = fd
        self._monotonic = monotonic
        self._rest = b""
        self.lines: list[str] = []
        self.bytes = 0

    def listen(self, for_s: float, enough: Callable[[str], bool]) -> bool:
        """Until a line is `enough` or the time is over."""
        until = self._monotonic() + for_s
        while (left := until - self._monotonic()) > 0:
            if not select.select([self._fd], [], [], left)[0]:
                return False
            try:
                data = os.read(self._fd, 4096)
            except BlockingIOError:
                continue
            except OSError:
                return False
            if not data:
                return False
            self.bytes += len(data)
            pieces = (self._rest + data).split(b"\n")
            self._rest = pieces.pop()
            fresh = [piece.rstrip(b"\r").decode("latin-1") for piece in pieces]
            self.lines += fresh
            if any(enough(line) for line in fresh):
                return True
        return False


def _greets(line: str) -> bool:
    return grbl_lines.banner(line) is not None or line.strip() == "start" or line.startswith("Smoothie")


def _ends(line: str) -> bool:
    return line.startswith(("ok", "error:"))


def probe(
    port: str,
    baud: int,
    *,
    opener: Opener = open_serial,
    monotonic: Callable[[], float] = time.monotonic,
    greeting_s: float = GREETING_S,
) -> Finding:
    """Ask one port at one baud rate. Raises PortUnavailable."""
    opened = opener(PortSettings(port, baud))
    try:
        ear = _Ear(opened.fileno(), monotonic)
        os.set_blocking(opened.fileno(), False)
        greeted = ear.listen(greeting_s, _greets)
        if not greeted or classify(ear.lines) is None or classify(ear.lines) == Answer("marlin", "", process="fdm"):
            ear.listen(0.2, lambda _line: False)
        for question, enough, for_s in (
            (b"?", lambda line: line.startswith("<"), 0.6),
            (b"$I\n", _ends, 1.0),
            (b"M115\n", _ends, 1.5),
            (b"$$\n", _ends, 2.0),
        ):
            answer = classify(ear.lines)
            if answer is not None and answer.version and (question != b"$$\n" or not _is_grbl(answer)):
                continue
            if question == b"M115\n" and answer is not None and _is_grbl(answer):
                continue
            os.write(opened.fileno(), question)
            ear.listen(for_s, enough)
        answer = classify(ear.lines)
        why = ""
        if answer is None:
            why = f"{ear.bytes} bytes came, none of them understood" if ear.bytes else "nobody answered"
        return Finding(stable_name(port), port, baud, answer, why)
    finally:
        opened.close()


def _is_grbl(answer: Answer) -> bool:
    return answer.dialect in ("grbl", "grblhal", "fluidnc")


def look(
    port: str, bauds: Sequence[int] = BAUDS, *, opener: Opener = open_serial, greeting_s: float = GREETING_S
) -> Finding:
    """The first baud rate at which somebody known answers; else what was seen last."""
    last = Finding(stable_name(port), port, 0, None, "no baud rate was tried")
    for baud in bauds:
        try:
            last = probe(port, baud, opener=opener, greeting_s=greeting_s)
        except PortUnavailable as error:
            return Finding(stable_name(port), port, baud, None, str(error))
        if last.answer is not None:
            return last
    return last


def configuration(finding: Finding, number: int) -> str:
    """The lines to paste into the shop's configuration."""
    answer = finding.answer
    if answer is None:
        return f"# {finding.port}: {finding.why}"
    value = f'"{answer.process}"' if answer.process else '"cnc"  # or "laser"'
    name = answer.model or f"{answer.dialect} {number}"
    return "\n".join(
        [
            "[[machine]]",
            f'id = "m{number}"',
            f"name = {json.dumps(name)}",
            f"process = {value}",
            f'port = "{finding.port}"',
            f'dialect = "{answer.dialect}"',
            f"baud = {finding.baud}",
            f"model = {json.dumps(answer.model or answer.dialect)}  # alike machines share programs and experience",
            "envelope_mm = [0, 0, 0]  # width, depth, height: measure them",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Look at every port (or those given), print what was found. 0: somebody was found; 1: nobody."""
    parser = argparse.ArgumentParser(prog="workshed-agent detect", description="Find machines on serial ports.")
    parser.add_argument("--port", action="append", default=[], help="look at this port only (repeatable)")
    parser.add_argument("--baud", action="append", type=int, default=[], help="try this baud rate only (repeatable)")
    parser.add_argument("--wait", type=float, default=GREETING_S, help="seconds to listen for a greeting")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)
    chosen = given.port or ports()
    found = [look(port, given.baud or BAUDS, greeting_s=given.wait) for port in chosen]
    if given.json:
        print(json.dumps([asdict(finding) for finding in found]))
    elif not found:
        print("No serial port was found. Plug a machine in, or name a port with --port.")
    else:
        for finding in found:
            answer = finding.answer
            what = f"{answer.dialect} {answer.version}".strip() if answer else finding.why
            print(f"{finding.port}: {what}" + (f" at {finding.baud} baud" if answer else ""))
        print("\nFor the configuration:\n")
        print("\n\n".join(configuration(finding, number) for number, finding in enumerate(found, start=1)))
    return 0 if any(finding.answer for finding in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
