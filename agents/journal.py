"""What the agent tells of a lease: the journal message that belongs to each action of the lease table. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass
from agents.lease import Action
from agents.spool import Lease
from firmware_bridges.bridge import Failure

_LONGEST_TEXT: Final = 2000


@dataclass(frozen=True, slots=True)
class Detail:
    """What came with the event, as far as somebody said it."""

    why: str = ""
    failure: FailureClass = FailureClass.OTHER
    line: int = 0
    position_mm: tuple[float, ...] = ()
    may_be_moving: bool = False
    position_known: bool = False
    gates: tuple[m.GateReport, ...] = ()
    good: int = 0
    rejected: int = 0
    rejected_of: tuple[m.RejectedPieces, ...] = ()


def failure_class(failure: Failure) -> FailureClass:
    """The contract's word for a bridge's failure: the same one."""
    return FailureClass(failure.value)


def told(action: Action, lease: Lease, detail: Detail, now: datetime) -> m.JournalBody | None:
    """The message for an action; None for actions that tell nothing."""
    job, fence, machine = lease.job, lease.fence, lease.machine
    why = detail.why[:_LONGEST_TEXT]
    started = lease.started or now
    machine_s = max(0.0, (now - started).total_seconds()) if lease.started else 0.0
    match action:
        case Action.JOURNAL_STAGED:
            return m.Staged(job=job, fence=fence, machine=machine, sha256=lease.toolpath.sha256)
        case Action.JOURNAL_READY:
            return m.Ready(job=job, fence=fence, machine=machine, gates=detail.gates)
        case Action.JOURNAL_GATES_SHUT:
            return m.GatesShut(job=job, fence=fence, machine=machine, gates=detail.gates)
        case Action.JOURNAL_START_INTENDED:
            return m.StartIntended(job=job, fence=fence, machine=machine)
        case Action.JOURNAL_RUNNING:
            return m.Running(job=job, fence=fence, machine=machine, started=started)
        case Action.JOURNAL_HELD:
            return m.Held(job=job, fence=fence, machine=machine, line=lease.last_line, why=why)
        case Action.JOURNAL_RESUMED:
            return m.Resumed(job=job, fence=fence, machine=machine)
        case Action.JOURNAL_FINISHED:
            return m.Finished(
                job=job,
                fence=fence,
                machine=machine,
                started=started,
                finished=now,
                lines=detail.line,
                machine_s=machine_s,
                position_mm=detail.position_mm,
            )
        case Action.JOURNAL_FAILED:
            return m.Failed(
                job=job,
                fence=fence,
                machine=machine,
                failure=detail.failure,
                last_line=lease.last_line,
                why=why,
                may_be_moving=detail.may_be_moving,
                position_known=detail.position_known,
                machine_s=machine_s,
            )
        case Action.JOURNAL_CANCELLED:
            return m.CancelConfirmed(
                job=job, fence=fence, machine=machine, last_line=lease.last_line, why=why, machine_s=machine_s
            )
        case Action.JOURNAL_GIVEN_UP:
            return m.GivenUp(job=job, fence=fence, machine=machine, why=why)
        case Action.JOURNAL_INSPECTED:
            return m.Inspected(
                job=job,
                fence=fence,
                machine=machine,
                good=detail.good,
                rejected=detail.rejected,
                note=why,
                rejected_of=detail.rejected_of,
            )
        case _:
            return None


def wrongly_named(ticket: m.JobTicket, rejected: int, rejected_of: tuple[m.RejectedPieces, ...]) -> str:
    """What does not add up in the word of whose the rejected pieces are; empty where it does, or nobody said."""
    if not rejected_of:
        return ""
    lying = {(line.order, line.part): line.pieces for line in ticket.contents}
    said = {(line.order, line.part): line.rejected for line in rejected_of}
    for key, bad in said.items():
        if bad > lying.get(key, 0):
            return f"{bad} pieces of {key[1]} for order {key[0]} cannot be bad: {lying.get(key, 0)} lie on {ticket.job}"
    if len(said) < len(rejected_of) or sum(said.values()) != rejected:
        return f"{rejected} pieces are bad, and those named are not so many: name each order and part once"
    return ""
