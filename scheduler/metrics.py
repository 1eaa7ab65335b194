"""Prometheus metrics, read from the database at scrape: never a job's or an order's id as a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from agents.contract.vocabulary import JobState, MachineState
from scheduler.clock import Clock
from scheduler.dispatch.ingest import Ingest
from scheduler.dispatch.states import JobEvent
from scheduler.store import Store, queries
from scheduler.store import tables as t

_WAIT_BUCKETS_S: Final = (60, 300, 900, 3_600, 4 * 3_600, 12 * 3_600, 24 * 3_600, 3 * 86_400, 7 * 86_400)
_OUTCOMES: Final = tuple(event.value for event in JobEvent)


class SchedulerCollector(Collector):
    """Everything about work and machines, as the database says at this moment."""

    def __init__(self, store: Store, clock: Clock, ingest: Ingest) -> None:
        self._store, self._clock, self._ingest = store, clock, ingest

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]:
        """All families."""
        with self._store.read() as c:
            yield from self._jobs(c)
            yield from self._machines(c)
            yield from self._offers(c)
            yield self._waits(c)
            yield from self._traffic(c)

    def _jobs(self, c: sa.Connection) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        jobs = GaugeMetricFamily("workshed_jobs", "Jobs by state", labels=["state"])
        counts = queries.count_jobs(c)
        for state in JobState:
            jobs.add_metric([state.value], counts.get(state.value, 0))
        yield jobs
        made = CounterMetricFamily("workshed_parts_made", "Pieces inspected and found good", labels=["process"])
        seconds = CounterMetricFamily("workshed_machine_seconds", "Seconds of finished runs", labels=["process"])
        query = sa.select(t.jobs.c.process, sa.func.sum(t.jobs.c.good), sa.func.sum(t.jobs.c.machine_s))
        for process, good, machine_s in c.execute(query.group_by(t.jobs.c.process)):
            made.add_metric([process], good or 0)
            seconds.add_metric([process], machine_s or 0.0)
        yield made
        yield seconds
        events = CounterMetricFamily("workshed_job_events", "What happened to jobs", labels=["event"])
        query = sa.select(t.events.c.kind, sa.func.count()).where(t.events.c.job.is_not(None)).group_by(t.events.c.kind)
        counted: dict[str, int] = {row[0]: row[1] for row in c.execute(query)}
        for kind in _OUTCOMES:
            events.add_metric([kind], counted.get(kind, 0))
        yield events

    def _machines(self, c: sa.Connection) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily(
            "workshed_machine_state", "1 for the state each machine is in", labels=["shop", "machine", "state"]
        )
        quarantined = GaugeMetricFamily("workshed_machine_quarantined", "1 if quarantined", labels=["shop", "machine"])
        for row in queries.machines(c):
            for state in MachineState:
                states.add_metric([row.shop, row.key, state.value], float(row.state == state.value))
            quarantined.add_metric([row.shop, row.key], float(row.quarantined_at is not None))
        yield states
        yield quarantined
        online = GaugeMetricFamily("workshed_agent_online", "1 if the agent is online", labels=["shop", "agent"])
        heard = GaugeMetricFamily("workshed_agent_silent_seconds", "Since its last word", labels=["shop", "agent"])
        now = self._clock.now()
        for agent in queries.agents(c):
            online.add_metric([agent.shop, agent.id], float(agent.online))
            heard.add_metric([agent.shop, agent.id], max(0.0, (now - agent.heard_at).total_seconds()))
        yield online
        yield heard

    def _offers(self, c: sa.Connection) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        query = sa.select(t.offers.c.outcome, sa.func.count()).group_by(t.offers.c.outcome)
        counts: dict[str, int] = {row[0]: row[1] for row in c.execute(query)}
        yield GaugeMetricFamily("workshed_offers_open", "Offers not answered yet", value=counts.get("open", 0))
        closed = CounterMetricFamily("workshed_offers_closed", "Offers by how they ended", labels=["outcome"])
        for outcome in sorted({*counts, "claimed", "not taken"} - {"open"}):
            closed.add_metric([outcome], counts.get(outcome, 0))
        yield closed
        live = c.execute(sa.select(sa.func.count()).where(t.leases.c.ended_at.is_(None))).scalar()
        yield GaugeMetricFamily("workshed_leases_live", "Leases held by agents", value=live or 0)
        total = c.execute(sa.select(sa.func.count()).select_from(t.leases)).scalar()
        yield CounterMetricFamily("workshed_leases", "Leases ever granted", value=total or 0)

    def _waits(self, c: sa.Connection) -> HistogramMetricFamily:
        query = sa.select(t.jobs.c.created_at, t.jobs.c.started_at).where(t.jobs.c.started_at.is_not(None))
        waits = [max(0.0, (started - created).total_seconds()) for created, started in c.execute(query)]
        family = HistogramMetricFamily("workshed_job_wait_seconds", "From creation to the first confirmed line")
        buckets = [(str(float(edge)), float(sum(wait <= edge for wait in waits))) for edge in _WAIT_BUCKETS_S]
        family.add_metric([], [*buckets, ("+Inf", float(len(waits)))], sum(waits))
        return family

    def _traffic(self, c: sa.Connection) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        unsent = c.execute(sa.select(sa.func.count()).where(t.outbox.c.sent_at.is_(None))).scalar()
        yield GaugeMetricFamily("workshed_outbox_unsent", "Messages the broker has not confirmed", value=unsent or 0)
        yield CounterMetricFamily("workshed_messages_received", "Messages committed", value=self._ingest.received)
        yield CounterMetricFamily("workshed_messages_refused", "Messages refused", value=self._ingest.refused)
        oldest = c.execute(
            sa.select(sa.func.min(t.jobs.c.created_at)).where(t.jobs.c.state == JobState.WAITING.value)
        ).scalar()
        age = 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())
        yield GaugeMetricFamily("workshed_oldest_waiting_seconds", "Age of the oldest waiting job", value=age)


def registry(store: Store, clock: Clock, ingest: Ingest) -> CollectorRegistry:
    """A registry of its own: several schedulers may live in one process."""
    made = CollectorRegistry()
    made.register(SchedulerCollector(store, clock, ingest))
    return made
