"""Is a plan possible? Read from the snapshot and the plan alone, sharing no code with the engines that make plans.

Every plan passes here before anybody sees it, in tests and in production. Out: every violation found, as sentences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from scheduler.planning.checking_people import people_hold
from scheduler.planning.faults import Fault, within
from scheduler.planning.feasibility import View, duration_of, first_shut, material_fits
from scheduler.planning.snapshot import Material, Placement, Plan, PlanJob, PlanMachine, Snapshot


def violations(snapshot: Snapshot, plan: Plan) -> list[str]:
    """Everything that is wrong with the plan; empty when it is possible."""
    return [fault.text for fault in faults(snapshot, plan)]


def faults(snapshot: Snapshot, plan: Plan, only: Collection[str] | None = None) -> list[Fault]:
    """As `violations`, each with a job to blame. Fixed jobs are never to blame for what other jobs run into.

    `only`: look at the placements on these machines, because nothing has changed on the others since they were looked
    at. None: at all.
    """
    view = View(snapshot)
    out = [Fault("", text) for text in _everyone_once(snapshot, plan)]
    known = {placement.job: placement for placement in plan.placements}
    looked_at = [placement for placement in plan.placements if only is None or placement.machine in only]
    ways = {(leg.start, leg.to): leg.seconds for leg in snapshot.legs}
    for placement in looked_at:
        job, machine = view.job.get(placement.job), view.machine.get(placement.machine)
        wrong: list[str] = []
        if job is None or machine is None:
            wrong.append(f"{placement.job} on {placement.machine}: the snapshot does not have both")
        elif job.fixed is None:
            wrong += _one_placement(view, job, machine, placement)
            wrong += _parts_in_time(view, job, machine, placement, known, ways)
        elif job.fixed.machine != placement.machine:
            wrong.append(
                f"{job.id} was moved from {job.fixed.machine} to {placement.machine}, though it is fixed there"
            )
        out += [Fault(placement.job, text) for text in wrong]
    out += [Fault(placement.job, text) for placement in looked_at for text in _current_counted(view, plan, placement)]
    shared = _circuits_hold(view, plan) + people_hold(view, plan) + _stock_lasts(view, plan)
    return out + _one_at_a_time(view, looked_at) + shared


def _everyone_once(snapshot: Snapshot, plan: Plan) -> list[str]:
    answered = [placement.job for placement in plan.placements] + [waiting.job for waiting in plan.waiting]
    known = set(answered)
    out = [f"{job.id} is neither placed nor waiting" for job in snapshot.jobs if job.id not in known]
    if len(answered) != len(known):
        out.append("a job is answered twice")
    out += [f"{waiting.job} waits without a reason" for waiting in plan.waiting if not waiting.why]
    return out


def _one_placement(view: View, job: PlanJob, machine: PlanMachine, placement: Placement) -> list[str]:
    out: list[str] = []
    where = f"{job.id} on {machine.id}"
    shut = first_shut(view, job, machine)
    if shut is not None:
        out.append(f"{where}: {shut.checker}: {shut.text}")
    earliest = [view.snapshot.now, *(moment for moment in (job.release, machine.busy_until) if moment is not None)]
    earliest += [d.not_before for d in job.declined if d.machine == machine.id and d.not_before is not None]
    if placement.start < max(earliest):
        out.append(f"{where} starts at {placement.start:%F %H:%M}, before {max(earliest):%F %H:%M}")
    duration = duration_of(job, machine)
    if duration is not None and (placement.finish - placement.start).total_seconds() < duration.p80_s - 1e-6:
        out.append(f"{where} is given less time than it needs")
    if duration is not None and placement.finish_p90 < placement.finish:
        out.append(f"{where}: the safe finish comes before the planned one")
    own = job.own_shop == machine.shop
    if not own and not within(machine.pool_windows, placement.start, placement.finish_p90):
        out.append(f"{where} runs outside pool hours")
    for what, windows in (("maintenance", machine.maintenance), ("a reservation", machine.reserved)):
        if any(placement.start < window.end and window.start < placement.finish_p90 for window in windows):
            out.append(f"{where} runs into {what}")
    if machine.attended and not within(machine.attended_windows, placement.start, placement.finish_p90):
        out.append(f"{where} runs while nobody is there")
    begun = placement.start + timedelta(seconds=placement.setup_s)
    if not machine.attended and not within(machine.attended_windows, placement.start, begun):
        out.append(f"{where} is set up while nobody is there")
    return out


def _freed(view: View, machine: PlanMachine, finish: datetime) -> datetime:
    """When a person can take the part; the horizon where nobody comes."""
    if machine.attended or machine.attended_windows is None:
        return finish
    later = [max(finish, window.start) for window in machine.attended_windows if window.end >= finish]
    return min(later, default=view.snapshot.now + timedelta(seconds=view.policy.horizon_s))


def _parts_in_time(
    view: View,
    job: PlanJob,
    machine: PlanMachine,
    placement: Placement,
    known: dict[str, Placement],
    ways: dict[tuple[str, str], float],
) -> list[str]:
    out = []
    for before in job.predecessors:
        if before in view.made:
            continue
        part = known.get(before)
        if part is None:
            out.append(f"{job.id} is placed and the part of {before} is not")
            continue
        source = view.machine[part.machine]
        way = 0.0
        if source.shop != machine.shop:
            there, back = (source.shop, machine.shop), (machine.shop, source.shop)
            way = ways.get(there, ways.get(back, float(view.policy.default_leg_s)))
        there_at = part.cleared or _freed(view, source, part.finish)
        if placement.start < there_at + timedelta(seconds=way):
            out.append(f"{job.id} starts before the part of {before} has arrived")
    return out


def _one_at_a_time(view: View, placements: Iterable[Placement]) -> list[Fault]:
    out: list[Fault] = []
    queues: dict[str, list[Placement]] = defaultdict(list)
    for placement in placements:
        queues[placement.machine].append(placement)
    for machine_id, queue in queues.items():
        machine = view.machine.get(machine_id)
        queue.sort(key=lambda p: (p.start, p.finish))
        on_it = machine.loaded[0] if machine is not None and machine.loaded else None
        state = None if on_it is None else (on_it.material, on_it.colour, on_it.thickness_mm)
        for i, placement in enumerate(queue):
            if i and placement.start < queue[i - 1].finish and not (placement.fixed and queue[i - 1].fixed):
                blamed = queue[i - 1] if placement.fixed else placement
                out.append(Fault(blamed.job, f"{placement.job} and {queue[i - 1].job} are both on {machine_id}"))
            job = view.job.get(placement.job)
            need = job.need if job is not None else None
            wanted = None if need is None or not need.material else (need.material, need.colour, need.thickness_mm)
            least = _least_setup(view, machine, state, wanted)
            if not placement.fixed and placement.setup_s < least - 1e-6:
                text = f"{placement.job} on {machine_id} is set up in {placement.setup_s} s; it takes {least} s"
                out.append(Fault(placement.job, text))
            state = wanted
    return out


Setting = tuple[str, str, float | None]


def _least_setup(view: View, machine: PlanMachine | None, before: Setting | None, after: Setting | None) -> int:
    policy = view.policy
    if machine is None or not machine.loadable or before is None or after is None:
        return policy.setup_s
    other_kind = before[0].casefold() != after[0].casefold()
    other_thickness = before[2] is not None and after[2] is not None and before[2] != after[2]
    if other_kind or other_thickness:
        return policy.setup_material_s
    if before[1] and after[1] and before[1].casefold() != after[1].casefold():
        return policy.setup_colour_s
    return policy.setup_s


def _circuits_hold(view: View, plan: Plan) -> list[Fault]:
    out = []
    for circuit in view.snapshot.circuits:
        runs = [
            (placement, view.machine[placement.machine].power_w or 0.0)
            for placement in plan.placements
            if placement.machine in view.machine and view.machine[placement.machine].circuit == circuit.id
        ]
        for placement, _ in runs:
            moment = placement.start
            at_once = [(other, watts) for other, watts in runs if other.start <= moment < other.finish]
            drawn = sum(watts for _, watts in at_once)
            fixed = sum(watts for other, watts in at_once if other.fixed)
            if drawn > max(circuit.limit_w, fixed) + 1e-3:
                last = max((other for other, _ in at_once if not other.fixed), key=lambda other: other.start)
                text = f"circuit {circuit.id} would carry {drawn:.0f} W of {circuit.limit_w:.0f} W at {moment:%F %H:%M}"
                out.append(Fault(last.job, text))
                break
    return out


def _current_counted(view: View, plan: Plan, placement: Placement) -> list[str]:
    """The energy term is what the machine draws in each hour times that hour's carbon, tick by tick, rounded down."""
    machine = view.machine.get(placement.machine)
    hourly = next((c.g_per_kwh for c in view.snapshot.carbon if machine is not None and c.shop == machine.shop), None)
    if machine is None or hourly is None or placement.fixed:
        return []
    tick = timedelta(seconds=view.policy.tick_s)
    kwh = round(1000 * (machine.power_w or 0.0)) / 1e6 * view.policy.tick_s / 3600
    run, thousandths = placement.start + timedelta(seconds=placement.setup_s), 0
    while run < placement.finish:
        hour = run.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        count = min(-((run - hour - timedelta(hours=1)) // tick), (placement.finish - run) // tick)
        thousandths += count * round(1000 * (hourly[hour.hour] / 1000 * kwh * 100 * view.policy.carbon_minutes))
        run += count * tick
    said = sum(term.value for term in placement.terms if term.name == "energy")
    if said == thousandths // 1000:
        return []
    return [f"{placement.job} on {machine.id}: its current costs {thousandths // 1000}, and the plan says {said}"]


def _stock_lasts(view: View, plan: Plan) -> list[Fault]:
    """What is planned from one weighed spool is on it; fixed work is never to blame."""
    taken: dict[object, list[tuple[Placement, float]]] = defaultdict(list)
    there: dict[object, float] = {}
    for placement in plan.placements:
        job, machine = view.job.get(placement.job), view.machine.get(placement.machine)
        if job is None or machine is None or job.need is None or not job.need.amount_g:
            continue
        stocks: list[tuple[object, Material]] = [((machine.id, i), m) for i, m in enumerate(machine.loaded)]
        stocks += [((machine.shop, m, machine.loadable[:i].count(m)), m) for i, m in enumerate(machine.loadable)]
        used = next(((key, m) for key, m in stocks if material_fits(job.need, m)), None)
        if used is not None and used[1].remaining_g is not None:
            there[used[0]] = used[1].remaining_g
            taken[used[0]].append((placement, job.need.amount_g))
    out = []
    for key, users in taken.items():
        free = [placement for placement, _ in users if not placement.fixed]
        wanted = sum(grams for _, grams in users)
        if wanted > there[key] + 1e-3 and free:
            last = max(free, key=lambda placement: (placement.start, placement.job))
            text = f"{wanted:.0f} g are planned on {last.machine} from a spool of {there[key]:.0f} g"
            out.append(Fault(last.job, text))
    return out
