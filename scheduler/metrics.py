"""Prometheus metrics, read from the database at scrape: never a job's or an order's id as a label (docs/metrics.md)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any, Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from agents.contract.vocabulary import CLOSED_STATES, JobState, MachineState, NeedClass, Process
from scheduler.clock import Clock
from scheduler.dispatch.ingest import Ingest
from scheduler.dispatch.timings import BUCKETS_S, Timings
from scheduler.orders import quotes
from scheduler.orders.progress import OrderState
from scheduler.plan_metrics import plan_families
from scheduler.store import Store, queries
from scheduler.store import tables as t

_WAIT_BUCKETS_S: Final = (1, 5, 15, 60, 300, 900, 3_600, 4 * 3_600, 12 * 3_600, 86_400, 3 * 86_400, 7 * 86_400)
_MADE: Final = (JobState.FINISHED.value, JobState.INSPECTED.value)
_OVER: Final = CLOSED_STATES | {JobState.FINISHED}

Families = Iterator[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]


class SchedulerCollector(Collector):
    """Everything about work and machines, as the database says at this moment."""

    def __init__(
        self, store: Store, clock: Clock, ingest: Ingest, planner: object = None, timings: Timings | None = None
    ) -> None:
        self._store, self._clock, self._ingest, self._planner = store, clock, ingest, planner
        self._timings = timings or Timings()

    def collect(self) -> Families:
        """All families, from one consistent read."""
        now = self._clock.now()
        with self._store.read() as c:
            yield from _work(c, now)
            yield from _runs(c)
            yield _waits(c)
            yield from _machines(c, now)
            yield from _agents(c, now)
            yield from _offers(c)
            yield from plan_families(c, self._planner)
            yield from _messages(c)
        yield from _steps(self._timings)
        yield CounterMetricFamily("workshed_messages_received", "Messages committed", value=self._ingest.received)
        yield CounterMetricFamily("workshed_messages_refused", "Messages refused", value=self._ingest.refused)


def _steps(timings: Timings) -> Families:
    """What dispatch's own steps take."""
    text = "Steps of dispatch: what they took"
    took = HistogramMetricFamily("workshed_dispatch_step_seconds", text, labels=["step"])
    longest = GaugeMetricFamily(
        "workshed_dispatch_step_longest_seconds", "The longest since the start", labels=["step"]
    )
    for step, timed in timings.seen().items():
        edges = [*(str(float(edge)) for edge in BUCKETS_S), "+Inf"]
        took.add_metric([step.value], list(zip(edges, accumulate(timed.counts), strict=True)), timed.total_s)
        longest.add_metric([step.value], timed.longest_s)
    yield took
    yield longest


def _work(c: sa.Connection, now: datetime) -> Families:
    """What is asked for, and where it stands."""
    orders = GaugeMetricFamily("workshed_orders", "Orders by state", labels=["state"])
    by_state = Counter(row[0] for row in c.execute(sa.select(t.orders.c.state)))
    for order_state in OrderState:
        orders.add_metric([order_state.value], by_state[order_state.value])
    yield orders
    jobs = GaugeMetricFamily("workshed_jobs", "Jobs by state", labels=["state", "process"])
    query = sa.select(t.jobs.c.state, t.jobs.c.process, sa.func.count()).group_by(t.jobs.c.state, t.jobs.c.process)
    counts = {(state, process): number for state, process, number in c.execute(query)}
    for state in JobState:
        for process in Process:
            jobs.add_metric([state.value, process.value], counts.get((state.value, process.value), 0))
    yield jobs
    fared = quotes.promises(c, now)
    promised = GaugeMetricFamily("workshed_promises", "Orders with a promised date, by how it fared", labels=["fate"])
    for fate in ("kept", "broken", "overdue", "standing"):
        promised.add_metric([fate], getattr(fared, fate))
    yield promised
    yield GaugeMetricFamily("workshed_late_jobs", "Open jobs that miss their order's date", value=_late(c, now))
    oldest = c.execute(
        sa.select(sa.func.min(t.jobs.c.created_at)).where(t.jobs.c.state == JobState.WAITING.value)
    ).scalar()
    age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    yield GaugeMetricFamily("workshed_oldest_waiting_seconds", "Age of the oldest waiting job", value=age)


