"""Reading what may be anything: only whole messages of this version come through."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.contract import PREFIX, TOPICS, decode, encode, expect, identify, wrap
from agents.contract import messages as m
from agents.contract.envelope import MAX_PAYLOAD_BYTES, RefusedMessage

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ACK = wrap(m.JournalAck(upto=3), sender="scheduler/main", now=NOW, valid_for=timedelta(seconds=60))


def test_there_and_back() -> None:
    assert decode(encode(ACK)) == ACK
    assert not ACK.expired(NOW + timedelta(seconds=59))
    assert ACK.expired(NOW + timedelta(seconds=60))


def test_unknown_fields_are_ignored_and_unknown_versions_and_kinds_refused() -> None:
    plain = json.loads(encode(ACK))
    assert decode(json.dumps({**plain, "later": 1, "body": {**plain["body"], "more": [1]}}).encode()) == ACK
    with pytest.raises(RefusedMessage, match="version 2"):
        decode(json.dumps({**plain, "v": 2}).encode())
    with pytest.raises(RefusedMessage, match="not a message"):
        decode(json.dumps({**plain, "body": {"type": "start_now"}}).encode())


def test_times_without_a_zone_are_refused_wherever_they_stand() -> None:
    plain = json.loads(encode(ACK))
    with pytest.raises(RefusedMessage):
        decode(json.dumps({**plain, "sent": "2030-01-01T00:00:00"}).encode())
    grant = m.Grant(lease="l", offer="o", job="j", attempt=1, fence=1, machine="m", start_by=NOW)
    body = msgspec.to_builtins(grant) | {"start_by": "2030-01-01T00:00:00"}
    with pytest.raises(RefusedMessage):
        decode(json.dumps({**plain, "body": body}).encode())
    with pytest.raises(ValueError, match="zone"):
        wrap(m.JournalAck(upto=1), sender="x", now=datetime(2030, 1, 1))  # noqa: DTZ001


def test_a_message_of_another_topic_is_refused() -> None:
    with pytest.raises(RefusedMessage, match="does not belong"):
        expect(ACK, m.Offer, m.Grant)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(payload: bytes) -> None:
    try:
        decode(payload)
    except RefusedMessage:
        return
    raise AssertionError("300 random bytes are no envelope")


def test_what_is_too_large_is_refused_unread() -> None:
    with pytest.raises(RefusedMessage, match="at most"):
        decode(b" " * (MAX_PAYLOAD_BYTES + 1))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(RefusedMessage):
        decode(b'{"v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@given(st.text(max_size=30))
def test_no_text_can_leave_its_segment_of_a_topic(name: str) -> None:
    inbox = next(topic for topic in TOPICS if topic.name == "inbox")
    try:
        topic = inbox.of(shop=name, agent="a")
    except ValueError:
        return
    assert topic == f"{PREFIX}/{name}/a/inbox"
    assert not set(name) & set("/+#")


def test_topics_are_told_apart() -> None:
    for topic in TOPICS:
        values = {name: f"x{number}" for number, name in enumerate(topic.parameters)}
        found = identify(topic.of(**values))
        assert found is not None
        assert found == (topic, values)
    assert identify("workshed/v1/board/x/y") is None
    assert identify("elsewhere/v1/a/b/inbox") is None


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({"kind": "number_used", "why": "nummer 9"}, True),
        ({"kind": "other", "why": f"number 9 {m.NUMBER_USED}"}, False),
        ({"kind": "of a newer peer", "why": "no"}, False),
        ({"why": f"number 9 {m.NUMBER_USED}"}, True),
        ({"why": "fence 1 is stale"}, False),
    ],
)
def test_a_used_number_is_told_by_a_field_and_by_older_peers_in_words(said: dict[str, str], used: bool) -> None:
    event = msgspec.convert({"seq": 9, **said}, m.RefusedEvent)
    assert event.number_used is used


def test_what_is_told_of_a_used_number_is_understood_by_older_peers_too() -> None:
    told = m.refused_event(9, m.used_number(9))
    assert told.kind is m.Refusal.NUMBER_USED
    assert m.NUMBER_USED in told.why
    assert m.refused_event(9, m.used_number(8)).kind is m.Refusal.OTHER
    assert m.refused_event(9, "x" * 400).why == "x" * 300
