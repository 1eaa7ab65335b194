"""What a machine's supervisor takes in besides the bridge's events, and what it needs of the agent around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agents.contract.vocabulary import FailureClass
from agents.lease import LeaseEvent
from agents.policy import Policy
from agents.spool import Lease
from firmware_bridges.bridge import Event


@dataclass(frozen=True, slots=True)
class Fetched:
    """The toolpath of a lease is here (`problems` empty or not), or `failure` says why it never will be."""

    lease: str
    problems: tuple[str, ...] = ()
    failure: FailureClass | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The network asks something about a job that this machine may hold."""

    event: LeaseEvent
    job: str
    fence: int | None
    why: str


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """The network asks to hold a job."""

    job: str
    fence: int
    why: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Something changed: look again."""


Input = Event | Fetched | Asked | PauseAsked | Wake


class Shop(Protocol):
    """What a supervisor needs of the agent around it."""

    def fetch(self, lease: Lease) -> None:
        """Get the toolpath of a lease, then post `Fetched`."""

    def journal_grew(self) -> None:
        """New events wait to be told."""

    def machine_changed(self, machine: str) -> None:
        """The machine's report may be out of date."""

    def policy(self) -> Policy:
        """The owner's rules in force."""

    def memory_compared(self) -> bool:
        """Whether the scheduler said that no event is missing here, or had its time to say so, or there is none."""
