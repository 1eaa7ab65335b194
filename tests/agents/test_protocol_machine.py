"""Random lives of one agent: any message, machine, person and crash, in any order; the promises hold after every step.

A reference granter stands beside it and commits what it hears in order. Promises: nothing runs without a recorded
claim, a grant under a rising fence and a start that the granter committed; no fence runs twice; a repeated message
changes nothing; after a restart nothing moves before a person re-armed.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from agents.contract import messages as m
from agents.lease import LIVE, MOVING, LeaseState
from firmware_bridges import bridge as b
from tests.agents.scene import Scene, grant_of, offer_of

JOBS = ("a", "b")
WHICH = st.integers(0, 50)
FOLLOWING = (b.BridgeState.HOLDING, b.BridgeState.HELD, b.BridgeState.CANCELLING)
#: What is tested here is order, not the disk (test_spool.py does that): memory makes it ten times faster.
MEMORY = "/dev/shm"
#: How much happened, so that a test which never reaches a run cannot pass for a proof.
LIVED: Counter[str] = Counter()


class AgentLife(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life", dir=MEMORY if Path(MEMORY).is_dir() else None))
        self.scene: Scene
        self.offers: list[m.Offer] = []
        self.sent: list[bytes] = []
        self.committed: set[tuple[str, int]] = set()
        self.refused: dict[int, str] = {}
        self.heard = 0
        self.fences: dict[str, int] = {}
        self.live: dict[str, int] = {}
        self.runs: list[tuple[str, int]] = []
        self.counted = 0
        self.must_rearm = False
        self.acknowledged = 0

    @initialize(clear=st.booleans())
    def begin(self, clear: bool) -> None:
        self.scene = Scene(self.folder)
        self.scene.set_flags(bed_clear=clear)

    def teardown(self) -> None:
        LIVED["runs"] += len(self.runs)
        LIVED["lives"] += 1
        if hasattr(self, "scene"):
            LIVED.update(self.scene.kinds())
            self.scene.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _send(self, body: m.InboxMessage) -> None:
        payload = self.scene.message(body)
        self.sent.append(payload)
        self.scene.hear_bytes(payload)
        self._note_runs()

    def _note_runs(self) -> None:
        """Every call of `run` is checked at once, against the granter's own book."""
        while self.counted < len(self.scene.bridge.runs):
            self.counted += 1
            moving = self.scene.spool.leases("m1", MOVING)
            assert len(moving) == 1
            key = (moving[0].job, moving[0].fence)
            assert key in self.committed, f"{key} ran, but the granter never committed its start"
            assert key not in self.runs, f"{key} ran twice"
            assert "Claimed" in self.scene.kinds()
            assert not self.must_rearm, "it moved before a person re-armed the machine"
            self.runs.append(key)

    # --- the granter -------------------------------------------------------------------------------------------------

    def _offer(self, job: str) -> m.Offer:
        number = len(self.offers)
        offer = offer_of(job, f"o{number}", attempt=number + 1, start=self.scene.clock.now(), minutes=20)
        self.offers.append(offer)
        self._send(offer)
        return offer

    def _grant(self, offer: m.Offer) -> None:
        job = offer.ticket.job
        self.fences[job] = self.live[job] = self.fences.get(job, 0) + 1
        start_by = self.scene.clock.now() + timedelta(minutes=30)
        self._send(grant_of(offer, self.fences[job], lease=f"x{len(self.sent)}", start_by=start_by))

    @rule(job=st.sampled_from(JOBS))
    def offers_and_grants(self, job: str) -> None:
        self._grant(self._offer(job))

    @rule(job=st.sampled_from(JOBS))
    def offers_only(self, job: str) -> None:
        self._offer(job)

    @precondition(lambda self: self.offers)
    @rule(which=WHICH, fence=st.integers(1, 6))
    def grants_anything(self, which: int, fence: int) -> None:
        """Any old offer under any fence; the granter's own book knows nothing of it."""
        offer = self.offers[which % len(self.offers)]
        start_by = self.scene.clock.now() + timedelta(minutes=30)
        self._send(grant_of(offer, fence, lease=f"x{len(self.sent)}", start_by=start_by))
        self.fences[offer.ticket.job] = max(fence, self.fences.get(offer.ticket.job, 0))

    @rule(refuse=st.integers(0, 5).map(lambda dice: dice == 0))
    def commits(self, refuse: bool) -> None:
        """Take in the journal in order; a start under a fence that is not the live one is refused."""
        for envelope in self.scene.events():
            assert envelope.seq is not None
            if envelope.seq <= self.heard:
                continue
            self.heard = envelope.seq
            if isinstance(envelope.body, m.StartIntended):
                key = (envelope.body.job, envelope.body.fence)
                if refuse or self.live.get(key[0]) != key[1]:
                    self.refused[envelope.seq] = "not the live lease"
                else:
                    self.committed.add(key)
        self.acknowledges(self.heard)

    @rule()
    def commits_everything(self) -> None:
        self.commits(refuse=False)

    @rule(upto=st.integers(0, 400))
    def acknowledges(self, upto: int) -> None:
        upto = min(upto, self.heard)
        refused = tuple(m.RefusedEvent(seq=seq, why=why) for seq, why in self.refused.items() if seq <= upto)
        self.acknowledged = max(self.acknowledged, upto)
        self._send(m.JournalAck(upto=upto, refused=refused))

    @precondition(lambda self: self.fences)
    @rule(which=WHICH)
    def withdraws(self, which: int) -> None:
        """Only before its start was committed, as the granter's own rules say."""
        job = sorted(self.fences)[which % len(self.fences)]
        fence = self.fences[job]
        if (job, fence) not in self.committed:
            self.live.pop(job, None)
            self._send(m.Withdrawal(job=job, fence=fence, why="taken back"))

    @precondition(lambda self: self.fences)
    @rule(which=WHICH, cancel=st.booleans())
    def asks(self, which: int, cancel: bool) -> None:
        job = sorted(self.fences)[which % len(self.fences)]
        kind = m.CancelRequest if cancel else m.PauseRequest
        self._send(kind(job=job, fence=self.fences[job], why="please"))

    @precondition(lambda self: self.sent)
    @rule(which=WHICH)
    def repeats(self, which: int) -> None:
        """The broker delivers an old message once more: no new event, no new run."""
        payload = self.sent[which % len(self.sent)]
        before, runs = self.scene.spool.last_seq, len(self.scene.bridge.runs)
        self.scene.inbox.receive(payload)
        assert self.scene.spool.last_seq == before
        assert len(self.scene.bridge.runs) == runs

    # --- machine, person, time ---------------------------------------------------------------------------------------

    def _machine_is(self, *states: b.BridgeState) -> bool:
        return hasattr(self, "scene") and self.scene.bridge.snapshot.state in states

    def _after_machine(self) -> None:
        self.scene.turn()
        self._note_runs()

    @precondition(lambda self: self._machine_is(b.BridgeState.STARTING))
    @rule()
    def machine_confirms_the_first_line(self) -> None:
        self.scene.bridge.first_line()
        self._after_machine()

    @precondition(lambda self: self._machine_is(b.BridgeState.RUNNING))
    @rule(ends=st.booleans())
    def machine_goes_on(self, ends: bool) -> None:
        bridge = self.scene.bridge
        if ends:
            bridge.finish()
        else:
            bridge.progress(min(bridge.snapshot.line + 2, bridge.snapshot.total_lines))
        self._after_machine()

    @precondition(lambda self: self._machine_is(*FOLLOWING))
    @rule()
    def machine_follows(self) -> None:
        """It stands, is cancelled, or somebody presses its own button."""
        bridge = self.scene.bridge
        match bridge.snapshot.state:
            case b.BridgeState.HOLDING:
                bridge.stands()
            case b.BridgeState.HELD:
                bridge.resume()
            case _:
                bridge.cancelled()
        self._after_machine()

    @precondition(lambda self: self._machine_is(*b.BUSY_STATES))
    @rule(unplugged=st.booleans())
    def machine_is_lost(self, unplugged: bool) -> None:
        if unplugged:
            self.scene.bridge.fail(b.Failure.LINK_LOST, b.BridgeState.OFFLINE)
            self.scene.bridge.become(b.BridgeState.DISARMED)
        else:
            self.scene.bridge.fail(b.Failure.CONTROLLER_RESET, b.BridgeState.DISARMED)
        self.must_rearm = True
        self._after_machine()

    @rule()
    def person_clears_the_bed(self) -> None:
        if not self.scene.spool.leases("m1", MOVING):
            self.scene.set_flags(bed_clear=True)
        self._note_runs()

    @rule()
    def person_rearms(self) -> None:
        if self.scene.bridge.snapshot.state in b.BLOCKED_STATES:
            self.scene.bridge.rearm()
        self.must_rearm = False
        self.scene.set_flags(disarmed="")
        self._note_runs()

    @rule(seconds=st.sampled_from([1, 61, 130, 3600]), skew=st.sampled_from([0, 0, 0, 3600, -3600]))
    def time_goes(self, seconds: int, skew: int) -> None:
        self.scene.clock.go(seconds)
        self.scene.clock.wall += timedelta(seconds=skew)
        self.scene.turn()
        self._note_runs()

    @rule()
    def crash(self) -> None:
        """kill -9 and a new process: another bridge, the same spool."""
        was_moving = bool(self.scene.spool.leases("m1", MOVING))
        clock = self.scene.clock
        self.scene.close()
        self.scene = Scene(self.folder, clock=clock)
        self.counted = 0
        self.must_rearm = self.must_rearm and bool(self.scene.spool.flags("m1").disarmed)
        if was_moving:
            assert self.scene.spool.flags("m1").disarmed
            self.must_rearm = True
        self.scene.turn()
        self._note_runs()

    # --- promises ----------------------------------------------------------------------------------------------------

    @invariant()
    def one_run_a_machine_and_told_states_are_true(self) -> None:
        if not hasattr(self, "scene"):
            return
        moving = self.scene.spool.leases("m1", MOVING)
        assert len(moving) <= 1
        for lease in self.scene.spool.leases("m1", LIVE):
            assert lease.fence <= self.scene.spool.highest_fence(lease.job)
        if self.scene.bridge.snapshot.state in b.BUSY_STATES:
            assert moving, "the machine is at work, and the spool knows for whom"
        if moving and moving[0].state is LeaseState.RUNNING and self.scene.bridge.snapshot.state is b.BridgeState.IDLE:
            raise AssertionError("a run is shown that the machine is not making")

    @invariant()
    def told_in_order_and_never_running_before_its_start(self) -> None:
        if not hasattr(self, "scene"):
            return
        events = self.scene.events()
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        intended: set[tuple[str, int]] = set()
        for event in events:
            if isinstance(event.body, m.StartIntended):
                intended.add((event.body.job, event.body.fence))
            if isinstance(event.body, m.Running):
                assert (event.body.job, event.body.fence) in intended


