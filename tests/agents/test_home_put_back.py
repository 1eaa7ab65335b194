"""A home, or a holder of its leases, whose memory is put back to an old copy while the scheduler is away."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agents.channels import Channel, home_channel
from agents.contract import messages as m
from agents.contract.envelope import decode, encode, wrap
from agents.contract.granting import epoch_of
from agents.lease import LIVE, LeaseState
from agents.teller import LONGEST_REPEAT_S
from firmware_bridges import bridge as b
from tests.agents.board_town import PATIENCE_S, TOOLPATH, Town, TownShop, mark_of


@pytest.fixture
def town(memory_path: Path) -> Town:
    """Three shops; the first is the job's home and has no machine. The scheduler is gone, and nobody has asked yet."""
    town = Town(memory_path, 3, disk=True)
    home = town.shops[0]
    home.bridge.snapshot = replace(home.bridge.snapshot, state=b.BridgeState.OFFLINE)
    town.scheduler(online=True)
    town.post(mark_of("j1", home.me))
    town.settle()
    town.scheduler(online=False)
    town.settle()
    return town


def spool_of(shop: TownShop) -> Path:
    return shop.folder / f"{shop.config.shop}.sqlite"


def put_back(shop: TownShop, copy: Path) -> None:
    """The process dies, and begins on the copy."""
    shop.spool.close()
    for leftover in shop.folder.glob(f"{shop.config.shop}.sqlite*"):
        leftover.unlink()
    shutil.copy(copy, spool_of(shop))
    shop.begin()


def copied(shop: TownShop) -> Path:
    """As it is on the disk now."""
    to = shop.folder / f"{shop.config.shop}.copy"
    shop.spool._db.execute("VACUUM INTO ?", (str(to),))
    return to


def until_granted(town: Town) -> None:
    town.go(PATIENCE_S)
    town.everybody()
    for _ in range(400):
        if town.shops[0].board.home.book.charges():
            return
        town.go(0.05)
    raise AssertionError("nobody was granted the job")


def test_a_home_that_forgot_its_grant_does_not_grant_again(town: Town) -> None:
    home = town.shops[0]
    copy = copied(home)
    until_granted(town)
    town.go(20.0)
    assert [fence for _, _, _, fence in town.runs] == [2]
    put_back(home, copy)
    town.go(PATIENCE_S + 1.0)
    for _ in range(3):
        town.everybody()
        town.settle()
    claim = m.BoardClaim(claim="late", job="j1", attempt=1, shop="s2", agent="pi1", machine="m1", sha256=TOOLPATH)
    assert not home.board.home.claimed(claim), "its own word on the board tells it that it granted"
    assert not home.board.home.book.charges()


def test_a_home_that_forgot_a_start_does_not_let_its_lease_lapse(town: Town) -> None:
    home = town.shops[0]
    until_granted(town)
    copy = copied(home)
    town.go(20.0)
    assert len(town.runs) == 1
    put_back(home, copy)
    town.go(PATIENCE_S)
    for _ in range(3):
        town.go(3600.0)
        town.everybody()
    assert len(town.runs) == 1


def test_a_home_that_forgot_its_book_permits_nothing_once_the_scheduler_was_back(town: Town) -> None:
    home, *others = town.shops
    for shop in others:
        shop.bridge.snapshot = replace(shop.bridge.snapshot, state=b.BridgeState.OFFLINE)
        shop.turn()
    others[0].bridge.snapshot = replace(others[0].bridge.snapshot, state=b.BridgeState.IDLE)
    until_granted(town)
    others[0].spool.put_flags("m1", replace(others[0].spool.flags("m1"), bed_clear=False))
    copy = copied(home)
    back = epoch_of(2, 1)
    town.scheduler(online=True, epoch=back)
    home.board.book_asked(m.BookRequest(scheduler="main", epoch=back))
    put_back(home, copy)
    others[0].clear_bed()
    town.everybody()
    town.go(60.0)
    assert not town.runs, "the scheduler has its book, in which nothing was begun"


def channel(holder: TownShop, home: TownShop) -> Channel:
    return Channel(holder.spool, home_channel(home.me))


def the_holder(town: Town) -> TownShop:
    return next(shop for shop in town.shops if shop.running() is not None)


def told_again(town: Town) -> None:
    for _ in range(6):
        town.go(LONGEST_REPEAT_S + 1.0)
        town.everybody()
        town.settle()


def test_what_a_home_forgot_is_told_to_it_again(town: Town) -> None:
    home = town.shops[0]
    until_granted(town)
    copy = copied(home)
    town.go(20.0)
    holder = the_holder(town)
    town.settle()
    assert not channel(holder, home).unacknowledged_count()
    put_back(home, copy)
    told_again(town)
    holder.bridge.finish()
    told_again(town)
    assert not channel(holder, home).unacknowledged_count(), "the line between the two is not stuck"
    granted = home.board.home.book.newest("j1")
    assert granted is not None
    assert granted.lease.committed
    assert isinstance(granted.lease.ended, m.Finished)


