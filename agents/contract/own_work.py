"""What a shop tells of its owner's own work: that a machine is used, until when, and how it ended. Never what is made.

No title, file, hash, material or count of pieces: own work is the owner's business. It is told because an agent whose
memory was put back to an old copy is known by the numbers of its journal, and because others plan around it.
"""

from __future__ import annotations

from enum import StrEnum

from agents.contract.message import Identifier, Message, Moment
from agents.contract.vocabulary import FailureClass


class OwnStep(StrEnum):
    """Where an owner's own run stands."""

    INTENDED = "intended"
    """The machine is about to be called. Nobody is asked: the owner's hand queued it."""
    RUNNING = "running"
    """The machine confirmed the first line."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BED_CLEARED = "bed_cleared"
    """A person said that the bed is free again after it."""


class OwnWork(Message, frozen=True, kw_only=True, tag="own_work"):
    """A step of the owner's own work on a machine. It asks for nothing, and nobody answers but by its number."""

    machine: Identifier
    run: Identifier
    """Made up by the agent, to tell one run from the next; it says nothing of what is made."""
    step: OwnStep
    expected_end: Moment | None = None
    """When this run should be over; None where nobody can say, and at its end."""
    failure: FailureClass | None = None
    """Of a run that failed."""
