"""Many random lives, unattended: `python -m tests.faults.soak --scenarios 10000 --seed 1`.

Prints counts of faults and of steps they could hit; exits 1 with the seeds of the lives in which a rule was broken.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.faults.lives import NotKept, live, template_database


def main(argv: Sequence[str] | None = None) -> int:
    """Run them; 0 if every rule was kept in every life."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first life; each next one adds 1")
    parser.add_argument("--faults", type=int, default=4, help="faults a life")
    asked = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    template = template_database()
    faults: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    broken: list[str] = []
    began = time.monotonic()
    for number in range(asked.scenarios):
        try:
            life = live(asked.seed + number, template, faults=asked.faults)
        except NotKept as error:
            broken.append(str(error))
            print(error, file=sys.stderr, flush=True)
            continue
        faults.update(life.counts)
        steps.update(life.steps)
        if (number + 1) % 100 == 0:
            print(f"{number + 1} lives, {len(broken)} broken, {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(template.parent, ignore_errors=True)
    print(
        f"{asked.scenarios} lives from seed {asked.seed} in {time.monotonic() - began:.0f} s; {len(steps)} named steps"
    )
    for name, count in sorted(faults.items()):
        print(f"  {name:<24} {count:>8}")
    print(f"  {'lives that broke a rule':<24} {len(broken):>8}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
