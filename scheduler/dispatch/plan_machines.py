"""Machines as the planner sees them: what their agents last reported, what was learned of them, and what they share.

Circuits and legs are named after shops, so that equal words of two shops never meet. All that is known of distances is
a machine's ring: how far it stands from those who ask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agents.contract.messages import LoadedMaterial, MachineReport
from agents.contract.vocabulary import MachineState, Ring
from designs.processes.materials import canonical
from scheduler.orders.outcomes import Learned
from scheduler.planning.calendars import to_ticks
from scheduler.planning.snapshot import Circuit, Crew, Leg, Material, PlanMachine, PlanTool, Window
from scheduler.store.content_queries import OutcomeRow
from scheduler.store.rows import AgentRow, MachineRow

#: A finished part lies on the bed: somebody will clear it, we do not know when.
_CLEARING: Final = timedelta(minutes=10)
_AT_WORK: Final = frozenset({MachineState.RUNNING, MachineState.HELD})
_BROKEN: Final = {MachineState.ALARM: "it is in alarm", MachineState.DISABLED: "it is switched off"}
_WEEK_MIN: Final = 7 * 24 * 60
#: Where attended hours are declared and nothing else: one person, so many hours a week, so long for taking a part out.
_PEOPLE: Final = 1
_HOURS_A_WEEK: Final = 20.0
_UNLOAD_MIN: Final = 5.0
#: Where parts go at the end: to whoever asked.
REQUESTERS: Final = "requesters"
#: From a machine in this ring to whoever asked, in seconds: a door, a street, a walk, a ride, a parcel. Ours.
RING_S: Final[dict[Ring, float]] = {
    Ring.HOUSEHOLD: 0.0,
    Ring.BLOCK: 300.0,
    Ring.NEIGHBOURHOOD: 900.0,
    Ring.CITY: 2_700.0,
    Ring.FEDERATION: 86_400.0,
}


@dataclass(frozen=True, slots=True)
class SeenMachine:
    """A machine with its report read."""

    row: MachineRow
    report: MachineReport
    agent: AgentRow

    @property
    def key(self) -> str:
        """Name in the whole network."""
        return self.row.key


def plan_machines(
    machines: Mapping[str, SeenMachine],
    learned: Learned,
    now: datetime,
    booked: Mapping[str, Iterable[tuple[datetime, datetime]]],
) -> tuple[PlanMachine, ...]:
    """All machines, with what past attempts say of each, and when people here (`booked`) reserved them."""
    return tuple(
        _plan_machine(machine, learned.reliability(key), now, booked.get(key, ())) for key, machine in machines.items()
    )


def circuits(machines: Iterable[SeenMachine]) -> tuple[Circuit, ...]:
    """Circuits with a stated limit; where machines on one disagree, the smallest holds."""
    limits: dict[str, float] = {}
    for machine in machines:
        name, limit = _circuit(machine.report), machine.report.description.circuit_limit_w
        if name and limit is not None:
            limits[name] = min(limit, limits.get(name, limit))
    return tuple(Circuit(name, limit) for name, limit in sorted(limits.items()))


def crews(machines: Iterable[SeenMachine], outcomes: Iterable[OutcomeRow], now: datetime) -> tuple[Crew, ...]:
    """People of shops that say how many they are, or when somebody is there; with what they gave since Monday.

    What they gave is counted by ended attempts: loading and unloading, and all of it on attended machines.
    """
    told: dict[str, list[SeenMachine]] = defaultdict(list)
    for machine in machines:
        told[machine.report.shop].append(machine)
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    ended = [row for row in outcomes if row.at >= monday]
    found = []
    for shop, its in sorted(told.items()):
        reports = [machine.report for machine in its]
        if not any(report.attended_windows or report.people is not None for report in reports):
            continue
        known = {machine.key: machine.report for machine in its}
        spent = sum(_given_s(known[row.machine], row) for row in ended if row.machine in known)
        people = [report.people for report in reports if report.people is not None]
        hours = [report.hours_a_week for report in reports if report.hours_a_week is not None]
        found.append(Crew(shop, max(people, default=_PEOPLE), max(hours, default=_HOURS_A_WEEK), spent))
    return tuple(found)


def _given_s(report: MachineReport, row: OutcomeRow) -> float:
    load_s, unload_s = _hands_s(report)
    return max(0.0, row.measured_s) + unload_s if report.description.attended else load_s + unload_s


def _hands_s(report: MachineReport) -> tuple[float, float]:
    """Seconds of somebody's time that a start and taking a part out take."""
    load, unload = report.description.load_min, report.description.unload_min
    return 60.0 * (load or 0.0), 60.0 * (_UNLOAD_MIN if unload is None else unload)


