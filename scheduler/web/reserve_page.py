"""Reserving a machine: pick it and a time, see whom that displaces, say yes; and the list of what is reserved.

What was shown is what is confirmed: the wish that a person sees is the value that is sent, and touching any field takes
it off the page. The form stands for as long as the page does; only the list keeps itself fresh.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from nicegui import ui

from scheduler.web.booking import Answer, Outcome, Typed
from scheduler.web.clocks import as_typed, shop_zone, zone_words
from scheduler.web.fresh import Section
from scheduler.web.models import DisplacedShown, MachineShown, ReservationShown, WishShown
from scheduler.web.theme import EFFECT_TONES, chip, empty, heading, link, quiet, text
from scheduler.web.words import EFFECT_MEANING, EFFECT_WORDS, MACHINE_WORDS, at, count, duration, named, stretch

#: What the form offers first: from the next full hour on, for so long.
_OFFERED: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class BookingDeeds:
    """What the page's buttons do. The first two answer None where it was refused, after saying why to `refused`."""

    look: Callable[[Typed, Callable[[str], object]], Awaitable[WishShown | None]]
    reserve: Callable[[WishShown, Callable[[str], object]], Awaitable[Answer | None]]
    give_back: Callable[[str], Awaitable[None]]


class ReserveForm:
    """The form, and below it what came of the last press."""

    def __init__(
        self, machines: Sequence[MachineShown], chosen: str, now: Callable[[], datetime], deeds: BookingDeeds
    ) -> None:
        self._machines = {one.machine: one for one in sorted(machines, key=lambda one: (one.shop, one.name))}
        self._now, self._deeds = now, deeds
        self._asked = 0
        """Presses so far: an answer to an earlier one is not shown."""
        with ui.element("form").classes("ws-card ws-section ws-form") as form:
            form.on("submit.prevent", self._look)
            heading(2, "Which machine, and when")
            self._fields(chosen if chosen in self._machines else "")
            with ui.element("div").classes("ws-row ws-between"):
                quiet("Running work is never stopped by it.")
                with ui.element("button").classes("ws-button").props("type=submit"):
                    text("span", "See whom it displaces")
        self._answer = ui.element("div").classes("ws-answer").props("aria-live=polite")

    def _fields(self, chosen: str) -> None:
        options = {
            key: f"{one.name} in {one.shop} ({named(MACHINE_WORDS, one.process)})"
            for key, one in self._machines.items()
        }
        self._machine = ui.select(options, label="Machine", with_input=True, value=chosen or None)
        self._machine.props("outlined").classes("ws-field").style("width: 100%")
        with ui.element("div").classes("ws-grid wide"):
            self._start = self._field(ui.input("From").props("type=datetime-local stack-label"))
            self._end = self._field(ui.input("To").props("type=datetime-local stack-label"))
        self._clock = text("span", "").classes("ws-quiet ws-small")
        self._why = self._field(ui.input("What for, for all to read (optional)").props("maxlength=500"))
        self._offer_times()
        self._machine.on_value_change(self._another_machine)
        for field in (self._start, self._end, self._why):
            field.on_value_change(self._put_away)

    def _field(self, made: Any) -> Any:
        return made.props("outlined").classes("ws-field").style("width: 100%")

    # --- times --------------------------------------------------------------------------------------------------------

    def _another_machine(self) -> None:
        self._put_away()
        if (self._start.value, self._end.value) == self._offered:
            self._offer_times()
        self._say_clock()

    def _offer_times(self) -> None:
        """The next full hours on the clock of the machine's shop."""
        zone = shop_zone(self._zone())
        hour = self._now().astimezone(zone).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        self._offered = (as_typed(hour, zone), as_typed(hour + _OFFERED, zone))
        self._start.value, self._end.value = self._offered
        self._say_clock()

    def _say_clock(self) -> None:
        now, machine = self._now(), self._machines.get(self._machine.value or "")
        zone = shop_zone(self._zone())
        whose = f"the clock of {machine.shop}" if machine is not None and machine.zone else "this scheduler's clock"
        there = now.astimezone(zone)
        self._clock.text = f"Times are by {whose}: {zone_words(zone, now)}, where it is {there:%H:%M} now."

    def _zone(self) -> str:
        machine = self._machines.get(self._machine.value or "")
        return "" if machine is None else machine.zone

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _put_away(self) -> None:
        """What was shown is not what stands in the form any more."""
        self._asked += 1
        self._answer.clear()

    async def _look(self) -> None:
        self._put_away()
        asked = self._asked
        typed = Typed(self._machine.value or "", self._start.value or "", self._end.value or "", self._why.value or "")
        wish = await self._deeds.look(typed, lambda words: self._refused(words, asked))
        if wish is not None and asked == self._asked:
            self._show(wish)

    def _refused(self, words: str, asked: int) -> None:
        if asked != self._asked:
            return
        self._answer.clear()
        with self._answer, ui.element("div").classes("ws-note bad").props("role=alert"):
            text("span", words)
        self._bring_into_view()

    def _show(self, wish: WishShown) -> None:
        self._answer.clear()
        with self._answer:
            card = ui.element("section").classes("ws-card ws-section").props('aria-label="What it would displace"')
            with card:
                wish_shown(wish, self._now())
                with ui.element("div").classes("ws-row"):
                    _button("Reserve it" if not wish.displaced else "Reserve it all the same", lambda: self._yes(wish))
                    _button("Not like this", self._put_away, second=True)
        self._bring_into_view()

    async def _yes(self, wish: WishShown) -> None:
        self._put_away()  # a second press on the same button finds none
        with self._answer:  # the button's own place is gone
            busy = quiet("One moment …")
            asked = self._asked
            answer = await self._deeds.reserve(wish, lambda words: self._refused(words, asked))
            if not busy.is_deleted:
                busy.delete()
            if answer is None or asked != self._asked:
                return
            if answer.outcome is Outcome.LOOK_AGAIN:
                self._show(answer.wish)
            else:
                self._done(answer.wish)

    def _done(self, wish: WishShown) -> None:
        self._why.value = ""
        self._answer.clear()
        with self._answer, ui.element("div").classes("ws-note").props("role=status"):
            text("span", done_words(wish, self._now()))
        self._bring_into_view()

    def _bring_into_view(self) -> None:
        """On a phone it stands below the form."""
        number = self._answer.id
        ui.run_javascript(f"getHtmlElement({number}).firstElementChild?.scrollIntoView({{block: 'nearest'}})")


