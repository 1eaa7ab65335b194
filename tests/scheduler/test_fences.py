"""Old fences, lost refusals and wrong machines: what must change nothing."""

from __future__ import annotations

from typing import Any

from agents.contract import decode
from agents.contract import messages as m
from agents.contract.vocabulary import JobState
from tests.scheduler.line import Line, agent_of, offer


def test_what_is_said_under_an_old_fence_changes_nothing(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    old = agent.spool.held[job]
    line.clock.pass_(hours=2)
    line.plan()  # the lease lapses and the job is offered again
    line.plan()
    line.exchange(agent)
    assert line.job(job).fence == 2
    before = line.job(job)
    under_old: dict[str, Any] = {"job": job, "fence": 1, "machine": old.machine}
    agent.say(m.Staged(**under_old, sha256=old.sha256), line.now)
    seq = agent.say(m.StartIntended(**under_old), line.now)
    agent.say(m.Running(**under_old, started=line.now), line.now)
    line.exchange(agent)
    assert line.job(job) == before
    assert "stale" in agent.spool.refused[seq]


def test_a_refusal_is_said_again_with_every_later_acknowledgement(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    held = agent.spool.held[job]
    seq = agent.say(m.StartIntended(job=job, fence=7, machine=held.machine), line.now)
    line.hear(*agent.unacked())
    line.office.boxes.clear()  # the acknowledgement is lost
    agent.stage(job, line.now)
    line.exchange(agent)
    assert seq in agent.spool.refused


def test_another_machine_of_the_same_agent_may_not_speak_for_a_lease(line: Line) -> None:
    agent = agent_of(line)
    (job,) = line.order()
    offer(line)
    other = "m2" if line.job(job).machine == "m1" else "m1"
    seq = agent.say(m.Staged(job=job, fence=1, machine=other, sha256="0" * 64), line.now)
    line.exchange(agent)
    assert seq in agent.spool.refused
    assert line.job(job).state is JobState.LEASED


def test_an_acknowledgement_names_the_message_that_was_committed(line: Line) -> None:
    agent = agent_of(line)
    agent.holdings(line.now)
    ((_, told),) = agent.unacked()
    line.hear(*agent.unacked())
    line.send()
    acks = [decode(payload).body for payload in line.office.boxes[agent.inbox_topic()]]
    last = [ack for ack in acks if isinstance(ack, m.JournalAck)][-1]
    assert (last.upto, last.last) == (agent.spool.seq, decode(told).id)
