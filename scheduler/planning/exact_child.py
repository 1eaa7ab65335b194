"""The exact layer's process: solves what comes in until nobody asks any more (`exact.py` starts it).

In and out go frames: four bytes of length (big-endian), then MessagePack of plain values. In: `Task`. Out: `Ready`
once, then `News` while solving and `Done`. It ends when its input ends, even in the midst of solving, and when idle.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from typing import IO, Any, Final

import msgspec
import numpy as np

from scheduler.planning.exact_model import Model, Placed, build, placed_in
from scheduler.planning.people import CrewTicks
from scheduler.planning.problem import Problem

#: Seconds without a task after which the process ends: it holds 100 MB.
IDLE_S: Final = 120.0
#: No frame is longer.
LONGEST: Final = 1 << 28


class Task(msgspec.Struct, frozen=True):
    """A problem (array by array: element type, shape, bytes; single numbers as they are) and how to solve it."""

    problem: dict[str, tuple[str, tuple[int, ...], bytes] | int]
    warm: tuple[Placed, ...]
    budget_s: float
    seed: int
    workers: int
    circuits: tuple[tuple[int, tuple[int, ...]], ...]
    power: tuple[int, ...]
    crews: tuple[CrewTicks, ...] = ()


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The libraries are loaded."""


class News(msgspec.Struct, frozen=True, tag="news"):
    """Seconds since the task came, and the bound; with a new solution its cost and what it is."""

    after_s: float
    cost: int | None
    bound: float
    placed: tuple[Placed, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The end: whether the last solution is proven best, and whether the bound holds for the whole problem."""

    proven: bool
    whole: bool
    bound: float | None
    placed: tuple[Placed, ...]


Message = Ready | News | Done


def plain(problem: Problem) -> dict[str, tuple[str, tuple[int, ...], bytes] | int]:
    """A problem as `Task` carries it."""
    return {
        name: value if isinstance(value, int) else (value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())
        for name, value in problem._asdict().items()
    }


def problem_of(values: dict[str, Any]) -> Problem:
    """The inverse of `plain`."""
    made = {}
    for name, value in values.items():
        if isinstance(value, int):
            made[name] = value
        else:
            made[name] = np.frombuffer(value[2], np.dtype(value[0])).reshape(value[1])  # type: ignore[assignment]
    return Problem(**made)  # type: ignore[arg-type]


def send(stream: IO[bytes], message: Task | Message) -> None:
    """One frame out."""
    content = msgspec.msgpack.encode(message)
    stream.write(len(content).to_bytes(4, "big") + content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """One frame's content; None where the stream has ended or holds no frame."""
    head = stream.read(4)
    size = int.from_bytes(head, "big")
    if len(head) < 4 or size > LONGEST:
        return None
    content = stream.read(size)
    return content if len(content) == size else None


def solve(task: Task, out: IO[bytes]) -> None:
    """Solve one task and tell."""
    from ortools.sat.python import cp_model

    began = time.monotonic()
    model = build(problem_of(task.problem), task.warm, task.circuits, task.power, task.crews)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.01, task.budget_s - (time.monotonic() - began))
    solver.parameters.num_workers = task.workers
    solver.parameters.random_seed = task.seed
    told = _told(cp_model, model, began, out)
    solver.best_bound_callback = lambda bound: send(out, News(time.monotonic() - began, None, float(bound)))
    status = solver.solve(model.cp, told)
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    placed = placed_in(model, solver.value) if found else ()
    bound = float(solver.best_objective_bound) if found else None
    send(out, Done(status == cp_model.OPTIMAL, not model.truncated, bound, placed))


def _told(cp_model: Any, model: Model, began: float, out: IO[bytes]) -> Any:
    class Told(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
        """Sends every new solution."""

        def on_solution_callback(self) -> None:
            after_s, bound = time.monotonic() - began, float(self.best_objective_bound)
            send(out, News(after_s, int(self.objective_value), bound, placed_in(model, self.value)))

    return Told()


def main() -> int:
    """Serve until the input ends."""
    # Whatever a library prints must not fall between the frames.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    tasks: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        while (content := receive(sys.stdin.buffer)) is not None:
            tasks.put(content)
        os._exit(0)

    import ortools.sat.python.cp_model  # noqa: F401 - a second that the first task need not wait for

    send(out, Ready())
    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            content = tasks.get(timeout=IDLE_S)
        except queue.Empty:
            return 0
        solve(msgspec.msgpack.decode(content, type=Task), out)
