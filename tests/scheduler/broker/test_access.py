"""Rights come from the contract's table; nothing wider than it."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest

from agents.contract.topics import GRANTS, HOME_BOARD, HOME_JOURNAL, TOPICS, Topic, Writer
from scheduler.broker import BrokerKind, BrokerProgram, BrokerSetup, agent_principal, scheduler_principal
from scheduler.broker.mosquitto import password_hash
from scheduler.broker.nats import subjects


def covers(rule: str, topic: str) -> bool:
    """MQTT filter matching, section 4.7 of the standard, written for this test only."""
    wanted, got = rule.split("/"), topic.split("/")
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(got) or part not in ("+", got[index]):
            return False
    return len(wanted) == len(got)


def concrete(topic_index: int, **own: str) -> str:
    topic = TOPICS[topic_index]
    return topic.of(**{name: own.get(name, "x1") for name in topic.parameters})


@pytest.mark.parametrize("index", range(len(TOPICS)), ids=[topic.name for topic in TOPICS])
def test_an_agent_writes_what_agents_write_in_its_own_name_only(index: int) -> None:
    rights = agent_principal("barn", "pi")
    own = concrete(index, shop="barn", agent="pi")
    may = any(covers(rule, own) for rule in rights.publish)
    assert may == (TOPICS[index].writer is Writer.AGENT)
    if "shop" in TOPICS[index].parameters:
        for stranger in (concrete(index, shop="mill", agent="pi"), concrete(index, shop="barn", agent="other")):
            assert not any(covers(rule, stranger) for rule in rights.publish)
            read = any(covers(rule, stranger) for rule in rights.read)
            assert read == (TOPICS[index] is HOME_BOARD), "all may read what homes say of their jobs"


@pytest.mark.parametrize("topic", [GRANTS, HOME_JOURNAL], ids=lambda topic: topic.name)
def test_what_agents_say_to_one_of_them_only_that_one_reads(topic: Topic) -> None:
    rights = agent_principal("barn", "pi")
    to_it = topic.of(shop="mill", agent="pi", to_shop="barn", to_agent="pi")
    to_another = topic.of(shop="mill", agent="pi", to_shop="shed", to_agent="pi")
    assert any(covers(rule, to_it) for rule in rights.read)
    assert not any(covers(rule, to_another) for rule in rights.read)
    assert not any(covers(rule, to_it) for rule in rights.publish)


@pytest.mark.parametrize("index", range(len(TOPICS)), ids=[topic.name for topic in TOPICS])
def test_a_scheduler_reads_all_and_writes_what_is_its_own(index: int) -> None:
    rights = scheduler_principal("main")
    own = concrete(index, scheduler="main")
    assert any(covers(rule, own) for rule in rights.read)
    assert any(covers(rule, own) for rule in rights.publish) == (TOPICS[index].writer is not Writer.AGENT)
    assert not any(covers(rule, "workshed/v1/scheduler/other/presence") for rule in rights.publish)


@pytest.mark.parametrize("name", ["+", "#", "a/b", "", "a b", "x" * 65])
def test_a_name_that_would_widen_the_rights_is_refused(name: str) -> None:
    for attempt in (lambda: agent_principal(name, "pi"), lambda: agent_principal("barn", name)):
        with pytest.raises(ValueError, match="cannot stand in a topic"):
            attempt()
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        scheduler_principal(name)


def test_filters_become_subjects() -> None:
    assert subjects("workshed/v1/barn/pi/machine/+") == ("workshed.v1.barn.pi.machine.*",)
    assert subjects("workshed/v1/#") == ("workshed.v1", "workshed.v1.>")
    with pytest.raises(ValueError, match="never given"):
        subjects("#")


def test_password_hash_has_mosquittos_shape() -> None:
    salt = bytes(range(12))
    kind, rounds, got_salt, digest = password_hash("secret", salt).split("$")[1:]
    assert (kind, rounds, base64.b64decode(got_salt)) == ("7", "101", salt)
    assert base64.b64decode(digest) == hashlib.pbkdf2_hmac("sha512", b"secret", salt, 101)


@pytest.mark.parametrize("kind", list(BrokerKind))
def test_every_file_with_a_secret_is_its_owners_only_and_passwords_stay(kind: BrokerKind, tmp_path: Path) -> None:
    setup = BrokerSetup(BrokerProgram(kind, Path("/bin/false")), tmp_path / "b", 1, [scheduler_principal("main")])
    setup.write()
    first = setup.password("scheduler.main")
    setup.admit(agent_principal("barn", "pi"))
    assert setup.password("scheduler.main") == first
    assert len(setup.password("agent.barn.pi")) >= 40
    for file in (tmp_path / "b").rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
