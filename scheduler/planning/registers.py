"""Numbers for what machines and jobs share: shops, places of delivery, setup families, calendars.

Equal things get one number, and new ones the next: a problem that lives on grows by rows and never renumbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.planning import calendars
from scheduler.planning.calendars import Ticks
from scheduler.planning.feasibility import View
from scheduler.planning.problem import CARBON_UNIT, NEVER, Longs
from scheduler.planning.snapshot import MaterialNeed, PlanJob, PlanMachine, Pressure

#: Material, colour and thickness.
Family = tuple[str, str, float | None]


class Registers:
    """Every number that was given out so far."""

    def __init__(self, view: View, machines: Iterable[PlanMachine], jobs: Iterable[PlanJob]) -> None:
        self._view = view
        self.shops: dict[str, int] = {}
        self.zones: dict[str, int] = {}
        self.families: dict[Family, int] = {("", "", None): 0}
        """Row 0 needs nothing in particular."""
        self.calendars: list[Ticks] = []
        self._carbon = np.zeros((0, 1), np.int64)
        self.curves: dict[tuple[tuple[float, ...], int], int] = {}
        """Rows of carbon intensity by hour and milliwatts."""
        self._calendar_rows: dict[Ticks, int] = {}
        self.pressures: tuple[Pressure, ...] = view.snapshot.pressures
        for machine in machines:
            self.take_machine(machine)
        for job in jobs:
            self.take_job(job)

    def take_machine(self, machine: PlanMachine) -> None:
        """Numbers for all that the machine brings."""
        self.shops.setdefault(machine.shop, len(self.shops))
        self.family_on(machine)
        self.curve(machine)
        time = self._view.times[machine.id]
        for windows in (time.pool, time.own, time.staff):
            self.calendar(windows)

    def take_job(self, job: PlanJob) -> None:
        """Numbers for all that the job brings."""
        if job.delivery is not None:
            self.zones.setdefault(job.delivery, len(self.zones))
        self.family_of_need(job.need)

    def shop(self, shop: str | None) -> int:
        """-1 for none, and for a shop without machines."""
        return -1 if shop is None else self.shops.get(shop, -1)

    def zone(self, place: str | None) -> int:
        """-1 for none."""
        return -1 if place is None else self.zones[place]

    def calendar(self, windows: Ticks | None) -> int:
        """-1 for always."""
        if windows is None:
            return -1
        if windows not in self._calendar_rows:
            self._calendar_rows[windows] = len(self.calendars)
            self.calendars.append(windows)
        return self._calendar_rows[windows]

    def curve(self, machine: PlanMachine) -> int:
        """-1 where nobody knows how clean its shop's current is, or what it draws."""
        of_shop, power = self._view.carbon.get(machine.shop), round(1_000 * (machine.power_w or 0.0))
        if of_shop is None or power <= 0 or self._view.policy.carbon_minutes <= 0:
            return -1
        return self.curves.setdefault((of_shop, power), len(self.curves))

    def family_of_need(self, need: MaterialNeed | None) -> int:
        """The family a job needs."""
        if need is None or not need.material:
            return 0
        return self._family((need.material.casefold(), need.colour.casefold(), need.thickness_mm))

    def family_on(self, machine: PlanMachine) -> int:
        """The family set up on a machine; -1 unknown."""
        if not machine.loaded:
            return -1
        first = machine.loaded[0]
        return self._family((first.material.casefold(), first.colour.casefold(), first.thickness_mm))

    def _family(self, family: Family) -> int:
        return self.families.setdefault(family, len(self.families))

    def date(self, moment: datetime | None) -> int:
        """Tick of a date, which may lie in the past; NEVER for none."""
        if moment is None:
            return NEVER
        view = self._view
        ticks = int((moment - view.snapshot.now).total_seconds() // view.policy.tick_s)
        return max(-NEVER // 4, min(NEVER, ticks))

    # --- tables ----------------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many shops, places and families there are: when it changes, `rates` has other shapes."""
        return len(self.shops), len(self.zones), len(self.families)

    def rates(self) -> dict[str, Any]:
        """The fields of `Problem` that say what changeovers, ways and shops cost."""
        policy = self._view.policy
        unit = 100 * policy.tick_s / 60
        return {
            "setup": self._setups(),
            "first_setup": self._view.ticks(policy.setup_s),
            "setup_cost": max(0, round(policy.setup_cost * unit)),
            "leg_cost": max(0, round(policy.transport_percent * policy.tick_s / 60)),
            "legs": self._legs(),
            "delivery": self._deliveries(),
            "pressure": self.pressure(),
        }

    def pressure(self) -> Longs:
        """Fairness: cost of a machine tick in each shop."""
        unit = 100 * self._view.policy.tick_s / 60
        out = np.zeros(max(1, len(self.shops)), np.int64)
        for one in self.pressures:
            if one.shop in self.shops:
                out[self.shops[one.shop]] = round(one.per_minute * unit)
        return out

    def carbon(self) -> Longs:
        """(curves, ticks of a day + 1) prefix sums from the epoch's time of day, in 1 / `CARBON_UNIT` of cost."""
        if len(self.curves) == len(self._carbon):
            return self._carbon
        policy, now = self._view.policy, self._view.snapshot.now.astimezone(UTC)
        since_midnight = now.hour * 3_600 + now.minute * 60 + now.second + now.microsecond / 1e6
        begins = since_midnight + np.arange(86_400 // policy.tick_s) * policy.tick_s
        hour = (begins % 86_400 // 3_600).astype(np.int64)
        out = np.zeros((len(self.curves), len(hour) + 1), np.int64)
        for (grams, milliwatts), row in self.curves.items():
            kwh = milliwatts / 1e6 * policy.tick_s / 3_600
            cost = np.array(grams) / 1_000 * kwh * 100 * policy.carbon_minutes
            np.cumsum(np.rint(CARBON_UNIT * cost).astype(np.int64)[hour], out=out[row, 1:])
        self._carbon = out
        return out

    def packed_calendars(self) -> dict[str, Any]:
        """The fields of `Problem` about calendars."""
        packed = calendars.pack(self.calendars, bucket=max(1, 86_400 // self._view.policy.tick_s))
        return {
            "cal_ptr": packed.ptr,
            "cal_open": packed.open,
            "cal_shut": packed.shut,
            "cal_hint": packed.hint,
            "bucket": packed.bucket,
        }

    def _setups(self) -> NDArray[np.int32]:
        """(2, f, f): 0 by what changes, 1 always the base setup."""
        policy = self._view.policy
        base, colour, material = (
            self._view.ticks(seconds) for seconds in (policy.setup_s, policy.setup_colour_s, policy.setup_material_s)
        )
        of_material, of_colour = (_codes([key[part] for key in self.families]) for part in (0, 1))
        thick = np.array([-1.0 if key[2] is None else key[2] for key in self.families])
        known = np.array([bool(key[0]) for key in self.families])
        coloured = np.array([bool(key[1]) for key in self.families])
        both = known[:, None] & known
        other = of_material[:, None] != of_material
        other |= (thick[:, None] >= 0) & (thick >= 0) & (thick[:, None] != thick)
        recoloured = coloured[:, None] & coloured & (of_colour[:, None] != of_colour)
        by_change = np.where(both & other, material, np.where(both & recoloured, colour, base))
        return np.stack([by_change, np.full_like(by_change, base)]).astype(np.int32)

    def _legs(self) -> NDArray[np.int32]:
        view, size = self._view, max(1, len(self.shops))
        out = np.full((size, size), view.ticks(view.policy.default_leg_s), np.int32)
        np.fill_diagonal(out, 0)
        for leg in view.snapshot.legs:
            if leg.start in self.shops and leg.to in self.shops and leg.start != leg.to:
                a, b = self.shops[leg.start], self.shops[leg.to]
                out[a, b] = out[b, a] = view.ticks(leg.seconds)
        return out

    def _deliveries(self) -> NDArray[np.int32]:
        view = self._view
        shape = (max(1, len(self.shops)), max(1, len(self.zones)))
        out = np.full(shape, view.ticks(view.policy.default_leg_s), np.int32)
        for leg in view.snapshot.legs:
            if leg.start in self.shops and leg.to in self.zones:
                out[self.shops[leg.start], self.zones[leg.to]] = view.ticks(leg.seconds)
        return out


def _codes(values: list[Any]) -> Longs:
    known: dict[Any, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int64)
