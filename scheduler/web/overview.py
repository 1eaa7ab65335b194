"""The first page: figures, machines now, the schedule, orders, and why what waits waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from nicegui import ui

from scheduler.web import gantt
from scheduler.web.clocks import shop_zone
from scheduler.web.models import HoursShown, JobShown, MachineShown, OrderShown, Overview
from scheduler.web.theme import (
    JOB_TONES,
    MACHINE_TONES,
    NEED_TONES,
    ORDER_TONES,
    bar,
    chip,
    empty,
    heading,
    link,
    quiet,
    text,
)
from scheduler.web.words import (
    JOB_WORDS,
    KEPT_WORDS,
    MACHINE_STATE_WORDS,
    MACHINE_WORDS,
    NEED_MEANING,
    NEED_WORDS,
    ORDER_WORDS,
    PROCESS_ICONS,
    PROCESS_WORDS,
    ago,
    at,
    count,
    hours,
    named,
    stretch,
    week,
)

#: Reasons shown for one waiting job before the rest is folded into its page.
_REASONS_SHOWN = 3
#: Reservations and maintenance shown for one machine before the rest is only counted.
_KEPT_SHOWN = 3


def figures(shown: Overview) -> None:
    """The five numbers that answer "how is it going"."""
    with ui.element("div").classes("ws-card ws-figures"):
        _figure(shown.open_orders, "orders in the making")
        _figure(shown.running, f"of {count(len(shown.machines), 'machine')} running")
        _figure(shown.waiting, "jobs without a machine yet")
        _figure(shown.wants_a_person, "machines that want a person")
        shops = {machine.shop for machine in shown.machines}
        _figure(len(shops), "shops in the pool")


def _figure(number: int, words: str) -> None:
    with ui.element("div").classes("ws-figure"):
        text("b", str(number))
        quiet(words)


def machines(shown: Sequence[MachineShown], now: datetime) -> None:
    """A tile for every machine; what needs a person first says so."""
    if not shown:
        empty("No machine has reported yet", "Start an agent beside a machine; the set-up note says how.")
        link("Set up the first shop", "/setup")
        return
    with ui.element("div").classes("ws-grid"):
        for machine in shown:
            machine_tile(machine, now)


def machine_tile(machine: MachineShown, now: datetime) -> ui.element:
    """One machine: what it does, since when, and what would let it go on; times are by its shop's clock."""
    here, now = now, now.astimezone(shop_zone(machine.zone))
    card = ui.element("article").classes("ws-card ws-machine" + (" stale" if machine.stale else ""))
    card.props["aria-label"] = f"{machine.name} in {machine.shop}"
    with card:
        with ui.element("div").classes("top"):
            with ui.element("div").classes("ws-stack").style("gap: 0"):
                heading(3, machine.name)
                quiet(f"{named(MACHINE_WORDS, machine.process)} · {machine.shop}")
            tone = MACHINE_TONES.get(machine.state, "") if not machine.stale else ""
            chip(named(MACHINE_STATE_WORDS, machine.state), tone)
        if machine.job_title:
            with ui.element("div").classes("ws-stack"):
                text("div", machine.job_title).style("font-weight: 500")
                if machine.progress is not None and machine.state in {"running", "held"}:
                    bar(machine.progress, f"Progress of {machine.job_title}")
                    end = f", ready about {at(machine.expected, now)}" if machine.expected is not None else ""
                    quiet(f"{machine.progress * 100:.0f} % of its lines confirmed{end}").classes("ws-num")
        elif machine.why:
            quiet(machine.why)
        if machine.stale:
            quiet(f"No word for a while; last heard {ago(machine.heard_at, now)}. What it shows may be old.")
        for gate in machine.gates:
            with ui.element("div").classes("ws-need"):
                text("div", gate.lift[:1].upper() + gate.lift[1:]).style("font-weight: 600")
                quiet(gate.why)
        for one in machine.kept[:_KEPT_SHOWN]:
            why = f": {one.why}" if one.why else ""
            with ui.element("div").classes("ws-kept"):
                text("span", f"{named(KEPT_WORDS, one.kind)} {stretch(one.start, one.end, now)}{why}").classes(
                    "ws-small"
                )
        if len(machine.kept) > _KEPT_SHOWN:
            quiet(f"and kept {count(len(machine.kept) - _KEPT_SHOWN, 'time')} more this week")
        if machine.attended_from is not None:
            quiet(f"Somebody is there from {at(machine.attended_from, now)}")
        if not machine.accepts_pool and not machine.why:
            quiet("Takes no work of the pool now, by its owner's rules")
        if machine.materials:
            loaded = ", ".join(machine.materials).replace(" × ", "\u00a0×\u00a0").replace(" mm", "\u00a0mm")
            quiet(f"Loaded: {loaded}")
        if now.utcoffset() != here.utcoffset() and (machine.kept or machine.attended_from or machine.expected):
            quiet(f"Times by the shop's clock: {machine.zone}")
    return card


