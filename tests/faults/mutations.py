"""What the lives would notice: the product spoiled in one place, while it runs, and lives until a rule is broken.

`python -m tests.faults.mutations [--lives 300] [--seed 1] [--only FAULT | --aimed] [NAME...]` prints after how many
lives each was noticed, and exits 1 if one was not. Nothing is edited: each is patched in a process of its own. Each
takes away one guard; where two guards stand behind each other, and either is enough, both are taken away.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.grounds import template_database
from tests.faults.lives import live
from tests.faults.own_jobs_spoiled import OWN
from tests.faults.pulling_spoiled import PULLING
from tests.faults.rules import NotKept
from tests.faults.spoiling import MUTATIONS, Mutation

ALL = MUTATIONS | OWN | PULLING


def first_broken(template: Path, seeds: range, faults: int, only: str) -> tuple[int, str]:
    """How many lives it took, and the rule; (0, "") where no life noticed. A crash of the suite counts as noticed."""
    for number, seed in enumerate(seeds, start=1):
        try:
            live(seed, template, faults=faults, only=only)
        except NotKept as error:
            return number, str(error).partition(" [")[0]
        except Exception:  # noqa: BLE001 (the soak calls a crash a finding too)
            return number, f"seed {seed}: crash: {traceback.format_exc(limit=-1).splitlines()[-1]}"
    return 0, ""


def _try(mutation: Mutation, template: Path, seeds: range, only: str, out: Any) -> None:
    logging.disable(logging.CRITICAL)
    gc.freeze()
    mutation.spoil(pytest.MonkeyPatch())
    out.put(first_broken(template, seeds, 4, only))


def main(argv: Sequence[str] | None = None) -> int:
    """Try them; 0 if every one was noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="let only this fault strike")
    parser.add_argument("--aimed", action="store_true", help="let only each mutation's own fault strike")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args(argv)
    template = template_database()
    fork = multiprocessing.get_context("fork")
    missed = 0
    for name, mutation in ALL.items():
        if asked.names and name not in asked.names:
            continue
        out = fork.SimpleQueue()
        only = mutation.fault if asked.aimed else asked.only
        seeds = range(asked.seed, asked.seed + asked.lives)
        child = fork.Process(target=_try, args=(mutation, template, seeds, only, out))
        child.start()
        lives, text = out.get()
        child.join()
        missed += not lives
        print(f"{name:<38} {lives or f'not in {asked.lives}':>10}  {text[:150]}", flush=True)
    shutil.rmtree(template.parent, ignore_errors=True)
    print(f"{missed} of {len(asked.names or ALL)} were not noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
