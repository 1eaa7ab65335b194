"""Every pair of named step and fault between real processes: `python -m tests.faults.soak --processes --workers 2`.

Each worker has a town of its own and plays one pair after another in it; after a broken rule it builds a new one. What
was played is kept in `build/soak/processes-SEED.jsonl`, so that a round that was ended goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Final, NoReturn

from tests.faults.scenarios import PAIRS, Pair, missing, play
from tests.faults.towns import Town

_KEPT: Final = Path(__file__).resolve().parents[2] / "build" / "soak"
_SBIN: Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


@dataclass(frozen=True)
class Played:
    """What came of one pair. `broken` says which rule, "" for none; `left_out` what this computer lacks."""

    pair: str
    seconds: float
    broken: str = ""
    left_out: str = ""


def main(seed: int, workers: int, most: int) -> int:
    """Play all pairs that were not played under this seed yet, in its order, `most` at a time (0: all)."""
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)
    if mosquitto is None:
        print("mosquitto is not installed: `make system-deps` (Debian, root) installs the real parts")
        return 2
    signal.signal(signal.SIGTERM, _end)
    _KEPT.mkdir(parents=True, exist_ok=True)
    kept = _KEPT / f"processes-{seed}.jsonl"
    before = [Played(**json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {one.pair for one in before if not one.broken}
    left = [pair for pair in PAIRS if str(pair) not in done]
    random.Random(seed).shuffle(left)
    left = left[:most] if most else left
    print(f"{len(PAIRS)} pairs; {len(done)} were played before; {len(left)} now, seed {seed}", flush=True)
    results = [one for one in before if not one.broken]
    with kept.open("a", encoding="utf-8") as file:
        for played in _round(left, workers, Path(mosquitto), seed):
            results.append(played)
            file.write(json.dumps(asdict(played)) + "\n")
            file.flush()
            said = played.broken or played.left_out or "kept"
            print(f"{len(results):>4} {played.seconds:6.1f} s  {played.pair}: {said}", flush=True)
    _say(results, seed)
    return 1 if any(one.broken for one in results) else 0


def _end(_number: int, _frame: object) -> NoReturn:
    """SIGTERM: take all towns down."""
    raise SystemExit(1)


def _round(pairs: list[Pair], workers: int, mosquitto: Path, seed: int) -> Iterator[Played]:
    context = multiprocessing.get_context("fork")
    out: SimpleQueue[Played | None] = context.SimpleQueue()
    running = [
        context.Process(target=_work, args=(pairs[number::workers], mosquitto, seed, out)) for number in range(workers)
    ]
    for worker in running:
        worker.start()
    try:
        left = len(running)
        while left:
            found = out.get()
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for worker in running:
            worker.terminate()
            worker.join(timeout=60)


def _work(pairs: list[Pair], mosquitto: Path, seed: int, out: SimpleQueue[Played | None]) -> None:
    """Play them in towns of our own."""
    left = list(pairs)
    try:
        while left:
            with tempfile.TemporaryDirectory(prefix="workshed-town-", ignore_cleanup_errors=True) as name:
                Path(name).chmod(0o755)
                with ExitStack() as stack:
                    _live_in(Path(name), mosquitto, seed, left, stack, out)
    finally:
        out.put(None)


def _live_in(
    folder: Path, mosquitto: Path, seed: int, left: list[Pair], stack: ExitStack, out: SimpleQueue[Played | None]
) -> None:
    """Play pairs in one town until one breaks, or none is left."""
    town: Town | None = None
    while left:
        pair, began = left.pop(0), time.monotonic()
        try:
            town = town or Town(folder, mosquitto, stack, seed=seed)
            lacks = missing(pair, town)
            if not lacks:
                play(town, pair)
        except Exception as error:  # noqa: BLE001 (whatever breaks is the finding, with its pair)
            where = traceback.extract_tb(error.__traceback__)[-1]
            broken = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            out.put(Played(str(pair), time.monotonic() - began, broken=broken))
            return
        out.put(Played(str(pair), time.monotonic() - began, left_out=lacks))


def _say(results: list[Played], seed: int) -> None:
    broken = [one for one in results if one.broken]
    left_out = Counter(one.left_out for one in results if one.left_out)
    kept = len(results) - len(broken) - sum(left_out.values())
    faults = Counter(one.pair.split(": ", 1)[1].split(" when ")[0] for one in results if not one.left_out)
    steps = {one.pair.split(" when ", 1)[1] for one in results if not one.left_out}
    print(f"{kept} of {len(PAIRS)} pairs kept every rule, at {len(steps)} named steps (seed {seed})")
    for name, count in sorted(faults.items()):
        print(f"  {name:<24} {count:>5}")
    for why, count in left_out.items():
        print(f"{count} left out: {why}")
    print(f"pairs that broke a rule: {len(broken)}")
    for one in broken:
        print(f"  seed {seed}, {one.pair}: {one.broken}")
