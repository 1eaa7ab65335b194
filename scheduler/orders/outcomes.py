"""Learning from making: every ended attempt leaves estimate and measure behind; the next plan knows better.

A machine's shop speaks for its own machines. About everybody else's it is one voice of at least `VOICES`, the last few
runs of each counted and the extremes trimmed (`scheduler.planning.durations`): no single shop can bend what others are
planned by. Machines are measured here, people are not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
import sqlalchemy as sa

from agents.contract.messages import MachineReport
from agents.contract.vocabulary import MACHINE_FAULTS, FailureClass
from scheduler.orders import remnants
from scheduler.planning.durations import Durations, Outcome
from scheduler.planning.snapshot import DurationOption
from scheduler.store import content_queries, queries
from scheduler.store import content_tables as ct
from scheduler.store.content_queries import OutcomeRow
from scheduler.store.rows import JobRow, ToolpathRow

#: Shops that must have made something before others' machines are planned by what they measured.
VOICES: Final = 3
#: Older outcomes say little about the machine as it is now.
REMEMBERED: Final = timedelta(days=180)
#: Attempts a new machine is credited with, and how many of them ended well.
_CREDIT: Final = (10.0, 9.5)
_LAST: Final = 40


class Ending(StrEnum):
    """How an attempt ended, as far as machine and time are concerned."""

    FINISHED = "finished"
    FAILED = "failed"


class Learned:
    """What past attempts teach about the next."""

    def __init__(self, outcomes: Iterable[OutcomeRow] = ()) -> None:
        self._own: dict[str, Durations] = defaultdict(Durations)
        self._pool = Durations()
        self._voices: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._ends: dict[str, list[bool]] = defaultdict(list)
        self._said: dict[tuple[str, str, str, float], DurationOption] = {}
        for row in outcomes:
            self.take(row)

    def take(self, row: OutcomeRow) -> None:
        """One more ended attempt, newest last."""
        self._said.clear()
        blamed = row.failure in {fault.value for fault in MACHINE_FAULTS}
        if row.outcome == Ending.FINISHED or blamed:
            ends = self._ends[row.machine]
            ends.append(row.outcome == Ending.FINISHED)
            del ends[:-_LAST]
        if row.outcome != Ending.FINISHED or not row.estimated_s:
            return
        said = Outcome(row.design, row.model, row.shop, row.estimated_s, row.measured_s)
        self._own[row.shop].learn(said)
        self._pool.learn(said)
        self._voices[row.design, row.model].add(row.shop)
        self._voices["", row.model].add(row.shop)

    def option(self, design: str, model: str, shop: str, estimated_s: float, machine: str) -> DurationOption:
        """P50, P80 and P90 of this design on this machine; the plain estimate's spread where nothing is known."""
        asked = (design, model, shop, estimated_s)
        found = self._said.get(asked)
        if found is None:
            found = self._said[asked] = self._option(*asked)
        return DurationOption(found.p50_s, found.p80_s, found.p90_s, machine=machine)

    def _option(self, design: str, model: str, shop: str, estimated_s: float) -> DurationOption:
        if shop in self._own and shop in self._voices["", model]:
            source = self._own[shop]
        elif len(self._voices["", model]) >= VOICES:
            known = len(self._voices[design, model]) >= VOICES
            source, design = self._pool, design if known else ""
        else:
            source = Durations()
        return source.option(design, model, max(1.0, estimated_s))

    def reliability(self, machine: str) -> float:
        """Chance that an attempt on this machine does not end by the machine's own fault (Beta mean)."""
        ends = self._ends.get(machine, [])
        tried, good = _CREDIT
        return (good + sum(ends)) / (tried + len(ends))


def learned(c: sa.Connection, now: datetime, model: str | None = None) -> Learned:
    """All that is remembered, of one class of machines or of all."""
    return Learned(content_queries.outcomes(c, since=now - REMEMBERED, model=model))


def book_run(c: sa.Connection, job: JobRow, failure: FailureClass | None, now: datetime) -> None:
    """An attempt ended: keep what it taught, and what it left of its sheet. `failure` None: it finished."""
    lease = queries.lease_under(c, job.id, job.fence)
    offer = None if lease is None else queries.offer(c, lease.offer)
    machine = None if lease is None else queries.machine(c, lease.agent, lease.machine)
    toolpath = None if offer is None else queries.toolpath(c, offer.sha256)
    if machine is None or toolpath is None:
        return
    began = job.started_at is not None
    if failure is None:
        report = msgspec.convert(machine.report, MachineReport)
        remnants.book_sheet(c, job, toolpath, report, now)
    elif began:
        remnants.doubt(c, job, toolpath, now)
    if failure is None or began or failure in MACHINE_FAULTS:
        measured = job.machine_s if failure is None else _moved_s(job, now)
        _keep(c, job, toolpath, (machine.key, machine.model, machine.shop), measured, failure, now)


def _moved_s(job: JobRow, now: datetime) -> float:
    return 0.0 if job.started_at is None else max(0.0, (now - job.started_at).total_seconds())


def _keep(
    c: sa.Connection,
    job: JobRow,
    toolpath: ToolpathRow,
    where: tuple[str, str, str],
    measured_s: float,
    failure: FailureClass | None,
    now: datetime,
) -> None:
    machine, model, shop = where
    known = c.execute(
        sa.select(ct.outcomes.c.job).where(ct.outcomes.c.job == job.id, ct.outcomes.c.attempt == job.attempt)
    ).first()
    if known is not None:
        return
    expected = learned(c, now, model).option(job.file_key, model, shop, toolpath.duration_s, machine).p50_s
    c.execute(
        sa.insert(ct.outcomes).values(
            job=job.id,
            attempt=job.attempt,
            at=now,
            design=job.file_key,
            process=job.process,
            model=model,
            shop=shop,
            machine=machine,
            estimated_s=toolpath.duration_s,
            expected_s=expected,
            measured_s=measured_s,
            material_g=toolpath.material_g,
            pieces=job.pieces,
            outcome=(Ending.FINISHED if failure is None else Ending.FAILED).value,
            failure=None if failure is None else failure.value,
        )
    )
