"""The worlds of the lease protocol's model: what a scheduler's database, an agent's spool and the channels hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from agents.contract.vocabulary import JobState
from agents.lease import LeaseState


class Broken(AssertionError):
    """A rule of the protocol does not hold; the text names it."""


class Job(NamedTuple):
    """A job in the scheduler's database. `holder` has its lease or its offer; `doubt` waits for a person."""

    state: JobState = JobState.WAITING
    fence: int = 0
    given: int = 0
    """The highest fence of any lease here."""
    holder: int = -1
    offer: int = 0
    doubt: bool = False
    old: bool = False
    """Offered or leased before the scheduler's last start."""


class Base(NamedTuple):
    """The scheduler's database."""

    jobs: tuple[Job, ...]
    cursors: tuple[int, ...]
    refused: tuple[frozenset[int], ...]
    heard: tuple[bool, ...]
    """Which agents said what they hold since the scheduler's last start."""


class Lease(NamedTuple):
    """What an agent holds for a job."""

    state: LeaseState
    fence: int
    seq: int = 0
    permitted: bool = False


class Event(NamedTuple):
    """A journal entry; holdings carry what was held when they were said, and every highest fence."""

    seq: int
    kinds: tuple[str, ...]
    job: int = -1
    fence: int = 0
    offer: int = 0
    held: tuple[tuple[int, int, str], ...] = ()
    highest: tuple[int, ...] = ()


class Agent(NamedTuple):
    """An agent's spool, and the gate of its teller: the number of its holdings until they are acknowledged."""

    leases: tuple[Lease | None, ...]
    highest: tuple[int, ...]
    claimed: tuple[int, ...]
    journal: tuple[Event, ...] = ()
    last: int = 0
    gate: int = 0
    seen: frozenset[tuple[Any, ...]] = frozenset()


class World(NamedTuple):
    """Everything. `plans` are what scheduler processes want to carry out, made from what they read some time ago."""

    base: Base
    agents: tuple[Agent, ...]
    down: tuple[tuple[tuple[Any, ...], ...], ...]
    """Messages on their way to each agent."""
    plans: tuple[tuple[int, int, Job] | None, ...]
    committed: frozenset[tuple[int, int, int]] = frozenset()
    """(job, fence, agent) of starts that were committed: outside of all that can be lost."""
    runs: frozenset[tuple[int, int, int]] = frozenset()
    made: tuple[int, ...] = ()
    copy: Base | None = None
    deaths: int = 0
    restored: bool = False


@dataclass(frozen=True)
class Bounds:
    """How large a world is, and how often what makes it larger may happen."""

    jobs: int = 1
    agents: int = 2
    replicas: int = 1
    in_flight: int = 1
    fences: int = 2
    offers: int = 3
    """How often a job may be offered."""
    deaths: int = 1
    fails: bool = True
    loses: bool = True
    restores: bool = False


@dataclass(frozen=True)
class Guards:
    """What a mutation takes away; all there in the product."""

    permission: bool = True
    numbers: bool = True
    """Journal numbers are applied once."""
    message_ids: bool = True
    reconcile_first: bool = True


def begin(bounds: Bounds) -> World:
    """Nothing was said yet, and every agent was heard."""
    jobs, agents = bounds.jobs, bounds.agents
    base = Base((Job(),) * jobs, (0,) * agents, (frozenset(),) * agents, (True,) * agents)
    agent = Agent((None,) * jobs, (0,) * jobs, (0,) * jobs)
    return World(base, (agent,) * agents, ((),) * agents, (None,) * bounds.replicas, made=(0,) * jobs)


def put(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    """The tuple with one other element."""
    return (*values[:index], value, *values[index + 1 :])
