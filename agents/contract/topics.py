"""Every topic of the contract: how it is built, who writes it, what it carries.

`TOPICS` is the one table that the ACLs, the AsyncAPI document and the tests are made from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, get_args

from agents.contract import messages as m

PREFIX: Final = "workshed/v1"
_SEGMENT: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")


class Writer(StrEnum):
    """Who may publish on a topic."""

    AGENT = "agent"
    SCHEDULER = "scheduler"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic pattern (`{name}` marks a parameter) with its rules."""

    name: str
    pattern: str
    writer: Writer
    retained: bool
    qos: int
    carries: tuple[type[m.Message], ...]
    summary: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in braces, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.pattern))

    def of(self, **values: str) -> str:
        """The concrete topic. Raises ValueError for a missing, extra or unsafe segment."""
        if set(values) != set(self.parameters):
            raise ValueError(f"topic {self.name} takes {self.parameters}, got {tuple(values)}")
        for key, value in values.items():
            if not _SEGMENT.match(value):
                raise ValueError(f"{key} {value!r} cannot stand in a topic: letters, digits, - and _ only, 64 at most")
        return f"{PREFIX}/{self.pattern.format(**values)}"

    def filter(self, **values: str) -> str:
        """A subscription filter: parameters not given become `+`."""
        return f"{PREFIX}/" + re.sub(r"\{(\w+)\}", lambda hit: values.get(hit[1], "+"), self.pattern)

    def match(self, topic: str) -> dict[str, str] | None:
        """The parameters of a concrete topic, or None if it is another."""
        if not topic.startswith(PREFIX + "/"):
            return None
        wanted, got = self.pattern.split("/"), topic[len(PREFIX) + 1 :].split("/")
        if len(wanted) != len(got):
            return None
        found: dict[str, str] = {}
        for segment, value in zip(wanted, got, strict=True):
            if segment.startswith("{"):
                if not _SEGMENT.match(value):
                    return None
                found[segment[1:-1]] = value
            elif segment != value:
                return None
        return found


PRESENCE: Final = Topic(
    "presence",
    "{shop}/{agent}/presence",
    Writer.AGENT,
    True,
    1,
    (m.AgentPresence,),
    "The agent is there, or its will says it is not.",
)
MACHINE: Final = Topic(
    "machine",
    "{shop}/{agent}/machine/{machine}",
    Writer.AGENT,
    True,
    1,
    (m.MachineReport,),
    "A machine's description and confirmed state, by exception.",
)
JOURNAL: Final = Topic(
    "journal",
    "{shop}/{agent}/journal",
    Writer.AGENT,
    False,
    1,
    get_args(m.JournalBody),
    "What happened, in order, numbered; sent again until acknowledged.",
)
INBOX: Final = Topic(
    "inbox",
    "{shop}/{agent}/inbox",
    Writer.SCHEDULER,
    False,
    1,
    get_args(m.InboxMessage),
    "Offers, grants, withdrawals, requests and journal acknowledgements.",
)
TELEMETRY: Final = Topic(
    "telemetry",
    "{shop}/{agent}/telemetry/{machine}",
    Writer.AGENT,
    False,
    0,
    (m.Telemetry,),
    "Measured values, opt-in.",
)
BOARD: Final = Topic(
    "board", "board/{ring}/{process}/{job}", Writer.SCHEDULER, True, 1, (m.BoardMark,), "An open job's mark."
)
BOARD_CLAIMS: Final = Topic(
    "board_claims",
    "board/{ring}/{process}/{job}/claims",
    Writer.AGENT,
    False,
    1,
    (m.BoardClaim,),
    "Claims on a board mark.",
)
SCHEDULER_PRESENCE: Final = Topic(
    "scheduler_presence",
    "scheduler/{scheduler}/presence",
    Writer.SCHEDULER,
    True,
    1,
    (m.SchedulerPresence,),
    "A scheduler is there, or its will says it is not.",
)

HOME_BOARD: Final = Topic(
    "home_board",
    "{shop}/{agent}/board/{ring}/{process}/{job}",
    Writer.AGENT,
    True,
    1,
    (m.BoardMark,),
    "What a job's home says of it while the scheduler is away: open again, or held. It counts over the mark on the "
    "board if that names this home, in the same epoch.",
)
GRANTS: Final = Topic(
    "grants",
    "{shop}/{agent}/grants/{to_shop}/{to_agent}",
    Writer.AGENT,
    False,
    1,
    (m.Grant, m.Withdrawal, m.JournalAck),
    "What a home says to an agent that claimed one of its jobs from the board.",
)
HOME_JOURNAL: Final = Topic(
    "home_journal",
    "{shop}/{agent}/journal/{to_shop}/{to_agent}",
    Writer.AGENT,
    False,
    1,
    get_args(m.JournalBody),
    "What happened under leases of a home, in order, with numbers of its own; sent again until acknowledged.",
)

#: Matching goes from first to last: literal heads before parameters.
TOPICS: Final[tuple[Topic, ...]] = (
    SCHEDULER_PRESENCE,
    BOARD_CLAIMS,
    BOARD,
    PRESENCE,
    MACHINE,
    JOURNAL,
    INBOX,
    TELEMETRY,
    HOME_BOARD,
    GRANTS,
    HOME_JOURNAL,
)


def identify(topic: str) -> tuple[Topic, dict[str, str]] | None:
    """Which topic of the contract this is, with its parameters; None for any other."""
    for candidate in TOPICS:
        found = candidate.match(topic)
        if found is not None and found.get("shop") not in {"board", "scheduler"}:
            return candidate, found
    return None
