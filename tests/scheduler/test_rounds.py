"""What takes long stands beside the dispatcher: plates composed by another process, plans carried out in slices."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest

from agents.contract.vocabulary import JobState, Process
from scheduler.dispatch import people, rounds
from scheduler.dispatch.carrying import Carrying
from scheduler.dispatch.picture import take_picture
from scheduler.dispatch.timings import Step
from scheduler.orders.composer import Answer, ComposerProcess
from scheduler.orders.laying import Table, compose_table, lay_table
from scheduler.planning.batch import Load, Pieces
from scheduler.planning.snapshot import Plan, PlanPolicy, Snapshot
from tests.scheduler.line import Agent, Line, agent_of, first_fit
from tests.scheduler.shelf import ask, drawing
from tests.scheduler.test_composing import conserved, contents

PEG = Pieces("o1/peg", "kind", minutes=1.0, area_mm2=1.0, weight=1.0, need=0)


class Slow:
    """A composer that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Table, Future[Answer]]] = []

    def begin(self, table: Table) -> Future[Answer]:
        future: Future[Answer] = Future()
        self.asked.append((table, future))
        return future

    def answer(self) -> None:
        table, future = self.asked[-1]
        future.set_result(compose_table(table))

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(rounds, "COMPOSED_WITHIN_S", 0.0)
    return Slow()


@pytest.fixture
def cutters(tmp_path: Path, slow: Slow) -> Iterator[Line]:
    line = Line(tmp_path, Agent("mill", "pi", ("laser",), Process.LASER), composer=slow)
    line.arrive()
    busy = ask(line, "large.svg", drawing(180, 180))
    line.plan()
    line.plan()
    line.exchange(agent_of(line))
    assert line.job(f"{busy.id}-1").state is JobState.LEASED
    yield line
    line.close()


def test_a_plan_does_not_wait_for_the_composer_whose_answer_is_carried_out_when_it_comes(
    cutters: Line, slow: Slow
) -> None:
    one, other = ask(cutters, "coaster.svg", drawing(40, 40), 3), ask(cutters, "tag.svg", drawing(30, 20), 2)
    cutters.plan()
    cutters.plan()
    assert {job.id for job in cutters.jobs(JobState.WAITING) if job.placement} == {f"{one.id}-1", f"{other.id}-1"}
    slow.answer()
    assert cutters.scheduler.bell.heard_news(), "an answer that comes late is news"
    cutters.plan()
    assert {one.id: 3, other.id: 2} in contents(cutters).values()
    conserved(cutters)


def test_an_answer_about_what_is_no_longer_so_changes_nothing(cutters: Line, slow: Slow) -> None:
    one, other = ask(cutters, "coaster.svg", drawing(40, 40), 3), ask(cutters, "tag.svg", drawing(30, 20), 2)
    cutters.plan()
    with cutters.scheduler.store.write() as c:
        people.cancel_order(c, cutters.scheduler.mover, one.id, "no longer needed", cutters.now)
    slow.answer()
    cutters.plan()
    assert {other.id: 2} in contents(cutters).values()
    assert cutters.job(f"{one.id}-1").state is JobState.CANCELLED
    conserved(cutters)


def test_the_composers_process_answers_as_composing_here_does_and_a_lost_one_is_replaced(tmp_path: Path) -> None:
    line = Line(tmp_path, Agent("mill", "pi", ("laser",), Process.LASER), composer=Slow())
    line.arrive()
    composer = ComposerProcess(patience_s=60)
    try:
        ask(line, "coaster.svg", drawing(40, 40), 3)
        ask(line, "tag.svg", drawing(30, 20), 2)
        with line.scheduler.store.read() as c:
            picture = take_picture(c, line.now, line.scheduler.mover.limits, PlanPolicy())
        table = lay_table(picture)
        assert composer.begin(table).result() == compose_table(table)
        assert composer.pid is not None
        os.kill(composer.pid, signal.SIGKILL)
        assert composer.begin(table).result() is None
        assert composer.lost == 1
        assert composer.begin(table).result() == compose_table(table)
    finally:
        composer.close()
        line.close()


def test_a_composer_that_hangs_is_ended(tmp_path: Path) -> None:
    composer = ComposerProcess(patience_s=60)
    try:
        assert composer.begin(Table()).result() == ()
        table = Table(loads=[Load("j1", "kind", (("o1/peg", 1),))], pieces={"o1/peg": PEG})
        assert composer.begin(table).result() == compose_table(table)
        pid = composer.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        composer._patience_s = 0.2
        assert composer.begin(table).result(timeout=30) is None
        assert composer.pid is None
    finally:
        composer.close()


def test_deadlines_pass_while_a_round_takes_its_time(tmp_path: Path) -> None:
    hangs, go_on = threading.Event(), threading.Event()

    def planner(snapshot: Snapshot) -> Plan:
        if hangs.is_set():
            go_on.wait(60)
        return first_fit(snapshot)

    line = Line(tmp_path, Agent("mill", "pi", ("m1",)), planner=planner)
    line.arrive()
    try:
        (job,) = line.order()
        line.plan()
        line.plan()
        assert line.job(job).state is JobState.OFFERED
        hangs.set()
        line.order()
        line.scheduler.bell.news()
        line.scheduler.dispatcher.step()
        line.clock.pass_(seconds=61)
        line.scheduler.dispatcher.step()
        assert line.job(job).state is JobState.WAITING, "the offer lapsed though a plan is being made"
    finally:
        go_on.set()
        line.scheduler.dispatcher.stop()
        line.close()


def test_between_two_slices_anything_may_happen(line: Line) -> None:
    jobs = line.order(24)
    line.plan()
    found = line.scheduler.dispatcher._rounds.make(line.now)
    assert found.planned is not None
    carrying = Carrying(line.scheduler.mover, found.picture, found.planned, line.scheduler.dispatcher._reach)
    slices, gone = 0, sorted(jobs)[-1]
    ticks = iter(range(10_000))
    left = True
    while left:
        with line.scheduler.store.write() as c:
            left = carrying.slice(c, line.now, lambda: float(next(ticks)))
        slices += 1
        if slices == 2:
            with line.scheduler.store.write() as c:
                people.cancel_job(c, line.scheduler.mover, gone, "no longer needed", line.now)
    assert slices > 4
    assert line.job(gone).state is JobState.CANCELLED
    assert line.job(gone).placement is None
    assert len(line.jobs(JobState.OFFERED)) == 2 == len(carrying.offered), "one a machine, over all slices"
    assert all(job.placement["not_yet"] for job in line.jobs(JobState.WAITING))
    assert len(line.jobs(JobState.WAITING)) == 21


def test_every_step_is_timed(line: Line) -> None:
    line.order(2)
    line.plan()
    line.clock.pass_(hours=2)
    line.scheduler.dispatcher.step()
    line.scheduler.dispatcher.stop()
    seen = line.scheduler.dispatcher.timings.seen()
    counted = {step for step, timed in seen.items() if sum(timed.counts)}
    assert counted >= {Step.SWEEP, Step.LOOK, Step.CARRY_OUT, Step.WANT, Step.PLAN, Step.FORGET, Step.COMPOSE}
    assert all(timed.longest_s <= timed.total_s for timed in seen.values())
    assert timedelta(seconds=seen[Step.LOOK].total_s) > timedelta(0)
