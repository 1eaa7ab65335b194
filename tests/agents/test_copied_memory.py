"""Two processes with one name and one memory (a copied card): what one told is not the other's."""

from __future__ import annotations

import shutil
from pathlib import Path

from agents.contract import messages as m
from agents.contract.envelope import decode
from agents.lease import LeaseState
from tests.agents.scene import Scene, grant_of, offer_of
from tests.agents.test_several_schedulers import Two


def state_of(scene: Scene) -> LeaseState:
    lease = scene.spool.lease_of_job("j1")
    assert lease is not None
    return lease.state


def last_id(scene: Scene) -> str:
    return scene.events()[-1].id


def twins(folder: Path) -> tuple[Scene, Scene]:
    """Two scenes that were one until both held the same lease behind a shut gate."""
    one = Scene(folder / "one")
    one.claim_and_grant()
    one.close()
    shutil.copytree(folder / "one", folder / "other")
    return Scene(folder / "one"), Scene(folder / "other")


def test_a_start_that_a_copy_of_this_memory_told_is_no_permission(tmp_path: Path) -> None:
    one, other = twins(tmp_path)
    one.set_flags(bed_clear=True)
    other.set_flags(bed_clear=True)
    assert (one.kinds()[-1], other.kinds()[-1]) == ("StartIntended", "StartIntended")
    assert one.spool.last_seq == other.spool.last_seq
    committed = m.JournalAck(upto=one.spool.last_seq, last=last_id(one))
    other.hear(committed)
    assert other.bridge.runs == []
    one.hear(committed)
    assert len(one.bridge.runs) == 1
    refused = m.RefusedEvent(seq=other.spool.last_seq, why=f"number 1 {m.NUMBER_USED}")
    other.hear(m.JournalAck(upto=other.spool.last_seq, last=last_id(one), refused=(refused,)))
    assert other.bridge.runs == []
    assert state_of(other) is LeaseState.RELEASED
    one.close()
    other.close()


def test_what_stands_below_a_copys_word_is_not_committed_either(tmp_path: Path) -> None:
    one, other = twins(tmp_path)
    other.set_flags(bed_clear=True)
    intended = other.spool.last_seq
    other.inbox.say_holdings(other.clock.now())
    one.set_flags(bed_clear=True)
    one.inbox.say_holdings(one.clock.now())
    other.hear(m.JournalAck(upto=intended + 1, last=last_id(one)))
    assert other.bridge.runs == []
    one.close()
    other.close()


def test_a_further_network_is_believed_no_more(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.set_flags(bed_clear=True)
    two.say(1, offer_of())
    two.say(1, grant_of(offer_of()))
    two.turn()
    seq = two.channel.last_seq
    told = two.channel.event(seq)
    assert told is not None
    two.say(1, m.JournalAck(upto=seq, last="somebody else's"))
    two.turn()
    assert two.bridge.runs == []
    two.say(1, m.JournalAck(upto=seq, last=decode(told).id))
    two.turn()
    assert len(two.bridge.runs) == 1
    two.close()
