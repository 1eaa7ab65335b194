"""The way of a machine's leases from waiting to a start; here, and nowhere else, the bridge's `run` is called.

The gates of all that waits are watched; the first lease whose gates are all open gets its turn. Pool work then waits
until its start is committed, and the gates are asked once more before the machine is.
"""

from __future__ import annotations

from dataclasses import replace
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
_UNAVAILABLE: Final = FailureClass.TOOLPATH_UNAVAILABLE


class Startable(Protocol):
    """What of a supervisor the way to a start needs. Its lock must be held."""

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
    """One machine's."""

    def __init__(self, machine: Startable, spool: Spool, store: ToolpathStore, clock: Clock) -> None:
        self._machine, self._spool, self._store, self._clock = machine, spool, store, clock
        self._gates_shut_since: float | None = None
        self._unanswered = Unanswered(spool, clock)

    def advance(self, now: datetime) -> None:
        """Take the next step that is due, on a machine on which nothing runs."""
        intended = self._spool.leases(self._machine.name, frozenset({LeaseState.INTENDED}))
        if intended:
            self._await_commit(intended[0])
        else:
            self._choose(now)

    def _choose(self, now: datetime) -> None:
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
        if chosen is not None:
            machine.apply(chosen, LeaseEvent.TURN_COME, Detail())
            if chosen.own:
                self._await_commit(self._spool.lease(chosen.lease) or chosen)

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

    def _await_commit(self, lease: Lease) -> None:
        """Start an intended lease once its start is committed and its gates are open; nothing else leads to `run`."""
        if not lease.own and not self._committed(lease):
            return
        reports = gates(self._machine.facts(lease, self._clock.now()))
        self._machine.gates = reports
        if all_open(reports):
            self._gates_shut_since = None
            self._start(lease)
            return
        if _names(shut(reports)) != lease.gates:
            lease = self._gates_seen(lease, reports)
        if self._gates_shut_since is None:
            self._gates_shut_since = self._clock.monotonic()
        if self._clock.monotonic() - self._gates_shut_since >= GATES_GRACE_S:
            self._gates_shut_since = None
            why = "; ".join(f"{report.gate}: {report.why}" for report in shut(reports))
            self._machine.apply(lease, LeaseEvent.GATES_STAYED_SHUT, Detail(why=why, failure=FailureClass.GATE_CLOSED))

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

    def _start(self, lease: Lease) -> None:
        """The one place that starts a run. The state is on disk before the first byte can reach the port."""
        sha256 = lease.toolpath.sha256
        if not self._store.verified(sha256):
            self._store.drop(sha256)
            self._refuse(lease, "the toolpath on disk is not the one that was verified", _UNAVAILABLE)
            return
        try:
            toolpath = ToolpathFile(self._store.path(sha256))
        except (OSError, UnreadableToolpath) as error:
            self._refuse(lease, str(error), FailureClass.TOOLPATH_UNSAFE)
            return
        starting = self._machine.apply(lease, LeaseEvent.RUN_ASKED, Detail())
        if starting is None:
            return
        try:
            self._spool.mark_deeds()
            self._machine.bridge.run(toolpath, self._spool.restart_of(lease.lease) or 1)
        except (b.BridgeError, OSError) as error:
            detail = Detail(why=str(error), failure=FailureClass.GATE_CLOSED)
            self._machine.apply(starting, LeaseEvent.RUN_DENIED, detail)

    def _refuse(self, lease: Lease, why: str, failure: FailureClass) -> None:
        self._machine.apply(lease, LeaseEvent.TOOLPATH_REFUSED, Detail(why=why, failure=failure))


def _names(closed: tuple[m.GateReport, ...]) -> str:
    return ",".join(report.gate for report in closed)
