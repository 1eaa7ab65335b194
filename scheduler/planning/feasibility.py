"""May this machine make this job at all? One small checker per constraint; its name is the reason a person reads.

The same checkers filter alternatives before planning and explain a waiting job after it. Each returns None when its
constraint holds, else the sentence with the numbers and, where there is one, the cheapest change that would lift it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import ceil, isfinite
from typing import Final

from scheduler.planning import calendars
from scheduler.planning.calendars import Ticks
from scheduler.planning.machine_time import MachineTime
from scheduler.planning.snapshot import (
    Crew,
    DurationOption,
    Material,
    MaterialNeed,
    PlanJob,
    PlanMachine,
    PlanPolicy,
    Shut,
    Snapshot,
)

#: Planned and safe durations as multiples of the expected one, where nothing was learned yet. Our own assumption.
P80_OVER_P50: Final = 1.15
P90_OVER_P50: Final = 1.3
#: Diameters and thicknesses closer than this are the same tool or sheet.
SAME_MM: Final = 0.051


@dataclass(frozen=True, slots=True)
class Blocked:
    """What a checker found: the sentence, and what would lift it."""

    text: str
    lift: str = ""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of one job on one machine, warm-up and cool-down included."""

    p50_s: float
    p80_s: float
    p90_s: float


