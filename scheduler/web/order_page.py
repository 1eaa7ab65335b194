"""One order: how far it is, what each part waits for, what is left to assemble, and what its requester may do now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nicegui import ui

from scheduler.web.fresh import Section, whole
from scheduler.web.models import JobShown, OrderDetail, StepShown
from scheduler.web.overview import need_chip, when_or_why
from scheduler.web.theme import JOB_TONES, ORDER_TONES, chip, heading, link, quiet, text
from scheduler.web.words import JOB_WORDS, ORDER_WORDS, PROCESS_WORDS, at, count, duration, named

#: The road of an order, as its page draws it.
_ROAD: Final = (
    (("requested", "quoted"), "Asked for"),
    (("accepted",), "Accepted"),
    (("making",), "Being made"),
    (("made",), "Made"),
    (("handed_over",), "Handed over"),
)


@dataclass(frozen=True, slots=True)
class OrderDeeds:
    """What the page's buttons do; each answers when it is done or was refused."""

    accept: Callable[[str], Awaitable[None]]
    cancel: Callable[[str], Awaitable[None]]
    hand_over: Callable[[str], Awaitable[None]]
    step_done: Callable[[str, str], Awaitable[None]]


def order_page(order: str, now: Callable[[], datetime], deeds: OrderDeeds) -> list[Section]:
    """The whole page of one order that exists; its sections are given an `OrderDetail`."""
    with ui.element("div").classes("ws-section-head"):
        head = whole(lambda shown: (shown.order.state, shown.order.need), _head, "ws-stack")
        with ui.element("div").classes("ws-row"):
            buttons = _buttons(order, deeds)
    road = whole(
        lambda shown: (shown.order.state, shown.quoted, shown.quoted_until, shown.quote_why),
        lambda shown: _state(shown, now()),
        "ws-contents",
    )
    facts = whole(lambda shown: shown, lambda shown: _facts(shown, now()), "ws-contents")
    with ui.element("section").classes("ws-section"):
        heading(2, "What is made for it")
        jobs = whole(lambda shown: shown.jobs, lambda shown: _jobs(shown, now()), "ws-contents")
    with ui.element("section").classes("ws-section ws-when-filled"):
        title = Section(lambda shown: {"": ""} if shown.steps else {}, lambda *_: _put_together(), "ws-contents")
        steps = Section(_steps, lambda shown, name: _step(shown, name, deeds), "ws-card")
    return [head, buttons, road, facts, jobs, title, steps]


def _head(shown: OrderDetail) -> None:
    order = shown.order
    heading(1, f"{order.quantity} × {order.title}")
    with ui.element("div").classes("ws-row"):
        chip(named(ORDER_WORDS, order.state), ORDER_TONES.get(order.state, ""))
        need_chip(order.need)
        quiet(f"for the {order.ring} · order {order.order}")


def _state(shown: OrderDetail, now: datetime) -> None:
    if shown.order.state == "cancelled":
        with ui.element("div").classes("ws-note warn"):
            text("span", "This order was cancelled. Nothing more will be made for it.")
    else:
        _road(shown)
        _date(shown, now)


def _date(shown: OrderDetail, now: datetime) -> None:
    """What was quoted, before the yes; nothing after it."""
    if shown.order.state not in ("requested", "quoted"):
        return
    if shown.quoted is not None and shown.quoted_until is not None:
        said = f"Nine times in ten it is made by {at(shown.quoted, now)}. "
        said += f"Accept it before {at(shown.quoted_until, now)}, and this is a promise."
    elif shown.quote_why:
        said = f"No date can be given now: {shown.quote_why}. You may accept it all the same, without a promise."
    else:
        said = "Its date is being worked out. You may accept it before, without a promise."
    with ui.element("div").classes("ws-note"):
        text("span", said)


def _put_together() -> None:
    heading(2, "Putting it together")


def _steps(shown: OrderDetail) -> dict[str, StepShown]:
    return {step.step: step for step in shown.steps}


def _step(shown: OrderDetail, name: str, deeds: OrderDeeds) -> None:
    number, step = next((n, step) for n, step in enumerate(shown.steps, start=1) if step.step == name)
    step_row(f"{number}. {step.step}", step, shown.order.order, deeds)


#: What may be asked of an order, and in which states.
_MAY: Final = {
    "accept": frozenset({"requested", "quoted"}),
    "hand_over": frozenset({"made"}),
    "cancel": frozenset({"requested", "quoted", "accepted", "making"}),
}


