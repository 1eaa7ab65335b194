"""What lives with faults have found, each as the smallest scene in which it was wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.contract import messages as m
from agents.contract.envelope import decode
from agents.contract.vocabulary import FailureClass, JobState
from agents.effects import Acknowledged, Restored
from agents.lease import LeaseState
from agents.teller import Teller
from scheduler.dispatch import people
from scheduler.orders.refusal import Refused
from scheduler.store import queries
from tests.agents.scene import Scene, offer_of
from tests.faults.shop import back_up
from tests.scheduler.line import Agent, Line


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1",)), Agent("barn", "pi", ("m3",)))
    made.arrive()
    yield made
    made.close()


def to_lease(line: Line, job: str) -> Agent:
    """Plan until somebody holds the job."""
    for _ in range(3):
        line.plan()
        for agent in line.agents.values():
            line.exchange(agent)
    return next(agent for agent in line.agents.values() if job in agent.spool.held)


def leased_beside_another(line: Line) -> tuple[str, Agent, Agent]:
    """A job, the agent that has its lease, and the other one."""
    (job,) = line.order()
    agent = to_lease(line, job)
    return job, agent, next(each for each in line.agents.values() if each is not agent)


def run(line: Line, agent: Agent, job: str) -> None:
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    line.exchange(agent)


def test_a_job_whose_only_machine_failed_is_tried_there_again_after_a_while(tmp_path: Path) -> None:
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)))
    line.arrive()
    (job,) = line.order()
    agent = to_lease(line, job)
    run(line, agent, job)
    agent.fail(job, line.now, FailureClass.LINK_LOST)
    line.exchange(agent)
    line.clock.pass_(minutes=30)
    line.plan()
    assert line.job(job).state is JobState.WAITING
    line.clock.pass_(minutes=31)
    line.plan()
    assert line.job(job).state is JobState.OFFERED
    line.close()


def test_a_new_scheduler_offers_nothing_before_all_agents_said_what_they_hold(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    line.restart_scheduler()
    mill, barn = line.agents.values()
    line.exchange(barn)
    line.plan()
    assert line.job(job).state is JobState.WAITING, "the mill may have made it"
    line.exchange(mill)
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_an_agent_that_stays_away_is_not_waited_for(line: Line) -> None:
    (job,) = line.order()
    line.plan()
    line.restart_scheduler()
    _, barn = line.agents.values()
    line.exchange(barn)
    line.listen(11)
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_what_an_old_database_offered_is_not_granted_before_all_were_heard(line: Line) -> None:
    """The offer may have lapsed in the life that is forgotten, and another shop have made the job since."""
    (job,) = line.order()
    line.plan()
    line.plan()
    assert line.job(job).state is JobState.OFFERED
    mill, barn = line.agents.values()
    line.deliver(barn)  # the barn claims, and is not heard yet
    line.restart_scheduler()
    line.hear(*barn.unacked())
    assert line.job(job).state is JobState.WAITING
    line.exchange(barn)
    line.exchange(mill)
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_a_start_under_an_old_databases_lease_waits_until_all_were_heard(line: Line) -> None:
    job, agent, other = leased_beside_another(line)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.restart_scheduler()
    line.exchange(agent)
    assert agent.starts == [], "another shop may have it since"
    line.exchange(other)
    line.exchange(agent)
    assert agent.starts == [(job, 1)]
    assert line.job(job).state is JobState.STARTING


def test_a_start_that_another_shop_disproves_is_refused(line: Line) -> None:
    job, agent, other = leased_beside_another(line)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    other.spool.fences[job] = 2
    line.restart_scheduler()
    line.exchange(agent)
    line.exchange(other)
    line.exchange(agent)
    assert agent.starts == []
    assert "old copy" in line.job(job).flag


def test_a_run_told_again_to_an_old_database_is_not_lost_while_it_waits(line: Line) -> None:
    job, agent, other = leased_beside_another(line)
    for deed in (agent.stage, agent.intend, agent.run, agent.finish):
        deed(job, line.now)
    line.restart_scheduler()
    line.exchange(agent)
    assert line.job(job).state is not JobState.WAITING
    line.listen(11)  # the other one stays away: time ends the wait
    line.exchange(agent)
    assert line.job(job).state is JobState.FINISHED
    line.exchange(other)
    assert line.job(job).state is JobState.FINISHED


def test_a_run_told_again_long_after_its_lease_had_to_begin_is_not_unmade(line: Line) -> None:
    """A copy from before the start is put in place hours later."""
    job, agent, other = leased_beside_another(line)
    for deed in (agent.stage, agent.intend, agent.run, agent.finish):
        deed(job, line.now)
    line.clock.pass_(hours=9)
    line.restart_scheduler()
    line.exchange(other)
    line.plan()
    line.exchange(agent)
    assert line.job(job).state is JobState.FINISHED


def both_made(line: Line) -> list[str]:
    """Two shops made a job each, told nobody, and a copy from before their starts begins hours later."""
    jobs = line.order(2)
    for job in jobs:
        to_lease(line, job)
    for agent in line.agents.values():
        (job,) = agent.spool.held
        for deed in (agent.stage, agent.intend, agent.run, agent.finish):
            deed(job, line.now)
    line.clock.pass_(hours=9)
    line.restart_scheduler()
    for agent in line.agents.values():
        line.exchange(agent)
    return jobs


def test_two_runs_whose_starts_wait_for_each_others_shop_are_not_unmade_when_the_wait_is_over(line: Line) -> None:
    jobs = both_made(line)
    line.listen(11)
    line.plan()
    for agent in line.agents.values():
        line.exchange(agent)
    assert [line.job(job).state for job in jobs] == [JobState.FINISHED] * 2


def test_what_a_shop_told_counts_though_it_fell_silent_while_its_start_waited(line: Line) -> None:
    jobs = both_made(line)
    line.clock.pass_(minutes=5)
    line.listen(11)
    line.plan()
    assert [line.job(job).state for job in jobs] == [JobState.FINISHED] * 2


def test_a_fence_from_the_future_stays_in_doubt_whatever_an_old_attempt_says(line: Line) -> None:
    job, agent, other = leased_beside_another(line)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    other.spool.fences[job] = 2
    other.holdings(line.now)
    line.exchange(other)
    assert "old copy" in line.job(job).flag
    agent.run(job, line.now)
    agent.fail(job, line.now, FailureClass.AGENT_RESTARTED)
    line.exchange(agent)
    line.clock.pass_(minutes=5)
    line.plan()
    assert line.job(job).state is JobState.WAITING
    assert "old copy" in line.job(job).flag
    with line.scheduler.store.write() as c:
        people.release_job(c, line.scheduler.mover, job, line.now)
    line.plan()
    assert line.job(job).state is JobState.OFFERED


def test_a_finished_job_that_its_agent_forgot_can_be_inspected_at_the_scheduler(line: Line) -> None:
    (job,) = line.order()
    agent = to_lease(line, job)
    run(line, agent, job)
    with line.scheduler.store.write() as c, pytest.raises(Refused, match="only what a machine finished"):
        people.inspect_job(c, line.scheduler.mover, job, 1, 0, "", line.now)
    agent.finish(job, line.now)
    line.exchange(agent)
    with line.scheduler.store.write() as c, pytest.raises(Refused, match="do not add up"):
        people.inspect_job(c, line.scheduler.mover, job, 1, 1, "", line.now)
    with line.scheduler.store.write() as c:
        people.inspect_job(c, line.scheduler.mover, job, 1, 0, "", line.now)
        order = queries.order(c, line.job(job).order)
    assert line.job(job).state is JobState.INSPECTED
    assert order is not None
    assert order.state == "made"


def intended(scene: Scene) -> None:
    """The start is in the journal and its permission is recorded; the gates fell shut before it."""
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    assert scene.spool.leases()[0].state is LeaseState.INTENDED
    scene.spool.acknowledge(scene.spool.last_seq, {})


def test_a_permission_to_start_does_not_outlive_its_process(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    intended(scene)
    scene.close()
    again = Scene(tmp_path, clock=scene.clock)
    again.turn()
    assert again.bridge.runs == [], "an old copy of the spool would start what was made long ago"
    assert again.kinds()[-1] == "Failed"
    assert again.spool.leases() == ()
    again.close()


def test_a_machine_called_since_an_old_copy_of_its_intended_start_waits_for_a_person(tmp_path: Path) -> None:
    """The call itself is no event: no number is missing, so nobody notices that the copy is old."""
    scene = Scene(tmp_path)
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    back_up(tmp_path / "agent.sqlite", tmp_path / "copy")
    scene.acknowledge()
    assert len(scene.bridge.runs) == 1
    scene.close()
    for leftover in tmp_path.glob("agent.sqlite*"):
        leftover.unlink()
    (tmp_path / "copy").rename(tmp_path / "agent.sqlite")
    again = Scene(tmp_path, clock=scene.clock)
    again.claim_and_grant(offer_of("j2", "o2"))
    again.acknowledge()
    assert again.bridge.runs == []
    assert [gate.gate for gate in again.supervisor.gates if not gate.open] == ["armed", "bed_clear"]
    again.set_flags(bed_clear=True, disarmed="")
    again.acknowledge()
    assert len(again.bridge.runs) == 1
    again.close()


def test_who_remembers_too_little_does_not_trust_its_bed_or_its_machine(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.set_flags(bed_clear=True)
    scene.told = 0
    effects = scene.hear(m.JournalAck(upto=40))
    assert any(isinstance(effect, Restored) for effect in effects)
    flags = scene.spool.flags("m1")
    assert not flags.bed_clear
    assert "old copy" in flags.disarmed
    assert flags.materials == (), "the spool may have been taken out since"
    scene.close()


def test_an_old_memory_with_as_many_events_as_the_new_one_had_is_noticed(tmp_path: Path) -> None:
    """Its first word's number was another event's; whoever knows that one says so."""
    scene = Scene(tmp_path)
    scene.set_flags(bed_clear=True)
    seq = scene.inbox.say_holdings(scene.clock.now())
    used = m.JournalAck(upto=seq, refused=(m.RefusedEvent(seq=seq, why="number 1 was used before"),))
    effects = scene.hear(used)
    assert any(isinstance(effect, Restored) for effect in effects)
    assert not scene.spool.flags("m1").bed_clear
    assert not any(isinstance(effect, Restored) for effect in scene.hear(used)), "once"
    scene.close()


@pytest.mark.parametrize("why", [f"number 9 {m.NUMBER_USED}", "fence 1 is stale"])
def test_an_old_memory_that_lacks_one_event_is_noticed_by_what_it_says_before_its_holdings(
    tmp_path: Path, why: str
) -> None:
    """A run that ended with the agent is told first: one lost event, and its number is the one that was used."""
    scene = Scene(tmp_path)
    intended(scene)
    scene.close()
    again = Scene(tmp_path, clock=scene.clock)
    assert again.kinds()[-1] == "Failed"
    failed = again.spool.last_seq
    again.set_flags(disarmed="", bed_clear=True)
    holdings = again.inbox.say_holdings(again.clock.now())
    used = m.JournalAck(upto=holdings, refused=(m.RefusedEvent(seq=failed, why=why),))
    noticed = any(isinstance(effect, Restored) for effect in again.hear(used))
    assert noticed is (m.NUMBER_USED in why), "a word refused for another reason says nothing about memory"
    assert again.spool.flags("m1").bed_clear is not noticed
    again.close()


def told_by(scene: Scene, teller: Teller, sent: list[bytes]) -> list[int]:
    """What the agent tells now, by number, after it did what its inbox said."""
    for effect in scene.effects:
        if isinstance(effect, Restored):
            teller.open_with(effect.holdings)
        elif isinstance(effect, Acknowledged):
            teller.acknowledged(effect.upto)
    scene.effects.clear()
    sent.clear()
    while not teller.pump():
        pass
    return [decode(payload).seq or 0 for payload in sent]


def test_what_an_old_memory_tells_anew_may_meet_its_own_old_words_once_more(tmp_path: Path) -> None:
    """They were still on their way: acknowledged one by one, the first of them tells it only a part of what is used."""
    scene = Scene(tmp_path)
    sent: list[bytes] = []

    def send(payload: bytes) -> bool:
        sent.append(payload)
        return True

    teller = Teller(scene.spool, send, scene.clock)
    holdings = scene.inbox.say_holdings(scene.clock.now())
    teller.open_with(holdings)
    scene.told = holdings
    scene.hear(m.JournalAck(upto=2, last="old-2"))
    assert told_by(scene, teller, sent) == [3, 4]
    scene.told = teller.told
    scene.set_flags(bed_clear=True, disarmed="")
    used = [m.refused_event(seq, m.used_number(seq)) for seq in (1, 3, 4)]
    scene.hear(m.JournalAck(upto=4, refused=(used[0],), last="old-4"))
    refused = tuple(used)
    told_by(scene, teller, sent)
    scene.told = teller.told
    scene.hear(m.JournalAck(upto=4, refused=refused, last="old-4"))
    told_by(scene, teller, sent)
    scene.told = teller.told
    assert scene.spool.unacknowledged()[0][0] > 4, "what it tells has numbers that nobody used"
    for _ in range(3):
        upto = scene.spool.last_seq
        scene.hear(m.JournalAck(upto=upto, refused=refused, last=scene.events()[-1].id))
        told_by(scene, teller, sent)
        scene.told = teller.told
        assert scene.spool.last_seq == upto, "and it has said so once"
    assert teller.reconciled
    assert scene.spool.flags("m1").bed_clear, "a person looked in between: it was known already that it is old"
    scene.close()


def test_who_shares_its_name_with_a_process_that_lives_does_not_go_on_for_ever(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.inbox.say_holdings(scene.clock.now())
    for _ in range(100):
        seq = scene.spool.last_seq
        scene.hear(m.JournalAck(upto=seq, refused=(m.refused_event(seq, m.used_number(seq)),), last="another's"))
    assert scene.spool.last_seq == seq, "it waits, and says in its log that there is another"
    assert scene.spool.unacknowledged_count()
    scene.close()


def test_numbers_left_out_by_a_renumbering_are_nobodys(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    now = scene.clock.now()
    for _ in range(3):
        scene.inbox.say_holdings(now)
    scene.spool.acknowledge(3, {})
    assert scene.spool.first_kept == 1
    scene.spool.renumber_from(10, now + timedelta(seconds=1))
    assert scene.spool.first_kept == 10
    scene.inbox.say_holdings(now)
    assert scene.spool.first_kept == 10
    scene.close()
