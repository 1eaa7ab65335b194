"""What Prometheus scrapes from an agent: base units, one gauge a state, never a job's name.

Source of the conventions: https://prometheus.io/docs/practices/naming/ and …/instrumentation/.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from agents.agent import Agent
from agents.contract.vocabulary import FailureClass, MachineState
from agents.publishing import version
from agents.reports import machine_state


class AgentMetrics:
    """A collector that reads the agent at scrape time, so that no figure can go stale."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def render(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterable[Metric]:
        """All families."""
        agent = self._agent
        yield InfoMetricFamily("workshed_agent", "Version of the agent", value={"version": version()})
        yield GaugeMetricFamily(
            "workshed_agent_broker_connected",
            "1 while the broker holds our session open",
            value=float(agent.line is not None and agent.line.is_up),
        )
        yield GaugeMetricFamily(
            "workshed_agent_journal_unacknowledged_events",
            "Events told or waiting to be told that were not acknowledged",
            value=agent.spool.unacknowledged_count(),
        )
        yield CounterMetricFamily(
            "workshed_agent_journal_events", "Events ever written to the journal", value=agent.spool.last_seq
        )
        yield GaugeMetricFamily(
            "workshed_agent_toolpath_cache_bytes",
            "Toolpaths on disk",
            value=float(sum(size for _, size in agent.spool.cached())),
        )
        yield from self._machines()

    def _machines(self) -> Iterable[Metric]:
        agent = self._agent
        state = GaugeMetricFamily(
            "workshed_agent_machine_state", "1 for the state in force", labels=["machine", "state"]
        )
        present = GaugeMetricFamily("workshed_agent_person_present", "1 while presence is fresh", labels=["machine"])
        ratio = GaugeMetricFamily(
            "workshed_agent_progress_ratio", "Share of confirmed lines, 0 to 1", labels=["machine"]
        )
        celsius = GaugeMetricFamily(
            "workshed_agent_temperature_celsius", "As the firmware reports it", labels=["machine", "heater"]
        )
        waiting = GaugeMetricFamily("workshed_agent_leases", "Leases held, begun or not", labels=["machine"])
        resends = CounterMetricFamily(
            "workshed_agent_line_resends", "Lines the firmware asked for again", labels=["machine"]
        )
        trouble = GaugeMetricFamily(
            "workshed_agent_spool_trouble", "1 while the spool cannot be written", labels=["machine"]
        )
        ended = CounterMetricFamily(
            "workshed_agent_runs", "Runs that ended, by how", labels=["machine", "outcome", "failure"]
        )
        for name, supervisor in agent.supervisors.items():
            status = supervisor.bridge.status()
            now_in, _ = machine_state(status, agent.spool.flags(name))
            for candidate in MachineState:
                state.add_metric([name, candidate.value], float(candidate is now_in))
            present.add_metric([name], float(agent.presence.present(name)))
            ratio.add_metric([name], status.line / status.total_lines if status.total_lines else 0.0)
            waiting.add_metric([name], len(agent.spool.leases(name)))
            resends.add_metric([name], status.resends)
            trouble.add_metric([name], float(bool(supervisor.trouble)))
            for heater, measured, _target in status.temperatures_c:
                celsius.add_metric([name, heater], measured)
            for (outcome, failure), count in supervisor.ended.items():
                ended.add_metric([name, outcome, failure], count)
        yield from (state, present, ratio, celsius, waiting, resends, trouble, ended)


#: Every value of the label `failure`, for dashboards and their tests; empty for runs that did not fail.
FAILURES = ("", *FailureClass)
