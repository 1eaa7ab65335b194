"""What the planner is told and what it answers: plain frozen values.

No price, bid, donation or balance can reach the planner, because no type here has a field for one; ids are opaque
labels that only link records to each other: relabelling them relabels the plan and changes nothing else. Times are UTC
and aware, durations seconds, lengths millimetres, masses grams.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agents.contract.vocabulary import NeedClass, Process, Ring

#: Weight of one minute late, by need class. Bounded; ageing is added by whoever builds the snapshot.
NEED_WEIGHTS: Final[dict[NeedClass, int]] = {
    NeedClass.SURVIVAL: 8,
    NeedClass.COMMONS: 4,
    NeedClass.PERSONAL: 2,
    NeedClass.OUTSIDE: 1,
}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, start included, end excluded."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Material:
    """A spool, sheet or stock: on the machine now, or in the shop and loadable by a person."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    remaining_g: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None


@dataclass(frozen=True, slots=True)
class MaterialNeed:
    """What a job eats. An empty colour means any; None means it does not matter."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    amount_g: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None


@dataclass(frozen=True, slots=True)
class PlanTool:
    """A nozzle, bit or beam that a machine has or a job asks for."""

    kind: str
    diameter_mm: float


@dataclass(frozen=True, slots=True)
class PlanMachine:
    """A machine as the planner sees it."""

    id: str
    shop: str
    process: Process
    ring: Ring = Ring.HOUSEHOLD
    """How far the machine stands from the requesters of this snapshot: a job of ring R may use rings inside R."""
    model: str = ""
    envelope_mm: tuple[float, float, float] | None = None
    loaded: tuple[Material, ...] = ()
    loadable: tuple[Material, ...] = ()
    """In the shop and not on the machine: usable after an attended changeover."""
    tools: tuple[PlanTool, ...] = ()
    attended: bool = False
    """A person must be there from start to end (lasers, routers). Otherwise only at the start and the unloading."""
    pool_windows: tuple[Window, ...] | None = None
    """When pool work may run; None is always, an empty tuple never."""
    attended_windows: tuple[Window, ...] | None = None
    """When a person is there; None is always."""
    maintenance: tuple[Window, ...] = ()
    """The machine is down, whoever's the work."""
    reserved: tuple[Window, ...] = ()
    """Booked for something that is no job here (a workshop evening, the owner's hours): all work is planned around."""
    busy_until: datetime | None = None
    """Nothing can start before; None is now."""
    accepts_pool: bool = True
    offline: bool = False
    quarantined: str = ""
    """Why the machine is quarantined; empty when it is not."""
    power_w: float | None = None
    circuit: str = ""
    warmup_s: float = 0.0
    cooldown_s: float = 0.0
    reliability: float = 1.0
    """Chance that an attempt ends in a part, 0 < r ≤ 1: it divides expected durations where placements are compared."""
    load_s: float = 0.0
    """What a start takes of somebody's time, where longer than setting up; counted where the shop has a `Crew`."""
    unload_s: float = 0.0
    """What taking the part out and clearing the bed takes of somebody's time."""


@dataclass(frozen=True, slots=True)
class DurationOption:
    """How long the job takes on one machine (`machine`) or on a class of machines (`model`); None in both: on any."""

    p50_s: float
    p80_s: float | None = None
    p90_s: float | None = None
    machine: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """The job already is on a machine (leased, running) or is pinned there by a person."""

    machine: str
    start: datetime
    finish: datetime | None = None
    """Expected finish; None: start plus the planned duration."""
    why: str = "running"


@dataclass(frozen=True, slots=True)
class Declined:
    """An owner said no to this job on this machine; until `not_before` if given, else for good."""

    machine: str
    not_before: datetime | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanJob:
    """One uninterrupted run that wants a machine."""

    id: str
    order: str
    process: Process
    options: tuple[DurationOption, ...]
    need: MaterialNeed | None = None
    bounds_mm: tuple[float, float, float] | None = None
    """Size of all motion in x, y, z."""
    tools: tuple[PlanTool, ...] = ()
    release: datetime | None = None
    due: datetime | None = None
    need_class: NeedClass = NeedClass.PERSONAL
    weight: int | None = None
    """Weight of one minute late; None takes it from the need class."""
    ring: Ring = Ring.FEDERATION
    predecessors: tuple[str, ...] = ()
    """Jobs whose parts this one needs, in this snapshot or in `Snapshot.made`; transport between shops is counted."""
    fixed: Fixed | None = None
    declined: tuple[Declined, ...] = ()
    own_shop: str | None = None
    """The owner's own job in this shop: it needs no pool window there."""
    delivery: str | None = None
    """Where the parts go at the end: an id used in `Leg.to`."""
    promised: datetime | None = None
    """Date given on an accepted quote; missing it counts before everything else."""
    previous_machine: str | None = None
    """Where the last plan had it: moving it costs a little nervousness."""


@dataclass(frozen=True, slots=True)
class Leg:
    """Transport between two shops, or from a shop to a place of delivery."""

    start: str
    to: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Circuit:
    """Machines on one electric circuit may together draw so much."""

    id: str
    limit_w: float


