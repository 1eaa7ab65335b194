"""`workshed plan FILE`: a snapshot file in, a plan with reasons out; and a picture where asked."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from scheduler.planning import gantt, planfile
from scheduler.planning.compiling import BadSnapshot
from scheduler.planning.planner import plan
from scheduler.planning.replaying import replayed
from scheduler.planning.snapshot import Plan

#: Seconds of searching from which progress is said also where nobody seems to watch.
LONG_S: Final = 10.0
WORKERS_HELP: Final = "processes that search; as many as there are cores for a large network and 10 s or more, else 1"


def main(argv: list[str] | None = None) -> int:
    """`[plan] FILE …`, `plan replay FILE` or `bench [planning] …`.

    Exit code 0: all is placed, or nothing differs; 1: something waits or differs; 2: unreadable file.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["bench"]:
        return bench(words[1:])
    if words[:1] == ["plan"]:
        words = words[1:]
    if words[:1] == ["replay"]:
        return replay(words[1:])
    parser = argparse.ArgumentParser(prog="workshed plan", description="Plan a snapshot file and say why.")
    parser.add_argument("file", type=Path, help="a snapshot as JSON; - reads standard input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=2.0, metavar="SECONDS", help="time for improving")
    parser.add_argument("--moves", type=int, default=None, help="moves instead of time: repeats exactly")
    parser.add_argument("--workers", type=int, default=None, metavar="N", help=WORKERS_HELP)
    parser.add_argument("--json", action="store_true", help="the whole plan as JSON on standard output")
    parser.add_argument("--out", type=Path, default=None, help="write the plan as JSON here")
    parser.add_argument("--gantt", type=Path, default=None, help="write a picture here, .svg or .png")
    asked = parser.parse_args(words)
    if asked.workers is not None and asked.workers < 1:
        parser.error(f"{asked.workers} processes cannot search: give 1 or more")
    try:
        text = sys.stdin.read() if str(asked.file) == "-" else asked.file.read_text()
        snapshot = planfile.load_snapshot(text)
        show = _Progress() if sys.stderr.isatty() or asked.budget >= LONG_S else None
        searching = {"budget_s": asked.budget, "moves": asked.moves, "workers": asked.workers}
        made = plan(snapshot, seed=asked.seed, progress=show, **searching)
    except (OSError, planfile.BadPlanFile, BadSnapshot) as wrong:
        print(f"workshed plan: {wrong}", file=sys.stderr)
        return 2
    if asked.out is not None:
        asked.out.write_text(planfile.dump(made))
    if asked.gantt is not None:
        png = asked.gantt.suffix.lower() == ".png"
        asked.gantt.write_bytes(gantt.png(made, snapshot) if png else gantt.svg(made, snapshot).encode())
    print(planfile.dump(made) if asked.json else told(made))
    return 1 if made.waiting else 0


def replay(words: list[str]) -> int:
    """A kept decision (a snapshot and its plan) made again; what differs is said."""
    parser = argparse.ArgumentParser(prog="workshed plan replay", description="Make a kept decision again and compare.")
    parser.add_argument(
        "file", type=Path, help="what GET /api/v1/plans/NUMBER answers, as a file; - reads standard input"
    )
    asked = parser.parse_args(words)
    try:
        text = sys.stdin.read() if str(asked.file) == "-" else asked.file.read_text()
        again = replayed(*planfile.load_decision(text))
    except (OSError, planfile.BadPlanFile, BadSnapshot) as wrong:
        print(f"workshed plan replay: {wrong}", file=sys.stderr)
        return 2
    for difference in again.differences:
        print(f"differs: {difference}")
    how = "made again whole" if again.whole else "its order of work taken, all that follows computed again"
    print(f"{how}: {'the same, to the last byte' if again.same else 'not the same'}")
    return 0 if again.same else 1


def bench(words: list[str]) -> int:
    """Run the planner's bars, in a process of their own; they are part of the source tree, not of an installation."""
    if words[:1] == ["planning"]:
        words = words[1:]
    if find_spec("tests") is None or find_spec("tests.benchmarks") is None:
        print("workshed bench: the benchmarks are in the source tree: run `make bench` there", file=sys.stderr)
        return 2
    return subprocess.run([sys.executable, "-m", "tests.benchmarks.planning", *words], check=False).returncode


def told(made: Plan) -> str:
    """The plan in lines for people."""
    lines = [
        f"{p.start:%a %d %b %H:%M}  {p.finish:%a %H:%M}  {p.machine:<16} {p.job:<16} "
        + ", ".join(f"{term.name} {term.value / 100:.1f}" for term in p.terms)
        for p in made.placements
    ]
    for waiting in made.waiting:
        lines.append(f"waits: {waiting.job}: {waiting.why}")
        lines += [f"    {s.machine}: {s.text}" + (f" ({s.lift})" if s.lift else "") for s in waiting.machines]
    lines.append(f"cost {made.cost / 100:.1f} weight-minutes by {made.engine} in {made.wall_s:.2f} s: ")
    lines[-1] += ", ".join(f"{term.name} {term.value / 100:.1f}" for term in made.terms)
    lines.append("no bound is known" if made.bound is None else f"no plan can cost less than {made.bound / 100:.1f}")
    return "\n".join(lines)


class _Progress:
    """The share done and the best cost: in place on a terminal, a line every tenth elsewhere."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, share: float, cost: int) -> None:
        """Say it."""
        line = f"{100 * share:3.0f} %  cost {cost / 100:.0f}"
        if sys.stderr.isatty():
            print(f"\r{line} ", end="" if share < 1 else "\n", file=sys.stderr, flush=True)
        elif share - self._told >= 0.1 - 1e-9 or share >= 1:
            self._told = share
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
