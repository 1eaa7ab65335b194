"""Pulling from the board: few messages whatever the size of the fleet, and no job twice whatever happens."""

from __future__ import annotations

import heapq
import os
import random
import shutil
import statistics
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from agents.channels import Channel, home_channel
from agents.contract import messages as m
from agents.contract import topics
from agents.contract.envelope import decode, encode, wrap
from agents.contract.granting import epoch_of
from agents.contract.vocabulary import NeedClass
from agents.doubt import compared, put_in_doubt
from agents.inputs import Asked
from agents.lease import LeaseEvent, LeaseState
from agents.pull import SLOT_S, SLOTS, delay_s, draw, pressing
from agents.spool import Spool
from firmware_bridges import bridge as b
from tests.agents.board_town import PATIENCE_S, Town, mark_of, scheduler_goes
from tests.agents.scene import T0, grant_of, offer_of
from tests.faults.shop import back_up


def of_the_jobs(town: Town) -> int:
    """Messages that were published about jobs, presence apart."""
    return sum(count for kind, count in town.broker.published.items() if not kind.startswith("scheduler_presence"))


def left_alone(folder: Path, shops: int, jobs: int) -> Town:
    """A town whose scheduler posted some jobs, all with the first shop as their home, and went."""
    town = Town(folder, shops)
    town.scheduler(online=True)
    for number in range(jobs):
        town.post(mark_of(f"j{number}", town.shops[0].me))
    town.settle()
    town.everybody()
    assert not town.runs, "nobody pulls while the scheduler is there"
    town.scheduler(online=False)
    town.settle()
    town.go(PATIENCE_S)
    town.everybody()
    town.settle()
    return town


@pytest.mark.parametrize("fleet", [10, 100])
def test_every_job_is_pulled_once(memory_path: Path, fleet: int) -> None:
    town = left_alone(memory_path, fleet, 8)
    town.go(60.0)
    assert Counter(job for _, _, job, _ in town.runs) == Counter(f"j{n}" for n in range(8))


def test_messages_a_job_do_not_grow_with_the_fleet(memory_path: Path) -> None:
    """Mark, claims, the home's mark, grant, what its holder tells and the acknowledgements: flat from 10 to 1,000."""
    each: dict[int, float] = {}
    claims: dict[int, float] = {}
    jobs = 8
    for fleet in (10, 100, 1000):
        town = left_alone(memory_path / str(fleet), fleet, jobs)
        town.go(30.0)
        assert len(town.runs) == jobs
        each[fleet] = of_the_jobs(town) / jobs
        claims[fleet] = town.broker.published["board_claims:BoardClaim"] / jobs
        for shop in town.shops:
            shop.spool.close()
    print("messages a job:", each, "of which claims:", claims)
    assert max(each.values()) <= 1.3 * min(each.values()), each
    assert max(claims.values()) <= 3.0, claims


def held_by(shop: str, fence: int) -> m.HeldLease:
    return m.HeldLease(agent=shop.replace("/", "."), machine="m1", fence=fence)


