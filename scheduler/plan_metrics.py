"""The planner's figures for Prometheus: what the newest plan costs by term, who waits why, how fast planning goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from agents.contract.vocabulary import JobState
from scheduler.planning.feasibility import CHECKERS
from scheduler.planning.objective import TERMS
from scheduler.planning.serving import Measures
from scheduler.planning.snapshot import Plan, Snapshot
from scheduler.store import queries
from scheduler.store import tables as t

#: Why a job waits, nearest to a place last: the checkers in their order, then room. `parts`: for another job's part;
#: `other`: dispatch holds it back (not accepted yet, its toolpath is being made, a quarantined file).
REASONS: Final = ("other", "parts", *CHECKERS, "room")

Families = Iterator[GaugeMetricFamily | CounterMetricFamily]


def plan_families(c: sa.Connection, planner: object) -> Families:
    """All families about planning. `planner`: measured if it can be (one made for a test may be a plain function)."""
    newest = queries.last_plan(c)
    plan = None if newest is None else msgspec.convert(newest[1]["plan"], Plan)
    snapshot = None if newest is None else msgspec.convert(newest[1]["snapshot"], Snapshot)
    took = 0.0 if plan is None else plan.wall_s
    yield GaugeMetricFamily("workshed_plan_seconds", "What the newest planning round took", value=took)
    placed = 0 if plan is None else len(plan.placements)
    yield GaugeMetricFamily("workshed_plan_placed_jobs", "Jobs that the newest plan places", value=placed)
    cost = GaugeMetricFamily("workshed_plan_cost", "Weight-minutes that the newest plan costs", labels=["term"])
    by_term = {} if plan is None else {term.name: term.value / 100 for term in plan.terms}
    for name in TERMS:
        cost.add_metric([name], by_term.get(name, 0.0))
    yield cost
    late = 0 if plan is None or snapshot is None else late_promises(snapshot, plan)
    yield GaugeMetricFamily("workshed_plan_late_promises", "Promises that the newest plan breaks", value=late)
    yield _waiting(c)
    yield from _process(planner)


def late_promises(snapshot: Snapshot, plan: Plan) -> int:
    """Jobs with a promised date that the plan ends after it, or does not place at all."""
    finish = {placement.job: placement.finish for placement in plan.placements}
    promised = ((job.id, job.promised) for job in snapshot.jobs if job.promised is not None)
    return sum(job not in finish or finish[job] > date for job, date in promised)


def reason_of(waiting: Mapping[str, Any]) -> str:
    """One word for why a job waits: the checker that its nearest machine fails."""
    told = [str(shut.get("checker", "")) for shut in waiting.get("machines", ())]
    known = [checker for checker in told if checker in REASONS]
    if known:
        return max(known, key=REASONS.index)
    return "parts" if str(waiting.get("why", "")).startswith("it needs the part") else "other"


def _waiting(c: sa.Connection) -> GaugeMetricFamily:
    family = GaugeMetricFamily("workshed_plan_waiting_jobs", "Jobs without a place, by reason", labels=["reason"])
    query = sa.select(t.jobs.c.waiting).where(t.jobs.c.state == JobState.WAITING.value, t.jobs.c.waiting.is_not(None))
    counts = Counter(reason_of(row[0]) for row in c.execute(query) if row[0])
    for reason in REASONS:
        family.add_metric([reason], counts[reason])
    return family


def _process(planner: object) -> Families:
    measures = getattr(planner, "measures", None)
    known = measures if isinstance(measures, Measures) else Measures()
    latency = "From asking for the newest plan to having it"
    yield GaugeMetricFamily("workshed_replan_latency_seconds", latency, value=known.latency_s)
    yield GaugeMetricFamily("workshed_planner_solve_seconds", "The planner's own part of it", value=known.solve_s)
    yield CounterMetricFamily("workshed_planner_rounds", "Plans made since the scheduler started", value=known.rounds)
    yield CounterMetricFamily("workshed_planner_moves", "Moves that the search has tried", value=known.moves)
    yield CounterMetricFamily("workshed_planner_search_seconds", "Time spent searching", value=known.moving_s)
    lost = getattr(planner, "restarts", 0)
    yield CounterMetricFamily("workshed_planner_restarts", "Planning processes that were lost", value=lost)
