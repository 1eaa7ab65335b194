"""A model of the lease protocol under everything that can go wrong between a scheduler and its agents.

Hypothesis chooses among: messages delivered, doubled, reordered, dropped by the broker; agents and scheduler killed and
started on what they had written; time passing; people cancelling and declaring attempts lost; machines finishing and
failing. After every step: no job is lost or doubled, at most one live lease a job, fences only rise, and no start was
ever permitted under a fence that was not the highest and live when the scheduler committed it.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agents.contract import decode
from agents.contract import messages as m
from agents.contract.vocabulary import LEASED_STATES, TRANSITIONAL_STATES, FailureClass
from scheduler.api.views import overview
from scheduler.dispatch import people
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from scheduler.store import tables as t
from tests.scheduler.line import Agent, HeldJob, Line

WHICH = st.integers(min_value=0, max_value=10_000)
FAILURES = st.sampled_from(
    [FailureClass.THERMAL, FailureClass.LINE_REJECTED, FailureClass.AGENT_RESTARTED, FailureClass.MATERIAL_RUNOUT]
)


class LeaseProtocol(RuleBasedStateMachine):
    """Two shops with three machines, at most six jobs."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lease"))
        self.line = Line(self.folder, Agent("mill", "pi", ("m1", "m2")), Agent("barn", "pi", ("m3",)))
        self.agents = list(self.line.agents.values())
        self.line.arrive()
        self.ordered = 0
        self.fences: dict[str, int] = {}
        self.made: list[tuple[Agent, HeldJob]] = []
        self.order(2)
        self.line.plan()
        self.plan_and_talk()

    def teardown(self) -> None:
        if hasattr(self, "line"):
            self.line.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def one(self, of: list[Any], which: int) -> Any:
        return of[which % len(of)] if of else None

    def held(self, *states: str) -> list[tuple[Agent, HeldJob]]:
        found = [(agent, held) for agent in self.agents for held in agent.spool.held.values()]
        return [(agent, held) for agent, held in found if held.state in states]

    # --- work comes in and is planned

    @rule(quantity=st.integers(1, 2))
    def order(self, quantity: int) -> None:
        if self.ordered + quantity <= 6:
            self.ordered += quantity
            self.line.order(quantity)

    @rule()
    def plan(self) -> None:
        self.line.plan()

    @rule()
    def plan_and_talk(self) -> None:
        self.line.plan()
        for agent in self.agents:
            self.line.exchange(agent)

    @rule(which=WHICH)
    def one_talks(self, which: int) -> None:
        self.line.exchange(self.one(self.agents, which))

    # --- messages, well and badly treated

    @rule(which=WHICH, seed=WHICH)
    def inbox_shuffled_and_doubled(self, which: int, seed: int) -> None:
        agent = self.one(self.agents, which)
        self.line.send()
        box = self.line.office.boxes.pop(agent.inbox_topic(), [])
        chance = random.Random(seed)
        again = [payload for payload in box if chance.random() < 0.5]
        mixed = box + again
        chance.shuffle(mixed)
        for payload in mixed:
            self.hear_safely(agent, payload)

    def hear_safely(self, agent: Agent, payload: bytes) -> None:
        """An agent that gets a grant before its offer cannot act on it: it waits for the reconciliation."""
        body = decode(payload).body
        if isinstance(body, m.Grant) and body.offer not in agent.spool.offers:
            return
        agent.hear(payload, self.line.now)

    @rule(which=WHICH)
    def broker_forgets(self, which: int) -> None:
        self.line.send()
        self.line.office.boxes.pop(self.one(self.agents, which).inbox_topic(), None)

    @rule(which=WHICH, seed=WHICH)
    def journal_shuffled_and_doubled(self, which: int, seed: int) -> None:
        agent = self.one(self.agents, which)
        said = agent.unacked() * 2
        random.Random(seed).shuffle(said)
        for message in said[: 1 + seed % 7]:
            self.line.hear(message)

    @rule(which=WHICH, seed=WHICH)
    def old_journal_again(self, which: int, seed: int) -> None:
        agent = self.one(self.agents, which)
        if agent.spool.journal:
            _, payload = agent.spool.journal[seed % len(agent.spool.journal)]
            self.line.hear((agent.journal_topic(), payload))

    # --- what agents and their machines do

    @rule(which=WHICH)
    def next_step(self, which: int) -> None:
        """One held job goes one step on."""
        found = self.one(self.held("leased", "staged", "starting", "running"), which)
        if found is None:
            return
        agent, held = found
        if held.state == "leased":
            agent.stage(held.job, self.line.now)
        elif held.state == "staged":
            agent.ready(held.job, self.line.now)
            agent.intend(held.job, self.line.now)
        elif held.state == "starting":
            agent.run(held.job, self.line.now)
        else:
            agent.progress(held.job, self.line.now, 0.5)

    @rule(which=WHICH, steps=st.integers(1, 5))
    def steps_with_words_between(self, which: int, steps: int) -> None:
        for _ in range(steps):
            self.next_step(which)
            for agent in self.agents:
                self.line.exchange(agent)

    @rule(which=WHICH)
    def two_steps_unheard(self, which: int) -> None:
        self.next_step(which)
        self.next_step(which)

    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        found = self.one(self.held("running"), which)
        if found:
            self.made.append((found[0], found[0].finish(found[1].job, self.line.now)))

    @rule(which=WHICH, good=st.booleans())
    def inspect(self, which: int, good: bool) -> None:
        if self.made:
            agent, held = self.made.pop(which % len(self.made))
            agent.inspect(held, self.line.now, good=int(good), rejected=int(not good))

    @rule(which=WHICH, failure=FAILURES)
    def fail(self, which: int, failure: FailureClass) -> None:
        found = self.one(self.held("starting", "running"), which)
        if found:
            found[0].fail(found[1].job, self.line.now, failure)

    @rule(which=WHICH)
    def agent_dies(self, which: int) -> None:
        self.one(self.agents, which).restart(self.line.now)

    @rule(which=WHICH, online=st.sampled_from([True, True, True, False]))
    def will_speaks(self, which: int, online: bool) -> None:
        agent = self.one(self.agents, which)
        self.line.hear(agent.presence(self.line.now, online=online))

    # --- the scheduler, time and people

    @rule()
    def scheduler_dies(self) -> None:
        self.line.restart_scheduler()

    @rule(minutes=st.sampled_from([1, 3, 40]))
    def time_passes(self, minutes: int) -> None:
        self.line.clock.pass_(minutes=minutes)

    @rule(which=WHICH)
    def person_cancels(self, which: int) -> None:
        if which % 3 == 0:
            self.person(which, lambda c, job: people.cancel_job(c, self.line.scheduler.mover, job, "x", self.line.now))

    @rule(which=WHICH)
    def person_declares_lost(self, which: int) -> None:
        self.person(which, lambda c, job: people.declare_lost(c, self.line.scheduler.mover, job, "x", self.line.now))

    @rule(which=WHICH)
    def person_releases(self, which: int) -> None:
        self.person(which, lambda c, job: people.release_job(c, self.line.scheduler.mover, job, self.line.now))

    def person(self, which: int, deed: Any) -> None:
        job = self.one(self.line.jobs(), which)
        if job is None:
            return
        try:
            with self.line.scheduler.store.write() as c:
                deed(c, job.id)
        except Refused:
            return

    # --- what always holds

    @invariant()
    def nothing_lost_nothing_doubled(self) -> None:
        if not hasattr(self, "line"):
            return
        with self.line.scheduler.store.read() as c:
            jobs = queries.jobs(c)
            leases = c.execute(sa.select(t.leases)).mappings().all()
            numbers = overview(c)
        replaced = sum(job.pieces for job in jobs if job.replaces)
        assert sum(job.pieces for job in jobs) == self.ordered + replaced
        assert replaced == sum(job.rejected for job in jobs)
        total = numbers.done + numbers.running + numbers.waiting + numbers.unmatched + numbers.cancelled
        assert numbers.jobs_in == total == len(jobs)
        live = [lease["job"] for lease in leases if lease["ended_at"] is None]
        assert len(live) == len(set(live))
        assert set(live) == {job.id for job in jobs if job.state in LEASED_STATES}
        for job in jobs:
            assert job.fence >= self.fences.get(job.id, 0)
            assert job.fence >= max((lease["fence"] for lease in leases if lease["job"] == job.id), default=0)
            self.fences[job.id] = job.fence

    @invariant()
    def every_transitional_state_ends_in_time_or_says_so(self) -> None:
        if not hasattr(self, "line"):
            return
        for job in self.line.jobs(*TRANSITIONAL_STATES):
            assert job.deadline is not None or job.flag, f"{job.id} may stay {job.state} for ever"

    @invariant()
    def no_start_was_permitted_that_was_not_committed(self) -> None:
        if not hasattr(self, "line"):
            return
        with self.line.scheduler.store.read() as c:
            query = sa.select(t.events.c.job, t.events.c.fence).where(t.events.c.kind == "start_intended")
            committed = [(job, fence) for job, fence in c.execute(query)]
        started = [start for agent in self.agents for start in agent.starts]
        assert len(started) == len(set(started)), "one fence started twice"
        assert set(started) <= set(committed), "a start that nobody committed"
        assert len(committed) == len(set(committed)), "one fence committed twice"


LeaseProtocol.TestCase.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
TestLeaseProtocol = LeaseProtocol.TestCase