class View:
    """A snapshot with what the checkers look up in it; machines and jobs may be exchanged one by one."""

    def __init__(self, snapshot: Snapshot, now: int = 0) -> None:
        self.snapshot = snapshot
        self.now = now
        """Ticks since the snapshot's now: it is the epoch of a plan that lives on."""
        self.made = frozenset(snapshot.made)
        """Jobs that are made already."""
        self.machine = {machine.id: machine for machine in snapshot.machines}
        """Machines by id."""
        self.job = {job.id: job for job in snapshot.jobs}
        """Jobs by id."""
        self.times: Mapping[str, MachineTime] = _Times(self)
        """Calendars by machine, made when first asked for."""

    @property
    def policy(self) -> PlanPolicy:
        """The declared weights."""
        return self.snapshot.policy

    @property
    def horizon(self) -> int:
        """Ticks that may be planned."""
        return int(self.policy.horizon_s // self.policy.tick_s)

    @cached_property
    def crew(self) -> dict[str, Crew]:
        """People by shop."""
        return {crew.shop: crew for crew in self.snapshot.crews}

    @cached_property
    def carbon(self) -> dict[str, tuple[float, ...]]:
        """Grams of CO2 per kWh by shop and hour of the day."""
        return {curve.shop: curve.g_per_kwh for curve in self.snapshot.carbon}

    def given(self, crew: Crew) -> int:
        """Ticks that all people of a shop give a week."""
        return int(crew.people * crew.hours_a_week * 3600 // self.policy.tick_s)

    def hands(self, machine: PlanMachine) -> tuple[int, int]:
        """Ticks of somebody's time that loading and unloading take; none where its shop's people are not counted."""
        if machine.shop not in self.crew:
            return 0, 0
        return self.ticks(machine.load_s), self.ticks(machine.unload_s)

    def put_machine(self, machine: PlanMachine) -> None:
        """A new machine, or another one of that id."""
        self.machine[machine.id] = machine
        self.forget(machine.id)

    def forget(self, machine: str) -> None:
        """The machine's calendars are made anew when they are next asked for."""
        if isinstance(self.times, dict):
            self.times.pop(machine, None)

    @cached_property
    def circuit_limit(self) -> dict[str, float]:
        """Watts by circuit."""
        return {circuit.id: circuit.limit_w for circuit in self.snapshot.circuits}

    def tick(self, moment: datetime) -> int:
        """The first tick at or after the moment; 0 for the past."""
        return max(0, ceil((moment - self.snapshot.now).total_seconds() / self.policy.tick_s))

    def moment(self, tick: int) -> datetime:
        """When a tick is."""
        return self.snapshot.now + timedelta(seconds=int(tick) * self.policy.tick_s)

    def ticks(self, seconds: float) -> int:
        """Whole ticks that cover so many seconds."""
        return ceil(seconds / self.policy.tick_s - 1e-9)


class _Times(dict[str, MachineTime]):
    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def __missing__(self, machine: str) -> MachineTime:
        self[machine] = made = _time_of(self._view, self._view.machine[machine])
        return made


def _time_of(view: View, machine: PlanMachine) -> MachineTime:
    now, tick, horizon = view.snapshot.now, view.policy.tick_s, view.horizon
    busy = 0 if machine.busy_until is None else view.tick(machine.busy_until)
    # Maintenance and reservations round outward: a cut never shrinks.
    cuts = tuple(
        (
            max(0, int((window.start - now).total_seconds() // tick)),
            max(0, ceil((window.end - now).total_seconds() / tick)),
        )
        for window in (*machine.maintenance, *machine.reserved)
        if window.end > window.start and window.end > now
    )
    whole: Ticks = ((0, horizon),) if horizon > 0 else ()
    own = calendars.without(whole, cuts, horizon)
    pool = calendars.intersection(own, calendars.to_ticks(machine.pool_windows, now, tick, horizon))
    staff = calendars.to_ticks(machine.attended_windows, now, tick, horizon)
    return MachineTime(pool, own, staff, busy, horizon, _given(view, machine))


def _given(view: View, machine: PlanMachine) -> int:
    """What is left of a week of its people for one visit, less unloading and, where nobody stays, loading."""
    crew = view.crew.get(machine.shop)
    if crew is None:
        return view.horizon
    load = 0 if machine.attended else max(1, view.ticks(machine.load_s))
    return max(0, view.given(crew) - view.ticks(machine.unload_s) - load + (not machine.attended))


def option_of(job: PlanJob, machine: PlanMachine) -> DurationOption | None:
    """The most particular duration: this machine's, else its model's, else anybody's."""
    for option in job.options:
        if option.machine == machine.id:
            return option
    for option in job.options:
        if option.machine is None and option.model is not None and option.model == machine.model:
            return option
    return next((option for option in job.options if option.machine is None and option.model is None), None)


def duration_of(job: PlanJob, machine: PlanMachine) -> Duration | None:
    """P50 ≤ P80 ≤ P90 with warm-up and cool-down; None where the job has no duration on this machine."""
    option = option_of(job, machine)
    if option is None:
        return None
    around = machine.warmup_s + machine.cooldown_s
    p50 = option.p50_s
    p80 = max(p50, option.p80_s if option.p80_s is not None else p50 * P80_OVER_P50)
    p90 = max(p80, option.p90_s if option.p90_s is not None else p50 * P90_OVER_P50)
    return Duration(p50 + around, p80 + around, p90 + around)


def material_on(need: MaterialNeed, machine: PlanMachine) -> Material | None:
    """What is loaded and fits the need."""
    return next((material for material in machine.loaded if material_fits(need, material)), None)


def material_fits(need: MaterialNeed, have: Material) -> bool:
    """Kind, colour, thickness, size and amount agree. An amount or size that nobody declared is not held against it."""
    if have.material.casefold() != need.material.casefold():
        return False
    if need.colour and have.colour and need.colour.casefold() != have.colour.casefold():
        return False
    if need.thickness_mm is not None and have.thickness_mm is not None:
        if abs(need.thickness_mm - have.thickness_mm) > SAME_MM:
            return False
    elif need.thickness_mm is not None and have.thickness_mm is None:
        return False
    if need.amount_g is not None and have.remaining_g is not None and have.remaining_g < need.amount_g:
        return False
    return _sheet_fits(need, have)


def _sheet_fits(need: MaterialNeed, have: Material) -> bool:
    sizes = ((need.width_mm, have.width_mm), (need.height_mm, have.height_mm))
    return all(wanted is None or there is None or wanted <= there + 1e-6 for wanted, there in sizes)


def check_process(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The machine does another kind of work."""
    if job.process != machine.process:
        return Blocked(f"it is a {machine.process} machine and the job is {job.process} work")
    return None


def check_machine_known(_: View, __: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The machine is offline or quarantined."""
    if machine.offline:
        return Blocked("the machine is offline", "switch it on and connect its agent")
    if machine.quarantined:
        return Blocked(f"the machine is quarantined: {machine.quarantined}", "inspect it and release it")
    return None


def check_calendar(_: View, __: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The machine's calendar contradicts itself."""
    for name, windows in (
        ("pool hours", machine.pool_windows or ()),
        ("attended hours", machine.attended_windows or ()),
        ("maintenance", machine.maintenance),
        ("reservations", machine.reserved),
    ):
        wrong = calendars.contradiction(windows)
        if wrong is not None:
            return Blocked(f"its {name} contradict themselves: {wrong}", f"correct the {name} of the machine")
    return None


def check_ring(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The machine stands outside the ring that the requester allows."""
    if not job.ring.contains(machine.ring):
        return Blocked(
            f"it stands in the ring {machine.ring} and the order goes no further than {job.ring}",
            f"widen the order to {machine.ring}",
        )
    return None


def check_pool(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The owner takes no pool work."""
    if not machine.accepts_pool and job.own_shop != machine.shop:
        return Blocked("its owner takes no pool work on it", "ask the owner to open it to pool work")
    return None


def check_declined(view: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The owner said no, for good or until a time past the horizon."""
    for declined in job.declined:
        if declined.machine == machine.id and (
            declined.not_before is None or view.tick(declined.not_before) >= view.horizon
        ):
            why = "; ".join(declined.reasons)
            return Blocked("its owner declined the job" + (f": {why}" if why else ""), "ask the owner again")
    return None


def check_toolpath(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """There is no duration for this machine, so no toolpath was made for its model."""
    option = option_of(job, machine)
    if option is None:
        return Blocked(
            f"there is no toolpath for the model {machine.model or 'of this machine'}", "make a toolpath for it"
        )
    if not all(isfinite(s) and s > 0 for s in (option.p50_s, option.p80_s or 1.0, option.p90_s or 1.0)):
        return Blocked("the expected duration is not a positive number", "estimate the toolpath again")
    return None


def check_envelope(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The part is larger than the machine's travel."""
    if job.bounds_mm is None or machine.envelope_mm is None:
        return None
    for axis, need, have in zip("xyz", job.bounds_mm, machine.envelope_mm, strict=True):
        if need > have + 1e-6:
            return Blocked(
                f"it needs {need:.1f} mm in {axis} and the machine has {have:.1f} mm", "turn, split or scale the part"
            )
    return None


def check_tools(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """A tool is missing."""
    for tool in job.tools:
        if not any(t.kind == tool.kind and abs(t.diameter_mm - tool.diameter_mm) <= SAME_MM for t in machine.tools):
            return Blocked(
                f"it has no {tool.kind} of {tool.diameter_mm:g} mm", f"mount a {tool.kind} of {tool.diameter_mm:g} mm"
            )
    return None


def check_material(_: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The material is neither on the machine nor loadable, or there is too little of it."""
    need = job.need
    if need is None or not need.material:
        return None
    if material_on(need, machine) or any(material_fits(need, material) for material in machine.loadable):
        return None
    wanted = _said(need)
    near = [m for m in (*machine.loaded, *machine.loadable) if m.material.casefold() == need.material.casefold()]
    if not near:
        on_it = ", ".join(_said(material) for material in machine.loaded) or "nothing"
        return Blocked(f"it has {on_it} loaded and the job needs {wanted}", f"load {wanted} on it")
    short = [m for m in near if need.amount_g is not None and (m.remaining_g or 0.0) < need.amount_g]
    if short and short[0].remaining_g is not None:
        return Blocked(
            f"{short[0].remaining_g:.0f} g of {_said(short[0])} are left and the job needs {need.amount_g:.0f} g",
            f"load at least {need.amount_g:.0f} g of {wanted}",
        )
    return Blocked(f"it has {_said(near[0])} and the job needs {wanted}", f"load {wanted} on it")


def check_power(view: View, _: PlanJob, machine: PlanMachine) -> Blocked | None:
    """The machine alone draws more than its circuit allows."""
    limit = view.circuit_limit.get(machine.circuit)
    if limit is not None and machine.power_w is not None and machine.power_w > limit:
        return Blocked(
            f"it draws {machine.power_w:.0f} W and its circuit allows {limit:.0f} W", "move it to a stronger circuit"
        )
    return None


def check_hours(view: View, job: PlanJob, machine: PlanMachine) -> Blocked | None:
    """No window is long enough for the safe (P90) duration, or nobody is there to start it."""
    duration = duration_of(job, machine)
    if duration is None:
        return None
    longest, own = view.times[machine.id].longest, job.own_shop == machine.shop
    need = view.ticks(duration.p90_s) + view.ticks(view.policy.setup_s)
    hours = need * view.policy.tick_s / 3600
    have = longest.own if own else longest.pool
    if have < need:
        return Blocked(
            f"it needs {hours:.1f} h in one piece and the longest window is {have * view.policy.tick_s / 3600:.1f} h",
            "lengthen its pool hours, or split the job",
        )
    if machine.attended:
        both = longest.own_staffed if own else longest.pool_staffed
        if both < need and both == view.times[machine.id].given:
            return _too_few_hours(view, machine, f"it needs one of them for {hours:.1f} h in one piece")
        if both < need:
            return Blocked(
                f"it needs a person for {hours:.1f} h in one piece and the longest stretch with one is "
                f"{both * view.policy.tick_s / 3600:.1f} h",
                "lengthen the attended hours, or split the job",
            )
    elif view.times[machine.id].given == 0:
        return _too_few_hours(view, machine, "starting and unloading it takes more")
    elif longest.staff == 0:
        return Blocked("nobody is there to start and unload it before the horizon", "declare attended hours")
    return None


def _too_few_hours(view: View, machine: PlanMachine, wanted: str) -> Blocked:
    given = view.given(view.crew[machine.shop]) * view.policy.tick_s / 3600
    text = f"the people of {machine.shop} give {given:.1f} h a week and {wanted}"
    return Blocked(text, "find another person, or more hours a week")


def _said(material: Material | MaterialNeed) -> str:
    words = [material.material, material.colour]
    if material.thickness_mm is not None:
        words.append(f"{material.thickness_mm:g} mm")
    if material.width_mm is not None and material.height_mm is not None:
        words.append(f"{material.width_mm:g} × {material.height_mm:g} mm")
    return " ".join(word for word in words if word)


Checker = Callable[[View, PlanJob, PlanMachine], Blocked | None]

#: In the order in which a person would rather hear them.
CHECKERS: Final[dict[str, Checker]] = {
    "process": check_process,
    "machine": check_machine_known,
    "calendar": check_calendar,
    "ring": check_ring,
    "pool": check_pool,
    "declined": check_declined,
    "envelope": check_envelope,
    "tools": check_tools,
    "material": check_material,
    # Behind what keeps a toolpath from being made at all: that says what a person can do about it.
    "toolpath": check_toolpath,
    "power": check_power,
    "hours": check_hours,
}


def first_shut(view: View, job: PlanJob, machine: PlanMachine) -> Shut | None:
    """The first checker that says no, or None where the machine may make the job."""
    for name, checker in CHECKERS.items():
        blocked = checker(view, job, machine)
        if blocked is not None:
            return Shut(machine.id, name, blocked.text, blocked.lift)
    return None


def candidates(view: View, job: PlanJob) -> tuple[tuple[PlanMachine, ...], tuple[Shut, ...]]:
    """Machines that may make the job, and the reasons of those that may not."""
    able, shut = [], []
    for machine in view.snapshot.machines:
        reason = first_shut(view, job, machine)
        if reason is None:
            able.append(machine)
        else:
            shut.append(reason)
    return tuple(able), tuple(shut)