def schedule(shown: Overview, now: datetime) -> None:
    """The Gantt chart, and the same in words for those who do not see it."""
    if not shown.bars:
        empty("Nothing is planned", "Accepted orders show up here as soon as their programs are made.")
        return
    made = ui.echart(gantt.options(shown.lanes, shown.bars, now))
    made.style(f"height: {len(shown.lanes) * gantt.LANE_PX + 52}px; width: 100%")
    words = [f"{one.title} on {one.lane}, {one.kind}, {at(one.start, now)} to {at(one.end, now)}" for one in shown.bars]
    made.props["aria-label"] = "Schedule. " + "; ".join(words)
    made.props("role=img")


def people(shown: Sequence[HoursShown], now: datetime) -> None:
    """What each shop's people give in a week, what of it is taken, and where more is asked than they have."""
    with ui.element("div").classes("ws-grid wide"):
        for shop, weeks in groupby(shown, key=lambda one: one.shop):
            with ui.element("article").classes("ws-card ws-stack") as card:
                card.props["aria-label"] = f"People's hours of {shop}"
                there = list(weeks)
                with ui.element("div").classes("ws-row ws-between"):
                    heading(3, shop.replace("_", " ").capitalize())
                    missing = sum(one.missing_s for one in there)
                    chip(f"{hours(missing)} short" if missing else "Enough", "warn" if missing else "good")
                for one in there:
                    _week(one, now)


def _week(one: HoursShown, now: datetime) -> None:
    when = week(one.week, now)
    bar(one.planned_s / one.given_s if one.given_s else 1.0, f"Hours of people taken {when}")
    text("span", hours_words(one, now)).classes("ws-small")


def hours_words(one: HoursShown, now: datetime) -> str:
    """A week in a sentence, and what would help where it is too short."""
    when = week(one.week, now)
    taken = f"{hours(one.planned_s)} of the {hours(one.given_s)} that its people give {when} are spent or planned."
    if not one.missing_s:
        return taken
    return (
        f"{taken} Work for {hours(one.missing_s)} more could be done: it waits, or is planned for later. "
        "Another person, or more hours a week, would take it up."
    )


def orders(shown: Sequence[OrderShown], now: datetime) -> None:
    """Orders, the newest first."""
    if not shown:
        empty("Nobody has ordered anything yet", "Pick a design, say how many, and see who could make it.")
        return
    with ui.element("div").classes("ws-card flush ws-list"):
        for order in shown:
            order_row(order, now)


def order_row(order: OrderShown, now: datetime) -> None:
    """One order: what, for whom, how far."""
    row = ui.element("a").classes("ws-order")
    row.props["href"] = f"/orders/{order.order}"
    with row:
        with ui.element("div").classes("ws-row ws-between"):
            text("div", f"{order.quantity} × {order.title}").style("font-weight: 600")
            chip(named(ORDER_WORDS, order.state), ORDER_TONES.get(order.state, ""))
        if order.jobs and order.state in {"accepted", "making"}:
            bar(order.progress, f"Progress of {order.title}")
        with ui.element("div").classes("ws-row"):
            need_chip(order.need)
            parts = [order.ring, f"ordered {at(order.created, now)}"]
            if order.due is not None:
                parts.append(f"wanted by {at(order.due, now)}")
            if order.jobs:
                parts.append(f"{order.jobs_done} of {count(order.jobs, 'job')} done")
            quiet(" · ".join(part for part in parts if part))


