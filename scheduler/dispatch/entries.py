"""A journal's entries as they come off the wire: readable, or refused by their number so that the journal goes on.

An event that cannot be read (a newer agent's, a broken one's) would otherwise leave a hole that its agent fills
with the same bytes for ever. Refused by number, it changed nothing, and the agent is told why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec

from agents.contract import RefusedMessage, decode
from agents.contract import messages as m
from agents.contract.envelope import MAX_PAYLOAD_BYTES
from scheduler.dispatch.bounds import LARGEST_SEQ, out_of_bounds

_JOURNAL_KINDS: Final = get_args(m.JournalBody)
_UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered journal message of one agent. `refused` says why its body is not applied; empty: it is."""

    agent: str
    seq: int
    message: str
    """The message's id: the same number with another id is another event."""
    kind: str
    payload: bytes
    body: Any = None
    refused: str = ""


class _Skeleton(msgspec.Struct):
    """The little that must be readable to refuse the rest."""

    id: str
    sender: str
    seq: int


_skeleton: Final = msgspec.json.Decoder(_Skeleton)


def sender_of(agent: str) -> str:
    """How `{shop}.{agent}` signs its messages."""
    shop, _, name = agent.partition(".")
    return f"agent/{shop}/{name}"


def read_entry(agent: str, sender: str, payload: bytes) -> Entry:
    """A journal message from the topic of `agent`. Raises RefusedMessage where not even its number can be read."""
    try:
        envelope = decode(payload)
    except RefusedMessage as error:
        return _refused(agent, sender, payload, error)
    if envelope.seq is None:
        raise RefusedMessage("a journal message must carry its number (seq ≥ 1)")
    message = _check(sender, envelope.sender, envelope.seq, envelope.id)
    body = envelope.body
    tag = str(type(body).__struct_config__.tag)
    why = out_of_bounds(body)
    if not isinstance(body, _JOURNAL_KINDS):
        why = f"{tag} does not belong in a journal"
    return Entry(agent, envelope.seq, message, tag, payload, None if why else body, why)


def _refused(agent: str, sender: str, payload: bytes, error: RefusedMessage) -> Entry:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise error
    try:
        skeleton = _skeleton.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise error from None
    message = _check(sender, skeleton.sender, skeleton.seq, skeleton.id)
    return Entry(agent, skeleton.seq, message, _UNREADABLE, payload, None, str(error).replace("\0", "")[:300])


def _check(sender: str, said: str, seq: int, message: str) -> str:
    """The message's id as it is kept. Raises RefusedMessage for what cannot stand in this agent's journal."""
    if not 1 <= seq <= LARGEST_SEQ:
        raise RefusedMessage("a journal message must carry its number (seq ≥ 1)")
    if said != sender:
        raise RefusedMessage(f"{said[:200]!r} may not write in the journal of {sender!r}")
    why = out_of_bounds(message)
    if why:
        raise RefusedMessage(f"{why} in the message's id")
    return message[:64]