def _late(c: sa.Connection, now: datetime) -> int:
    query = (
        sa.select(t.jobs.c.placement, t.orders.c.due)
        .join(t.orders, t.orders.c.id == t.jobs.c.order)
        .where(t.orders.c.due.is_not(None), t.jobs.c.state.not_in([state.value for state in _OVER]))
    )
    late = 0
    for placement, due in c.execute(query):
        finish = (placement or {}).get("finish")
        late += max(now, now if finish is None else datetime.fromisoformat(finish)) > due
    return late


def _runs(c: sa.Connection) -> Families:
    """What machines did, by shop and process."""
    finished = CounterMetricFamily("workshed_jobs_finished", "Runs confirmed to the end", labels=["shop", "process"])
    failed = CounterMetricFamily("workshed_jobs_failed", "Runs that ended early", labels=["shop", "process", "failure"])
    ended = (
        sa.select(t.events.c.agent, t.jobs.c.process, t.events.c.to_state, t.events.c.body)
        .join(t.jobs, t.jobs.c.id == t.events.c.job)
        .where(t.events.c.to_state.in_([JobState.FINISHED.value, JobState.FAILED.value]))
    )
    done: Counter[tuple[str, str]] = Counter()
    lost: Counter[tuple[str, str, str]] = Counter()
    for agent, process, state, body in c.execute(ended):
        if state == JobState.FINISHED.value:
            done[_shop(agent), process] += 1
        else:
            lost[_shop(agent), process, str(body.get("failure", "other"))] += 1
    for (shop, process), number in done.items():
        finished.add_metric([shop, process], number)
    for (shop, process, failure), number in lost.items():
        failed.add_metric([shop, process, failure], number)
    yield finished
    yield failed
    yield _parts(c)
    yield from _times(c)


def _parts(c: sa.Connection) -> CounterMetricFamily:
    family = CounterMetricFamily("workshed_parts", "Parts a person looked at", labels=["shop", "process", "verdict"])
    columns = (t.jobs.c.agent, t.jobs.c.process)
    query = sa.select(*columns, sa.func.sum(t.jobs.c.good), sa.func.sum(t.jobs.c.rejected)).group_by(*columns)
    parts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for agent, process, good, rejected in c.execute(query.where(t.jobs.c.agent.is_not(None))):
        seen = parts[_shop(agent), process]
        seen[0] += good or 0
        seen[1] += rejected or 0
    for (shop, process), (good, rejected) in parts.items():
        family.add_metric([shop, process, "good"], good)
        family.add_metric([shop, process, "rejected"], rejected)
    return family


def _times(c: sa.Connection) -> Families:
    """Promised and taken run times of what was made; the toolpath is that of the lease it was made under."""
    planned = CounterMetricFamily("workshed_job_planned_seconds", "Run time promised", labels=["shop", "process"])
    actual = CounterMetricFamily("workshed_job_actual_seconds", "Run time taken", labels=["shop", "process"])
    query = (
        sa.select(t.jobs.c.agent, t.jobs.c.process, t.toolpaths.c.duration_s, t.jobs.c.machine_s)
        .join(t.leases, sa.and_(t.leases.c.job == t.jobs.c.id, t.leases.c.fence == t.jobs.c.fence))
        .join(t.offers, t.offers.c.id == t.leases.c.offer)
        .join(t.toolpaths, t.toolpaths.c.sha256 == t.offers.c.sha256)
        .where(t.jobs.c.state.in_(_MADE), t.jobs.c.agent.is_not(None))
    )
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for agent, process, promised_s, taken_s in c.execute(query):
        both = sums[_shop(agent), process]
        both[0] += promised_s
        both[1] += taken_s
    for (shop, process), (promised_s, taken_s) in sums.items():
        planned.add_metric([shop, process], promised_s)
        actual.add_metric([shop, process], taken_s)
    yield planned
    yield actual


def _waits(c: sa.Connection) -> HistogramMetricFamily:
    query = (
        sa.select(t.jobs.c.process, t.orders.c.need_class, t.jobs.c.created_at, t.jobs.c.started_at)
        .join(t.orders, t.orders.c.id == t.jobs.c.order)
        .where(t.jobs.c.started_at.is_not(None))
    )
    # Every series from the start: a first wait that begins a series is no increase to Prometheus.
    waits: dict[tuple[str, str], list[float]] = {
        (kind, need): [] for kind in map(str, Process) for need in map(str, NeedClass)
    }
    for process, need, created, started in c.execute(query):
        waits[process, need].append(max(0.0, (started - created).total_seconds()))
    text = "From a job's creation to the first line its machine confirmed"
    family = HistogramMetricFamily("workshed_job_wait_seconds", text, labels=["process", "need"])
    for labels, values in waits.items():
        buckets = [(str(float(edge)), float(sum(wait <= edge for wait in values))) for edge in _WAIT_BUCKETS_S]
        family.add_metric(list(labels), [*buckets, ("+Inf", float(len(values)))], sum(values))
    return family


