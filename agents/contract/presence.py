"""Who is there: what a shop says of itself and of its machines, and what a scheduler says of itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from agents.contract.message import Identifier, Message, Moment
from agents.contract.vocabulary import MachineState, Process, Ring


class AgentPresence(Message, frozen=True, kw_only=True, tag="agent_presence"):
    """Retained; the agent's will says `online: false`. `boot` changes whenever the agent starts anew."""

    shop: Identifier
    agent: Identifier
    online: bool
    boot: str = ""
    version: str = ""
    http: str = ""
    """Base URL of the agent's local page, as reachable inside the shop; empty when it should not be known."""
    volunteers: bool = False
    """Whether the shop is a home for jobs that came in elsewhere (over the web, say), beside its own."""


class LoadedMaterial(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is on the machine now, as its operator said: a spool, a sheet or a stock."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    remaining_g: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None


class Tool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A nozzle, a bit or a beam: its number in the machine, its kind and its diameter."""

    number: int
    kind: str
    diameter_mm: float
    flutes: int = 2
    angle_deg: float | None = None
    """Included angle of a V-bit's or an engraver's tip."""


class MachineDescription(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A machine as its shop declares it. `model` names the machine class: learning and toolpath profiles go by it."""

    machine: Identifier
    name: str
    process: Process
    dialect: str
    model: str
    envelope_mm: tuple[float, float, float]
    """Travel in x, y, z from the work origin."""
    materials: tuple[LoadedMaterial, ...] = ()
    tools: tuple[Tool, ...] = ()
    attended: bool = False
    """A trained person must be present from start to end (always so for lasers and routers)."""
    max_feed_mm_min: float | None = None
    accel_mm_s2: float | None = None
    spindle_max_rpm: float | None = None
    laser_power_w: float | None = None
    power_w: float | None = None
    circuit: str = ""
    circuit_limit_w: float | None = None
    """What all machines on the circuit may draw together; the smallest of what its machines say holds."""
    loadable: tuple[LoadedMaterial, ...] = ()
    """In the shop and not on the machine: a person can load it."""
    load_min: Annotated[float, Meta(ge=0.0, le=1440.0)] | None = None
    """What a start takes of somebody's time, where that is longer than setting up."""
    unload_min: Annotated[float, Meta(ge=0.0, le=1440.0)] | None = None
    """What taking the part out and clearing takes; nobody said: as the scheduler assumes."""
    firmware: str = ""
    limits: tuple[tuple[str, str], ...] = ()
    """What the firmware itself told of its speeds, accelerations and full power, as (word, values): `$110`, `6000` for
    the GRBL family, `M201`, `X3000 Y3000 …` for printers. Empty until the machine has answered once."""


class GateReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One start gate and whether it is open; `lift` says what a person can do to open it."""

    gate: str
    open: bool
    why: str = ""
    lift: str = ""


class MachineReport(Message, frozen=True, kw_only=True, tag="machine_report"):
    """Retained, by exception: what the machine is and what it is doing, as its bridge confirmed."""

    shop: Identifier
    agent: Identifier
    ring: Ring
    description: MachineDescription
    state: MachineState
    since: Moment
    why: str = ""
    job: Identifier | None = None
    progress: float | None = None
    """0 to 1 of the running toolpath's time."""
    accepts_pool_work: bool = True
    """Whether the owner's policy takes pool work on it at all, now."""
    person_present: bool = False
    gates: tuple[GateReport, ...] = ()
    windows: tuple[tuple[Moment, Moment], ...] = ()
    """When pool work may run, as far ahead as the policy's horizon; empty means always."""
    attended_windows: tuple[tuple[Moment, Moment], ...] = ()
    """When a person is there to start, clear and unload; empty means that nobody said."""
    maintenance: tuple[tuple[Moment, Moment], ...] = ()
    """When the machine is down, whoever's the work."""
    reserved: tuple[tuple[Moment, Moment], ...] = ()
    """When it is booked for something that is no job of this network."""
    own_until: Moment | None = None
    """Until when the owner's own work, running and waiting, should keep it; None: there is none, or nobody can say."""
    people: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    """How many people look after the shop's machines in its attended hours; a number, and nobody's name."""
    hours_a_week: Annotated[float, Meta(ge=0.0, le=168.0)] | None = None
    """What each of them gives."""
    timezone: Annotated[str, Meta(max_length=64)] = ""
    """The shop's zone by its IANA name, so that times are shown as its clocks say them; empty: nobody said."""


class Telemetry(Message, frozen=True, kw_only=True, tag="telemetry"):
    """QoS 0 and opt-in: measured values. Raw data stays in the shop unless the owner says otherwise."""

    machine: Identifier
    at: Moment
    temperatures_c: dict[str, float] = field(default_factory=dict)
    targets_c: dict[str, float] = field(default_factory=dict)
    position_mm: tuple[float, ...] = ()
    feed_mm_min: float | None = None
    spindle_rpm: float | None = None


class SchedulerPresence(Message, frozen=True, kw_only=True, tag="scheduler_presence"):
    """Retained; the will says `online: false`. `term` rises with every start, `epoch` with every connection too: marks
    and books name the one that they belong to."""

    scheduler: Identifier
    online: bool
    term: int = 0
    epoch: Annotated[int, Meta(ge=0)] = 0
    http: str = ""
