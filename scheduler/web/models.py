"""What the pages show, as plain values: made from the same views that the HTTP API answers with, drawn by the pages.

Equal values mean that nothing on the page has changed, so that nothing is drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class GateShown:
    """A shut start gate and what lifts it."""

    gate: str
    why: str
    lift: str


@dataclass(frozen=True, slots=True)
class StretchShown:
    """A time for which a machine is kept from the pool: `reserved`, or down for `maintenance`."""

    kind: str
    start: datetime
    end: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class MachineShown:
    """One machine's tile. `heard_at` is set only where it matters: for a machine that fell silent."""

    machine: str
    shop: str
    name: str
    process: str
    state: str
    why: str = ""
    stale: bool = False
    heard_at: datetime | None = None
    materials: tuple[str, ...] = ()
    job: str = ""
    job_title: str = ""
    progress: float | None = None
    person_present: bool = False
    gates: tuple[GateShown, ...] = ()
    expected: datetime | None = None
    """When its run should end, by the newest plan."""
    kept: tuple[StretchShown, ...] = ()
    """When it is kept from the pool, the next first."""
    attended_from: datetime | None = None
    """When somebody is there next, where the shop said so and nobody is there now."""
    accepts_pool: bool = True
    zone: str = ""
    """The shop's zone, where its agent named one."""


@dataclass(frozen=True, slots=True)
class ReservationShown:
    """One machine kept for somebody, and how to take that back."""

    reservation: str
    machine: str
    name: str
    shop: str
    zone: str
    start: datetime
    end: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class DisplacedShown:
    """A job that a wished reservation touches: `effect` is `stays`, `taken_back` or `planned_around`."""

    job: str
    order: str
    title: str
    state: str
    effect: str
    start: datetime
    finish: datetime


@dataclass(frozen=True, slots=True)
class WishShown:
    """A reservation that was asked for and not made yet, with all whom it would touch."""

    machine: str
    name: str
    shop: str
    zone: str
    start: datetime
    end: datetime
    why: str
    displaced: tuple[DisplacedShown, ...]
    fresh: frozenset[str] = frozenset()
    """Jobs that it had not touched when it was looked at before."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one machine does not take a job, and the cheapest change that would make it."""

    machine: str
    why: str
    lift: str = ""


@dataclass(frozen=True, slots=True)
class JobShown:
    """One line of the queue, or of an order's page."""

    job: str
    order: str
    title: str
    part: str
    pieces: int
    process: str
    material: str
    state: str
    need: str
    ring: str
    since: datetime
    machine: str = ""
    shop: str = ""
    progress: float = 0.0
    planned_start: datetime | None = None
    planned_finish: datetime | None = None
    reasons: tuple[Reason, ...] = ()
    placement: tuple[str, ...] = ()
    flag: str = ""
    made_by: str = ""
    run_s: float | None = None
    attempt: int = 1
    good: int = 0
    rejected: int = 0
    home: str = ""
    """The shop that looks after it while the scheduler is away."""
    doubt: str = ""
    """Why nothing may be done about it now."""
    homeless: str = ""
    """Why it has no home, where it should."""


@dataclass(frozen=True, slots=True)
class OrderShown:
    """One order in a list. Who asked for it is not shown to everybody."""

    order: str
    title: str
    state: str
    need: str
    ring: str
    quantity: int
    created: datetime
    due: datetime | None = None
    jobs: int = 0
    jobs_done: int = 0
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class PartShown:
    """How many of a part are wanted, and how many somebody found good."""

    part: str
    quantity: int
    good: int
    process: str


@dataclass(frozen=True, slots=True)
class StepShown:
    """One assembly step: `shut` until its parts are there, then `open`, then `done`."""

    step: str
    instruction: str
    needs: tuple[str, ...]
    state: str


@dataclass(frozen=True, slots=True)
class OrderDetail:
    """All of one order's page."""

    order: OrderShown
    expected: datetime | None
    parts: tuple[PartShown, ...]
    steps: tuple[StepShown, ...]
    jobs: tuple[JobShown, ...]
    accepted: datetime | None = None
    made: datetime | None = None
    handed_over: datetime | None = None
    quoted: datetime | None = None
    """Nine times in ten it is made by then, if it is accepted now."""
    quoted_until: datetime | None = None
    quote_why: str = ""
    """Why no date can be given."""
    promised: datetime | None = None
    shared: tuple[tuple[str, int], ...] = ()
    """(job, own pieces) of jobs on which pieces of others lie too."""


@dataclass(frozen=True, slots=True)
class OffcutShown:
    """An offcut that a shop keeps: its label, and what it is in words."""

    label: str
    shop: str
    words: str


@dataclass(frozen=True, slots=True)
class BarShown:
    """One bar of the schedule: a job on a machine, planned, running or done."""

    lane: str
    job: str
    title: str
    process: str
    kind: str
    """`planned`, `running` or `done`; or what keeps the machine: `reserved`, `maintenance`."""
    start: datetime
    end: datetime
    latest: datetime | None = None
    """Nine in ten such runs end before this."""


@dataclass(frozen=True, slots=True)
class HoursShown:
    """One week of the hours that a shop's people give."""

    shop: str
    week: datetime
    """Its Monday."""
    given_s: float
    planned_s: float
    """Spent since Monday, or planned."""
    missing_s: float
    """What the plan would take besides, had they more."""


@dataclass(frozen=True, slots=True)
class Overview:
    """All of the first page."""

    orders: tuple[OrderShown, ...]
    queue: tuple[JobShown, ...]
    machines: tuple[MachineShown, ...]
    bars: tuple[BarShown, ...]
    lanes: tuple[str, ...]
    planned_at: datetime | None = None
    plan_note: str = ""
    hours: tuple[HoursShown, ...] = ()
    """Where people are too few first; empty where nobody's hours are known."""

    @property
    def running(self) -> int:
        """Machines that confirmed motion and were heard of lately."""
        return sum(machine.state == "running" and not machine.stale for machine in self.machines)

    @property
    def waiting(self) -> int:
        """Jobs that no machine holds."""
        return sum(job.state in {"waiting", "offered"} for job in self.queue)

    @property
    def open_orders(self) -> int:
        """Orders in the making."""
        return sum(order.state in {"accepted", "making"} for order in self.orders)

    @property
    def wants_a_person(self) -> int:
        """Machines at which a person could move things on."""
        return sum(bool(machine.gates) or machine.state in {"occupied", "alarm"} for machine in self.machines)
