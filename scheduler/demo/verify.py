"""Were the toolpaths really run? The twins' own record against the programs: every line, and the last position.

A twin counts and hashes the lines that its firmware executed, comments and blanks taken out as that firmware does it
(grbl/protocol.c `protocol_main_loop`; Marlin src/gcode/queue.cpp). The same is done here to the programs, apart from
any bridge, and compared. Between programs a router or laser may be told to be off and in its usual modes; nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scheduler.demo.shops import ShopFiles, TwinMachine, TwinShop

_TIMEOUT_S: Final = 5.0
_POSITION_TOLERANCE_MM: Final = 0.05
#: Questions that a program may carry too; the Marlin twin leaves them out of its record, as they make nothing.
_QUESTIONS: Final = re.compile(r"M(?:105|108|110|112|113|114|115|119|154|155|27|31|400|410|503|876)(?!\d)")
#: What may stand before or after a program: off, and off with the modes that GRBL wakes up with (grbl/gcode.c).
_SAFE_LINES: Final = ("M5S0", "G0G17G21G40G49G54G90G91.1G94M5M9")
_MOST_SAFE_LINES: Final = 8
_COMMENT: Final = re.compile(r"\([^)]*\)|;.*")
_WORD: Final = re.compile(r"([A-Z])\s*(-?\d*\.?\d+)")


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: what was looked at, and whether it agrees."""

    what: str
    agrees: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run on a machine, in the order they began."""

    job: str
    started: str
    sha256: str
    whole: bool


def check_machines(
    town: Sequence[TwinShop],
    shops: Mapping[str, ShopFiles],
    pages: Mapping[str, Mapping[str, Any]],
    toolpath: Callable[[str], bytes],
    *,
    reset: frozenset[str] = frozenset(),
) -> tuple[Check, ...]:
    """Every machine that ran something: has it executed exactly its programs' lines, and does it stand at their end?

    `reset`: shops whose agent was started again. Opening the port resets a controller, which then counts its position
    from zero: where it stands says nothing about its last run any more.
    """
    checks: list[Check] = []
    for shop in town:
        for machine in shop.machines:
            runs = runs_on(f"{shop.shop}.{shop.agent}.{machine.machine}", pages)
            if not runs:
                continue
            try:
                twin = ask_twin(shops[shop.shop].control(machine.machine), {"cmd": "state"})
            except OSError as error:
                checks.append(Check(machine.name, agrees=False, detail=f"its twin does not answer: {error}"))
                continue
            programs = [toolpath(run.sha256).decode("utf-8", "replace") for run in runs]
            checks += check_machine(machine, runs, programs, twin, moved_since=shop.shop in reset)
    return tuple(checks)


def runs_on(machine: str, pages: Mapping[str, Mapping[str, Any]]) -> list[Ran]:
    """What a machine ran, by the scheduler's record of journals: begun there, and whether it finished there."""
    runs: list[Ran] = []
    for job, page in pages.items():
        toolpath = page.get("toolpath")
        for index, event in enumerate(page["history"]):
            if event["to_state"] != "running" or event["from_state"] == "held" or not _on(event, machine):
                continue
            later = [item["to_state"] for item in page["history"][index + 1 :] if item["to_state"]]
            ended = next((state for state in later if state in {"finished", "failed", "cancelled"}), "")
            runs.append(Ran(job, event["at"], toolpath["sha256"] if toolpath else "", ended == "finished"))
    return sorted(runs, key=lambda run: run.started)


def _on(event: Mapping[str, Any], machine: str) -> bool:
    return f"{event['agent']}.{event['machine']}" == machine


