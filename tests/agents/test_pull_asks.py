"""An owner who wants to be asked about jobs of the board: asked once, and only a yes claims."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from agents import questions
from agents.policy import Accepting, Policy
from tests.agents.board_town import EPOCH, PATIENCE_S, Town, mark_of, scheduler_goes


def asked(folder: Path, shops: int = 1, jobs: int = 1, *, disk: bool = False) -> Town:
    """As `left_alone`, but every owner wants to be asked."""
    town = Town(folder, shops, disk=disk)
    for shop in town.shops:
        shop.rules = Policy(accept=Accepting.ASK)
    town.scheduler(online=True)
    for number in range(jobs):
        town.post(mark_of(f"j{number}", town.shops[0].me))
    town.settle()
    scheduler_goes(town)
    town.go(60.0)
    return town


def scheduler_stays_away(town: Town) -> None:
    """Long enough after a start to see all that is open, turn by turn."""
    for _ in range(8):
        town.settle()
        town.go(PATIENCE_S)
        town.everybody()


def claims(town: Town) -> int:
    return town.broker.published["board_claims:BoardClaim"]


def owner_says(town: Town, shop: int, word: str) -> None:
    spool = town.shops[shop].spool
    (row,) = spool.offers_waiting()
    assert questions.of_board(spool, row.offer.offer)
    questions.answer(spool, row, word, town.clock.now())
    town.everybody()
    town.settle()
    town.go(30.0)


def test_an_owner_who_wants_to_be_asked_is_asked_and_only_a_yes_claims(memory_path: Path) -> None:
    town = asked(memory_path)
    assert (claims(town), town.runs) == (0, []), "nothing is said before the owner's word"
    (row,) = town.shops[0].spool.offers_waiting()
    assert (row.offer.ticket.job, row.offer.machine) == ("j0", "m1")
    owner_says(town, 0, questions.AGREED)
    assert claims(town) == 1
    assert [job for _, _, job, _ in town.runs] == ["j0"]
    assert town.shops[0].spool.offers_waiting() == ()


def test_a_no_is_not_asked_again_after_a_restart_either(memory_path: Path) -> None:
    town = asked(memory_path, disk=True)
    owner_says(town, 0, questions.DECLINED)
    town.shops[0].kill()
    scheduler_stays_away(town)
    assert town.shops[0].spool.offers_waiting() == ()
    assert (claims(town), town.runs) == (0, [])


def test_a_question_outlives_a_restart_of_the_agent(memory_path: Path) -> None:
    town = asked(memory_path, disk=True)
    (before,) = town.shops[0].spool.offers_waiting()
    town.shops[0].kill()
    town.everybody()
    (after,) = town.shops[0].spool.offers_waiting()
    assert after.offer.offer == before.offer.offer, "the marks were not read yet"
    scheduler_stays_away(town)
    (after,) = town.shops[0].spool.offers_waiting()
    assert after.offer.offer == before.offer.offer
    owner_says(town, 0, questions.AGREED)
    assert len(town.runs) == 1


def test_a_question_goes_when_somebody_else_takes_the_job_or_the_scheduler_is_back(memory_path: Path) -> None:
    town = asked(memory_path / "taken", shops=2)
    assert [len(shop.spool.offers_waiting()) for shop in town.shops] == [1, 1], "both owners are asked"
    owner_says(town, 1, questions.AGREED)
    assert [shop.me for _, shop, _, _ in town.runs] == [town.shops[1].me]
    assert town.shops[0].spool.offers_waiting() == ()

    town = asked(memory_path / "back")
    town.scheduler(online=True, epoch=EPOCH + 1)
    town.settle()
    town.everybody()
    town.go(5.0)
    assert town.shops[0].spool.offers_waiting() == ()
    assert claims(town) == 0


def test_no_more_is_asked_than_is_read_and_a_machine_takes_one_at_a_time(memory_path: Path) -> None:
    town = asked(memory_path, jobs=8)
    spool = town.shops[0].spool
    waiting = spool.offers_waiting()
    assert len(waiting) == questions.MOST_A_MACHINE
    for row in waiting:
        questions.answer(spool, row, questions.AGREED, town.clock.now())
    town.everybody()
    town.settle()
    town.go(30.0)
    assert (claims(town), len(town.runs)) == (1, 1), "the others wait for the machine"
    town.go(2 * 3600.0)
    agreed = {row.offer.ticket.job for row in waiting}
    assert {job for _, _, job, _ in town.runs} == agreed


def test_a_job_that_nobody_here_can_make_does_not_take_the_turn_of_one_that_can_be_made(memory_path: Path) -> None:
    town = Town(memory_path, 1)
    (shop,) = town.shops
    shop.rules = Policy(pool=False)
    town.scheduler(online=True)
    possible = mark_of("j0", shop.me)
    other = structs.replace(possible.ticket.material, material="unobtainium")
    for number in range(8):
        mark = possible if number == 0 else mark_of(f"j{number}", shop.me)
        ticket = mark.ticket if number == 0 else structs.replace(mark.ticket, material=other)
        town.post(structs.replace(mark, ticket=ticket))
    town.settle()
    scheduler_goes(town)
    town.go(60.0)
    assert claims(town) == 0
    shop.rules = Policy()  # all of them are due now, in the same turn
    town.everybody()
    town.settle()
    assert claims(town) == 1
    town.go(30.0)
    assert [job for _, _, job, _ in town.runs] == ["j0"]


def test_rules_that_shut_after_the_yes_keep_it_from_being_claimed(memory_path: Path) -> None:
    town = asked(memory_path)
    town.shops[0].rules = Policy(accept=Accepting.ASK, pool=False)
    owner_says(town, 0, questions.AGREED)
    assert claims(town) == 0
    town.shops[0].rules = Policy(accept=Accepting.ASK)
    town.everybody()
    town.settle()
    assert claims(town) == 1