def wish_shown(wish: WishShown, now: datetime) -> None:
    """Who would make way, who would not, and since when that is known."""
    there = now.astimezone(shop_zone(wish.zone))
    zone = zone_words(shop_zone(wish.zone), now)
    heading(2, f"{wish.name} in {wish.shop}")
    length = duration((wish.end - max(wish.start, now)).total_seconds())
    begins = "From now " if wish.start <= now else ""
    text("p", f"{begins}{stretch(wish.start, wish.end, there)} ({zone}), {length}.").style("font-weight: 600")
    if wish.fresh:
        with ui.element("div").classes("ws-note warn").props("role=alert"):
            said = f"The plan changed since you looked: it would touch {count(len(wish.fresh), 'more job')} by now, "
            text("span", said + "marked as new below. Nothing was reserved yet.")
    if not wish.displaced:
        text("p", "It displaces nobody: no work runs, waits or is planned on it then.")
        return
    text("p", f"It touches {count(len(wish.displaced), 'job')}:")
    with ui.element("div").classes("ws-list ws-sunken"):
        for one in wish.displaced:
            _displaced(one, one.job in wish.fresh, wish, there)


def _displaced(one: DisplacedShown, new: bool, wish: WishShown, there: datetime) -> None:
    with ui.element("div").classes("ws-stack"):
        with ui.element("div").classes("ws-row ws-between"):
            link(one.title, f"/orders/{one.order}")
            with ui.element("div").classes("ws-row"):
                if new:
                    chip("New since you looked", "warn")
                chip(named(EFFECT_WORDS, one.effect), EFFECT_TONES.get(one.effect, ""))
        meaning = EFFECT_MEANING.get(one.effect, "")
        if one.effect == "stays":
            late = ", into the reserved time" if one.finish > wish.start else ""
            quiet(f"{meaning[:1].upper()}{meaning[1:]}; it should end about {at(one.finish, there)}{late}.")
        else:
            quiet(f"It would have been here {stretch(one.start, one.finish, there)}; {meaning}.")


