"""Programs run on twins in the twins' own time, with no port and no thread: how long they take and where they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from designs.toolpath import Kinematics
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.marlin import MarlinTwin
from firmware_bridges.twins.run import TwinOptions, make_twin

MARLIN_TWIN = Kinematics(
    dialect="marlin",
    max_speed_mm_s=(300.0, 300.0, 5.0, 25.0),
    max_accel_mm_s2=(3000.0, 3000.0, 100.0, 10000.0),
    accel_mm_s2=1e6,
    junction_deviation_mm=0.01,
    min_speed_mm_s=0.05,
    nozzle_c_s=4.6,
    bed_c_s=1.65,
    residency_s=12.0,
    home_s=7.2,
    obeys_program=False,
)


@dataclass(frozen=True, slots=True)
class Executed:
    """What the twin did."""

    seconds: float
    position: tuple[float, float, float]
    answers: tuple[str, ...]
    """Everything said that is not `ok`."""
    state: dict[str, Any]


def stripped(gcode: bytes) -> list[str]:
    """Lines as a host sends them: without comments, blanks and empty lines."""
    lines = []
    for raw in gcode.decode("ascii", "ignore").splitlines():
        text = raw.split(";", 1)[0].strip()
        if text and not text.startswith("("):
            lines.append(text)
    return lines


def run(
    twin: Any,
    lines: list[str],
    *,
    window: int,
    settle_s: float = 2.0,
    limit_s: float = 100_000.0,
    seen: list[tuple[float, float, float]] | None = None,
) -> Executed:
    """Stream lines with at most `window` bytes unanswered; the wire takes no time. `seen`: positions are put there."""
    now = 0.0
    twin.boot(now, "power")
    now = settle_s
    twin.advance(now)
    twin.take_output()
    began = now
    waiting: list[int] = []
    said: list[str] = []
    at = 0
    last_move = now
    while now - began < limit_s:
        for chunk in twin.take_output():
            for text in chunk.decode("ascii", "ignore").splitlines():
                if text.startswith(("ok", "error")) and waiting:
                    waiting.pop(0)
                if text and not text.startswith("ok"):
                    said.append(text)
        if at < len(lines) and (not waiting or sum(waiting) + len(lines[at]) + 1 <= window):
            data = lines[at].encode() + b"\n"
            waiting.append(len(data))
            at += 1
            twin.receive(data, now)
            continue
        busy = twin.machine.planner.blocks if isinstance(twin, MarlinTwin) else twin.busy
        if at >= len(lines) and not waiting and not busy:
            break
        wakes = twin.wakes_at()
        if wakes is None:
            break
        now = max(now, wakes)
        twin.advance(now)
        last_move = now
        if seen is not None:
            seen.append(tuple(twin.state(now)["position"][:3]))
    state = twin.state(now)
    x, y, z = state["position"][:3]
    return Executed(last_move - began, (x, y, z), tuple(said), state)


def grbl(profile: str, **settings: float) -> GrblTwin:
    """A GRBL twin of a profile (`router`, `laser`), unlocked (no homing wanted), with settings by number: s110=…"""
    chosen = tuple(
        (f"${name.removeprefix('s')}", str(value)) for name, value in {"s22": 0, "s20": 0, **settings}.items()
    )
    twin = make_twin(TwinOptions("grbl", profile=profile, settings=chosen))
    assert isinstance(twin, GrblTwin)
    return twin


def grbl_kinematics(twin: GrblTwin) -> Kinematics:
    """The limits the twin's own settings say."""
    return Kinematics.from_grbl([(f"${number}", str(value)) for number, value in twin.settings.items()])
