"""What a person at the shop may do: accept, confirm, load, hold, stop. Works with broker and scheduler dead.

Every way in (local page, API, command line) calls these; none of them lets a gate be skipped.
"""

from __future__ import annotations

import io
import logging
import threading
import uuid
from dataclasses import replace
from typing import Any, Final

from agents import doubt, own_jobs, questions
from agents.agent import Agent
from agents.contract.messages import LoadedMaterial, RejectedPieces
from agents.contract.vocabulary import Process
from agents.inputs import Wake
from agents.journal import Detail, wrongly_named
from agents.lease import LIVE, WAITING, LeaseEvent, LeaseState
from agents.local_state import shop_state
from agents.machine import Supervisor
from agents.policy import Accept, Decline
from agents.restart import CannotRestart, RestartPoint, half_made, restart_point
from agents.safety import all_open, shut
from agents.spool import Lease, SpoolFull
from agents.toolpaths import Readable, ToolpathUnavailable
from firmware_bridges.bridge import BLOCKED_STATES, BUSY_STATES, BridgeError, BridgeState
from firmware_bridges.manual import ManualBridge
from firmware_bridges.toolpath_file import ToolpathFile, UnreadableToolpath

_log = logging.getLogger(__name__)

#: A heartbeat that promised more would outlive a person who fell over.
LONGEST_PRESENCE_S: Final = 120.0


class NotPossible(Exception):
    """It cannot be done now; the text says why and what would help."""


class Unknown(Exception):
    """There is no such machine, offer or job here."""


