"""Solve a public instance: `python -m scheduler.planning.solve FILE [--seconds 10] [--seed 0] [--jobs N] [--bound 5]`.

A file with a line `SSD` is unrelated machines with setups; with `--jobs` it holds queues of so many jobs before one
machine, due dates and weights included; every other is a flexible shop, with or without setups.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from scheduler.planning.bounds import weighted_tardiness_bound
from scheduler.planning.flexible_shop import least_makespan, shop_of, shop_violations
from scheduler.planning.jit import HAS_COMPILER
from scheduler.planning.makespan import solve_shop
from scheduler.planning.microfab import microfab
from scheduler.planning.public_formats import BadInstance, read_queues, read_shop, read_unrelated, text_of
from scheduler.planning.queue_bound import least_last_finish
from scheduler.planning.tardiness import solve_queue
from scheduler.planning.unrelated import made_up, solve_unrelated


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: solved; 2: the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m scheduler.planning.solve", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=None, help="jobs an instance, in files of queues")
    parser.add_argument("--bound", type=float, default=0.0, help="more seconds for unrelated machines' lower bound")
    parser.add_argument("--json", action="store_true", help="the whole answer as JSON")
    asked = parser.parse_args(argv)
    if not HAS_COMPILER:
        print("not compiled: slower by two orders (python -m scheduler.planning.warm compiles once)", file=sys.stderr)
    try:
        answer = solved(text_of(asked.file), asked)
    except (OSError, BadInstance) as wrong:
        print(f"{asked.file}: {wrong}", file=sys.stderr)
        return 2
    print(json.dumps(answer) if asked.json else answer["told"])
    return 0


def solved(text: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The answer as plain values; `told` is its line for people.

    Raises:
        BadInstance: the text is none.
    """
    if asked.jobs is not None:
        orders = [solve_queue(q, budget_s=asked.seconds, seed=asked.seed) for q in read_queues(text, asked.jobs)]
        costs = [order.cost for order in orders]
        told = "weighted tardiness " + " ".join(map(str, costs))
        return {"told": told, "costs": costs, "orders": [order.order.tolist() for order in orders]}
    if any(line.strip().upper() == "SSD" for line in text.splitlines()):
        problem = read_unrelated(text)
        made = solve_unrelated(problem, budget_s=asked.seconds, seed=asked.seed)
        least = least_last_finish(problem, made, budget_s=asked.bound)
        return {
            "told": _makespan(made.makespan, least), "makespan": made.makespan, "bound": least, "queues": made.queues,
        }  # fmt: skip
    shop = read_shop(text)
    plan = solve_shop(shop, budget_s=asked.seconds, seed=asked.seed)
    wrong = shop_violations(shop, plan)
    assert wrong == [], wrong[0]
    least = least_makespan(shop)
    return {
        "told": _makespan(plan.makespan, least), "makespan": plan.makespan, "bound": least,
        "machine": (plan.machine + 1).tolist(), "start": plan.start.tolist(),
    }  # fmt: skip


def _makespan(made: int, least: int) -> str:
    return f"makespan {made}" + (", proven best" if made == least else f", none is below {least}")


def warm() -> None:
    """Compile what this module and the bound need, on tiny instances."""
    chains = [[[(0, 3), (1, 2)], [(1, 4)]], [[(0, 1), (1, 5)]]]
    for setup in (None, np.ones((2, 3, 3), np.int64)):
        solve_shop(shop_of(2, chains, setup), budget_s=60.0, iterations=50)
    few = made_up(6, 2, seed=1)
    least_last_finish(few, solve_unrelated(few, budget_s=60.0, moves=1_000), budget_s=5.0)
    solve_queue(read_queues("3 4 5 1 5 2 3 4 1", 3)[0], kicks=2)
    fab = microfab(6, 4, load=1.6, calendars=False, chains=False, setups=False)
    weighted_tardiness_bound(fab.problem, upper=1_000, budget_s=0.0)


if __name__ == "__main__":
    sys.exit(main())