def _machines(c: sa.Connection, now: datetime) -> Families:
    labels = ["shop", "machine", "process"]
    states = GaugeMetricFamily("workshed_machine_state", "1 for the state in force", labels=[*labels, "state"])
    age = GaugeMetricFamily("workshed_machine_report_age_seconds", "Since its last report", labels=["shop", "machine"])
    quarantined = GaugeMetricFamily("workshed_machine_quarantined", "1 if quarantined", labels=["shop", "machine"])
    busy = CounterMetricFamily("workshed_machine_busy_seconds", "Seconds of runs that ended", labels=labels)
    columns = (t.jobs.c.agent, t.jobs.c.machine)
    spent: dict[str, float] = {
        f"{agent}.{machine}": seconds or 0.0
        for agent, machine, seconds in c.execute(
            sa.select(*columns, sa.func.sum(t.jobs.c.machine_s)).group_by(*columns)
        )
    }
    for row in queries.machines(c):
        for state in MachineState:
            states.add_metric([row.shop, row.key, row.process, state.value], float(row.state == state.value))
        age.add_metric([row.shop, row.key], max(0.0, (now - row.heard_at).total_seconds()))
        quarantined.add_metric([row.shop, row.key], float(row.quarantined_at is not None))
        busy.add_metric([row.shop, row.key, row.process], spent.get(row.key, 0.0))
    yield from (states, age, quarantined, busy)


def _agents(c: sa.Connection, now: datetime) -> Families:
    online = GaugeMetricFamily("workshed_agent_online", "1 if the agent is online", labels=["shop", "agent"])
    silent = GaugeMetricFamily("workshed_agent_silent_seconds", "Since its last word", labels=["shop", "agent"])
    for agent in queries.agents(c):
        online.add_metric([agent.shop, agent.agent], float(agent.online))
        silent.add_metric([agent.shop, agent.agent], max(0.0, (now - agent.heard_at).total_seconds()))
    yield online
    yield silent


def _offers(c: sa.Connection) -> Families:
    offers = CounterMetricFamily("workshed_offers", "Offers, made and by how they ended", labels=["shop", "outcome"])
    columns = (t.offers.c.agent, t.offers.c.outcome)
    counts: Counter[tuple[str, str]] = Counter()
    for agent, outcome, number in c.execute(sa.select(*columns, sa.func.count()).group_by(*columns)):
        counts[_shop(agent), "made"] += number
        if outcome != "open":
            counts[_shop(agent), outcome.replace(" ", "_")] += number
    for (shop, outcome), number in counts.items():
        offers.add_metric([shop, outcome], number)
    yield offers
    live = c.execute(sa.select(sa.func.count()).where(t.leases.c.ended_at.is_(None))).scalar()
    yield GaugeMetricFamily("workshed_leases_live", "Leases held by agents", value=live or 0)


def _messages(c: sa.Connection) -> Families:
    events = CounterMetricFamily("workshed_journal_events", "Journal events committed", labels=["shop", "type"])
    columns = (t.inbox.c.agent, t.inbox.c.kind)
    counts: Counter[tuple[str, str]] = Counter()
    rows: Any = c.execute(sa.select(*columns, sa.func.count()).group_by(*columns))
    for agent, kind, number in rows:
        counts[_shop(agent), kind] += number
    for (shop, kind), number in counts.items():
        events.add_metric([shop, kind], number)
    yield events
    unsent = c.execute(sa.select(sa.func.count()).where(t.outbox.c.sent_at.is_(None))).scalar()
    yield GaugeMetricFamily("workshed_outbox_unsent", "Messages the broker has not confirmed", value=unsent or 0)


def _shop(agent: str | None) -> str:
    """The shop of an agent's id `{shop}.{agent}`."""
    return (agent or "").partition(".")[0]


def registry(
    store: Store, clock: Clock, ingest: Ingest, planner: object = None, timings: Timings | None = None
) -> CollectorRegistry:
    """A registry of its own: several schedulers may live in one process."""
    made = CollectorRegistry()
    made.register(SchedulerCollector(store, clock, ingest, planner, timings))
    return made