class Hands:
    """A person's operations on one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def _machine(self, name: str) -> Supervisor:
        supervisor = self._agent.supervisors.get(name)
        if supervisor is None:
            known = ", ".join(self._agent.supervisors)
            raise Unknown(f"there is no machine {name!r} here; known are {known}")
        return supervisor

    # --- stop first ----------------------------------------------------------------------------------------------

    def stop(self, machine: str) -> str:
        """Emergency stop: straight to the port, before any lock, disk or network."""
        return self._stop((self._machine(machine),))

    def stop_all(self) -> str:
        """Emergency stop of every machine of the shop."""
        return self._stop(tuple(self._agent.supervisors.values()))

    def _stop(self, supervisors: tuple[Supervisor, ...]) -> str:
        """All at once: a machine that cannot be stopped from here, or a stuck port, keeps no other from being stopped.

        Raises NotPossible, after all of it, where a stop did not go out.
        """
        failed: dict[str, str] = {}

        def press(supervisor: Supervisor) -> None:
            try:
                supervisor.bridge.emergency_stop()
                if supervisor.bridge.status().state is BridgeState.OFFLINE:
                    failed[supervisor.name] = "is not connected: use its own button NOW"
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are stopped, and the person hears it
                failed[supervisor.name] = f"was NOT stopped from here: {error}"

        presses = [threading.Thread(target=press, args=(one,), daemon=True) for one in supervisors[1:]]
        for thread, supervisor in zip(presses, supervisors[1:], strict=True):
            try:
                thread.start()
            except RuntimeError:  # no thread is left in this process
                press(supervisor)
        for supervisor in supervisors[:1]:
            press(supervisor)
        for thread in presses:
            if thread.ident is not None:
                thread.join()
        said = [self._after_stop(supervisor, failed.get(supervisor.name, "")) for supervisor in supervisors]
        if failed:
            raise NotPossible("; ".join(said))
        return "; ".join(said)

    def _after_stop(self, supervisor: Supervisor, failed: str) -> str:
        _log.error("emergency stop by a person%s", failed and f": it {failed}", extra=_of(supervisor))
        try:
            with self._agent.spool.transaction():
                flags = self._agent.spool.flags(supervisor.name)
                self._agent.spool.put_flags(supervisor.name, replace(flags, disarmed="stopped by a person"))
        except SpoolFull as error:
            _log.error("%s", error)
        supervisor.post(Wake())
        return f"{supervisor.name} {failed or 'was stopped; look at it, then re-arm it'}"

    # --- presence, bed, material ---------------------------------------------------------------------------------

    def be_present(self, for_s: float, machines: tuple[str, ...]) -> str:
        """A trained person stands beside these machines (all of them when none is named) for so long. Not recorded."""
        if not 0 <= for_s <= LONGEST_PRESENCE_S:
            raise NotPossible(f"presence is said for 0 to {LONGEST_PRESENCE_S:g} seconds at a time, not {for_s:g}")
        names = machines or tuple(self._agent.supervisors)
        supervisors = [self._machine(name) for name in names]
        self._agent.presence.beat(names, for_s)
        for supervisor in supervisors:
            supervisor.post(Wake())
        return f"present for {for_s:g} s at {', '.join(names)}"

    def bed_clear(self, machine: str) -> str:
        """The bed, sheet or table is free for the next job."""
        supervisor = self._machine(machine)
        with supervisor.lock:
            running = supervisor.running()
            if running is not None or supervisor.bridge.status().state in BUSY_STATES:
                raise NotPossible(f"{machine} is at work; the bed cannot be clear before it has ended")
            with self._agent.spool.transaction():
                flags = self._agent.spool.flags(machine)
                self._agent.spool.put_flags(machine, replace(flags, bed_clear=True))
                if not flags.bed_clear:
                    own_jobs.tell_bed_cleared(self._agent.spool, machine, self._agent.clock.now())
        self._agent.journal_grew()
        supervisor.post(Wake())
        return f"the bed of {machine} is clear"

    def load(self, machine: str, materials: tuple[LoadedMaterial, ...]) -> str:
        """This is what is loaded now, all of it."""
        supervisor = self._machine(machine)
        with supervisor.lock, self._agent.spool.transaction():  # a stop waits for no lock but this one
            flags = self._agent.spool.flags(machine)
            self._agent.spool.put_flags(machine, replace(flags, materials=materials))
        supervisor.post(Wake())
        return f"{machine} has {', '.join(item.material for item in materials) or 'nothing'} loaded"

    def enable(self, machine: str, disabled: str) -> str:
        """Take the machine out of work (`disabled` says why) or put it back (empty)."""
        supervisor = self._machine(machine)
        with supervisor.lock, self._agent.spool.transaction():  # a stop waits for no lock but this one
            flags = self._agent.spool.flags(machine)
            self._agent.spool.put_flags(machine, replace(flags, disabled=disabled))
        supervisor.post(Wake())
        return f"{machine} is disabled: {disabled}" if disabled else f"{machine} is enabled"

    # --- the machine ---------------------------------------------------------------------------------------------

    def _needs_person(self, supervisor: Supervisor, what: str) -> None:
        attended = supervisor.machine.description.attended
        if attended and not self._agent.presence.present(supervisor.name):
            raise NotPossible(f"{what} needs a person beside {supervisor.name}: say that you are present first")

    def home(self, machine: str) -> str:
        """Home all axes, by a person's word."""
        supervisor = self._machine(machine)
        self._needs_person(supervisor, "homing")
        self._bridge_call(supervisor.bridge.home)
        supervisor.post(Wake())
        return f"{machine} was asked to home"

    def rearm(self, machine: str) -> str:
        """A person looked at the machine: it may move again. Moves nothing."""
        supervisor = self._machine(machine)
        if supervisor.bridge.status().state in BLOCKED_STATES:
            self._bridge_call(supervisor.bridge.rearm)
        with supervisor.lock, self._agent.spool.transaction():  # a stop waits for no lock but this one
            flags = self._agent.spool.flags(machine)
            self._agent.spool.put_flags(machine, replace(flags, disarmed=""))
        supervisor.post(Wake())
        return f"{machine} is armed again"

    def hold(self, machine: str) -> str:
        """Hold the run; it can be resumed."""
        self._machine(machine).hold("a person held it")
        return f"{machine} was asked to hold"

    def resume(self, machine: str) -> str:
        """Go on after a hold, if the gates for it are open."""
        supervisor = self._machine(machine)
        with supervisor.lock:
            reports = supervisor.resume_gates()
            if not all_open(reports):
                why = "; ".join(f"{item.why} ({item.lift})" for item in shut(reports)) or "nothing is held here"
                raise NotPossible(f"{machine} cannot resume: {why}")
            self._bridge_call(supervisor.bridge.resume)
        return f"{machine} was asked to resume"

    def cancel(self, machine: str) -> str:
        """End the run: heaters, beam and spindle off."""
        supervisor = self._machine(machine)
        with supervisor.lock:
            lease = supervisor.running()
            if lease is None:
                raise NotPossible(f"nothing runs on {machine}; use stop if it moves")
            supervisor.cancel(lease, "cancelled by a person at the machine")
        return f"{machine} was asked to cancel"

    # --- machines that people drive ------------------------------------------------------------------------------

    def _manual(self, machine: str) -> ManualBridge:
        bridge = self._machine(machine).bridge
        if not isinstance(bridge, ManualBridge):
            raise NotPossible(f"{machine} confirms its own steps; only a machine that people drive has a work card")
        return bridge

    def confirm_step(self, machine: str, line: int) -> str:
        """The person at a machine without a port did the step at `line` of its work card."""
        bridge = self._manual(machine)
        self._bridge_call(lambda: bridge.confirm_step(line))
        return f"step {line} of {machine} is done"

    def confirm_standing(self, machine: str) -> str:
        """The person saw that the machine stands, as a hold or a cancel asked."""
        self._bridge_call(self._manual(machine).confirm_standing)
        return f"{machine} stands"

    def _bridge_call(self, call: Any) -> None:
        try:
            call()
        except BridgeError as error:
            raise NotPossible(str(error)) from error

    # --- offers and jobs -----------------------------------------------------------------------------------------

    def answer_offer(self, offer: str, decision: Accept | Decline) -> str:
        """The owner's own yes or no to an offer that waits for it."""
        now = self._agent.clock.now()
        with self._agent.spool.transaction():
            row = self._agent.spool.offer(offer)
            if row is None:
                raise Unknown(f"there is no offer {offer!r} here")
            if row.decision != "ask":
                raise NotPossible(f"the offer is no longer open: it is {row.decision}")
            if row.expires is not None and now >= row.expires:
                self._agent.spool.put_offer(row.offer, "lapsed", expires=row.expires, seq=None, at=now)
                word = ""
            elif questions.of_board(self._agent.spool, offer):
                word = questions.AGREED if isinstance(decision, Accept) else questions.DECLINED
                questions.answer(self._agent.spool, row, word, now)
            else:
                word = self._agent.inbox.answer(row.offer, decision, now, expires=row.expires)
        if not word:
            raise NotPossible("the offer has lapsed; the scheduler will ask again if the job is still open")
        self._agent.journal_grew()
        return "agreed; this shop asks for the job now" if word == questions.AGREED else word

    def _lease(self, job: str, states: frozenset[LeaseState], what: str) -> tuple[Supervisor, Lease]:
        lease = self._agent.spool.lease_of_job(job)
        if lease is None:
            raise Unknown(f"there is no job {job!r} here")
        if lease.state not in states:
            raise NotPossible(f"{what} is not possible: the job is {lease.state}")
        return self._machine(lease.machine), lease

    def confirm_card(self, job: str) -> str:
        """The work card was followed: stock clamped, extraction on. Counts for one start."""
        supervisor, lease = self._lease(job, LIVE, "confirming the work card")
        self._needs_person(supervisor, "confirming the work card")
        with supervisor.lock:
            fresh = self._agent.spool.lease(lease.lease) or lease
            self._agent.spool.put_lease(replace(fresh, card=True))
        supervisor.post(Wake())
        return f"the work card of {job} is confirmed"

    def inspect(
        self, job: str, good: int, rejected: int, note: str, rejected_of: tuple[RejectedPieces, ...] = ()
    ) -> str:
        """A person looked at the parts. `rejected_of`: whose the bad ones are, on a plate that several orders share."""
        supervisor, lease = self._lease(job, frozenset({LeaseState.FINISHED}), "inspecting")
        if not lease.own and good + rejected != lease.ticket.pieces:
            raise NotPossible(
                f"{good} good and {rejected} bad are not the {lease.ticket.pieces} pieces of {job}; count again"
            )
        wrong = wrongly_named(lease.ticket, rejected, rejected_of)
        if wrong:
            raise NotPossible(wrong)
        detail = Detail(why=note, good=good, rejected=rejected, rejected_of=rejected_of)
        with supervisor.lock:
            fresh = self._agent.spool.lease(lease.lease) or lease
            if supervisor.apply(fresh, LeaseEvent.INSPECTED, detail) is None:
                raise NotPossible(f"somebody else inspected {job} in this moment: their count stands")
        return f"{job}: {good} good, {rejected} rejected"

    def cancel_job(self, job: str) -> str:
        """Give up a job that is held here, running or not."""
        supervisor, lease = self._lease(job, LIVE, "cancelling")
        with supervisor.lock:
            fresh = self._agent.spool.lease(lease.lease) or lease
            if fresh.state not in LIVE:
                raise NotPossible(f"{job} is {fresh.state} by now")
            supervisor.cancel(fresh, "cancelled by a person at the shop")
        supervisor.post(Wake())
        return f"{job} was asked to cancel"

    def restart_preview(self, job: str, line: int | None) -> dict[str, Any]:
        """Where an interrupted job would go on, and the lines that the machine would be sent first. Moves nothing."""
        _, point, _ = self._restart_point(job, line)
        return {"line": point.line, "preamble": list(point.preamble)}

    def restart(self, job: str, line: int | None, *, height_kept: bool) -> str:
        """Go on with a half-made part that still lies on the bed. A start like any other: every gate counts.

        `height_kept`: for printers, which home X and Y only, the person's word that Z was neither moved nor forgotten.
        A job of the network is gone on with only under a new lease, after the scheduler granted it here again.
        """
        before, point, waiting = self._restart_point(job, line)
        supervisor, spool = self._machine(before.machine), self._agent.spool
        self._needs_person(supervisor, "going on in the middle of a toolpath")
        if supervisor.machine.description.process is Process.FDM and not height_kept:
            raise NotPossible(
                f"{before.machine} homes X and Y only, around the part: say that its height was kept (no reset, no"
                " power cut, nobody moved Z), or start from the beginning"
            )
        with supervisor.lock, spool.transaction():
            if spool.flags(before.machine).bed_clear:
                raise NotPossible(f"the bed of {before.machine} was cleared: the half-made part is gone")
            going_on = [held.job for held in spool.leases(before.machine) if spool.restart_of(held.lease) is not None]
            if going_on:
                raise NotPossible(f"{going_on[0]} already goes on with the part on {before.machine}")
            if waiting is None:
                lease = own_jobs.again(before, _new_own(), self._agent.clock.now())
            else:
                lease = spool.lease(waiting.lease) or waiting
            if lease.state not in WAITING:
                raise NotPossible(f"{job} is {lease.state} by now")
            spool.put_lease(lease)
            spool.put_restart(lease.lease, point.line)
        supervisor.post(Wake())
        return f"{lease.job} will go on from line {point.line} of {before.toolpath.lines}"

    def _restart_point(self, job: str, line: int | None) -> tuple[Lease, RestartPoint, Lease | None]:
        """The interrupted attempt, where to go on, and the new lease that waits for it (None for the owner's own)."""
        spool, newest = self._agent.spool, self._agent.spool.lease_of_job(job)
        if newest is None:
            raise Unknown(f"there is no job {job!r} here")
        waiting = newest if newest.state in WAITING else None
        before = half_made(spool.last_run(newest.machine))
        if before is None or before.job != job or before.toolpath.sha256 != newest.toolpath.sha256:
            raise NotPossible(f"no half-made part of {job} is the last thing that {newest.machine} worked on")
        if waiting is None and not before.own:
            raise NotPossible(f"{job} belongs to the network: the scheduler must offer it to this machine again first")
        supervisor = self._machine(before.machine)
        description = supervisor.machine.description
        try:
            toolpath = ToolpathFile(self._agent.store.path(before.toolpath.sha256))
            identity = supervisor.bridge.status().identity
            point = restart_point(before, line, toolpath, description.process, description.dialect, identity)
        except CannotRestart as error:
            raise NotPossible(str(error)) from error
        except (OSError, UnreadableToolpath) as error:
            raise NotPossible(f"the toolpath of {job} is no longer here: {error}") from error
        return before, point, waiting

    def queue_own(self, machine: str, program: bytes, title: str) -> str:
        """`queue_from` for what is in memory."""
        return self.queue_from(machine, io.BytesIO(program), len(program), title)

    def queue_from(self, machine: str, program: Readable, size_bytes: int, title: str) -> str:
        """The owner's own job: queued before all pool work, through the same gates. Its job id."""
        supervisor = self._machine(machine)
        if size_bytes > self._agent.config.cache.largest_bytes:
            raise NotPossible(
                f"the program has {size_bytes} bytes, more than this agent takes ([toolpaths] largest_mb)"
            )
        try:
            kept = self._agent.store.take_in(program, size_bytes)
        except ToolpathUnavailable as error:
            raise NotPossible(str(error)) from error
        if not kept.ends.strip():
            raise NotPossible("the program is empty")
        job, now = _new_own(), self._agent.clock.now()
        self._agent.spool.put_lease(own_jobs.own_lease(job, supervisor.machine.description, kept, title, now))
        supervisor.post(Wake())
        return job

    def still_wanted(self, job: str) -> str:
        """A person looked whether an own job of an old memory was made since: it was not, or it is wanted again."""
        supervisor, lease = self._lease(job, LIVE, "saying that it is still wanted")
        if not (lease.own and doubt.doubt_about(self._agent.spool, lease.lease)):
            raise NotPossible(f"nothing is in doubt about {job}")
        with supervisor.lock:
            doubt.lift(self._agent.spool, lease.lease)
        supervisor.post(Wake())
        return f"{job} is still wanted"

    # --- seeing --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything the local page shows."""
        return shop_state(self._agent)


def _of(supervisor: Supervisor) -> dict[str, dict[str, str]]:
    return {"fields": {"machine": supervisor.name}}


def _new_own() -> str:
    return f"own-{uuid.uuid4().hex[:12]}"