def done_words(wish: WishShown, now: datetime) -> str:
    """What was done, in a sentence."""
    there = now.astimezone(shop_zone(wish.zone))
    zone = zone_words(shop_zone(wish.zone), now)
    said = f"{wish.name} is reserved {stretch(wish.start, wish.end, there)} ({zone})."
    runs = sum(one.effect == "stays" for one in wish.displaced)
    way = len(wish.displaced) - runs
    if way:
        said += f" {count(way, 'job')} {'makes' if way == 1 else 'make'} way and will be planned anew."
    if runs:
        said += f" {count(runs, 'job')} {'keeps' if runs == 1 else 'keep'} running until done."
    return said


# --- what is reserved -------------------------------------------------------------------------------------------------


def reservation_list(now: Callable[[], datetime], deeds: BookingDeeds) -> list[Section]:
    """What stands, by start; each with the way to give it back."""

    def rows(shown: Sequence[ReservationShown]) -> Mapping[str, Any]:
        minute = now().replace(second=0, microsecond=0)
        return {one.reservation: (one, one.start <= minute) for one in shown}

    def draw(shown: Sequence[ReservationShown], name: str) -> None:
        _row(next(one for one in shown if one.reservation == name), now(), deeds)

    with ui.element("section").classes("ws-section"):
        heading(2, "Reserved by people")
        nothing = Section(
            lambda shown: {} if shown else {"": ""},
            lambda *_: empty(
                "Nothing is reserved", "Machines take work of the pool whenever their owners' rules say so."
            ),
            "ws-card",
        )
        listed = Section(rows, draw, "ws-card")
    return [nothing, listed]


def _row(one: ReservationShown, now: datetime, deeds: BookingDeeds) -> None:
    there = now.astimezone(shop_zone(one.zone))
    with ui.element("div").classes("ws-row ws-between") as row:
        row.props["role"] = "group"
        row.props["aria-label"] = f"{one.name} in {one.shop}"
        with ui.element("div").classes("ws-stack").style("gap: 2px; flex: 1; min-width: 220px"):
            text("div", f"{one.name} in {one.shop}").style("font-weight: 600")
            text("div", f"{_capital(stretch(one.start, one.end, there))} ({zone_words(shop_zone(one.zone), now)})")
            said = [f"by {one.who}" if one.who else "", one.why]
            quiet(" · ".join(part for part in said if part))
        asked = ui.element("div").classes("ws-row")
        with asked:
            _ask_back(one, asked, deeds)


def _ask_back(one: ReservationShown, place: ui.element, deeds: BookingDeeds) -> None:
    """Asks once more in the button's own place: work may be planned into the window at once."""

    def ask() -> None:
        place.clear()
        with place:
            quiet("Give it back? Work may be planned into it at once.")
            _button("Yes, give it back", lambda: deeds.give_back(one.reservation), stop=True)
            _button("Keep it", keep, second=True)

    def keep() -> None:
        place.clear()
        with place:
            _button("Give it back", ask, second=True)

    keep()


def _button(words: str, deed: Callable[[], object], *, second: bool = False, stop: bool = False) -> None:
    look = "ws-button" + (" second" if second else "") + (" stop" if stop else "")
    made = ui.element("button").classes(look).props("type=button")
    made.on("click", deed)
    with made:
        text("span", words)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