def test_a_city_goes_on_alone(memory_path: Path) -> None:
    """At half time the scheduler dies: every machine runs a job and holds another not begun; as many are open.

    40 shops here; WORKSHED_LONG=1 takes 200. A tenth of them are homes.
    """
    shops, each = 200 if os.environ.get("WORKSHED_LONG") == "1" else 40, 3
    dice = random.Random(5)
    length = {f"j{n}": dice.uniform(900.0, 2700.0) for n in range(shops * each)}
    town = Town(memory_path, shops)
    town.run_s = length.__getitem__
    town.scheduler(online=True)
    homes = [shop.me for shop in town.shops[: shops // 10]]
    for number, shop in enumerate(town.shops):
        town.grant(shop, f"j{number}", start=True)
    began = town.clock.mono
    for number, shop in enumerate(town.shops):
        job = f"j{shops + number}"
        town.post(mark_of(job, homes[number % len(homes)], floor=1, held=held_by(shop.me, 1)))
        town.grant(shop, job, start=False)
    for number in range(2 * shops, shops * each):
        town.post(mark_of(f"j{number}", homes[number % len(homes)]))
    town.settle()
    assert len(town.runs) == shops
    scheduler_goes(town)
    town.go(24 * 3600.0)

    assert Counter(job for _, _, job, _ in town.runs) == Counter(length.keys()), "each once"
    assert town.made() == Counter(length.keys())
    waits = {job: max(0.0, at - began) for at, _, job, _ in town.runs}
    planned = list_schedule(list(length.values()), shops)
    ratio = statistics.mean(waits.values()) / statistics.mean(planned)
    print(f"mean wait {statistics.mean(waits.values()):.0f} s, planned {statistics.mean(planned):.0f} s, {ratio:.2f}")
    assert ratio <= 1.5


def list_schedule(lengths_s: list[float], machines: int) -> list[float]:
    """Waits when every job, in order, goes to the machine that is free first: what the scheduler would have planned."""
    free = [0.0] * machines
    waits = []
    for length in lengths_s:
        start = heapq.heappop(free)
        waits.append(start)
        heapq.heappush(free, start + length)
    return waits


def test_a_lease_that_was_not_begun_is_given_up_and_granted_anew(memory_path: Path) -> None:
    town = Town(memory_path, 3)
    home, holder = town.shops[0], town.shops[1]
    town.scheduler(online=True)
    holder.bridge.snapshot = replace(holder.bridge.snapshot, homed=True)
    town.post(mark_of("j1", home.me, floor=1, held=held_by(holder.me, 1)))
    town.grant(holder, "j1", start=False)
    assert [lease.state for lease in holder.leases(LeaseState.INTENDED)] == [LeaseState.INTENDED]
    scheduler_goes(town)
    town.go(60.0)
    assert [(job, fence) for _, _, job, fence in town.runs] == [("j1", 3)]
    said = [type(decode(row[1]).body).__name__ for row in holder.spool.unacknowledged()]
    assert "GivenUp" in said, "the scheduler will read it too"
    # The scheduler's own permission, late by a day, starts nothing any more.
    town.inbox(holder, m.JournalAck(upto=holder.spool.last_seq))
    town.go(2000.0)
    assert len(town.runs) == 1


def test_an_old_copy_of_who_let_its_home_grant_anew_is_met_as_such(tmp_path: Path) -> None:
    """What it gave up it would start again once its scheduler is back, which may not have heard of it."""
    town = Town(tmp_path, 2, disk=True)
    home, holder = town.shops
    town.scheduler(online=True)
    town.post(mark_of("j1", home.me, floor=1, held=held_by(holder.me, 1)))
    holder.spool.put_flags("m1", replace(holder.spool.flags("m1"), bed_clear=False))
    town.grant(holder, "j1", start=False)
    back_up(tmp_path / f"{holder.config.shop}.sqlite", tmp_path / "old.sqlite")
    scheduler_goes(town)
    town.go(60.0)
    said = [type(decode(row[1]).body).__name__ for row in holder.spool.unacknowledged()]
    assert "GivenUp" in said
    shutil.copy(tmp_path / f"{holder.config.shop}.mark", tmp_path / "old.mark")
    old = Spool(tmp_path / "old.sqlite", sender=f"agent/{holder.me}")
    try:
        assert old.deeds.old_copy
    finally:
        old.close()


def test_a_lease_that_was_begun_is_never_granted_anew(memory_path: Path) -> None:
    town = Town(memory_path, 3)
    town.run_s = lambda job: 5000.0
    town.scheduler(online=True)
    town.post(mark_of("j1", town.shops[0].me, floor=1, held=held_by(town.shops[1].me, 1)))
    town.grant(town.shops[1], "j1", start=True)
    scheduler_goes(town)
    town.go(1000.0)
    assert [(job, fence) for _, _, job, fence in town.runs] == [("j1", 1)]


def test_a_grant_of_the_schedulers_still_on_its_way_is_disclaimed_first(memory_path: Path) -> None:
    """The mark says that a shop holds it; the grant never came: the shop binds itself, and refuses it when it comes."""
    town = Town(memory_path, 2)
    home, holder = town.shops
    town.scheduler(online=True)
    town.inbox(holder, offer_of("j1", "o1", start=town.clock.now()))
    town.post(mark_of("j1", home.me, floor=1, held=held_by(holder.me, 1)))
    town.settle()
    scheduler_goes(town)
    town.inbox(holder, grant_of(offer_of("j1", "o1", start=town.clock.now()), 1, start_by=T0 + timedelta(days=2)))
    town.go(60.0)
    assert [fence for _, _, _, fence in town.runs] == [3]


def test_an_old_copy_does_not_say_of_a_lease_it_may_have_forgotten_that_it_never_came(memory_path: Path) -> None:
    """Nothing moved under this fence, and nothing will: only a memory that forgot nothing may say so."""
    town = Town(memory_path, 2)
    home, holder = town.shops
    town.scheduler(online=True)
    put_in_doubt(holder.spool, ["m1"])
    town.inbox(holder, offer_of("j1", "o1", start=town.clock.now()))
    town.post(mark_of("j1", home.me, floor=1, held=held_by(holder.me, 1)))
    town.settle()
    holder.clear_bed()
    scheduler_goes(town)
    town.go(300.0)
    assert not town.runs, "it may have been made under the fence that was forgotten"
    compared(holder.spool)
    town.everybody()
    town.go(300.0)
    assert [fence for _, _, _, fence in town.runs] == [3]


def test_who_was_granted_what_it_never_claimed_forgot_it_and_does_not_say_that_it_never_came(memory_path: Path) -> None:
    """A folder that was put back whole is not known as an old copy; what the mark says of its shop gives it away."""
    town = Town(memory_path, 2)
    home, holder = town.shops
    town.scheduler(online=True)
    holder.spool.put_flags("m1", replace(holder.spool.flags("m1"), bed_clear=False))
    town.grant(holder, "j1", start=False)
    town.post(mark_of("j1", home.me, floor=2, held=held_by(holder.me, 2)))
    town.settle()
    scheduler_goes(town)
    town.go(300.0)
    assert not town.runs, "it may have been made under the fence that was forgotten"
    assert holder.spool.highest_fence("j1") == 1


def test_an_older_lease_is_given_up_before_the_newer_is_disclaimed(memory_path: Path) -> None:
    town = Town(memory_path, 2)
    home, holder = town.shops
    town.scheduler(online=True)
    holder.spool.put_flags("m1", replace(holder.spool.flags("m1"), bed_clear=False))
    town.grant(holder, "j1", start=False)
    town.inbox(holder, offer_of("j1", "o2", start=town.clock.now()))
    town.post(mark_of("j1", home.me, floor=2, held=held_by(holder.me, 2)))
    town.settle()
    scheduler_goes(town)
    town.go(60.0)
    assert not [one for one in holder.spool.leases() if one.fence < holder.spool.highest_fence("j1")]
    assert holder.spool.highest_fence("j1") >= 2


def test_what_an_old_copy_held_and_its_scheduler_ended_was_not_taken_back_unbegun(memory_path: Path) -> None:
    """The scheduler compared, and said only that the lease is over: it may have been made before memory was lost."""
    town = Town(memory_path, 2)
    home, holder = town.shops
    town.scheduler(online=True)
    town.post(mark_of("j1", home.me, floor=1, held=held_by(holder.me, 1)))
    holder.spool.put_flags("m1", replace(holder.spool.flags("m1"), bed_clear=False))
    town.grant(holder, "j1", start=False)
    put_in_doubt(holder.spool, ["m1"])
    compared(holder.spool)
    holder.supervisor.post(Asked(LeaseEvent.WITHDRAWN, "j1", 1, "this lease is not live here any more"))
    town.settle()
    holder.turn()
    holder.clear_bed()
    lease = holder.spool.lease_of_job("j1")
    assert lease is not None
    assert lease.state is LeaseState.RELEASED
    scheduler_goes(town)
    town.go(300.0)
    assert not town.runs


def test_a_run_that_an_old_copy_believes_under_way_is_granted_to_nobody_else(memory_path: Path) -> None:
    """The copy is from within the run, which may have ended well: a person looks before it is made again."""
    town = left_alone(memory_path, 3, 3)
    town.go(20.0)
    holder = next(shop for shop in town.shops[1:] if shop.running() is not None)
    put_in_doubt(holder.spool, ["m1"])
    holder.supervisor.recover()
    town.go(1000.0)
    assert Counter(job for _, _, job, _ in town.runs) == Counter(f"j{n}" for n in range(3))


def test_a_home_believes_no_refusal_of_a_grant_whose_start_it_permitted(memory_path: Path) -> None:
    """A holder that was put back may say so; the machine runs, or ran."""
    town = left_alone(memory_path, 3, 3)
    town.go(20.0)
    holder = next(shop for shop in town.shops[1:] if shop.running() is not None)
    lease = holder.running()
    assert lease is not None
    refusal = m.GrantRefused(job=lease.job, lease=lease.lease, fence=lease.fence, why="this agent knows no such offer")
    Channel(holder.spool, home_channel(town.shops[0].me)).journal(refusal, town.clock.now())
    town.go(600.0)
    assert Counter(job for _, _, job, _ in town.runs) == Counter(f"j{n}" for n in range(3))


def test_an_attempt_that_fails_is_made_elsewhere_and_not_without_end(memory_path: Path) -> None:
    town = Town(memory_path, 4)
    town.scheduler(online=True)
    town.post(mark_of("j1", town.shops[0].me))
    town.settle()
    scheduler_goes(town)
    town.go(20.0)
    while (shop := next((shop for shop in town.shops if shop.running() is not None), None)) is not None:
        shop.bridge.fail(b.Failure.THERMAL, b.BridgeState.FAULT)
        shop.turn()
        town._ends.clear()
        town.go(30.0)
    assert [fence for _, _, _, fence in town.runs] == [2, 3, 4], "three attempts, fences rise"
    assert len({shop.me for _, shop, _, _ in town.runs}) == 3, "a machine that failed is not free"


@pytest.mark.parametrize("moment", ["granted", "running"])
def test_a_home_that_dies_comes_back_with_its_book(memory_path: Path, moment: str) -> None:
    town = Town(memory_path, 3, disk=True)
    home = town.shops[0]
    home.bridge.snapshot = replace(home.bridge.snapshot, state=b.BridgeState.OFFLINE)
    town.scheduler(online=True)
    town.post(mark_of("j1", home.me))
    town.settle()
    scheduler_goes(town)
    if moment == "granted":
        while not home.board.home.book.charges():
            town.go(0.05)
    else:
        town.go(20.0)
    home.kill()
    town.go(PATIENCE_S + 200.0)
    town.everybody()
    town.go(200.0)
    assert [(job, fence) for _, _, job, fence in town.runs] == [("j1", 2)]


def test_the_scheduler_gets_the_book_and_the_home_grants_no_more(memory_path: Path) -> None:
    town = Town(memory_path, 3)
    home = town.shops[0]
    for shop in town.shops[1:]:
        shop.cut()
    town.scheduler(online=True)
    for job in ("j1", "j2"):
        town.post(mark_of(job, home.me))
    town.settle()
    scheduler_goes(town)
    town.go(20.0)
    ((_, _, made, fence),) = town.runs
    back = epoch_of(2, 1)
    town.inbox(home, m.BookRequest(scheduler="main", epoch=back))
    town.settle()
    (book,) = [body for body in told(home) if isinstance(body, m.HomeBook)]
    assert [(lease.job, lease.fence, lease.committed) for lease in book.leases] == [(made, fence, True)]
    for shop in town.shops[1:]:
        shop.connect()
    town.go(300.0)
    assert len(town.runs) == 1, "the right went back with the book, whatever the old presence says"
    other = "j1" if made == "j2" else "j2"
    town.scheduler(online=True, epoch=back)
    town.post(mark_of(other, home.me, epoch=back))
    town.settle()
    town.scheduler(online=False, epoch=back)
    town.settle()
    town.go(PATIENCE_S)
    town.everybody()
    town.go(60.0)
    assert [job for _, _, job, _ in town.runs] == [made, other], "lent anew, granted anew"
    town.inbox(home, m.BookRequest(scheduler="main", epoch=epoch_of(3, 1), settled=back))
    town.settle()
    assert [lease.job for lease in [b for b in told(home) if isinstance(b, m.HomeBook)][-1].leases] == [other]


def told(shop: object) -> list[object]:
    return [decode(row[1]).body for row in shop.spool.unacknowledged()]  # type: ignore[attr-defined]


def test_nobody_but_the_home_can_grant(memory_path: Path) -> None:
    town = Town(memory_path, 3)
    home, rogue, claimant = town.shops
    rogue.bridge.snapshot = replace(rogue.bridge.snapshot, state=b.BridgeState.OFFLINE)
    home.bridge.snapshot = replace(home.bridge.snapshot, state=b.BridgeState.OFFLINE)
    town.scheduler(online=True)
    town.post(mark_of("j1", home.me))
    town.settle()
    home.cut()
    scheduler_goes(town)
    town.go(10.0)
    (claim,) = claimant.spool.rows("SELECT claim FROM board_claims")[:1]
    offer = claimant.spool.offer(claim[0])
    assert offer is not None
    forged = grant_of(offer.offer, 9, start_by=town.clock.now() + timedelta(hours=1))
    for sender, topic_shop in ((f"agent/{rogue.me}", rogue), (f"agent/{home.me}", rogue)):
        topic = topics.GRANTS.of(shop=topic_shop.config.shop, agent="pi1", to_shop=claimant.config.shop, to_agent="pi1")
        town.broker.publish(topic, encode(wrap(forged, sender=sender, now=town.clock.now())))
    town.go(60.0)
    assert not town.runs
    assert claimant.spool.highest_fence("j1") == 0


def test_what_another_shop_says_of_a_job_counts_nothing(memory_path: Path) -> None:
    town = Town(memory_path, 3)
    home, rogue, _ = town.shops
    town.scheduler(online=True)
    held = mark_of("j1", home.me, floor=1, held=held_by("s9/pi1", 1))
    town.post(held)
    town.settle()
    place = {"ring": held.ticket.ring.value, "process": held.ticket.process.value, "job": "j1"}
    topic = topics.HOME_BOARD.of(shop=rogue.config.shop, agent="pi1", **place)
    lie = encode(wrap(mark_of("j1", home.me), sender=f"agent/{rogue.me}", now=town.clock.now()))
    town.broker.publish(topic, lie, retain=True)
    scheduler_goes(town)
    town.go(120.0)
    assert not town.runs
    assert not town.broker.published["board_claims:BoardClaim"]


def test_delays_double_who_may_ask_with_every_slot() -> None:
    turns = sorted(delay_s(draw("j", 1, f"m{n}"), 0.0) for n in range(4096))
    assert turns[0] >= 0
    assert turns[-1] <= SLOTS * SLOT_S
    early = [sum(turn <= at for turn in turns) for at in (2.0, 2.25, 2.5, 2.75)]
    assert all(1.5 <= after / before <= 2.6 for before, after in pairwise(early)), early


def test_need_ranks_marks_and_age_makes_up_for_it() -> None:
    fresh = mark_of("j1", "s0/pi1")
    urgent = structs.replace(fresh, ticket=structs.replace(fresh.ticket, need_class=NeedClass.SURVIVAL))
    outside = structs.replace(fresh, ticket=structs.replace(fresh.ticket, need_class=NeedClass.OUTSIDE))
    assert pressing(urgent, T0) < pressing(fresh, T0) < pressing(outside, T0)
    assert pressing(outside, T0 + timedelta(hours=12)) == 0.0, "nothing waits for ever"
    assert pressing(structs.replace(outside, reinforced=3), T0) == 0.0