@dataclass(frozen=True, slots=True)
class Crew:
    """How many people a shop has in its attended hours, and how many hours a week each of them gives.

    A start takes one of them while the machine is set up and loaded, an end while it is unloaded, an attended machine
    from start to end. Weeks begin on Monday at 00:00 UTC.
    """

    shop: str
    people: int = 1
    hours_a_week: float = 20.0
    """Of each of them."""
    spent_s: float = 0.0
    """What all of them together have given this week already."""


@dataclass(frozen=True, slots=True)
class Carbon:
    """Carbon intensity of a shop's current: grams of CO2 per kWh in each hour of the UTC day, the same every day."""

    shop: str
    g_per_kwh: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pressure:
    """Fairness: extra cost per machine minute in a shop that had more than its share (less than 0: had less)."""

    shop: str
    per_minute: float


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """The declared weights, versioned. All are integers or seconds; the objective is computed in whole numbers."""

    version: str = "1"
    tick_s: int = 60
    """Resolution of planned times."""
    horizon_s: int = 28 * 86_400
    """Nothing is planned later than this after now."""
    freeze_s: int = 0
    """Placements that would start within this from now are not moved when re-planning."""
    flow_percent: int = 2
    """Cost of a minute from release to finish, as a percentage of the cost of a minute late."""
    setup_s: int = 300
    """Clearing and clamping between two jobs of the same material and colour."""
    setup_colour_s: int = 900
    setup_material_s: int = 2_400
    setup_cost: int = 1
    """Cost of one changeover minute, in weight-minutes."""
    transport_percent: int = 5
    """Cost of a transport minute, as a percentage of a weight-minute."""
    ring_minutes: int = 5
    """Each ring outward costs as much as this many transport-free minutes of weight 1."""
    promise_factor: int = 20
    """A minute past a promise costs as much as this many minutes late."""
    nervousness: int = 10
    """Moving a job to another shop than planned before costs this many weight-minutes."""
    carbon_minutes: int = 10
    """A kilogram of CO2 costs as much as this many weight-minutes; counted where a shop's curve is known."""
    default_leg_s: int = 1_800
    """Transport between two shops that no leg names."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a plan depends on, at one instant."""

    now: datetime
    machines: tuple[PlanMachine, ...]
    jobs: tuple[PlanJob, ...]
    policy: PlanPolicy = field(default_factory=PlanPolicy)
    legs: tuple[Leg, ...] = ()
    circuits: tuple[Circuit, ...] = ()
    pressures: tuple[Pressure, ...] = ()
    made: tuple[str, ...] = ()
    """Jobs that are made already and may be named as predecessors."""
    crews: tuple[Crew, ...] = ()
    """People of shops; where a shop has none here, its people's time is not counted."""
    carbon: tuple[Carbon, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the objective, in hundredths of a weight-minute (an integer)."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The best placement that was not chosen, and what it would have cost."""

    machine: str
    start: datetime
    finish: datetime
    terms: tuple[Term, ...]

    @property
    def cost(self) -> int:
        """Sum of the terms."""
        return sum(term.value for term in self.terms)


@dataclass(frozen=True, slots=True)
class Placement:
    """One job's place in the plan. `start` is when setting up begins; `finish` is planned on P80, promised on P90."""

    job: str
    machine: str
    start: datetime
    finish: datetime
    finish_p90: datetime
    setup_s: int = 0
    terms: tuple[Term, ...] = ()
    best_rejected: Rejected | None = None
    fixed: bool = False
    cleared: datetime | None = None
    """When somebody has taken the part out; None where the people of the shop are not counted, or nobody ever comes."""

    @property
    def cost(self) -> int:
        """Sum of the terms, in hundredths of a weight-minute."""
        return sum(term.value for term in self.terms)


@dataclass(frozen=True, slots=True)
class Shut:
    """Why one machine cannot take the job: the first checker that said no, the numbers, and what would change it."""

    machine: str
    checker: str
    text: str
    lift: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job without a place, and why: one `Shut` per machine, or `why` alone when it is not about machines."""

    job: str
    why: str
    machines: tuple[Shut, ...] = ()


@dataclass(frozen=True, slots=True)
class ShopWeek:
    """What a week's plan takes of a shop's people, in seconds. What was asked and is not planned is the gap."""

    shop: str
    week: datetime
    """Its Monday."""
    given_s: float
    """All hours that they give that week."""
    planned_s: float
    """Of these, what was spent and what is planned."""
    asked_s: float
    """What would be planned if they had no end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: every job of the snapshot is either placed or waiting with reasons."""

    placements: tuple[Placement, ...]
    waiting: tuple[Waiting, ...]
    terms: tuple[Term, ...]
    """The objective, term by term, over all placements."""
    bound: int | None
    """No plan of these placed jobs can cost less (same unit as the terms); None: there is none."""
    engine: str
    seed: int
    wall_s: float
    moves: int | None = None
    """Moves of the search where they were counted, so that the plan can be made again; None: time ended it."""
    epoch: datetime | None = None
    """The moment from which a plan that lives through events counts its ticks; None: the snapshot's own now."""
    hours: tuple[ShopWeek, ...] = ()
    """By shop and week, where more was asked of people than is planned, or half of what they give is taken."""

    @property
    def cost(self) -> int:
        """The objective: the sum of its terms, in hundredths of a weight-minute."""
        return sum(term.value for term in self.terms)

    def placement(self, job: str) -> Placement | None:
        """Where the job is placed, if it is."""
        return next((placement for placement in self.placements if placement.job == job), None)
