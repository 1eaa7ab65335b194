"""Conversations with firmwares as text: the same file is run against a twin and against a real port.

# a comment
-> M105                     send this line (an LF is added); \\xNN is a byte, and a line that ends in \\ gets no LF
<- ok T:{n} /{n}{text}      the next line must match: {n} is any number, {text} anything
<~ echo:busy: processing    may come, once
<* {text} W:{text}          may come, any number of times
<| ok                       one of the `<|` lines beside each other must come
<! 2                        nothing comes for 2 s
= within 60                 from here on answers may take 60 s (of the machine's time)
! heater_dead heater=E0     a fault: done by the twin; on a real port the file is refused

python -m firmware_bridges.conversations FILE … (--twin marlin | --port /dev/ttyUSB0 --baud 115200)
"""

from __future__ import annotations

import argparse
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware_bridges.bridge import PortUnavailable
from firmware_bridges.link import Port, PortSettings, open_serial
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.run import KINDS, TwinOptions, make_twin

WITHIN_S: Final = 10.0
TWIN_SPEED: Final = 20.0
_KINDS: Final = ("->", "<-", "<~", "<*", "<|", "<!", "=", "!")
_HOLE: Final = re.compile(r"\{(n|text)\}")
_PATTERNS: Final = {"n": r"[-+]?\d+(?:\.\d+)?", "text": r".*?"}


class BadConversation(Exception):
    """The file is not a conversation; the text names the line."""


class Disagreement(Exception):
    """The machine said something else; the text shows the line of the file and what came."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a conversation."""

    at: int
    kind: str
    text: str

    def matches(self, line: str) -> bool:
        """Whether a received line (without line end) is what this step expects."""
        parts = _HOLE.split(self.text)
        pattern = "".join(_PATTERNS[part] if i % 2 else re.escape(part) for i, part in enumerate(parts))
        return re.fullmatch(pattern, line) is not None


def parse(text: str) -> tuple[Step, ...]:
    """The steps of a file. Raises BadConversation."""
    steps = []
    for at, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        kind = next((kind for kind in _KINDS if raw.startswith(kind)), None)
        if kind is None:
            raise BadConversation(f"line {at} begins with none of {' '.join(_KINDS)}: {raw!r}")
        steps.append(Step(at, kind, raw[len(kind) + 1 :]))
    return tuple(steps)


class Listener:
    """Lines from a port, with a deadline; keeps one line back when a step did not want it."""

    def __init__(self, port: Port, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._lines: list[str] = []
        self._partial = b""

    def line(self, within_s: float) -> str | None:
        """The next line, or None when none came in time."""
        until = self._clock() + within_s
        while not self._lines:
            left = until - self._clock()
            if left <= 0 or not select.select([self._port.fileno()], [], [], left)[0]:
                return None
            self._take()
        return self._lines.pop(0)

    def put_back(self, line: str) -> None:
        """The next call to `line` returns this one again."""
        self._lines.insert(0, line)

    def _take(self) -> None:
        try:
            data = os.read(self._port.fileno(), 65536)
        except OSError as error:
            raise PortUnavailable(f"the port went away in the middle of the conversation ({error})") from error
        *whole, self._partial = (self._partial + data).split(b"\n")
        self._lines += [line.rstrip(b"\r").decode("latin-1") for line in whole]


def converse(
    steps: Sequence[Step], port: Port, *, speed: float = 1.0, fault: Callable[[str, dict[str, str]], None] | None = None
) -> None:
    """Hold the conversation. `speed`: how much faster than ours the machine's clock runs.

    Raises Disagreement, PortUnavailable, BadConversation (a fault asked of a real machine).
    """
    listener = Listener(port)
    within_s = WITHIN_S
    groups = _groups(steps)
    for group in groups:
        step = group[0]
        match step.kind:
            case "->":
                os.write(port.fileno(), _bytes(step.text))
            case "=":
                within_s = _within(step)
            case "!":
                if fault is None:
                    raise BadConversation(f"line {step.at} breaks something: only a twin can do that")
                name, *options = step.text.split()
                fault(name, dict(option.split("=", 1) for option in options))
            case "<!":
                line = listener.line(float(step.text) / speed)
                if line is not None:
                    raise Disagreement(f"line {step.at}: nothing was expected, and {line!r} came")
            case _:
                _expect(group, listener, within_s / speed + 1.0)


def _expect(group: Sequence[Step], listener: Listener, within_s: float) -> None:
    kind = group[0].kind
    optional = kind in ("<~", "<*")
    until = time.monotonic() + within_s
    while True:
        line = listener.line(0.5 if optional else within_s)
        if line is not None and any(step.matches(line) for step in group):
            if kind != "<*":
                return
            if time.monotonic() > until:
                raise Disagreement(f"line {group[0].at}: {group[0].text!r} came again and again without an end")
            continue
        if optional:
            if line is not None:
                listener.put_back(line)
            return
        wanted = " or ".join(repr(step.text) for step in group)
        came = "nothing came" if line is None else f"{line!r} came"
        raise Disagreement(f"line {group[0].at}: {wanted} was expected, and {came}")


def _groups(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps one by one, `<|` lines beside each other together."""
    group: list[Step] = []
    for step in steps:
        if group and not (step.kind == "<|" and group[0].kind == "<|"):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def _bytes(text: str) -> bytes:
    whole = not text.endswith("\\")
    data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), text.rstrip("\\").encode("latin-1"))
    return data + b"\n" if whole else data


def _within(step: Step) -> float:
    match = re.fullmatch(r"within (\d+(?:\.\d+)?)", step.text.strip())
    if match is None:
        raise BadConversation(f"line {step.at}: only `= within SECONDS` is known")
    return float(match[1])


def on_twin(path: Path, kind: str, *, settings: Sequence[str] = ()) -> None:
    """One file against a fresh twin. Raises as `converse`."""
    pairs = tuple((name, value) for name, _, value in (setting.partition("=") for setting in settings))
    twin = make_twin(TwinOptions(kind, settings=pairs))
    with TwinHost(twin, speed=TWIN_SPEED) as host:
        port = open_serial(PortSettings(host.port))
        try:
            converse(parse(path.read_text("utf-8")), port, speed=TWIN_SPEED, fault=lambda n, o: host.fault(n, **o))
        finally:
            port.close()


def on_port(path: Path, settings: PortSettings) -> None:
    """One file against a real port, opened anew (which resets most boards). Raises as `converse`."""
    port = open_serial(settings)
    try:
        converse(parse(path.read_text("utf-8")), port)
    finally:
        port.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run conversations; 0 when the machine agreed with all of them."""
    parser = argparse.ArgumentParser(prog="conversations", description="Hold recorded conversations with a machine.")
    parser.add_argument("files", nargs="+", type=Path)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--twin", choices=sorted(KINDS))
    where.add_argument("--port")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="of the twin")
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)
    failed = 0
    for path in given.files:
        try:
            if given.twin:
                on_twin(path, given.twin, settings=given.setting)
            else:
                on_port(path, PortSettings(given.port, given.baud))
        except (Disagreement, BadConversation, PortUnavailable) as error:
            failed += 1
            print(f"{path}: {error}")
        else:
            print(f"{path}: agreed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
