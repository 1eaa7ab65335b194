"""An agent whose memory was put back to an old copy: what it notices by itself, and what it leaves alone then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.channels import home_channel, set_granter
from agents.contract.envelope import decode
from agents.contract.messages import Failed, GrantRefused
from agents.contract.vocabulary import FailureClass
from agents.doubt import put_in_doubt
from agents.hands import NotPossible
from agents.inputs import Asked
from agents.lease import LIVE, LeaseEvent, LeaseState
from agents.mark import Mark
from agents.spool import Spool, SpoolFull
from tests.agents.den import HOUR_LONG, Den
from tests.agents.scene import PROGRAM, grant_of, offer_of


def _untold(spool: Spool) -> list[object]:
    return [decode(payload).body for _, payload in spool.unacknowledged()]


def at_queued(den: Den) -> str:
    return den.queue()


def at_running(den: Den) -> str:
    job = den.queue()
    den.clear()
    den.bridge.first_line()
    den.turn()
    return job


def at_intended(den: Den) -> str:
    """The last thing that the copy knows is that the machine is about to be called."""
    job = ""

    def copied() -> None:
        den.copy("old", mark=True)

    den.before_run = copied
    job = den.queue()
    den.clear()
    den.before_run = lambda: None
    return job


def at_finished(den: Den) -> str:
    job = at_running(den)
    den.bridge.finish()
    den.turn()
    return job


STEPS = (at_queued, at_intended, at_running, at_finished)


@pytest.mark.parametrize("mark", ["kept", "lost"])
@pytest.mark.parametrize("step", STEPS)
def test_no_old_copy_makes_an_own_job_again_without_a_network(den: Den, step: Callable[[Den], str], mark: str) -> None:
    job = step(den)
    if step is not at_intended:
        den.copy("old")
    if den.state(job) in LIVE and den.runs == 0:
        den.clear()
    if den.state(job) is not LeaseState.FINISHED:
        den.finish() if den.state(job) is not LeaseState.RUNNING else den.bridge.finish()
        den.turn()
    den.clear()
    den.make()
    runs = den.runs
    if mark == "lost":
        (den.folder / "agent.mark").unlink()
    den.put_back("old")
    assert "old copy" in den.flags().disarmed
    assert not den.flags().bed_clear
    assert den.flags().materials == ()
    den.rearm()
    assert den.runs == runs, "a person re-armed it and cleared the bed, and said nothing of this job"
    assert den.state(job) not in LIVE or "remembered" in den.shut()
    den.make()
    assert den.runs == runs + 1, "what is queued now starts"


def test_a_person_says_that_a_job_of_an_old_copy_is_still_wanted_or_not(den: Den) -> None:
    first, second = den.queue(), den.queue(HOUR_LONG)
    den.copy("old")
    den.make(first)
    den.put_back("old")
    den.rearm()
    state = den.hands.state()["machines"][0]["jobs"]
    assert [bool(job["doubt"]) for job in state] == [True, True]
    den.hands.cancel_job(first)
    den.hands.still_wanted(second)
    den.turn()
    assert den.state(first) is LeaseState.CANCELLED
    assert den.state(second) is LeaseState.STARTING
    with pytest.raises(NotPossible):
        den.hands.still_wanted(second)


def test_a_doubt_survives_restarts_and_is_not_raised_twice(den: Den) -> None:
    den.queue()
    den.copy("old")
    den.clear()
    den.put_back("old")
    den.die()
    den.begin()
    den.rearm()
    assert den.runs == 1, "the one that the copy does not know"
    assert "remembered" in den.shut()
    den.die()
    den.begin()
    assert den.flags().disarmed == "", "once is enough"


def test_what_was_cancelled_since_the_copy_is_not_made(den: Den) -> None:
    job = den.queue()
    den.copy("old")
    den.hands.cancel_job(job)
    den.put_back("old")
    den.rearm()
    assert den.runs == 0


def test_a_copy_put_back_twice_is_noticed_twice(den: Den) -> None:
    den.make()
    den.copy("old")
    den.make()
    for _ in range(2):
        den.put_back("old")
        assert "old copy" in den.flags().disarmed
        den.rearm()
    den.die()
    den.begin()
    assert den.flags().disarmed == ""


def test_material_loaded_since_the_copy_is_not_forgotten_unnoticed(den: Den) -> None:
    """No event is missing: only the mark knows of it."""
    den.clear()
    den.copy("old")
    den.hands.load("m1", ())
    den.put_back("old")
    assert den.flags().materials == ()
    assert "old copy" in den.flags().disarmed


def test_an_ordinary_restart_puts_nothing_in_doubt(den: Den) -> None:
    den.make()
    den.queue(HOUR_LONG)
    before = den.flags()
    runs = den.runs
    den.die()  # while it is called: the clear bed let it begin
    assert runs == 2
    den.begin()
    assert before.disarmed == ""
    assert "agent ended" in den.flags().disarmed
    assert "old copy" not in den.flags().disarmed


def test_a_fresh_spool_beside_an_old_mark_trusts_nothing(den: Den) -> None:
    """A damaged spool was moved aside."""
    den.make()
    den.die()
    for leftover in den.folder.glob("agent.sqlite*"):
        leftover.unlink()
    den.begin()
    assert "old copy" in den.flags().disarmed


def test_no_machine_is_called_that_could_not_be_marked(den: Den) -> None:
    job = den.queue()
    den.without_mark()
    den.clear()
    assert den.runs == 0
    assert den.state(job) is LeaseState.FAILED
    lease = den.agent.spool.lease_of_job(job)
    assert lease is not None
    assert "mark beside the spool" in lease.why


@pytest.mark.parametrize("spoil", [b"", b"\0" * 24, b"nonsense"])
def test_a_mark_that_cannot_be_read_is_no_mark(den: Den, spoil: bytes) -> None:
    den.make()
    den.die()
    (den.folder / "agent.mark").write_bytes(spoil)
    den.begin()
    assert "old copy" in den.flags().disarmed


def test_a_mark_survives_a_write_that_was_cut_off(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "mark")
    for count in (1, 2, 3):
        mark.write(count)
    raw = bytearray((tmp_path / "mark").read_bytes())
    raw[14] ^= 1  # in the newest record, the second
    (tmp_path / "mark").write_bytes(raw)
    assert mark.read() == 2


def test_an_old_copy_gives_nothing_up_that_may_have_been_made(heard: Den) -> None:
    """ "Nothing moved for it" is no word of a memory that forgot: a home would grant the job again."""
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer, grant_of(offer))
    heard.acknowledge()
    assert heard.state("j1") is LeaseState.STAGED
    heard.copy("old")
    heard.clear()
    heard.acknowledge()
    heard.finish()
    assert heard.runs == 1
    heard.put_back("old")
    heard.supervisor.post(Asked(LeaseEvent.GIVEN_UP, "j1", None, "the scheduler is away"))
    heard.clock.go(4 * 3600)  # and its time is over
    heard.turn()
    assert heard.state("j1") in LIVE
    assert "given_up" not in heard.payloads().decode()
    heard.acknowledge()  # the scheduler compared, and leaves it here
    heard.turn()
    assert heard.state("j1") not in LIVE


def test_a_run_that_an_old_copy_believes_under_way_may_have_ended_well(heard: Den) -> None:
    """Its scheduler never heard of the end: told that the attempt failed, it would have the part made again."""
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer, grant_of(offer))
    heard.acknowledge()
    heard.clear()
    heard.acknowledge()
    heard.copy("old")
    heard.finish()
    assert heard.runs == 1
    heard.put_back("old")
    (failed,) = [body for body in _untold(heard.agent.spool) if isinstance(body, Failed)]
    assert failed.failure is FailureClass.MEMORY_PUT_BACK
    assert "old copy" in failed.why


def test_a_grant_that_an_old_copy_hears_again_is_neither_taken_nor_refused(heard: Den) -> None:
    """It may have been made use of: "refused" would be as untrue as a second run."""
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer)
    heard.copy("old")
    heard.hear(grant_of(offer))
    heard.acknowledge()
    heard.clear()
    heard.acknowledge()
    heard.finish()
    assert heard.runs == 1
    heard.put_back("old")
    heard.hear(grant_of(offer))
    assert heard.agent.spool.lease_of_job("j1") is None
    assert not [body for body in _untold(heard.agent.spool) if isinstance(body, GrantRefused)]


def test_an_old_copy_gives_up_what_its_scheduler_granted_and_starts_none_of_it(heard: Den) -> None:
    """It may have given the lease up to the job's home while the scheduler was away, and the home granted it anew."""
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer, grant_of(offer))
    heard.acknowledge()
    heard.copy("old")
    heard.clear()
    assert heard.state("j1") is LeaseState.INTENDED
    heard.put_back("old")
    heard.clear()
    assert heard.state("j1") is LeaseState.STAGED
    assert "remembered" in heard.shut(), "also when a person was there"
    heard.acknowledge()
    heard.turn()
    assert heard.state("j1") not in LIVE
    assert "given_up" in heard.payloads().decode()
    assert heard.runs == 0


