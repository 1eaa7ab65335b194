"""P1 to P5: the planner's searches on instances with known best values, an optimum or a bound. One seed a call."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.planning.bounds import weighted_tardiness_bound
from scheduler.planning.construction import append_first
from scheduler.planning.core import make_core
from scheduler.planning.flexible_shop import FlexibleShop, shop_of, shop_violations
from scheduler.planning.improving import improve
from scheduler.planning.makespan import solve_shop
from scheduler.planning.microfab import microfab, weighted_tardiness
from scheduler.planning.public_formats import read_queues, read_shop_file, text_of
from scheduler.planning.queue_bound import least_last_finish
from scheduler.planning.tardiness import solve_queue
from scheduler.planning.unrelated import Unrelated, made_up, solve_unrelated
from tests.benchmarks.planning_optima import NETWORKS, network_of, optimum_of
from tests.benchmarks.planning_peers import chains_of, pyjobshop
from tests.benchmarks.planning_results import Sample


@dataclass(frozen=True)
class Settings:
    """What to run with."""

    data: Path | None
    quick: bool
    seed: int
    peer: Path | None
    """PyJobShop's interpreter, for the seed that peers run with."""
    clock: Callable[[], float]
    """Counts seconds: the wall's, or this process's own."""


class Left(Exception):
    """A bar cannot be measured here; the message says why and what to do."""


PEERS = {1: "PyJobShop, 1 worker", 2: "PyJobShop, 2 workers"}


def brandimarte(s: Settings) -> list[Sample]:
    """P1: mk01 to mk10 against best known makespans, 10 s each; peers on all of them."""
    return _shortest_plans(s, "brandimarte", "", "≤ 1", limit=10, peers_every=1)


def hurink(s: Settings) -> list[Sample]:
    """P1: Hurink's 66 edata instances, 10 s each; peers on every eleventh: they take 20 s an instance."""
    return _shortest_plans(s, "hurink_edata", "_edata", "≤ 1.5", limit=66, peers_every=11)


