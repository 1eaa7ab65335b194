"""Who may publish and who may read which topic: derived from the contract's one table, for any broker.

An agent writes what the table says agents write, in its own shop and name only; it reads its own inbox, what other
agents say to it by name, the board with its claims, what homes say of their jobs, and the schedulers' presence. A
scheduler writes inboxes, the board and its own presence; it reads everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.contract.topics import BOARD_CLAIMS, HOME_BOARD, PREFIX, TOPICS, Topic, Writer


@dataclass(frozen=True, slots=True)
class Principal:
    """One credential and its rights, as MQTT topic filters (`+` one level, `#` the rest)."""

    username: str
    publish: tuple[str, ...]
    read: tuple[str, ...]


def agent_principal(shop: str, agent: str) -> Principal:
    """The rights of one agent. Raises ValueError for names that cannot stand in a topic."""
    own = {"shop": shop, "agent": agent}
    _refuse_unsafe(own)
    return Principal(
        username=agent_username(shop, agent),
        publish=tuple(_own(topic, own) for topic in TOPICS if topic.writer is Writer.AGENT),
        read=(
            *(_own(topic, own) for topic in TOPICS if topic.writer is not Writer.AGENT),
            *(topic.filter() for topic in (BOARD_CLAIMS, HOME_BOARD)),
            *(topic.filter(to_shop=shop, to_agent=agent) for topic in TOPICS if "to_shop" in topic.parameters),
        ),
    )


def scheduler_principal(scheduler: str) -> Principal:
    """The rights of one scheduler. Raises ValueError for a name that cannot stand in a topic."""
    own = {"scheduler": scheduler}
    _refuse_unsafe(own)
    return Principal(
        username=scheduler_username(scheduler),
        publish=tuple(_own(topic, own) for topic in TOPICS if topic.writer is not Writer.AGENT),
        read=(f"{PREFIX}/#",),
    )


def agent_username(shop: str, agent: str) -> str:
    """`agent.{shop}.{agent}`: the dot cannot stand in either name, so two agents never share one."""
    return f"agent.{shop}.{agent}"


def scheduler_username(scheduler: str) -> str:
    """`scheduler.{id}`."""
    return f"scheduler.{scheduler}"


def _own(topic: Topic, own: dict[str, str]) -> str:
    return topic.filter(**{name: own[name] for name in topic.parameters if name in own})


def _refuse_unsafe(own: dict[str, str]) -> None:
    """`Topic.of` is the contract's own check of a segment; a wildcard in a name would widen the rights."""
    for topic in TOPICS:
        if set(own) <= set(topic.parameters):
            topic.of(**{name: own.get(name, "x") for name in topic.parameters})
