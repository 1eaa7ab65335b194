"""The named steps of a job at which something can be made to break, and the traps that wait for them.

A step is a moment between two things that are each all-or-nothing: just before or after a transaction of the scheduler
or of an agent, a message reaching the broker, the call that starts a machine. `Steps.passed` is called at each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_WRITTEN: Final = ("offered", "claimed", "staged", "ready", "start_intended", "running", "finished", "inspected")
_JOURNALLED: Final = ("Claimed", "Staged", "GatesShut", "Ready", "StartIntended", "Running", "Finished", "Inspected")
_AWAY: Final = ("a home's grant", "a home's permission", "HomeBook", "GivenUp")

#: The moments of an ordinary life, in its order; each is chosen as often as any other.
NAMED: Final = (
    "scheduler: before the commit of toolpath_made",
    "scheduler: after the commit of toolpath_made",
    *(f"scheduler: {when} the commit of {what}" for what in _WRITTEN for when in ("before", "after")),
    *(f"agent: {when} the commit of {what}" for what in _JOURNALLED for when in ("before", "after")),
    *(f"broker: {what} has come" for what in ("Offer", "Grant", "JournalAck", *_JOURNALLED)),
    "agent: before the commit of OwnWork",
    "agent: after the commit of OwnWork",
    "broker: OwnWork has come",
    "scheduler: before the commit of own_work",
    "scheduler: after the commit of own_work",
    "agent: before the commit of lease leased",
    "agent: after the commit of lease leased",
    "agent: the toolpath is half fetched",
    "agent: before the commit of lease starting",
    "agent: after the commit of lease starting",
    "agent: about to call the machine",
    "machine: was called, and has confirmed nothing",
    "machine: runs",
    "machine: holds",
    *(f"agent: {when} the commit of {what}" for what in _AWAY for when in ("before", "after")),
    *(f"broker: {what} has come" for what in ("BoardMark", "BoardClaim", "HomeBook")),
    "scheduler: before the outbox is marked sent",
    "scheduler: after the outbox is marked sent",
)


@dataclass
class Trap:
    """`spring` is called when `step` is passed for the `nth` time (any step, where it is empty)."""

    step: str
    nth: int
    spring: Callable[[str], None]


@dataclass
class Steps:
    """Counts what was passed and springs traps. A trap that springs may raise out of the step."""

    traps: list[Trap] = field(default_factory=list)
    passed_by: Counter[str] = field(default_factory=Counter)
    _springing: bool = False

    def passed(self, step: str) -> None:
        """This step was reached."""
        self.passed_by[step] += 1
        if self._springing:
            return
        for trap in self.traps:
            if trap.step in ("", step):
                trap.nth -= 1
                if trap.nth == 0:
                    self.traps.remove(trap)
                    self._springing = True
                    try:
                        trap.spring(step)
                    finally:
                        self._springing = False
                    return
