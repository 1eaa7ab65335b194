"""The envelope around every message: all that must be known to act exactly once.

Nothing depends on MQTT 5: id, sender, sequence, expiry, reply topic and trace context stand in the payload, so that the
same bytes mean the same on a 3.1.1 broker.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from agents.contract.messages import AnyMessage, Message

SCHEMA_VERSION: Final = 1
#: Larger payloads are refused unread: no message of the contract comes near it.
MAX_PAYLOAD_BYTES: Final = 256 * 1024

_M = TypeVar("_M", bound=Message)


class RefusedMessage(ValueError):
    """The payload is not a message of this contract; the text says why, for the log and for the sender."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`seq` numbers an agent's journal (1, 2, 3 …, across restarts); after `expires` the message does nothing."""

    v: int
    id: str
    sent: datetime
    sender: str
    body: AnyMessage
    seq: int | None = None
    expires: datetime | None = None
    reply_to: str = ""
    traceparent: str = ""

    def expired(self, now: datetime) -> bool:
        """Whether the message has lost its power at `now` (UTC)."""
        return self.expires is not None and now >= self.expires


class _VersionProbe(msgspec.Struct):
    v: int


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Envelope)
_probe: Final = msgspec.json.Decoder(_VersionProbe)


def wrap(
    body: AnyMessage,
    *,
    sender: str,
    now: datetime,
    seq: int | None = None,
    valid_for: timedelta | None = None,
    reply_to: str = "",
    traceparent: str = "",
    message_id: str | None = None,
) -> Envelope:
    """Put `body` in an envelope sent `now` (UTC, aware). Raises ValueError for a naive time."""
    if now.tzinfo is None:
        raise ValueError("the time of an envelope must carry its zone (UTC)")
    now = now.astimezone(UTC)
    return Envelope(
        v=SCHEMA_VERSION,
        id=message_id or uuid.uuid4().hex,
        sent=now,
        sender=sender,
        body=body,
        seq=seq,
        expires=None if valid_for is None else now + valid_for,
        reply_to=reply_to,
        traceparent=traceparent,
    )


def encode(envelope: Envelope) -> bytes:
    """The envelope as UTF-8 JSON."""
    return _encoder.encode(envelope)


def decode(payload: bytes | bytearray | memoryview) -> Envelope:
    """Read an envelope. Raises RefusedMessage for anything that is not one, of a version known here."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RefusedMessage(f"payload of {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are read")
    try:
        version = _probe.decode(payload).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedMessage(f"not a Workshed envelope: {error}") from error
    if version != SCHEMA_VERSION:
        raise RefusedMessage(f"schema version {version} is not known here; this side speaks {SCHEMA_VERSION}")
    try:
        envelope = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedMessage(f"not a message of schema version {SCHEMA_VERSION}: {error}") from error
    for moment in (envelope.sent, envelope.expires):
        if moment is not None and moment.tzinfo is None:
            raise RefusedMessage("times must carry their zone (UTC)")
    return envelope


def expect(envelope: Envelope, *kinds: type[_M]) -> _M:
    """The body, if it is one of `kinds`; RefusedMessage otherwise (a message on a topic that does not carry it)."""
    if isinstance(envelope.body, kinds):
        return envelope.body
    wanted = ", ".join(kind.__name__ for kind in kinds)
    raise RefusedMessage(f"{type(envelope.body).__name__} does not belong on this topic, which carries {wanted}")
