"""The whole line with agents that keep the protocol: from an order to inspected parts, and what may go wrong."""

from __future__ import annotations

from pathlib import Path

from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass, JobState, MachineState
from scheduler.dispatch import people
from scheduler.store import queries
from tests.scheduler.line import Agent, Line, agent_of, offer, start


def test_an_order_becomes_inspected_parts(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    assert line.job(job).state is JobState.LEASED
    assert line.job(job).fence == 1
    start(line, job)
    assert line.job(job).state is JobState.RUNNING
    agent.progress(job, line.now, 0.5)
    line.exchange(agent)
    assert line.job(job).progress == 0.5
    held = agent.finish(job, line.now)
    line.exchange(agent)
    assert line.job(job).state is JobState.FINISHED
    agent.inspect(held, line.now, good=1)
    line.exchange(agent)
    assert line.job(job).state is JobState.INSPECTED
    with line.scheduler.store.read() as c:
        order = queries.order(c, line.job(job).order)
        kinds = [event.kind for event in queries.events(c, job=job)]
    assert order is not None
    assert order.state == "made"
    wanted = ["created", "offered", "claimed", "staged", "ready", "start_intended", "running", "finished", "inspected"]
    assert kinds == wanted


def test_nothing_is_offered_before_the_agent_said_what_it_holds(tmp_path: Path) -> None:
    agent = Agent("mill", "pi", ("m1",))
    line = Line(tmp_path, agent)
    line.hear(agent.presence(line.now), agent.report("m1", line.now))
    (job,) = line.order()
    line.plan()
    line.plan()
    assert line.job(job).state is JobState.WAITING
    line.exchange(agent)
    line.plan()
    assert line.job(job).state is JobState.OFFERED
    line.close()


def test_a_repeated_journal_changes_nothing(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    everything = [(agent.journal_topic(), payload) for _, payload in agent.spool.journal]
    before, rows = line.job(job), line.rows()
    line.hear(*everything, *everything)
    line.hear(*reversed(everything))
    assert line.job(job) == before
    assert line.rows() == rows


def test_events_that_come_out_of_order_are_applied_in_order(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    agent.stage(job, line.now)
    agent.ready(job, line.now)
    agent.intend(job, line.now)
    for message in reversed(agent.unacked()):
        line.hear(message)
    assert line.job(job).state is JobState.STARTING
    line.deliver(agent)
    assert agent.starts == [(job, 1)]


def test_a_number_used_twice_for_different_events_is_refused(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    agent.stage(job, line.now)
    line.exchange(agent)
    # the agent's memory is put back to before `staged`, and it goes on with the same numbers
    agent.spool.seq -= 1
    agent.spool.acked -= 1
    agent.spool.journal.pop()
    agent.intend(job, line.now)
    line.exchange(agent)
    assert line.job(job).state is JobState.STAGED
    assert agent.starts == []
    assert any("used before" in why for why in agent.spool.refused.values())


def test_a_lease_that_lapsed_cannot_start(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    agent.stage(job, line.now)
    line.exchange(agent)
    line.clock.pass_(hours=2)
    agent.intend(job, line.now)  # said, but nothing hears it yet
    line.plan()
    line.exchange(agent)
    assert agent.starts == []
    assert line.job(job).state in (JobState.WAITING, JobState.OFFERED, JobState.LEASED)
    line.plan()
    line.exchange(agent)
    assert line.job(job).state is JobState.LEASED
    assert line.job(job).fence == 2


def test_a_decline_is_remembered_and_costs_nothing_else(line: Line) -> None:
    agent = agent_of(line)
    agent.declines = "quiet hours"
    first, second = line.order(2)
    offer(line)
    assert {line.job(first).state, line.job(second).state} == {JobState.WAITING}
    agent.declines = ""
    line.plan()
    line.exchange(agent)
    # each was declined on one machine; now each is offered to the other one
    assert {line.job(first).state, line.job(second).state} == {JobState.LEASED}


def test_a_counter_offer_is_honoured(tmp_path: Path) -> None:
    agent = Agent("mill", "pi", ("m1",))
    line = Line(tmp_path, agent)
    line.arrive()
    (job,) = line.order()
    line.plan()
    line.plan()
    line.send()
    (payload,) = line.office.boxes.pop(agent.inbox_topic())[-1:]
    from datetime import timedelta

    from agents.contract import decode

    sent = decode(payload).body
    assert isinstance(sent, m.Offer)
    later = line.now + timedelta(hours=3)
    agent.say(m.Declined(offer=sent.offer, job=job, machine="m1", reasons=("asleep",), not_before=later), line.now)
    line.exchange(agent)
    line.clock.pass_(hours=2, minutes=59)
    line.plan()
    assert line.job(job).state is JobState.WAITING
    line.clock.pass_(minutes=2)
    line.plan()
    assert line.job(job).state is JobState.OFFERED
    line.close()


def test_a_silent_agent_keeps_its_running_job_until_a_person_decides(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    line.hear(agent.presence(line.now, online=False))
    line.clock.pass_(days=2)
    line.plan()
    row = line.job(job)
    assert row.state is JobState.RUNNING
    assert "no word from the agent since" in row.flag
    with line.scheduler.store.write() as c:
        people.declare_lost(c, line.scheduler.mover, job, "the printer is cold and empty", line.now)
    assert line.job(job).state is JobState.WAITING
    assert line.job(job).attempt == 2
    held = agent.finish(job, line.now)  # the agent comes back: it had finished after all
    line.hear(agent.presence(line.now))
    line.exchange(agent)
    assert line.job(job).state is not JobState.FINISHED
    agent.inspect(held, line.now, good=1)
    line.exchange(agent)
    assert line.job(job).good == 0


def test_rejected_pieces_become_a_new_job_of_the_same_order(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    held = agent.finish(job, line.now)
    agent.inspect(held, line.now, good=0, rejected=1)
    line.exchange(agent)
    again = [row for row in line.jobs() if row.replaces == job]
    assert [row.pieces for row in again] == [1]
    with line.scheduler.store.read() as c:
        order = queries.order(c, line.job(job).order)
    assert order is not None
    assert order.state == "making"


def test_two_faults_in_a_row_quarantine_the_machine_and_the_job_goes_elsewhere(line: Line) -> None:
    agent = agent_of(line)
    jobs = line.order(2)
    offer(line)
    on_first = [job for job in jobs if line.job(job).machine == "m1"]
    (first,) = on_first
    start(line, first)
    agent.fail(first, line.now, FailureClass.THERMAL)
    line.exchange(agent)
    assert line.job(first).state is JobState.WAITING
    line.order(1)
    line.plan()
    line.plan()
    line.exchange(agent)
    (third,) = [row.id for row in line.jobs(JobState.LEASED) if row.machine == "m1"]
    start(line, third)
    agent.fail(third, line.now, FailureClass.MACHINE_HUNG)
    line.exchange(agent)
    with line.scheduler.store.read() as c:
        machine = queries.machine(c, agent.id, "m1")
    assert machine is not None
    assert machine.quarantined_at is not None
    line.clock.pass_(minutes=5)
    line.plan()
    line.exchange(agent)
    assert not [row for row in line.jobs(JobState.LEASED, JobState.OFFERED) if row.machine == "m1"]


def test_a_file_that_fails_on_two_machines_is_quarantined_until_a_person_looked(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    for _ in range(2):
        offer(line)
        start(line, job)
        agent.fail(job, line.now, FailureClass.LINE_REJECTED)
        line.exchange(agent)
        line.clock.pass_(minutes=5)
    assert line.job(job).state is JobState.FAILED
    (same_file,) = line.order()
    line.plan()
    line.plan()
    assert line.job(same_file).state is JobState.WAITING
    assert "quarantined" in line.job(same_file).waiting["why"]
    with line.scheduler.store.write() as c:
        people.release_job(c, line.scheduler.mover, job, line.now)
    line.plan()
    line.exchange(agent)
    assert line.job(job).state is JobState.LEASED


def test_a_broken_machine_gives_its_lease_back(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    machine = line.job(job).machine
    line.hear(agent.report(machine, line.now, MachineState.ALARM, why="limit switch"))
    line.plan()
    line.exchange(agent)
    assert job not in agent.spool.held or agent.spool.held[job].machine != machine
    line.plan()
    line.exchange(agent)
    assert line.job(job).machine != machine
    assert line.job(job).fence == 2


def test_cancelling_before_the_start_makes_the_start_impossible(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, line.job(job).order, "not needed", line.now)
    line.exchange(agent)
    assert line.job(job).state is JobState.CANCELLED
    assert agent.starts == []


def test_cancelling_a_running_job_asks_and_waits_for_the_machines_word(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    with line.scheduler.store.write() as c:
        people.cancel_job(c, line.scheduler.mover, job, "not needed", line.now)
    assert line.job(job).state is JobState.RUNNING
    line.exchange(agent)
    assert line.job(job).state is JobState.CANCELLED


def test_a_shop_that_stops_a_job_by_itself_sends_it_elsewhere(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    start(line, job)
    was_on = line.job(job).machine
    held = agent.spool.held.pop(job)
    body = m.CancelConfirmed(job=job, fence=held.fence, machine=held.machine, last_line=2, why="I need it")
    agent.say(body, line.now)
    line.exchange(agent)
    assert line.job(job).state is JobState.WAITING
    line.plan()
    line.exchange(agent)
    assert line.job(job).machine not in (None, was_on)


def test_retries_end(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    for _ in range(10):
        offer(line)
        if line.job(job).state is not JobState.LEASED:
            break
        start(line, job)
        agent.fail(job, line.now, FailureClass.AGENT_RESTARTED)
        line.exchange(agent)
        line.clock.pass_(minutes=5)
    assert line.job(job).state is JobState.FAILED
    assert line.job(job).attempt == 5
    assert "a person must decide" in line.job(job).flag
