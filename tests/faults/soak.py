"""Many random lives, unattended: `python -m tests.faults.soak --scenarios 10000 --seed 1 --workers 2`.

Prints how often each fault struck, at which named steps, and exits 1 with the seeds of the lives in which a rule was
broken. `--processes` plays every pair of step and fault on real processes instead (`real_soak.py`).
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import real_soak
from tests.faults.faults import FAULTS
from tests.faults.grounds import template_database
from tests.faults.lent import pulls
from tests.faults.lives import Lived, live
from tests.faults.rules import NotKept

_COLLECT_EVERY = 25


@dataclass
class Sum:
    """What all lives came to."""

    lives: int = 0
    runs: int = 0
    decided: int = 0
    excused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    pulls: Counter[str] = field(default_factory=Counter)
    lives_that_pulled: int = 0
    at_step: Counter[str] = field(default_factory=Counter)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def add(self, found: Lived | str) -> None:
        """One more life, or the text of what broke in it."""
        self.lives += 1
        if isinstance(found, str):
            self.broken.append(found)
            print(found, file=sys.stderr, flush=True)
            return
        self.runs += found.runs
        self.decided += found.decided
        self.excused += found.excused
        self.faults.update(found.faults)
        self.pulls.update(found.pulls)
        self.lives_that_pulled += pulls(found.pulls) > 0
        for (fault, step), times in found.hits.items():
            self.at_step[step] += times
            self.pairs.add((fault, step))


def _lives(seed: int, last: int, stride: int, faults: int, only: str, template: Path) -> Iterator[Lived | str]:
    """Every `stride`-th life from `seed` to before `last`."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.disable()
    for number, each in enumerate(range(seed, last, stride)):
        if number % _COLLECT_EVERY == 0:
            gc.collect()
        try:
            yield live(each, template, faults=faults, only=only)
        except NotKept as error:
            yield str(error)
        except Exception:  # noqa: BLE001 (a crash of the suite or of what it tests is a finding too, with its seed)
            yield f"seed {each}: {traceback.format_exc(limit=-4)}"


def _work(out: multiprocessing.SimpleQueue, seed: int, *more: Any) -> None:  # type: ignore[type-arg]
    for found in _lives(seed, *more):
        out.put(found)
    out.put(None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run them; 0 if every rule was kept in every life."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first life; each next one adds 1")
    parser.add_argument("--faults", type=int, default=4, help="faults a life")
    parser.add_argument("--only", default="", choices=sorted(FAULTS), help="let only this fault strike")
    parser.add_argument("--workers", type=int, default=1, help="processes that live at the same time")
    parser.add_argument("--processes", action="store_true", help="every pair of step and fault on real processes")
    asked = parser.parse_args(argv)
    if asked.processes:
        return real_soak.main(asked.seed, asked.workers, asked.scenarios)
    template = template_database()
    total, began = Sum(), time.monotonic()
    out: multiprocessing.SimpleQueue[Lived | str | None] = multiprocessing.get_context("fork").SimpleQueue()
    how = (asked.seed + asked.scenarios, asked.workers, asked.faults, asked.only, template)
    workers = [
        multiprocessing.get_context("fork").Process(target=_work, args=(out, asked.seed + number, *how), daemon=True)
        for number in range(asked.workers)
    ]
    for worker in workers:
        worker.start()
    left = len(workers)
    while left:
        found = out.get()
        if found is None:
            left -= 1
            continue
        total.add(found)
        if total.lives % 250 == 0:
            print(f"{total.lives} lives, {len(total.broken)} broken, {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(template.parent, ignore_errors=True)
    _say(total, asked.seed, time.monotonic() - began)
    return 1 if total.broken else 0


def _say(total: Sum, seed: int, seconds: float) -> None:
    cpu = os.times()
    used = cpu.user + cpu.system + cpu.children_user + cpu.children_system
    print(f"{total.lives} lives from seed {seed} in {seconds:.0f} s ({used:.0f} s of processor)")
    print(f"{total.runs} runs of machines; {total.decided} jobs that a person decided about")
    print(f"{total.excused} lives in which old memories left nobody to know what was made (a job may be made again)")
    print(f"jobs were pulled from the board in {total.lives_that_pulled} lives:")
    for name, count in sorted(total.pulls.items()):
        print(f"  {name:<58} {count:>7}")
    print(f"faults ({sum(total.faults.values())}):")
    for name, count in sorted(total.faults.items()):
        print(f"  {name:<28} {count:>7}")
    print(f"named steps that a fault struck at ({len(total.at_step)}; {len(total.pairs)} pairs of fault and step):")
    for name, count in total.at_step.most_common():
        print(f"  {name:<58} {count:>7}")
    print(f"lives that broke a rule: {len(total.broken)}")
    for text in total.broken:
        print(f"  {text.splitlines()[0]}")


if __name__ == "__main__":
    raise SystemExit(main())