def test_a_holder_put_back_knows_it_by_its_homes_answer(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    home = town.shops[0]
    until_granted(town)
    town.go(0.06)
    (holder,) = [shop for shop in town.shops if shop.leases(*LIVE)]
    copy = copied(holder)
    town.go(20.0)
    assert len(town.runs) == 1
    put_back(holder, copy)
    told_again(town)
    assert len(town.runs) == 1, "no fence is begun twice"
    assert "an old spool" in caplog.text, "its machines move nothing before somebody looked"
    assert not channel(holder, home).unacknowledged_count(), "the line between the two is not stuck"


def test_of_two_old_copies_none_waits_for_the_other_and_none_begins_anew(town: Town) -> None:
    """The holder told on from a number that the home, put back behind it, did not know the way to: for ever."""
    home = town.shops[0]
    until_granted(town)
    copy = copied(home)
    town.go(20.0)
    assert len(town.runs) == 1
    put_back(home, copy)
    granted = home.board.home.book.newest("j1")
    assert granted is not None
    agent, lease = granted.lease.agent, granted.lease

    def tell(seq: int, body: m.Staged | m.StartIntended) -> int:
        said = wrap(body, sender=f"agent/{agent.replace('.', '/')}", now=town.clock.now(), seq=seq)
        home.board.home.told(agent, said)
        return home.board.home.book.heard_upto(agent)

    assert tell(1, m.Staged(job="j1", fence=lease.fence, machine="m1", sha256=TOOLPATH)) == 1
    for _ in range(2):
        assert tell(9, m.StartIntended(job="j1", fence=lease.fence, machine="m1")) == 1, "more may be on its way"
        town.clock.go(20.0)
    assert tell(9, m.StartIntended(job="j1", fence=lease.fence, machine="m1")) == 9
    ((seq, why),) = home.board.home.book.refused(agent)
    assert seq == 9
    assert "may have been permitted before" in why


def test_a_number_that_was_used_is_learned_of_once(town: Town) -> None:
    """An old word that came behind the new one is named in every acknowledgement from then on."""
    home = town.shops[0]
    until_granted(town)
    town.go(20.0)
    holder = the_holder(town)
    assert channel(holder, home).verdict(1) == (True, None)
    ack = m.JournalAck(upto=channel(holder, home).last_seq, refused=(m.refused_event(1, m.used_number(1)),))

    def heard() -> bool:
        payload = encode(wrap(ack, sender=f"agent/{home.me}", now=town.clock.now()))
        holder.inbox.receive_from_home(home.me, payload)
        return not holder.spool.flags("m1").disarmed

    assert not heard(), "its memory is an old copy"
    holder.spool.put_flags("m1", replace(holder.spool.flags("m1"), disarmed=""))
    assert heard(), "a person looked since"


def test_what_a_holder_tells_anew_leaves_out_no_number(town: Town) -> None:
    """A home waits for each, and does not keep what comes early: the line between the two was stuck."""
    home = town.shops[0]
    until_granted(town)
    town.go(20.0)
    holder = the_holder(town)
    told_again(town)
    line = channel(holder, home)
    used = line.last_seq + 1
    home.board.home.book.note_heard(holder.me.replace("/", "."), used, "of a life forgotten here", m.used_number(used))
    for _ in range(2):
        line.journal(m.GivenUp(job="j2", fence=9, machine="m1", why="nothing moved"), town.clock.now())
    ack = m.JournalAck(upto=used, refused=(m.refused_event(used, m.used_number(used)),))
    payload = encode(wrap(ack, sender=f"agent/{home.me}", now=town.clock.now()))
    holder.inbox.receive_from_home(home.me, payload)
    assert [(seq, decode(body).seq) for seq, body in line.unacknowledged()] == [
        (used + 1, used + 1),
        (used + 2, used + 2),
    ]
    told_again(town)
    assert not line.unacknowledged_count()


def test_a_start_that_a_silent_home_was_asked_for_ends_with_the_schedulers_word(town: Town) -> None:
    """The scheduler is back and calls the lease over; the home, which may have forgotten it, need not answer."""
    home, *others = town.shops
    until_granted(town)
    home.cut()
    town.go(20.0)
    holder = next(shop for shop in others if shop.leases(*LIVE))
    (lease,) = holder.leases(*LIVE)
    assert lease.state is LeaseState.INTENDED
    town.inbox(holder, m.Withdrawal(job="j1", lease=lease.lease, fence=lease.fence, why="it is not live here any more"))
    town.settle()
    holder.turn()
    assert not holder.leases(*LIVE)
    said = [decode(payload).body for _, payload in holder.spool.unacknowledged()]
    assert any(isinstance(body, m.GivenUp) and body.fence == lease.fence for body in said), "bindingly"
    assert not town.runs
