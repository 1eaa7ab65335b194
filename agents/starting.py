"""The way of a machine's leases from waiting to a start; here, and nowhere else, the bridge's `run` is called.

The gates of all that waits are watched; the first lease whose gates are all open gets its turn. Pool work then waits
until its start is committed. Then the whole program is read once more, which takes a slow card minutes: outside the
supervisor's lock. What changed meanwhile counts: the gates are asked again before the machine is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from agents.channels import begun, start_verdict
from agents.clock import Clock
from agents.contract import messages as m
from agents.contract.granting import may_give_up
from agents.contract.vocabulary import FailureClass
from agents.journal import Detail
from agents.lease import WAITING, LeaseEvent, LeaseState
from agents.safety import Facts, all_open, gates, shut
from agents.spool import Lease, Spool
from agents.toolpaths import ToolpathStore
from agents.unanswered import WHY, Unanswered
from firmware_bridges import bridge as b
from firmware_bridges.toolpath_file import ToolpathFile, UnreadableToolpath

#: A committed start whose gates fell shut again waits so long for them before it counts as failed.
GATES_GRACE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading a lease's program through: the program, or why it must not run."""

    lease: str
    program: ToolpathFile | None
    why: str = ""
    failure: FailureClass = FailureClass.TOOLPATH_UNSAFE


class Startable(Protocol):
    """What of a supervisor the way to a start needs."""

    bridge: b.Bridge
    gates: tuple[m.GateReport, ...]
    """As evaluated last."""

    @property
    def name(self) -> str:
        """The machine's identifier."""

    def apply(self, lease: Lease, event: LeaseEvent, detail: Detail) -> Lease | None:
        """Take one step of the lease table."""

    def facts(self, lease: Lease, now: datetime) -> Facts:
        """What the gates may look at."""

    def own_work_waits(self) -> bool:
        """Whether pool work waits for an own job."""


class Starting:
    """One machine's. `advance` needs the supervisor's lock, `read` must not have it."""

    def __init__(self, machine: Startable, spool: Spool, store: ToolpathStore, clock: Clock) -> None:
        self._machine, self._spool, self._store, self._clock = machine, spool, store, clock
        self._gates_shut_since: float | None = None
        self._unanswered = Unanswered(spool, clock)

    def advance(self, now: datetime, read: Read | None) -> Lease | None:
        """Take the next step that is due, on a machine on which nothing runs.

        A lease comes back where its program must be read first: `read` it, then come again with that, at once.
        """
        intended = self._spool.leases(self._machine.name, frozenset({LeaseState.INTENDED}))
        return self._await_commit(intended[0], read) if intended else self._choose(now)

    def read(self, lease: Lease) -> Read:
        """Read the program through: whether it is still the one that was surveyed, and fit to be sent."""
        sha256 = lease.toolpath.sha256
        if not self._store.verified(sha256):
            why = "the toolpath on disk is not the one that was verified"
            return Read(lease.lease, None, why, FailureClass.TOOLPATH_UNAVAILABLE)
        try:
            return Read(lease.lease, ToolpathFile(self._store.path(sha256)))
        except (OSError, UnreadableToolpath) as error:
            return Read(lease.lease, None, str(error))

    def _choose(self, now: datetime) -> Lease | None:
        """Watch the gates of all that waits; the first whose gates are all open gets its turn."""
        machine, own_first = self._machine, self._machine.own_work_waits()
        chosen: Lease | None = None
        machine.gates = ()
        for lease in self._spool.leases(machine.name, WAITING - {LeaseState.LEASED}):
            reports = gates(machine.facts(lease, now))
            machine.gates = machine.gates or reports
            current = self._gates_seen(lease, reports)
            if current.state is LeaseState.READY and chosen is None and (current.own or not own_first):
                chosen, machine.gates = current, reports
        if chosen is None:
            return None
        machine.apply(chosen, LeaseEvent.TURN_COME, Detail())
        return self._await_commit(self._spool.lease(chosen.lease) or chosen, None) if chosen.own else None

    def _gates_seen(self, lease: Lease, reports: tuple[m.GateReport, ...]) -> Lease:
        """Journal a change of the gates."""
        names = _names(shut(reports))
        if all_open(reports):
            if lease.state is LeaseState.STAGED:
                after = self._machine.apply(replace(lease, gates=""), LeaseEvent.GATES_OPEN, Detail(gates=reports))
                return after or lease
        elif lease.state is not LeaseState.STAGED or names != lease.gates:
            after = self._machine.apply(replace(lease, gates=names), LeaseEvent.GATES_SHUT, Detail(gates=reports))
            return after or lease
        return lease

    def _await_commit(self, lease: Lease, read: Read | None) -> Lease | None:
        """Start an intended lease once its start is committed, its gates are open and its program was read just now.

        Nothing else leads to `run`. The lease comes back where only the reading is missing.
        """
        if not lease.own and not self._committed(lease):
            return None
        reports = gates(self._machine.facts(lease, self._clock.now()))
        self._machine.gates = reports
        if all_open(reports):
            self._gates_shut_since = None
            if read is None or read.lease != lease.lease:
                return lease
            self._start(lease, read)
            return None
        if _names(shut(reports)) != lease.gates:
            lease = self._gates_seen(lease, reports)
        if self._gates_shut_since is None:
            self._gates_shut_since = self._clock.monotonic()
        if self._clock.monotonic() - self._gates_shut_since >= GATES_GRACE_S:
            self._gates_shut_since = None
            why = "; ".join(f"{report.gate}: {report.why}" for report in shut(reports))
            self._machine.apply(lease, LeaseEvent.GATES_STAYED_SHUT, Detail(why=why, failure=FailureClass.GATE_CLOSED))
        return None

    def _committed(self, lease: Lease) -> bool:
        """Whether its granter said yes. A no, and a wait that nobody should go on with, ends it here."""
        acknowledged, refused = start_verdict(self._spool, lease)
        if refused is not None:
            self._machine.apply(lease, LeaseEvent.START_REFUSED, Detail(why=refused))
        elif not acknowledged and self._machine.own_work_waits():
            why = "the owner's own job took the machine before the start was committed; nothing moved"
            self._machine.apply(lease, LeaseEvent.PREEMPTED, Detail(why=why, failure=FailureClass.GATE_CLOSED))
        elif not acknowledged and self._unanswered.blocks_others(lease):
            with self._spool.transaction():  # unless the answer came in this moment
                if may_give_up(begun(self._spool, lease)):
                    self._machine.apply(lease, LeaseEvent.GIVEN_UP, Detail(why=WHY))
        return acknowledged and refused is None

    def _start(self, lease: Lease, read: Read) -> None:
        """The one place that starts a run. The state is on disk before the first byte can reach the port."""
        if read.program is None:
            if read.failure is FailureClass.TOOLPATH_UNAVAILABLE:
                self._store.drop(lease.toolpath.sha256)
            detail = Detail(why=read.why, failure=read.failure)
            self._machine.apply(lease, LeaseEvent.TOOLPATH_REFUSED, detail)
            return
        starting = self._machine.apply(lease, LeaseEvent.RUN_ASKED, Detail())
        if starting is None:
            return
        try:
            self._spool.mark_deeds()
            self._machine.bridge.run(read.program, self._spool.restart_of(lease.lease) or 1)
        except (b.BridgeError, OSError) as error:
            detail = Detail(why=str(error), failure=FailureClass.GATE_CLOSED)
            self._machine.apply(starting, LeaseEvent.RUN_DENIED, detail)


def _names(closed: tuple[m.GateReport, ...]) -> str:
    return ",".join(report.gate for report in closed)
