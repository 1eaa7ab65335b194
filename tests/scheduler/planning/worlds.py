"""Small made-up snapshots for the planner's tests: readable ones by hand, and hypothesis strategies for any."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from agents.contract.vocabulary import NeedClass, Process, Ring
from scheduler.planning import (
    Carbon,
    Circuit,
    Crew,
    Declined,
    DurationOption,
    Fixed,
    Leg,
    Material,
    MaterialNeed,
    PlanJob,
    PlanMachine,
    PlanPolicy,
    Snapshot,
    Window,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours(start: float, end: float) -> Window:
    """A window in hours after NOW."""
    return Window(NOW + start * HOUR, NOW + end * HOUR)


def printer(name: str, shop: str = "s0", **changes: object) -> PlanMachine:
    """A printer with PLA that takes everything always."""
    plain = PlanMachine(id=name, shop=shop, process=Process.FDM, envelope_mm=(200, 200, 200), loaded=(Material("PLA"),))
    return PlanMachine(**{**{f: getattr(plain, f) for f in plain.__dataclass_fields__}, **changes})  # type: ignore[arg-type]


def print_job(name: str, minutes: float = 60, **changes: object) -> PlanJob:
    """A PLA print whose P50, P80 and P90 are all the same."""
    seconds = minutes * 60
    plain = PlanJob(
        id=name,
        order=f"order-{name}",
        process=Process.FDM,
        options=(DurationOption(seconds, seconds, seconds),),
        need=MaterialNeed("PLA"),
    )
    return PlanJob(**{**{f: getattr(plain, f) for f in plain.__dataclass_fields__}, **changes})  # type: ignore[arg-type]


def world(machines: list[PlanMachine], jobs: list[PlanJob], **changes: object) -> Snapshot:
    """A snapshot at NOW."""
    return Snapshot(NOW, tuple(machines), tuple(jobs), **changes)  # type: ignore[arg-type]


materials = st.sampled_from(["PLA", "PETG", "ply"])


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, ...] | None:
    """Always, never, or a few windows that may overlap."""
    if draw(st.booleans()):
        return None
    starts = draw(st.lists(st.integers(-4, 60), max_size=4))
    return tuple(hours(start, start + draw(st.integers(1, 14))) for start in starts)


@st.composite
def machines(draw: st.DrawFn, number: int) -> PlanMachine:
    """Any machine."""
    process = draw(st.sampled_from([Process.FDM, Process.LASER]))
    return PlanMachine(
        id=f"m{number}",
        shop=f"s{draw(st.integers(0, 2))}",
        process=process,
        ring=draw(st.sampled_from([Ring.HOUSEHOLD, Ring.CITY])),
        model=draw(st.sampled_from(["a", "b"])),
        envelope_mm=draw(st.sampled_from([(100.0, 100.0, 100.0), (300.0, 300.0, 300.0)])),
        loaded=tuple(Material(m) for m in draw(st.lists(materials, max_size=2, unique=True))),
        loadable=tuple(Material(m) for m in draw(st.lists(materials, max_size=2, unique=True))),
        attended=process == Process.LASER,
        pool_windows=draw(windows()),
        attended_windows=draw(windows()),
        maintenance=tuple(draw(windows()) or ()),
        busy_until=draw(st.sampled_from([None, NOW + HOUR, NOW - HOUR])),
        accepts_pool=draw(st.integers(0, 4)) > 0,
        quarantined=draw(st.sampled_from(["", "", "", "two thermal faults"])),
        power_w=draw(st.sampled_from([None, 150.0, 350.0])),
        circuit=draw(st.sampled_from(["", "c0"])),
        warmup_s=draw(st.sampled_from([0.0, 300.0])),
        load_s=draw(st.sampled_from([0.0, 60.0, 900.0])),
        unload_s=draw(st.sampled_from([0.0, 300.0, 1_290.0])),
    )


@st.composite
def crews(draw: st.DrawFn) -> tuple[Crew, ...]:
    """Mostly nobody counts people; where somebody does, they may be few, short of hours, or none at all."""
    shops = draw(st.sampled_from([(), (), ("s0",), ("s0", "s1", "s9")]))
    return tuple(
        Crew(
            shop,
            draw(st.sampled_from([1, 1, 2, 0])),
            draw(st.sampled_from([20.0, 3.0, 168.0, 0.5])),
            draw(st.sampled_from([0.0, 0.0, 7_200.0])),
        )
        for shop in shops
    )


@st.composite
def carbon(draw: st.DrawFn) -> tuple[Carbon, ...]:
    """Clean by day, by night, or nobody knows."""
    hourly = st.sampled_from([80.0, 95.5, 310.0, 640.0])
    shops = draw(st.sampled_from([(), ("s0",), ("s1", "s2")]))
    return tuple(Carbon(shop, tuple(draw(st.lists(hourly, min_size=24, max_size=24)))) for shop in shops)


@st.composite
def jobs(draw: st.DrawFn, number: int, machine_count: int) -> PlanJob:
    """Any job; it may wait for jobs before or after it, so circles occur."""
    p50 = 60.0 * draw(st.integers(1, 400))
    fixed = None
    if draw(st.integers(0, 9)) == 0:
        start = NOW + draw(st.integers(-2, 6)) * HOUR
        fixed = Fixed(f"m{draw(st.integers(0, machine_count))}", start)
    return PlanJob(
        id=f"j{number}",
        order=f"o{number // 2}",
        process=draw(st.sampled_from([Process.FDM, Process.FDM, Process.LASER])),
        options=draw(
            st.sampled_from(
                [
                    (DurationOption(p50),),
                    (DurationOption(p50, model="a"),),
                    (DurationOption(p50, p50 * 2, p50 * 3),),
                    (),
                ]
            )
        ),
        need=draw(st.one_of(st.none(), materials.map(MaterialNeed))),
        bounds_mm=draw(st.sampled_from([None, (50.0, 50.0, 50.0), (150.0, 90.0, 20.0)])),
        release=draw(st.sampled_from([None, NOW + 3 * HOUR])),
        due=draw(st.sampled_from([None, NOW - HOUR, NOW + 5 * HOUR, NOW + 30 * HOUR])),
        need_class=draw(st.sampled_from(list(NeedClass))),
        ring=draw(st.sampled_from([Ring.BLOCK, Ring.FEDERATION, Ring.FEDERATION])),
        predecessors=tuple(f"j{b}" for b in draw(st.lists(st.integers(0, 7), max_size=1)) if b != number),
        fixed=fixed,
        declined=tuple(Declined(f"m{m}", None) for m in draw(st.lists(st.integers(0, 3), max_size=1))),
        own_shop=draw(st.sampled_from([None, None, "s0"])),
        delivery=draw(st.sampled_from([None, "home"])),
        promised=draw(st.sampled_from([None, NOW + 10 * HOUR])),
    )


@st.composite
def busy_snapshots(draw: st.DrawFn) -> Snapshot:
    """Small snapshots in which most jobs find a machine; chains, leases, hours and a circuit hinder each other."""
    machine_count = draw(st.integers(2, 3))
    plants = tuple(
        replace(
            draw(machines(i)),
            process=Process.FDM,
            attended=False,
            ring=Ring.CITY,
            accepts_pool=True,
            quarantined="",
            power_w=draw(st.sampled_from([150.0, 350.0])),
            circuit="c0",
            loaded=(Material("PLA"), Material("PETG")),
        )
        for i in range(machine_count)
    )
    wanted = []
    for i in range(draw(st.integers(4, 7))):
        before = draw(st.lists(st.integers(0, i - 1), max_size=2, unique=True)) if i else []
        plain = draw(jobs(i, machine_count - 1))
        minutes = 60.0 * draw(st.integers(1, 400))
        options = (DurationOption(minutes, minutes, draw(st.sampled_from([1.0, 1.5])) * minutes),)
        need = draw(st.sampled_from([None, MaterialNeed("PLA"), MaterialNeed("PETG")]))
        wanted.append(
            replace(
                plain,
                process=Process.FDM,
                options=options,
                need=need,
                bounds_mm=None,
                ring=Ring.FEDERATION,
                predecessors=tuple(f"j{b}" for b in before),
            )
        )
    legs = (Leg("s0", "s1", 1800.0), Leg("s0", "home", 600.0))
    return Snapshot(
        NOW,
        plants,
        tuple(wanted),
        PlanPolicy(horizon_s=72 * 3600),
        legs=legs,
        circuits=draw(st.sampled_from([(), (Circuit("c0", 400.0),)])),
        crews=draw(crews()),
        carbon=draw(carbon()),
    )


@st.composite
def snapshots(draw: st.DrawFn, most_jobs: int = 7) -> Snapshot:
    """Any small snapshot."""
    machine_count = draw(st.integers(0, 4))
    job_count = draw(st.integers(0, most_jobs))
    return Snapshot(
        NOW,
        tuple(draw(machines(i)) for i in range(machine_count)),
        tuple(draw(jobs(i, machine_count)) for i in range(job_count)),
        PlanPolicy(horizon_s=72 * 3600),
        legs=(Leg("s0", "s1", 1800.0), Leg("s0", "home", 600.0)),
        circuits=draw(st.sampled_from([(), (Circuit("c0", 400.0),)])),
        crews=draw(crews()),
        carbon=draw(carbon()),
    )
