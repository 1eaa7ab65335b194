"""Where offered, leased and running jobs are, and how long a run still takes as far as its machine's word tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from scheduler.store import queries
from scheduler.store.rows import JobRow, LeaseRow, OfferRow, ToolpathRow


@dataclass(frozen=True, slots=True)
class Place:
    """The machine a job was offered to or is leased to, what was offered, and the toolpath."""

    agent: str
    machine_name: str
    offer: OfferRow | None
    lease: LeaseRow | None
    toolpath: ToolpathRow | None

    @property
    def machine(self) -> str:
        """The machine's name in the whole network."""
        return f"{self.agent}.{self.machine_name}"

    def finish(self, job: JobRow, now: datetime) -> datetime:
        """When a job that runs will end: what is left of its toolpath's time, from now. Never before `now`.

        A held job's end moves on with the clock: nobody knows when it is resumed.
        """
        if self.toolpath is None:
            return now if self.offer is None else max(now, self.offer.planned_finish)
        return now + timedelta(seconds=self.toolpath.duration_s * (1.0 - min(1.0, job.progress)))

    def stretch(self, free_at: datetime) -> tuple[datetime, datetime]:
        """From when until when a run that has not begun would last, on a machine that is free from `free_at` on."""
        start = free_at if self.offer is None else max(free_at, self.offer.planned_start)
        return start, start + self.length

    @property
    def length(self) -> timedelta:
        """By the toolpath's own time table; nothing where no toolpath is known."""
        return timedelta(seconds=0.0 if self.toolpath is None else self.toolpath.duration_s)


def held_places(c: sa.Connection, agents: Sequence[str] | None = None) -> dict[str, Place]:
    """By job: every open offer and live lease, or those with some agents. Four reads however many there are."""
    leases = queries.live_leases(c, agents)
    offers = {offer.id: offer for offer in queries.open_offers(c, agents)}
    taken = queries.offers(c, [lease.offer for lease in leases])
    hashes = sorted({offer.sha256 for offer in (*offers.values(), *taken.values())})
    toolpaths = queries.toolpaths(c, hashes)
    places: dict[str, Place] = {}
    for lease in leases:
        offer = taken.get(lease.offer)
        toolpath = None if offer is None else toolpaths.get(offer.sha256)
        places[lease.job] = Place(lease.agent, lease.machine, offer, lease, toolpath)
    for offer in offers.values():
        places[offer.job] = Place(offer.agent, offer.machine, offer, None, toolpaths.get(offer.sha256))
    return places