def _buttons(order: str, deeds: OrderDeeds) -> Section:
    """Each stands for as long as it may be pressed, whatever else on the page changes meanwhile."""

    def draw(_: OrderDetail, name: str) -> None:
        if name == "accept":
            _button("Accept: make it", lambda: deeds.accept(order))
        elif name == "hand_over":
            _button("Handed over", lambda: deeds.hand_over(order))
        else:
            _button("Cancel the order", lambda: deeds.cancel(order), second=True)

    return Section(lambda shown: {name: "" for name, at in _MAY.items() if shown.order.state in at}, draw, "")


def _button(words: str, deed: Callable[[], Awaitable[None]], *, second: bool = False) -> None:
    made = ui.element("button").classes("ws-button second" if second else "ws-button").props("type=button")
    made.on("click", deed)
    with made:
        text("span", words)


def _road(shown: OrderDetail) -> None:
    index = next((i for i, (states, _) in enumerate(_ROAD) if shown.order.state in states), 0)
    with ui.element("ol").classes("ws-steps"):
        for position, (_, words) in enumerate(_ROAD):
            entry = text("li", words)
            if position < index or shown.order.state == "handed_over":
                entry.classes("done")
            elif position == index:
                entry.classes("now").props("aria-current=step")


def _facts(shown: OrderDetail, now: datetime) -> None:
    order = shown.order
    runs = [job.run_s for job in shown.jobs if job.run_s is not None]
    with ui.element("div").classes("ws-card ws-figures"):
        _fact(f"{order.jobs_done} of {order.jobs}", "jobs done")
        good, wanted = sum(part.good for part in shown.parts), sum(part.quantity for part in shown.parts)
        _fact(f"{good} of {wanted}", "parts found good")
        _fact(duration(sum(runs)) if runs else "–", "of machine time, by its programs")
        if shown.made is not None:
            _fact(at(shown.made, now), "made")
        else:
            _fact(at(shown.expected, now) if shown.expected else "–", "ready by the newest plan")
        _fact(at(order.due, now) if order.due else "no date", "wanted by")
        if shown.promised is not None:
            _fact(at(shown.promised, now), "promised")


def _fact(figure: str, words: str) -> None:
    with ui.element("div").classes("ws-figure"):
        text("b", figure).style("font-size: 21px")
        quiet(words)


def _jobs(shown: OrderDetail, now: datetime) -> None:
    with ui.element("div").classes("ws-grid").style("grid-template-columns: repeat(auto-fill, minmax(320px, 1fr))"):
        own = dict(shown.shared)
        for job in shown.jobs:
            _job(job, own.get(job.job, 0), now)


def _job(job: JobShown, own: int, now: datetime) -> None:
    card = ui.element("article").classes("ws-card ws-machine")
    card.props["aria-label"] = f"Job {job.job}: {job.title}"
    with card:
        with ui.element("div").classes("top"):
            with ui.element("div").classes("ws-stack").style("gap: 0"):
                heading(3, job.title)
                quiet(f"{count(job.pieces, 'piece')} · {named(PROCESS_WORDS, job.process)} · {job.material}")
            chip(named(JOB_WORDS, job.state), JOB_TONES.get(job.state, ""))
        if own:
            quiet(f"{own} of {count(job.pieces, 'piece')} belong to this order; the others lie beside them")
        if job.machine:
            text("span", f"{job.machine} in {job.shop}")
        if job.state not in {"inspected", "cancelled", "finished"}:
            when_or_why(job, now)
        if job.state == "inspected":
            rejected = f", {job.rejected} rejected" if job.rejected else ""
            text("span", f"{job.good} good{rejected}")
        if job.flag:
            with ui.element("div").classes("ws-note bad ws-small"):
                text("span", job.flag)
        if job.placement:
            with ui.element("details"):
                text("summary", "Why this machine").classes("ws-quiet ws-small")
                for reason in job.placement:
                    text("div", reason).classes("ws-small")
        if job.made_by:
            quiet(f"Program by {job.made_by}" + (f", runs {duration(job.run_s)}" if job.run_s is not None else ""))
        if own and job.made_by:
            link("See which piece is whose", f"/api/v1/jobs/{job.job}/sheet.svg")


def step_row(words: str, step: StepShown, order: str, deeds: OrderDeeds) -> None:
    """One assembly step, with its button once it is open."""
    with ui.element("div").classes("ws-row ws-between"):
        with ui.element("div").classes("ws-stack").style("flex: 1; min-width: 240px"):
            text("div", words).style("font-weight: 600")
            text("div", step.instruction)
            if step.state == "shut" and step.needs:
                quiet("Waits for " + ", ".join(step.needs))
        if step.state == "open":
            _button("Done", lambda: deeds.step_done(order, step.step))
        else:
            chip("Done" if step.state == "done" else "Not yet", "good" if step.state == "done" else "")