def legs(machines: Iterable[SeenMachine]) -> tuple[Leg, ...]:
    """From each shop to whoever asked."""
    rings: dict[str, Ring] = {}
    for machine in machines:
        known = rings.get(machine.report.shop, machine.report.ring)
        rings[machine.report.shop] = min(known, machine.report.ring, key=lambda ring: ring.width)
    return tuple(Leg(shop, REQUESTERS, RING_S[ring]) for shop, ring in sorted(rings.items()))


def offered(machines: Iterable[SeenMachine], now: datetime) -> dict[str, dict[str, float]]:
    """Machine minutes that shops offer the pool within a week of today's beginning, by process and shop."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for machine in machines:
        if machine.agent.online and machine.report.accepts_pool_work:
            ticks = to_ticks(_windows(machine.report.windows) or None, today, 60, _WEEK_MIN)
            minutes = _WEEK_MIN if ticks is None else sum(end - start for start, end in ticks)
            found[machine.row.process][machine.report.shop] += minutes
    return {process: dict(shops) for process, shops in found.items()}


def _plan_machine(
    machine: SeenMachine, reliability: float, now: datetime, booked: Iterable[tuple[datetime, datetime]]
) -> PlanMachine:
    report, description = machine.report, machine.report.description
    broken = _BROKEN.get(report.state, "")
    load_s, unload_s = _hands_s(report)
    return PlanMachine(
        id=machine.key,
        shop=report.shop,
        process=description.process,
        ring=report.ring,
        model=description.model,
        envelope_mm=description.envelope_mm,
        loaded=tuple(_material(loaded) for loaded in description.materials),
        loadable=tuple(_material(there) for there in description.loadable),
        tools=tuple(PlanTool(tool.kind, tool.diameter_mm) for tool in description.tools),
        attended=description.attended,
        pool_windows=_windows(report.windows) or None,
        attended_windows=_windows(report.attended_windows) or None,
        maintenance=_windows(report.maintenance),
        reserved=_windows((*report.reserved, *booked)),
        busy_until=_busy_until(report, now),
        accepts_pool=report.accepts_pool_work,
        offline=not machine.agent.online or report.state in (MachineState.OFFLINE, MachineState.UNIDENTIFIED),
        quarantined=machine.row.quarantine_why or (f"{broken}: {report.why or 'no reason given'}" if broken else ""),
        power_w=description.power_w,
        circuit=_circuit(report),
        reliability=reliability,
        load_s=load_s,
        unload_s=unload_s,
    )


def _busy_until(report: MachineReport, now: datetime) -> datetime | None:
    """Until when nothing can start: the bed must be cleared, now or after the owner's own work.

    A machine that runs and names no job of ours is at its owner's work; where nobody knows for how long, it is asked
    again a little later. What is over by the shop's word, and not by its machine's, counts as nobody knowing.
    """
    if report.own_until is not None and report.own_until > now:
        return report.own_until + _CLEARING
    own_runs = report.job is None and report.state in _AT_WORK
    return now + _CLEARING if own_runs or report.state is MachineState.OCCUPIED else None


def _circuit(report: MachineReport) -> str:
    return f"{report.shop}/{report.description.circuit}" if report.description.circuit else ""


def _windows(stretches: Iterable[tuple[datetime, datetime]]) -> tuple[Window, ...]:
    return tuple(Window(start, end) for start, end in stretches)


def _material(there: LoadedMaterial) -> Material:
    return Material(
        canonical(there.material),
        there.colour,
        there.thickness_mm,
        there.remaining_g,
        there.width_mm,
        there.height_mm,
    )
