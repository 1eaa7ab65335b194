"""When a machine may run what, in ticks, and the longest stretches that leaves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from scheduler.planning import calendars
from scheduler.planning.calendars import Ticks


@dataclass(frozen=True)
class MachineTime:
    """A machine's calendars in ticks. `pool`, `own`: when it may run such work; `staff`: when a person is in.

    `busy`: nothing starts before this tick, whatever the calendars say.
    """

    pool: Ticks | None
    own: Ticks | None
    staff: Ticks | None
    busy: int
    horizon: int
    given: int
    """Ticks that the shop's people have for one visit to it, unloading aside; the horizon where nobody counts them."""

    @cached_property
    def longest(self) -> Longest:
        """The longest stretches that are left."""
        left: Ticks = ((self.busy, self.horizon),) if self.busy < self.horizon else ()
        pool, own = calendars.intersection(left, self.pool), calendars.intersection(left, self.own)
        stretch = partial(calendars.longest, horizon=self.horizon)
        staffed = (calendars.intersection(pool, self.staff), calendars.intersection(own, self.staff), self.staff)
        return Longest(stretch(pool), stretch(own), *(min(self.given, stretch(windows)) for windows in staffed))


class Longest(NamedTuple):
    """Ticks of the longest stretch for pool work, for own work, the same with a person there, and of a person alone."""

    pool: int
    own: int
    pool_staffed: int
    own_staffed: int
    staff: int