def _shortest_plans(
    s: Settings, folder: str, suffix: str, target: str, *, limit: int, peers_every: int
) -> list[Sample]:
    """Compiling is done before and not counted."""
    known = json.loads(text_of(_data(s) / "fjsp" / "best_known.json"))
    tiny = shop_of(2, [[[(0, 1), (1, 2)], [(0, 2), (1, 3)]], [[(0, 3), (1, 1)]]])
    solve_shop(tiny, budget_s=60, iterations=2_000)
    files = sorted((_data(s) / "fjsp" / folder).glob("*.txt"))[:limit]
    if s.quick:
        files = files[:: max(1, len(files) // 5)]
    ours: dict[str, float] = {}
    curves: list[Any] = []
    theirs: dict[int, dict[str, float | None]] = {1: {}, 2: {}}
    for number, file in enumerate(files):
        shop, best = read_shop_file(file), known[file.stem + suffix]
        made, curve = _solved(s, shop, best["lower_bound"])
        ours[file.stem] = _over(made, best["upper_bound"])
        if made > best["lower_bound"]:
            curves.append([file.stem, [[after, _over(value, best["upper_bound"])] for after, value in curve]])
        print(f"  {file.stem} {made} ({best['upper_bound']})", flush=True)
        if s.peer is not None and number % peers_every == 0:
            for workers in PEERS:
                found = pyjobshop(s.peer, shop.machines, chains_of(shop), seconds=_seconds(s), workers=workers)
                theirs[workers][file.stem] = None if found is None else _over(found, best["upper_bound"])
    peers, told = _peer_means(theirs)
    series = {f"gaps, seed {s.seed}": list(map(list, ours.items())), f"curves, seed {s.seed}": curves}
    if told:
        series["peers"] = told
    return [
        Sample(f"P1 {folder} mean", statistics.mean(ours.values()), "% over best", target, peers, series),
        Sample(f"P1 {folder} worst instance", max(ours.values()), "% over best", "-"),
    ]


def _solved(s: Settings, shop: FlexibleShop, goal: int) -> tuple[int, list[tuple[float, int]]]:
    """The makespan, and when which was reached."""
    curve: list[tuple[float, int]] = []
    seconds = _seconds(s)

    def note(share: float, best: int) -> None:
        if not curve or curve[-1][1] != best:
            curve.append((round(share * seconds, 2), best))

    made = solve_shop(shop, budget_s=seconds, seed=s.seed, goal=goal, clock=s.clock, progress=note)
    wrong = shop_violations(shop, made)
    assert wrong == [], wrong[0]
    return made.makespan, curve


def _peer_means(theirs: dict[int, dict[str, float | None]]) -> tuple[dict[str, float | None], list[Any]]:
    """Means over what a peer solved, with how many it did not; and its gaps instance by instance."""
    means: dict[str, float | None] = {}
    for workers, gaps in theirs.items():
        solved = [gap for gap in gaps.values() if gap is not None]
        if gaps:
            name = f"{PEERS[workers]} ({len(solved)} of {len(gaps)} solved)"
            means[name] = statistics.mean(solved) if solved else None
    return means, [[PEERS[workers], list(map(list, gaps.items()))] for workers, gaps in theirs.items() if gaps]


def shortest_queues(s: Settings) -> list[Sample]:
    """P2: unrelated machines with setups, 50 × 10 in 10 s, also against our bound; small ones against the optimum.

    On the large ones the peer has three times as long: in 10 s it often finds no plan at all.
    """
    seconds = _seconds(s)
    solve_unrelated(made_up(6, 2, seed=1), budget_s=60, moves=2_000)
    problem = made_up(50, 10, seed=s.seed)
    made = solve_unrelated(problem, budget_s=seconds, seed=s.seed, clock=s.clock)
    bound = least_last_finish(problem, made, budget_s=2 * seconds, clock=s.clock)
    peers: dict[str, float | None] = {}
    if s.peer is not None:
        for workers, name in PEERS.items():
            peers[f"{name}, {3 * seconds:.0f} s"] = _theirs(s.peer, problem, 3 * seconds, workers)
    out = [
        Sample("P2 50×10", made.makespan, "makespan", "≤ 65", peers),
        Sample("P2 50×10 over own bound", _over(made.makespan, bound), "%", "-"),
    ]
    if s.peer is not None:
        small = made_up(8, 3, seed=s.seed)
        best = _theirs(s.peer, small, 30, 1)
        found = solve_unrelated(small, budget_s=2.0, seed=s.seed, clock=s.clock).makespan
        if best is not None:
            out.append(Sample("P2 8×3 over the optimum", found - best, "makespan", "≤ 0"))
    return out


def _theirs(peer: Path, problem: Unrelated, seconds: float, workers: int) -> float | None:
    chains = [[list(enumerate(row))] for row in problem.ticks.tolist()]
    machines = problem.ticks.shape[1]
    return pyjobshop(peer, machines, chains, seconds=seconds, workers=workers, setup=problem.setup.tolist())


def least_late(s: Settings) -> list[Sample]:
    """P3: OR-Library's 125 instances of one machine and 100 jobs, 1 s each."""
    folder = _data(s) / "single_machine" / "wt"
    queues = read_queues(text_of(folder / "wt100.txt"), 100)
    best = [[int(word) for word in text_of(folder / f"wtbest100{v}.txt").split()] for v in "ab"]
    solve_queue(queues[0], kicks=5)
    gaps = []
    for i in range(0, len(queues), 12 if s.quick else 1):
        goal = min(best[0][i], best[1][i])
        cost = solve_queue(queues[i], budget_s=1.0, seed=s.seed, clock=s.clock).cost
        gaps.append(_over(cost, goal) if goal else (0.0 if cost == 0 else 100.0))
    return [
        Sample("P3 wt100 mean", statistics.mean(gaps), "% over best", "≤ 0.1"),
        Sample("P3 wt100 worst instance", max(gaps), "% over best", "-"),
    ]


def against_optimum(s: Settings) -> list[Sample]:
    """P4: small networks against their proven optimum (planning_optima.py); 2 s of search."""
    gaps = []
    tiny = microfab(6, 4, load=1.6, calendars=False, chains=False).problem
    improve(make_core(tiny), append_first(tiny, make_core(tiny)), moves=500)  # loads the compiled code
    for network in NETWORKS:
        problem = network_of(*network)
        core = make_core(problem)
        schedule = append_first(problem, core)
        done = improve(core, schedule, seed=s.seed, budget_s=0.5 if s.quick else 2.0, clock=s.clock).after
        best = optimum_of(problem)
        if best is None:
            raise Left("the networks are not those whose optima are known: python -m tests.benchmarks.planning_optima")
        gaps.append(_over(done, best))
        print(f"  {network}: {done}, optimum {best}", flush=True)
    return [
        Sample("P4 mean", statistics.mean(gaps), "% over optimum", "≤ 0.5"),
        Sample("P4 worst instance", max(gaps), "% over optimum", "≤ 2"),
        Sample("P4 optima proven", len(gaps), "of 6", "-"),
    ]


def against_bound(s: Settings) -> list[Sample]:
    """P5: 1,000 × 100 around the clock at load 1.6: 30 s of search, then our own lower bound in 60 s."""
    # Weighted tardiness alone, which is what the bound is of.
    fab = microfab(1_000, 100, seed=s.seed, load=1.6, calendars=False, chains=False, setups=False, flow_percent=0)
    p = fab.problem
    core = make_core(p)
    schedule = append_first(p, core)
    improve(core, append_first(p, core), moves=500)
    seconds = 3 if s.quick else 30
    improve(core, schedule, seed=s.seed, budget_s=seconds, clock=s.clock)
    cost = weighted_tardiness(p, schedule.avail, schedule.machine)
    curve: list[list[float]] = []
    bound = weighted_tardiness_bound(
        p, upper=cost, budget_s=5 if s.quick else 60, clock=s.clock,
        progress=lambda after_s, best: curve.append([round(after_s, 1), best]),
    )  # fmt: skip
    if bound is None or bound <= 0:
        raise Left("no bound is known for this network: there is no gap to tell")
    print(f"  seed {s.seed}: {cost}, bound {bound}", flush=True)
    gap = Sample("P5 gap to own bound", _over(cost, bound), "%", "≤ 10", {"prototype": 10.8},
                 {"bound": curve[:: max(1, len(curve) // 100)], "cost": [cost]})  # fmt: skip
    return [gap, Sample("P5 bound", bound, "min × weight", "-"), Sample("P5 cost", cost, "min × weight", "-")]


def _over(value: float, best: float) -> float:
    return 100 * (value / best - 1)


def _seconds(s: Settings) -> float:
    return 1.0 if s.quick else 10.0


def _data(s: Settings) -> Path:
    if s.data is None:
        raise Left("the public instances are not here: give their folder with --bench-data")
    return s.data