def need_chip(need: str) -> None:
    """The need class, with what it means for who hovers."""
    made = chip(named(NEED_WORDS, need), NEED_TONES.get(need, "plain"))
    made.props["title"] = NEED_MEANING.get(need, "")


def queue(shown: Sequence[JobShown], now: datetime) -> None:
    """Every open job; for one that waits, why, machine by machine, and what would lift it."""
    if not shown:
        empty("The queue is empty", "Every job is done. Machines are free.")
        return
    with ui.element("div").classes("ws-card flush ws-scroll"), ui.element("table").classes("ws-table"):
        with ui.element("thead"), ui.element("tr"):
            for head in ("Job", "State", "Need", "When, or why not yet"):
                text("th", head).props("scope=col")
        with ui.element("tbody"):
            for job in shown:
                _queue_row(job, now)


def _queue_row(job: JobShown, now: datetime) -> None:
    with ui.element("tr"):
        with ui.element("td"), ui.element("div").classes("ws-row").style("flex-wrap: nowrap; align-items: flex-start"):
            icon = ui.icon(PROCESS_ICONS.get(job.process, "build"), size="20px").classes("ws-quiet")
            icon.props["title"] = named(PROCESS_WORDS, job.process)
            with ui.element("div").classes("ws-stack").style("gap: 0; min-width: 150px"):
                link(job.title, f"/orders/{job.order}")
                quiet(
                    f"{count(job.pieces, 'piece')} · {job.part}"
                    if job.part != job.title
                    else count(job.pieces, "piece")
                )
        with ui.element("td"), ui.element("div").classes("ws-stack"):
            chip(named(JOB_WORDS, job.state), JOB_TONES.get(job.state, "")).style("align-self: flex-start")
            if job.machine:
                quiet(" · ".join(part for part in (job.machine, job.shop) if part))
            if job.attempt > 1:
                quiet(f"attempt {job.attempt}")
            if job.flag:
                text("span", job.flag).classes("ws-small").style("color: var(--bad)")
        with ui.element("td"):
            need_chip(job.need)
        with ui.element("td").style("min-width: 200px"):
            when_or_why(job, now)


def when_or_why(job: JobShown, now: datetime) -> None:
    """When it is planned, or what keeps it from every machine."""
    with ui.element("div").classes("ws-stack"):
        if job.state == "running":
            bar(job.progress, f"Progress of {job.title}")
            quiet(f"{job.progress * 100:.0f} %").classes("ws-num")
            return
        if job.planned_start is not None:
            end = f", ready about {at(job.planned_finish, now)}" if job.planned_finish is not None else ""
            text("span", f"Planned for {at(job.planned_start, now)}{end}")
        elif job.state == "waiting" and not job.reasons and not job.doubt:
            quiet("Waits for the next planning round")
        if job.doubt:
            with ui.element("div").classes("ws-note warn ws-small"):
                text("span", f"In doubt: {job.doubt}")
        for reason in job.reasons[:_REASONS_SHOWN]:
            words = f"{reason.machine}: {reason.why}" if reason.machine else reason.why
            text("span", words).classes("ws-small")
            if reason.lift:
                text("span", f"→ {reason.lift}").classes("ws-small").style("color: var(--accent); font-weight: 600")
        if len(job.reasons) > _REASONS_SHOWN:
            quiet(f"and {len(job.reasons) - _REASONS_SHOWN} more machines")
        if job.homeless:
            quiet(f"No home: {job.homeless}")
        elif job.home and job.state == "waiting" and not job.doubt:
            quiet(f"{job.home} looks after it while the scheduler is away")