@pytest.mark.parametrize(("home", "starts"), [("alder/pi1", False), ("barn/pi", True)])
def test_an_old_copy_of_a_home_starts_nothing_that_it_granted_to_itself(heard: Den, home: str, *, starts: bool) -> None:
    """One memory forgot both the permission and the run. Another home remembers, and is asked; neither is given up."""
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer, grant_of(offer))
    lease = heard.agent.spool.lease_of_job("j1")
    assert lease is not None
    set_granter(heard.agent.spool, lease.lease, home_channel(home))
    put_in_doubt(heard.agent.spool, ["m1"])
    heard.acknowledge()
    heard.clear()
    assert ("remembered" not in heard.shut()) == starts
    assert heard.state("j1") in LIVE


def put_back_and_compared(heard: Den) -> int:
    """A shop that is known as an old copy, and claims something after it was compared; the claim's number."""
    heard.copy("old")
    heard.make()
    heard.put_back("old")
    heard.acknowledge()
    heard.hear(offer_of(machine="m1"))
    while heard.agent.teller.pump() == 0.0:
        pass
    return heard.agent.spool.last_seq


def numbers_untold(heard: Den) -> list[int]:
    return [decode(payload).seq or 0 for _, payload in heard.agent.spool.unacknowledged()]


def test_a_word_of_the_forgotten_life_that_comes_after_the_holdings_uses_a_number_too(heard: Den) -> None:
    """It lay at the broker while the scheduler was away: what has its number now would never be committed."""
    number = put_back_and_compared(heard)
    assert numbers_untold(heard) == [number]
    heard.acknowledge(upto=number, used=number)
    assert len(numbers_untold(heard)) == 2, "the claim again, and new holdings"
    assert min(numbers_untold(heard)) > number


def test_a_disk_that_is_full_as_numbers_are_used_is_no_end(heard: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    number = put_back_and_compared(heard)
    renumber = Spool.renumber_from
    monkeypatch.setattr(Spool, "renumber_from", _no_room)
    with pytest.raises(AssertionError):  # it is not taken from the broker
        heard.acknowledge(upto=number, used=number)
    monkeypatch.setattr(Spool, "renumber_from", renumber)
    heard.acknowledge(upto=number, used=number)
    assert min(numbers_untold(heard)) > number


def _no_room(*_: object) -> None:
    raise SpoolFull("the disk is full")
