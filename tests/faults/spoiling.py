"""Mutations of the product: each a name, what it means, and how it is patched in. `mutations.py` runs lives on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import pytest
import sqlalchemy as sa

from agents import doubt, inbox, lease, machine, safety
from agents.agent import Agent
from agents.contract.vocabulary import FailureClass, JobState
from agents.effects import Acknowledged, Look
from agents.inbox import Inbox
from agents.lease import Action, LeaseEvent, LeaseState
from agents.machine import Supervisor
from agents.policy import Accept
from agents.safety import Presence, Watch
from agents.spool import Spool
from agents.teller import Teller
from agents.toolpaths import ToolpathStore
from firmware_bridges.bridge import BLOCKED_STATES, BridgeState
from firmware_bridges.wire_bridge import WireBridge
from scheduler.dispatch import actions, apply, hearing, journal, offers, sweep
from scheduler.dispatch.ingest import Ingest
from scheduler.dispatch.moves import Happening
from scheduler.dispatch.states import TRANSITIONS, JobEvent
from scheduler.store import queries
from scheduler.store.outgoing import Outgoing
from scheduler.store.record import mark_sent, unsent

Patch = pytest.MonkeyPatch
_S, _E = LeaseState, LeaseEvent


@dataclass(frozen=True)
class Mutation:
    """`fault` is the one whose lives notice it soonest, "" for any."""

    words: str
    spoil: Callable[[Patch], None]
    fault: str = ""


MUTATIONS: Final[dict[str, Mutation]] = {}


def _mutation(words: str, fault: str = "") -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def known(spoil: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[spoil.__name__.replace("_", " ")] = Mutation(words, spoil, fault)
        return spoil

    return known


def _without(patch: Patch, state: LeaseState, event: LeaseEvent, *gone: Action) -> None:
    to, done = lease.TABLE[state, event]
    patch.setitem(lease.TABLE, (state, event), (to, tuple(action for action in done if action not in gone)))


def _no_gate(patch: Patch, check: Any) -> None:
    patch.setattr(safety, "_START_GATES", tuple(each for each in safety._START_GATES if each is not check))


# --- the agent: before the motion -------------------------------------------------------------------------------------


@_mutation("the machine is called before the scheduler committed the start")
def start_without_commit(patch: Patch) -> None:
    patch.setattr(Spool, "verdict", lambda self, seq: (True, None))


@_mutation("a refused start is taken for a permitted one", "scheduler_clock_forward")
def refusal_unheard(patch: Patch) -> None:
    verdict = Spool.verdict
    patch.setattr(Spool, "verdict", lambda self, seq: (verdict(self, seq)[0], None))


@_mutation("the machine is called before it is on disk that it starts")
def run_before_written(patch: Patch) -> None:
    apply_ = Supervisor.apply

    def late(self: Supervisor, held: Any, event: LeaseEvent, detail: Any) -> Any:
        if event is _E.RUN_ASKED:
            return held
        return apply_(self, held, event, detail)

    patch.setattr(Supervisor, "apply", late)


@_mutation("the bed is not asked about")
def bed_gate_gone(patch: Patch) -> None:
    _no_gate(patch, safety._bed)


@_mutation("material is not asked about", "material_runs_out")
def material_gate_gone(patch: Patch) -> None:
    _no_gate(patch, safety._material)


@_mutation("nobody needs to stand beside the laser at its start", "person_leaves")
def presence_gate_gone(patch: Patch) -> None:
    _no_gate(patch, safety._presence)


@_mutation("the owner's rules are not asked", "owner_closes")
def policy_unasked(patch: Patch) -> None:
    patch.setattr(inbox, "decide", lambda *_: Accept())


@_mutation("neither the transfer's nor the card's bytes are hashed", "damage_transfer")
def hash_unchecked(patch: Patch) -> None:
    patch.setattr("agents.toolpaths._hash_of", lambda path: path.name.partition(".")[0])


@_mutation("the toolpath is not hashed again at the start", "damage_cache")
def hash_unchecked_at_start(patch: Patch) -> None:
    patch.setattr(ToolpathStore, "verified", lambda self, sha256: self.has(sha256))


# --- the agent: during and after it -----------------------------------------------------------------------------------


@_mutation("the bed counts as clear after a run")
def bed_forgotten_after_run(patch: Patch) -> None:
    for state in (_S.STARTING, _S.RUNNING, _S.HELD):
        _without(patch, state, _E.RUN_FINISHED, Action.OCCUPY)


@_mutation("the bed counts as clear after a restart of the agent", "kill_agent")
def bed_forgotten_at_restart(patch: Patch) -> None:
    recover = Supervisor.recover

    def forgetful(self: Supervisor, checkpoint: Any = None) -> None:
        recover(self, checkpoint)
        self._spool.put_flags(self.name, replace(self._spool.flags(self.name), bed_clear=True))

    patch.setattr(Supervisor, "recover", forgetful)


@_mutation("an agent that died beside a moving machine is armed again by itself", "kill_agent")
def armed_after_restart(patch: Patch) -> None:
    for state in (_S.STARTING, _S.RUNNING, _S.HELD):
        _without(patch, state, _E.AGENT_RESTARTED, Action.DISARM, Action.OCCUPY)


@_mutation("an agent does not look at what was moving when it died", "kill_agent")
def recovery_skipped(patch: Patch) -> None:
    patch.setattr(Supervisor, "recover", lambda self, checkpoint=None: None)


@_mutation("after a lost link the bridge arms itself", "unplug_machine")
def rearmed_by_nobody(patch: Patch) -> None:
    tick = WireBridge.tick

    def ticked(self: WireBridge, now: float) -> None:
        tick(self, now)
        if self.session.state in BLOCKED_STATES and self._dialogue is None:
            self.rearm()

    patch.setattr(WireBridge, "tick", ticked)


@_mutation("a held machine goes on by itself when its person is back", "person_leaves")
def resumed_by_nobody(patch: Patch) -> None:
    look = Watch._look_at

    def looked(self: Watch, watched: Any) -> None:
        look(self, watched)
        if watched.status().state is BridgeState.HELD and self._presence.present(watched.machine.name):
            watched.hold.__closure__[0].cell_contents.bridge.resume()

    patch.setattr(Watch, "_look_at", looked)


@_mutation("nobody watches whether the person is there", "person_leaves")
def watch_asleep(patch: Patch) -> None:
    patch.setattr(Watch, "look", lambda self: None)


@_mutation("presence never runs out", "person_leaves")
def presence_for_ever(patch: Patch) -> None:
    patch.setattr(Presence, "left_s", lambda self, name: 1.0 if name in self._until else 0.0)


@_mutation("presence runs by the wall clock", "clock_back_as_person_leaves")
def presence_by_wall_clock(patch: Patch) -> None:
    def beat(self: Presence, machines: tuple[str, ...], for_s: float) -> None:
        self._until.update(dict.fromkeys(machines, self._clock.now().timestamp() + for_s))

    patch.setattr(Presence, "beat", beat)
    patch.setattr(Presence, "left_s", lambda self, n: max(0.0, self._until.get(n, 0) - self._clock.now().timestamp()))


# --- the agent: memory and words --------------------------------------------------------------------------------------


@_mutation("a permission to start outlives its process, and an old copy uses its own", "restore_agent_database")
def permission_outlives_process(patch: Patch) -> None:
    patch.delitem(lease.TABLE, (_S.INTENDED, _E.AGENT_RESTARTED))
    old_copies_start(patch)


@_mutation("an old copy starts what its scheduler granted", "away_and_agent_put_back")
def old_copies_start(patch: Patch) -> None:
    for module in (doubt, machine):
        patch.setattr(module, "forgotten_since", lambda *_: "")


@_mutation("messages that came before are new again", "double_messages")
def messages_unremembered(patch: Patch) -> None:
    patch.setattr(Spool, "seen", lambda self, message_id: None)


@_mutation("a message is confirmed to the broker though the disk was full", "fill_agent_disk")
def confirmed_unwritten(patch: Patch) -> None:
    received = Agent._received
    patch.setattr(Agent, "_received", lambda self, topic, payload: received(self, topic, payload) or True)


@_mutation("a grant's fence is not written down", "replay_messages")
def fence_unwritten(patch: Patch) -> None:
    patch.setattr(Spool, "raise_fence", lambda self, job, fence: None)


@_mutation("an older lease of the job is kept beside the new one", "delay_messages")
def older_lease_kept(patch: Patch) -> None:
    patch.setattr(inbox, "WAITING", frozenset())


@_mutation("an old spool is not noticed, and its words keep used numbers", "restore_agent_database")
def old_spool_unnoticed(patch: Patch) -> None:
    def careless(self: Inbox, body: Any, now: Any) -> tuple[Any, ...]:
        self._spool.acknowledge(body.upto, {event.seq: event.why for event in body.refused})
        looks = tuple(Look(name) for name in sorted(self._machines))
        return (Acknowledged(body.upto), *looks)

    patch.setattr(Inbox, "_acknowledged", careless)


@_mutation("what a put back scheduler forgot is not told again", "restore_scheduler_database")
def history_untold(patch: Patch) -> None:
    patch.setattr(Spool, "unacknowledge_after", lambda self, upto: False)


@_mutation("everything is told before the first word was acknowledged", "restore_agent_database")
def teller_without_gate(patch: Patch) -> None:
    patch.setattr(Teller, "open_with", lambda self, seq: None)


@_mutation("a withdrawn lease is begun all the same, and the scheduler commits any start", "scheduler_clock_forward")
def fence_unchecked_twice(patch: Patch) -> None:
    patch.setattr(apply, "_not_its_lease", lambda *_: None)
    patch.setattr(Inbox, "_withdrawn", lambda *_: ("withdrawn", ()))


# --- the scheduler ----------------------------------------------------------------------------------------------------


@_mutation("words under a dead lease or an old fence count", "lease_lapses_unheard")
def stale_words_count(patch: Patch) -> None:
    patch.setattr(apply, "_not_its_lease", lambda *_: None)


@_mutation("another event under a used number counts as told", "restore_agent_database")
def used_numbers_taken(patch: Patch) -> None:
    patch.setattr(journal, "_repeated", lambda *_: None)


@_mutation("journal events are applied again when they come again", "double_messages")
def numbers_applied_twice(patch: Patch) -> None:
    def again(c: Any, book: Any, entry: Any, now: Any) -> None:
        if entry.kind not in ("holdings", "progressed"):
            apply.apply_event(c, _mover_of(), book.agent, entry.body, now)

    patch.setattr(journal, "_repeated", again)
    init = journal.Journals.__init__

    def kept(self: Any, mover: Any, **more: Any) -> None:
        init(self, mover, **more)
        _MOVER[:] = [mover]

    patch.setattr(journal.Journals, "__init__", kept)


_MOVER: Final[list[Any]] = []


def _mover_of() -> Any:
    return _MOVER[0]


@_mutation("messages are confirmed to the broker before their commit")
def confirmed_before_commit(patch: Patch) -> None:
    commit = Ingest._commit

    def early(self: Ingest, batch: Any, found: Any) -> Any:
        for message in batch:
            message.settle()
        return commit(self, batch, found)

    patch.setattr(Ingest, "_commit", early)


@_mutation("journals are acknowledged before their commit", "kill_scheduler")
def acknowledged_before_commit(patch: Patch) -> None:
    commit = Ingest._commit

    def early(self: Ingest, batch: Any, found: Any) -> Any:
        apply_ = self._journals.apply

        def applied(c: Any, entries: Any, now: Any) -> Any:
            acks = apply_(c, entries, now)
            self._owed |= acks
            self._answer(set(acks))
            return acks

        patch.setattr(self._journals, "apply", applied)
        try:
            return commit(self, batch, found)
        finally:
            patch.setattr(self._journals, "apply", apply_)

    patch.setattr(Ingest, "_commit", early)


@_mutation("messages are marked as sent before the broker has them", "kill_broker")
def marked_before_sent(patch: Patch) -> None:
    def send_some(self: Outgoing) -> bool:
        with self._store.read() as c:
            rows = unsent(c)
        if rows:
            with self._store.write() as c:
                mark_sent(c, [row[0] for row in rows], self._clock.now())
            self._courier.deliver([(row[1], row[2], row[3]) for row in rows], 1.0)
        return False

    patch.setattr(Outgoing, "send_some", send_some)


@_mutation("what agents hold is not compared after a start", "restore_scheduler_database")
def reconcile_skipped(patch: Patch) -> None:
    patch.setattr(journal, "reconcile", lambda *_: None)


@_mutation("a new scheduler offers and grants before it has heard every shop", "restore_scheduler_database")
def hearing_skipped(patch: Patch) -> None:
    patch.setattr(hearing, "hearing", lambda *_: None)
    patch.setattr(offers, "hearing", lambda *_: None)


@_mutation("a doubt about a higher fence is cleared by any word", "restore_scheduler_database")
def doubt_cleared_early(patch: Patch) -> None:
    patch.setattr(actions, "newer_fence_seen", lambda *_: False)


@_mutation("a job is offered again while it is in doubt", "restore_scheduler_database")
def doubt_ignored(patch: Patch) -> None:
    def unflagged(c: Any, row: Any, fence: int, why: str) -> None:
        queries.update_job(c, row, {"fence": max(row.fence, fence)})

    patch.setattr(queries, "raise_fence", unflagged)


@_mutation("a machine that is silent while it moves counts as failed", "cut_link")
def silence_is_failure(patch: Patch) -> None:
    def failed(c: Any, mover: Any, job: Any, seen: Any, now: Any) -> bool:
        silent = not seen.agent.online or now - seen.agent.heard_at > timedelta(seconds=30)
        if silent:
            failure = FailureClass.LINK_LOST
            mover.move(c, job, Happening(JobEvent.FAILED, now, agent=job.agent, machine=job.machine, failure=failure))
        return silent

    patch.setattr(sweep, "_silence", failed)


@_mutation("a start that nobody confirmed in time counts as a run", "pause_agent")
def overdue_is_running(patch: Patch) -> None:
    to = TRANSITIONS[JobState.STARTING, JobEvent.RUNNING]
    patch.setitem(TRANSITIONS, (JobState.STARTING, JobEvent.START_OVERDUE), to)


@_mutation("deadlines pass unseen", "delay_messages")
def deadlines_unseen(patch: Patch) -> None:
    patch.setattr(sweep, "_due", lambda *_: [])


@_mutation("a machine that fails again and again is not quarantined", "machine_alarm")
def quarantine_not_kept(patch: Patch) -> None:
    patch.setattr(actions, "FAULTS_TO_QUARANTINE_MACHINE", 99)


@_mutation("a fence is given out again", "scheduler_clock_forward")
def fences_reused(patch: Patch) -> None:
    update = queries.update_job

    def lower(c: sa.Connection, row: Any, values: Any) -> None:
        update(c, row, {**values, "fence": 1} if values.get("fence", 0) > 1 else values)

    patch.setattr(queries, "update_job", lower)
