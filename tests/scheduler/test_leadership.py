"""Several scheduler processes on one database: one dispatches; one that slept through its succession writes nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contract.vocabulary import JobState
from scheduler.clock import SystemClock
from scheduler.dispatch.leadership import Leadership
from scheduler.store import SteppedDown, Store, open_store, queries
from scheduler.store import tables as t
from scheduler.store.dispatch_tables import leadership as lead
from tests.agents import peer
from tests.scheduler.line import Agent, SetClock
from tests.scheduler.test_over_a_broker import Wire

LEASE = timedelta(seconds=10)


class One:
    """One process's part, with a clock of its own that a test moves."""

    def __init__(self, url: str, instance: str) -> None:
        self.store = open_store(url)
        self.seconds = 0.0
        self.leadership = Leadership(
            self.store, SetClock(), instance=instance, url="", lease=LEASE, monotonic=lambda: self.seconds
        )
        self.store.fence(self.leadership.guard)

    def write(self) -> None:
        with self.store.write() as c:
            c.execute(sa.insert(t.plans).values(at=SetClock().now(), body={"term": self.leadership.term}))


@pytest.fixture
def pair(url: str) -> Iterator[tuple[One, One]]:
    first, second = One(url, "a"), One(url, "b")
    yield first, second
    first.store.close()
    second.store.close()


def written(store: Store) -> list[int]:
    with store.read() as c:
        return [body["term"] for (body,) in c.execute(sa.select(t.plans.c.body).order_by(t.plans.c.id))]


def test_the_second_waits_for_a_whole_lease_without_a_beat(pair: tuple[One, One]) -> None:
    first, second = pair
    assert first.leadership.take()
    for _ in range(5):
        second.seconds += 9
        assert not second.leadership.take()
        first.leadership.beat()
    second.seconds += 9
    assert not second.leadership.take()
    second.seconds += 10
    assert second.leadership.take()
    assert second.leadership.term == 2


def test_the_first_writes_nothing_after_its_succession(pair: tuple[One, One]) -> None:
    first, second = pair
    first.leadership.take()
    first.write()
    second.leadership.take()
    second.seconds += 11
    assert second.leadership.take()
    with pytest.raises(SteppedDown, match="the scheduler b dispatches"):
        first.write()
    assert not first.leadership.held
    assert not first.leadership.beat()
    second.write()
    assert written(second.store) == [1, 2]


def test_whoever_stands_by_writes_nothing(pair: tuple[One, One]) -> None:
    first, second = pair
    first.leadership.take()
    second.leadership.take()
    with pytest.raises(SteppedDown, match="the scheduler a"):
        second.write()
    first.leadership.release()
    assert second.leadership.take(), "what was given up is free at once"
    with pytest.raises(SteppedDown):
        first.write()


def test_the_next_run_of_the_same_instance_takes_over_at_once(url: str) -> None:
    before, after = One(url, "a"), One(url, "a")
    assert before.leadership.take()
    assert after.leadership.take()
    assert (before.leadership.term, after.leadership.term) == (1, 2)
    with pytest.raises(SteppedDown):
        before.write()
    before.store.close()
    after.store.close()


@pytest.mark.postgres
def test_a_write_under_way_is_over_before_a_successor_begins(empty_postgres: str) -> None:
    first, second = One(empty_postgres, "a"), One(empty_postgres, "b")
    first.leadership.take()
    second.leadership.take()
    second.seconds += 11
    order: list[str] = []

    def succeed() -> None:
        second.leadership.take()
        order.append("succeeded")

    with first.store.write() as c:
        thread = threading.Thread(target=succeed)
        thread.start()
        thread.join(timeout=0.5)
        order.append("still writing")
        c.execute(sa.insert(t.plans).values(at=SetClock().now(), body={"term": 1}))
    thread.join(timeout=10)
    assert order == ["still writing", "succeeded"]
    assert (written(second.store), second.leadership.term) == ([1], 2)
    for one in (first, second):
        one.store.close()


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["take", "beat", "write", "release", "wait"])), max_size=30
)


