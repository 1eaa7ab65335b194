"""One machine's supervisor: feeds the lease table with what people, the network and the bridge say.

One thread a machine. In: leases from the spool, bridge events, the person's word (hands.py), acknowledgements. Out:
journal events, written with the new state in one transaction before anything is acted upon. The way to a start is in
starting.py.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter, deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from agents.channels import begun, tell_granters, tell_progress
from agents.clock import Clock
from agents.config import MachineSettings
from agents.contract import logs
from agents.contract import messages as m
from agents.contract.granting import may_give_up
from agents.contract.vocabulary import FailureClass
from agents.doubt import FORGOTTEN, doubt_about, forgotten_since
from agents.halting import ask_or_stop, keep_blocked
from agents.inputs import Asked, Fetched, Input, PauseAsked, Shop, Wake
from agents.interlocks import Interlocks, power_permitted
from agents.journal import Detail, failure_class, told
from agents.lease import LIVE, MOVING, WAITING, Action, LeaseEvent, LeaseState, step
from agents.material import left_of
from agents.own_jobs import told_own
from agents.policy import is_down, may_run
from agents.safety import Facts, Presence, Purpose, gates
from agents.spool import Lease, MachineFlags, Spool, SpoolFull
from agents.starting import Read, Starting
from agents.toolpaths import ToolpathStore
from firmware_bridges import bridge as b

_log = logging.getLogger(__name__)

_PROGRESS_EVERY_S: Final = 5.0
_CHECKPOINT_EVERY_S: Final = 2.0


class Supervisor:
    """See the module. `handle` and `tick` are the core, called by the thread and, without one, by tests."""

    def __init__(
        self,
        machine: MachineSettings,
        bridge: b.Bridge,
        *,
        spool: Spool,
        store: ToolpathStore,
        presence: Presence,
        interlocks: Interlocks,
        shop: Shop,
        clock: Clock,
    ) -> None:
        self.machine = machine
        self.bridge = bridge
        self.lock = threading.RLock()
        self.gates: tuple[m.GateReport, ...] = ()
        """As evaluated last, for the report."""
        self.trouble = ""
        self.retired = False
        """Nothing starts any more: the agent ends. Set under the lock."""
        self.reading = False
        """A program is read through for its start: the thread takes no turn meanwhile, and that is no hang."""
        self.ended: Counter[tuple[str, str]] = Counter()
        """Runs and leases that ended since the agent's start, by (outcome, failure class or "")."""
        self._spool, self._store, self._presence, self._interlocks = spool, store, presence, interlocks
        self._shop, self._clock = shop, clock
        self._inputs: queue.SimpleQueue[Input] = queue.SimpleQueue()
        self._arrived = threading.Event()
        self._backlog: deque[Input] = deque()
        self._fetching: set[str] = set()
        self._told_progress = self._kept_checkpoint = float("-inf")
        self._starting = Starting(self, spool, store, clock)
        self._hold_why = ""
        bridge.listen(self.post)

    @property
    def name(self) -> str:
        """The machine's identifier."""
        return self.machine.name

    def post(self, item: Input) -> None:
        """Hand in an event; from any thread, never waits."""
        self._inputs.put(item)
        self._arrived.set()

    def adopt(self, bridge: b.Bridge) -> None:
        """Use another bridge from now on (the old one is closed)."""
        self.bridge = bridge
        bridge.listen(self.post)

    def recover(self, checkpoint: b.Checkpoint | None = None) -> None:
        """After a start of the agent: whatever moved or was about to is over; a person must look before more moves.

        `checkpoint` is what the bridge kept of the last run, finer than the spool's own.
        """
        old = doubt_about(self._spool, FORGOTTEN)
        failure = FailureClass.MEMORY_PUT_BACK if old else FailureClass.AGENT_RESTARTED
        for moving in self._spool.leases(self.name, MOVING):
            lease = moving
            if checkpoint is not None and moving.state is not LeaseState.STARTING:  # else it may be an earlier run's
                lease = replace(moving, last_line=max(moving.last_line, checkpoint.line))
            why = old or f"the agent ended while the machine ran; line {lease.last_line} was the last confirmed one"
            self.apply(lease, LeaseEvent.AGENT_RESTARTED, Detail(why=why, failure=failure))
        for lease in self._spool.leases(self.name, frozenset({LeaseState.INTENDED})):
            why = (
                old or "the agent ended between the permission to start and the start; nothing moved that it remembers"
            )
            self.apply(lease, LeaseEvent.AGENT_RESTARTED, Detail(why=why, failure=failure))

    # --- the loop ------------------------------------------------------------------------------------------------

    def work(self, wait_s: float) -> None:
        """Wait for inputs at most so long, handle them, then look at what is due. One turn of the thread."""
        self._arrived.wait(wait_s)
        self.catch_up()

    def catch_up(self) -> None:
        """Handle what came in, in order; an input that could not be made durable stays first in line."""
        try:
            unread = self._turn(None)
            while unread is not None:
                unread = self._turn(self._starting.read(unread))  # without the lock: nobody waits for a slow card
            self.trouble = ""
        except SpoolFull as error:
            if not self.trouble:
                _log.error("%s", error, extra={"fields": {"machine": self.name}})
            self.trouble = str(error)
        self._shop.machine_changed(self.name)

    def _turn(self, read: Read | None) -> Lease | None:
        with self.lock:  # at its end the agent takes a turn too
            self._arrived.clear()
            while not self._inputs.empty():
                self._backlog.append(self._inputs.get_nowait())
            while self._backlog:
                self.handle(self._backlog[0])
                self._backlog.popleft()
            self.reading = False
            unread = self.tick(read)
            self.reading = unread is not None
            return unread

    def handle(self, item: Input) -> None:
        """Take in one event."""
        with self.lock:
            match item:
                case Fetched():
                    self._fetched(item)
                case Asked():
                    self._asked(item)
                case PauseAsked():
                    running = self.running()
                    if running is not None and (running.job, running.fence) == (item.job, item.fence):
                        self.hold(f"the scheduler asked: {item.why}")
                case Wake():
                    pass
                case _:
                    self._bridge_said(item)

    def tick(self, read: Read | None = None) -> Lease | None:
        """Do what is due: lapse, fetch, watch gates, intend, start. The lease that only a `read` program is missing."""
        with self.lock:
            if self.retired:
                return None
            now = self._clock.now()
            for lease in self._spool.leases(self.name, WAITING):
                if lease.start_by is not None and now >= lease.start_by and not doubt_about(self._spool, lease.lease):
                    self.apply(lease, LeaseEvent.LAPSED, Detail(why="the start was not recorded in time"))
                elif lease.state is LeaseState.LEASED and lease.lease not in self._fetching:
                    self._fetching.add(lease.lease)
                    self._shop.fetch(lease)
            return self._starting.advance(now, read) if self.running() is None else None

    # --- what its start needs (starting.Startable) ---------------------------------------------------------------

    def own_work_waits(self) -> bool:
        """Whether pool work waits for an own job."""
        return any(self._goes_first(lease) for lease in self._spool.leases(self.name, WAITING))

    def _goes_first(self, lease: Lease) -> bool:
        """Pool work waits for it. Not for an own job that waits for a person's word on whether it is still wanted."""
        return lease.own and not doubt_about(self._spool, lease.lease)

    def facts(self, lease: Lease, now: datetime) -> Facts:
        """What the gates may look at, gathered now."""
        flags, policy = self._spool.flags(self.name), self._shop.policy()
        length, description = timedelta(seconds=lease.p90_s), self.machine.description
        return Facts(
            machine=self.machine,
            lease=lease,
            status=self.bridge.status(),
            flags=flags,
            materials=self.materials(flags),
            present=self._presence.present(self.name),
            interlocks=tuple((item, self._interlocks.good(self.name, item)) for item in self.machine.interlocks),
            power=power_permitted(self.machine),
            in_hours=lease.own or may_run(description, now, length, policy),
            down=is_down(self.name, now, policy),
            beside_person=not policy.unattended,
            highest_fence=self._spool.highest_fence(lease.job),
            lapsed=lease.state in WAITING and lease.start_by is not None and now >= lease.start_by,
            restart=self._spool.restart_of(lease.lease) is not None,
            doubt=doubt_about(self._spool, lease.lease) if lease.own else forgotten_since(self._spool, lease),
            memory_compared=not lease.own or self._shop.memory_compared(),
        )

    def materials(self, flags: MachineFlags) -> tuple[m.LoadedMaterial, ...]:
        """What is loaded: the operator's word, or the configured start."""
        return self.machine.description.materials if flags.materials is None else flags.materials

    def resume_gates(self) -> tuple[m.GateReport, ...]:
        """What must be open before a held run may go on."""
        lease = self.running()
        return () if lease is None else gates(self.facts(lease, self._clock.now()), Purpose.RESUME)

    # --- what others say -----------------------------------------------------------------------------------------

    def _fetched(self, item: Fetched) -> None:
        self._fetching.discard(item.lease)
        lease = self._spool.lease(item.lease)
        if lease is None or lease.state is not LeaseState.LEASED:
            return
        if item.failure is not None or item.problems:
            failure = item.failure or FailureClass.TOOLPATH_UNSAFE
            detail = Detail(why=item.why or "; ".join(item.problems), failure=failure)
            self.apply(replace(lease, problems=item.problems), LeaseEvent.TOOLPATH_REFUSED, detail)
        else:
            self.apply(replace(lease, problems=()), LeaseEvent.TOOLPATH_STAGED, Detail())

    def _asked(self, item: Asked) -> None:
        for lease in self._spool.leases(self.name, LIVE):
            if lease.job == item.job and not lease.own and item.fence in {None, lease.fence}:
                if item.event is LeaseEvent.GIVEN_UP and not self._may_give_up(lease):
                    continue
                self._hold_why = item.why
                self.apply(lease, item.event, Detail(why=item.why))

    def _may_give_up(self, lease: Lease) -> bool:
        """Whether it is known that nothing moved for it, and nothing will."""
        return may_give_up(begun(self._spool, lease)) and not doubt_about(self._spool, lease.lease)

    def _bridge_said(self, event: b.Event) -> None:
        if isinstance(event, b.StateChanged):
            keep_blocked(self._spool, self.name, self.bridge, event)
        lease = self.running()
        if lease is None:
            return
        match event:
            case b.RunStarted():
                now = self._clock.now()
                lease = self.apply(replace(lease, started=now), LeaseEvent.RUN_STARTED, Detail()) or lease
                self._told_progress = self._clock.monotonic()
                if self.bridge.status().state is b.BridgeState.HELD:
                    self.apply(lease, LeaseEvent.HELD, Detail(why=self._hold_why or "held"))
            case b.Progress():
                self._progress(lease, event)
            case b.StateChanged(state=b.BridgeState.HELD):
                self.apply(lease, LeaseEvent.HELD, Detail(why=self._hold_why or event.why or "held at the machine"))
                self._hold_why = ""
            case b.StateChanged(state=b.BridgeState.RUNNING):
                self.apply(lease, LeaseEvent.RESUMED, Detail())
            case b.RunFinished():
                at = () if event.position is None else (event.position.x_mm, event.position.y_mm, event.position.z_mm)
                lease = replace(lease, last_line=max(lease.last_line, event.lines))
                self.apply(lease, LeaseEvent.RUN_FINISHED, Detail(line=event.lines, position_mm=at))
            case b.RunFailed():
                detail = Detail(
                    why=event.why,
                    failure=failure_class(event.failure),
                    may_be_moving=event.may_be_moving,
                    position_known=event.position_known,
                )
                lease = replace(lease, last_line=max(lease.last_line, event.checkpoint.line))
                self.apply(lease, LeaseEvent.RUN_FAILED, detail)
            case b.RunCancelled():
                lease = replace(lease, last_line=max(lease.last_line, event.checkpoint.line))
                self.apply(lease, LeaseEvent.RUN_CANCELLED, Detail(why=self._hold_why or "cancelled"))
            case _:
                pass

    def _progress(self, lease: Lease, event: b.Progress) -> None:
        now = self._clock.monotonic()
        line = event.checkpoint.line
        if now - self._kept_checkpoint >= _CHECKPOINT_EVERY_S:
            self._kept_checkpoint = now
            self._spool.checkpoint(lease.lease, line)
        if lease.own or lease.state is LeaseState.STARTING or now - self._told_progress < _PROGRESS_EVERY_S:
            return
        self._told_progress = now
        fraction = min(1.0, line / max(1, event.total_lines))
        body = m.Progressed(job=lease.job, fence=lease.fence, machine=self.name, line=line, fraction=fraction)
        tell_progress(self._spool, lease, body, self._clock.now())
        self._shop.journal_grew()

    # --- carrying out --------------------------------------------------------------------------------------------

    def running(self) -> Lease | None:
        """The lease that the machine is at work on."""
        moving = self._spool.leases(self.name, MOVING)
        return moving[0] if moving else None

    def apply(self, lease: Lease, event: LeaseEvent, detail: Detail) -> Lease | None:
        """Take one step of the table: new state, flags and journal in one transaction. None when it means nothing."""
        outcome = step(lease.state, event)
        if outcome is None:
            _log.debug("%s means nothing to a lease that is %s", event, lease.state)
            return None
        if event is LeaseEvent.RUN_ASKED:
            self._hold_why = ""  # of an earlier run, whose hold came as it ended
        state, actions = outcome
        now = self._clock.now()
        with logs.bound(machine=self.name, job=lease.job, lease=lease.lease, order=lease.ticket.order):
            with self._spool.transaction():
                after = replace(lease, state=state, why=detail.why or lease.why)
                if state not in LIVE and lease.state in LIVE:
                    after = replace(after, ended=now)
                for action in actions:
                    after = self._act(action, after, detail, now)
                self._spool.put_lease(after)
            _log.info("%s: %s → %s%s", event, lease.state, state, f" ({detail.why})" if detail.why else "")
        if state not in LIVE and lease.state in LIVE:
            self.ended[state.value, detail.failure.value if state is LeaseState.FAILED else ""] += 1
        if actions:
            self._shop.journal_grew()
        if Action.CANCEL_MACHINE in actions:
            ask_or_stop(self.bridge, self.bridge.cancel, "cancel", self.name)
        return after

    def _act(self, action: Action, lease: Lease, detail: Detail, now: datetime) -> Lease:
        """One action that only touches the spool."""
        flags = self._spool.flags(self.name)
        match action:
            case Action.OCCUPY:
                materials = (
                    self.materials(flags) if lease.own else left_of(lease.ticket.material, self.materials(flags))
                )
                self._spool.put_flags(self.name, replace(flags, bed_clear=False, materials=materials))
            case Action.DISARM:
                # An earlier reason stands until a person lifts it.
                why = flags.disarmed or detail.why or "a run was interrupted"
                self._spool.put_flags(self.name, replace(flags, disarmed=why))
            case Action.USE_UP_CARD:
                return replace(lease, card=False)
            case _:
                if lease.own:
                    body: m.JournalBody | None = told_own(action, lease, detail.failure, now)
                else:
                    body = told(action, lease, detail, now)
                if body is not None:
                    seq = tell_granters(self._spool, lease, body, now)
                    if action is Action.JOURNAL_START_INTENDED:
                        return replace(lease, start_seq=seq)
        return lease

    def hold(self, why: str) -> None:
        """Ask the bridge to hold; a machine that cannot is stopped."""
        self._hold_why = why
        ask_or_stop(self.bridge, self.bridge.hold, "hold", self.name)

    def cancel(self, lease: Lease, why: str) -> None:
        """End a lease, running or not, by a person's or the scheduler's word. The lock must be held."""
        self._hold_why = why
        self.apply(lease, LeaseEvent.CANCEL_ASKED, Detail(why=why))