TestAgentLife = AgentLife.TestCase
TestAgentLife.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


def walk(seed: int, steps: int) -> None:
    """One life of many turns, weighted so that jobs get done between the troubles. The same seed, the same life."""
    dice, life = random.Random(seed), AgentLife()
    acts: list[tuple[int, Callable[[], object]]] = [
        (6, lambda: life.offers_and_grants(dice.choice(JOBS))),
        (1, lambda: life.offers_only(dice.choice(JOBS))),
        (1, lambda: life.grants_anything(dice.randrange(50), dice.randrange(1, 7)) if life.offers else None),
        (8, life.commits_everything),
        (1, lambda: life.commits(True)),
        (1, lambda: life.acknowledges(dice.randrange(60))),
        (1, lambda: life.withdraws(dice.randrange(50)) if life.fences else None),
        (3, lambda: life.asks(dice.randrange(50), dice.random() < 0.3) if life.fences else None),
        (3, lambda: life.repeats(dice.randrange(50)) if life.sent else None),
        (8, lambda: life.machine_confirms_the_first_line() if life._machine_is(b.BridgeState.STARTING) else None),
        (6, lambda: life.machine_goes_on(dice.random() < 0.4) if life._machine_is(b.BridgeState.RUNNING) else None),
        (4, lambda: life.machine_follows() if life._machine_is(*FOLLOWING) else None),
        (1, lambda: life.machine_is_lost(dice.random() < 0.5) if life._machine_is(*b.BUSY_STATES) else None),
        (6, life.person_clears_the_bed),
        (3, life.person_rearms),
        (1, lambda: life.time_goes(dice.choice([1, 61, 3600]), dice.choice([0, 0, 0, 3600, -3600]))),
        (1, life.crash),
    ]
    weights = [weight for weight, _ in acts]
    try:
        life.begin(clear=True)
        for _ in range(steps):
            dice.choices([act for _, act in acts], weights)[0]()
            life.one_run_a_machine_and_told_states_are_true()
            life.told_in_order_and_never_running_before_its_start()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    finally:
        life.teardown()


def test_long_lives_with_many_runs() -> None:
    for seed in range(15):
        walk(seed, steps=200)
    assert LIVED["runs"] >= 60, LIVED
    told = ("Running", "Finished", "Failed", "Held", "Resumed", "CancelConfirmed", "GrantRefused", "GatesShut")
    for kind in told:
        assert LIVED[kind], f"{kind} was never told in {LIVED['lives']} lives"