@settings(max_examples=25)
@given(steps=STEPS)
def test_of_three_at_most_one_may_write_and_terms_only_rise(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('three') / 'store.db'}"
    crowd = [One(url, name) for name in "abc"]
    for which, step in steps:
        one = crowd[which]
        if step == "take" and not one.leadership.held:
            one.leadership.take()
        elif step == "beat" and one.leadership.held:
            one.leadership.beat()
        elif step == "release" and one.leadership.held:
            one.leadership.release()
        elif step == "wait":
            one.seconds += 7
        could = []
        for each in crowd:
            try:
                each.write()
            except SteppedDown:
                continue
            could.append(each)
        assert len(could) <= 1
    terms = written(crowd[0].store)
    assert terms == sorted(terms)
    for one in crowd:
        one.store.close()


# --- real processes ---------------------------------------------------------------------------------------------------


class Process:
    """A scheduler process; `said` is what it told so far."""

    def __init__(self, folder: Path, database: str, port: int, instance: str) -> None:
        command = [sys.executable, "-m", "tests.scheduler.one_of_several", str(folder), database, str(port), instance]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said += []
        for line in self.process.stdout:
            self.said.append(line.strip())

    def ask(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def await_(self, said: str, within_s: float = 120) -> None:
        peer.eventually(
            lambda: any(line.startswith(said) for line in self.said), within_s, lambda: f"{said}: {self.said}"
        )

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=5)

    def word(self, said: str, within_s: float = 120) -> str:
        """The last word of the first line that begins so."""
        self.await_(said, within_s)
        return next(line for line in self.said if line.startswith(said)).split()[-1]


def stop_between_transactions(process: Process, url: str) -> None:
    """Stop it where it holds no lock on the file: SQLite has no way to take one from a process that still lives."""
    for _ in range(50):
        process.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.process.pid, os.WSTOPPED)  # its threads go on for a moment: one may begin to write
        if not url.startswith("sqlite"):
            return
        probe = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0.5, isolation_level=None)
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            process.process.send_signal(signal.SIGCONT)
        finally:
            probe.close()
    raise AssertionError("it never was between two transactions")


@pytest.mark.broker
@pytest.mark.processes
def test_a_stopped_scheduler_is_followed_and_dispatches_no_more_when_it_wakes(
    url: str, tmp_path: Path, real_part: Callable[[str], Path]
) -> None:
    folder, clock, agent = tmp_path / "broker", SystemClock(), Agent("mill", "pi", ("m1",))
    folder.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(peer.mosquitto(real_part("mosquitto"), folder))
        first = Process(tmp_path / "data", url, broker.port, "a")
        stack.callback(first.end)
        first.await_("term 1")
        second = Process(tmp_path / "data", url, broker.port, "b")
        stack.callback(second.end)
        second.await_("term 0")
        wire = Wire(broker, agent)
        stack.callback(wire.close)

        def until(reached: Callable[[], object]) -> None:
            def settled() -> object:
                wire.take(clock.now())
                wire.say(*agent.unacked())
                return reached()

            peer.eventually(settled, 120)

        wire.say(agent.presence(clock.now()), agent.report("m1", clock.now()))
        until(lambda: agent.spool.acked >= 1)
        second.ask("early")
        second.await_("refused early: the scheduler a dispatches")

        stop_between_transactions(first, url)
        second.await_("term 2")
        second.ask("late")
        job = second.word("ordered late")
        until(lambda: job in agent.spool.held)
        first.process.send_signal(signal.SIGCONT)
        first.ask("too late")
        first.await_("refused too late: the scheduler b dispatches")
        first.await_("term 0")
        agent.stage(job, clock.now())
        agent.intend(job, clock.now())
        until(lambda: agent.starts == [(job, 1)])
        second.ask("again")
        second.await_("ordered again")
        store = open_store(url)
        stack.callback(store.close)
        with store.read() as c:
            row = queries.job(c, job)
            assert row is not None
            assert (row.state, row.fence) == (JobState.STARTING, 1)
            assert c.execute(sa.select(lead.c.holder, lead.c.term)).one() == ("b", 2)
            assert c.execute(sa.select(sa.func.count()).select_from(t.orders)).scalar() == 2
        # The first one stands by now, and follows in its turn.
        second.process.kill()
        first.await_("term 3")