def check_machine(
    machine: TwinMachine,
    runs: Sequence[Ran],
    programs: Sequence[str],
    twin: Mapping[str, Any],
    *,
    moved_since: bool = False,
) -> list[Check]:
    """Lines and last position of one machine."""
    lines_of = printer_lines if machine.dialect == "marlin" else router_lines
    lines = [lines_of(program) for program in programs]
    wanted = sum(map(len, lines))
    counted = int(twin.get("lines", twin.get("consumed", -1)))
    digest = str(twin.get("sha256", twin.get("consumed_sha256", "")))
    checks: list[Check] = []
    if all(run.whole for run in runs):
        safe = () if machine.dialect == "marlin" else _SAFE_LINES
        agrees = explained(lines, counted - wanted, digest, safe)
        detail = f"{wanted} lines in its {len(programs)} programs, {counted} executed"
        checks.append(Check(f"{machine.name}: lines executed", agrees, detail))
    else:
        broken = [run.job for run in runs if not run.whole]
        detail = f"{wanted} lines asked for, {counted} executed; runs ended early: {', '.join(broken)}"
        within = 0 < counted <= wanted + _MOST_SAFE_LINES
        checks.append(Check(f"{machine.name}: no more lines than asked for", within, detail))
    if programs and runs[-1].whole and not moved_since:
        want, have = last_position(programs[-1]), work_position(twin)
        near = all(
            wanted is None or math.isclose(wanted, got, abs_tol=_POSITION_TOLERANCE_MM)
            for wanted, got in zip(want, have, strict=True)
        )
        checks.append(
            Check(f"{machine.name}: last position", near, f"program ends at {want}, the machine is at {have}")
        )
    return checks


def ask_twin(control: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One question to a twin's control socket. Raises OSError when nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(str(control))
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = connection.makefile("rb").readline()
    decoded = json.loads(answer)
    return decoded if isinstance(decoded, dict) else {}


def work_position(twin: Mapping[str, Any]) -> tuple[float, ...]:
    """Where the twin stands, in work coordinates."""
    offset = twin.get("work_offset") or [0.0, 0.0, 0.0]
    return tuple(round(at - shift, 4) for at, shift in zip(twin["position"][:3], offset[:3], strict=True))


def router_lines(program: str) -> list[str]:
    """As GRBL keeps a line: no blanks, no comments, no block-delete sign, capital letters."""
    cleaned = (re.sub(r"[\s/]", "", _COMMENT.sub("", line)).upper() for line in program.splitlines())
    return [line for line in cleaned if line and line[0] != "$"]


def printer_lines(program: str) -> list[str]:
    """As Marlin executes a line: no comment, no blanks around it."""
    cleaned = (line.partition(";")[0].strip() for line in program.splitlines())
    return [line for line in cleaned if line and not _QUESTIONS.match(line)]


def explained(programs: Sequence[Sequence[str]], extra: int, digest: str, safe: Sequence[str]) -> bool:
    """Whether `digest` is that of the programs in order, with `extra` safe lines before, between or after them."""
    if not 0 <= extra <= _MOST_SAFE_LINES or (extra and not safe):
        return False
    texts = ["".join(line + "\n" for line in lines).encode() for lines in programs]
    own = [(line + "\n").encode() for line in safe]

    def from_here(index: int, left: int, so_far: hashlib._Hash) -> bool:
        for text in own if left else ():
            with_it = so_far.copy()
            with_it.update(text)
            if from_here(index, left - 1, with_it):
                return True
        if index == len(texts):
            return left == 0 and so_far.hexdigest() == digest
        so_far = so_far.copy()
        so_far.update(texts[index])
        return from_here(index + 1, left, so_far)

    return from_here(0, extra, hashlib.sha256())


def last_position(program: str) -> tuple[float | None, float | None, float | None]:
    """Where a program of absolute and relative moves in millimetres ends; None for an axis it never names."""
    at: dict[str, float | None] = {"X": None, "Y": None, "Z": None}
    absolute = True
    for raw in program.splitlines():
        line = _COMMENT.sub("", raw).upper()
        words = [(letter, float(value)) for letter, value in _WORD.findall(line)]
        codes = {(letter, value) for letter, value in words if letter == "G"}
        absolute = (absolute or ("G", 90.0) in codes) and ("G", 91.0) not in codes
        if ("G", 28.0) in codes:
            named = [letter for letter in at if letter in line] or list(at)
            at.update(dict.fromkeys(named, 0.0))
            continue
        if any(letter == "M" for letter, _ in words) or ("G", 92.0) in codes:
            continue
        for letter, value in words:
            if letter in at:
                at[letter] = value if absolute else (at[letter] or 0.0) + value
    return at["X"], at["Y"], at["Z"]
