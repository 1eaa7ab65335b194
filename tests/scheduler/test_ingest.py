"""The way in: any bytes on any topic harm nobody beside them, urgent words go first, answers are not said too often."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contract import decode
from agents.contract import messages as m
from agents.contract.topics import JOURNAL, MACHINE, PRESENCE
from agents.contract.vocabulary import JobState, MachineState
from scheduler.dispatch.backlog import MOST_IN_A_BATCH, Backlog, Inbound
from scheduler.store import queries
from tests.scheduler.line import START, Agent, Line

MILL = {"shop": "mill", "agent": "pi"}
SENDER = "agent/mill/pi"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1", "m2")), Agent("forge", "pi", ("f1",)))
    made.arrive()
    yield made
    made.close()


def running(line: Line) -> str:
    """A job that runs on the mill."""
    agent = line.agents["mill.pi"]
    (job,) = line.order()
    line.plan()
    line.plan()
    for agent in line.agents.values():
        line.exchange(agent)
    agent = next(agent for agent in line.agents.values() if job in agent.spool.held)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    line.exchange(agent)
    assert line.job(job).state is JobState.RUNNING
    return job


def journal(body: dict[str, Any], seq: Any, *, sender: str = SENDER, name: str = "x", v: Any = 1) -> tuple[str, bytes]:
    said = {"v": v, "id": name, "sent": START.isoformat(), "sender": sender, "seq": seq, "body": body}
    return JOURNAL.of(**MILL), json.dumps(said).encode()


def acknowledged(line: Line, agent: Agent) -> m.JournalAck:
    found = [decode(payload).body for payload in line.office.boxes.get(agent.inbox_topic(), [])]
    acks = [body for body in found if isinstance(body, m.JournalAck)]
    assert acks, "no acknowledgement was said"
    return acks[-1]


def test_a_crowd_of_progress_is_one_transaction(line: Line) -> None:
    """What the batch is for; splitting it in halves would hide a statement that many rows cannot run."""
    commits: list[None] = []
    crowd = [Agent(f"shop{number}", "pi", ()) for number in range(60)]
    for agent in crowd:
        agent.say(m.Progressed(job="none", fence=1, machine="m1", line=1, fraction=0.5), line.now)
    forget = line.scheduler.store.after_commit(lambda: commits.append(None))
    line.hear(*(message for agent in crowd for message in agent.unacked()))
    forget()
    assert len(commits) == 1


def test_progress_counts_for_the_attempt_that_runs_and_for_no_other(line: Line) -> None:
    job = running(line)
    row = line.job(job)
    holder = line.agents[row.agent]
    holder.progress(job, line.now, 0.4)
    for agent in line.agents.values():
        agent.say(m.Progressed(job=job, fence=row.fence + 1, machine="m1", line=9, fraction=0.9), line.now)
        if agent is not holder:
            agent.say(m.Progressed(job=job, fence=row.fence, machine="m1", line=9, fraction=0.9), line.now)
        line.hear(*agent.unacked())
    assert line.job(job).progress == 0.4


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "progressed", "job": "j", "fence": 1, "machine": "m1", "line": 10**30, "fraction": 0.5},
        {"type": "progressed", "job": "j", "fence": 2**40, "machine": "m1", "line": 1, "fraction": 0.5},
        {"type": "running", "job": "j", "fence": 1, "machine": "m1", "started": "0001-01-01T00:00:00+23:59"},
        {"type": "held", "job": "j", "fence": 1, "machine": "m1", "line": 1, "why": "a\u0000b"},
        {"type": "holdings", "boot": "b", "jobs": [], "highest_fences": {"j": 2**62}},
        {"type": "agent_presence", "shop": "mill", "agent": "pi", "online": True},
        {"type": "of_a_newer_agent", "job": "j"},
        {"type": "progressed"},
        {},
    ],
)
def test_an_event_nobody_can_keep_is_refused_by_its_number_and_the_journal_goes_on(
    line: Line, bad: dict[str, Any]
) -> None:
    agent, other = line.agents["mill.pi"], line.agents["forge.pi"]
    bad_seq = agent.spool.seq = agent.spool.seq + 1
    good_seq = agent.say(m.Held(job="none", fence=1, machine="m1", line=1, why="x"), line.now)
    other_seq = other.say(m.Held(job="none", fence=1, machine="f1", line=1, why="x"), line.now)
    line.office.boxes.clear()
    line.hear(journal(bad, bad_seq), *agent.unacked(), *other.unacked())
    ack = acknowledged(line, agent)
    assert ack.upto == good_seq
    assert {event.seq for event in ack.refused} == {bad_seq, good_seq}
    assert acknowledged(line, other).upto == other_seq


@pytest.mark.parametrize("seq", [0, -1, 2**70, "1", None, 1.5])
def test_a_number_that_is_none_changes_nothing(line: Line, seq: Any) -> None:
    rows = line.rows()
    line.hear(journal({"type": "held", "job": "j", "fence": 1, "machine": "m1", "line": 1, "why": "x"}, seq))
    assert line.rows() == rows


def test_a_number_far_ahead_of_its_turn_is_not_kept(line: Line) -> None:
    rows = line.rows()
    body = {"type": "held", "job": "j", "fence": 1, "machine": "m1", "line": 1, "why": "x"}
    line.hear(*(journal(body, 10**6 + number, name=str(number)) for number in range(50)))
    assert line.rows() == rows


def test_two_events_under_one_number_in_one_batch_start_nothing(line: Line) -> None:
    agent = line.agents["mill.pi"]
    (job,) = line.order()
    line.plan()
    line.plan()
    for other in line.agents.values():
        line.exchange(other)
    agent = next(agent for agent in line.agents.values() if job in agent.spool.held)
    agent.stage(job, line.now)
    line.exchange(agent)
    seq = agent.say(m.Progressed(job=job, fence=1, machine="m1", line=1, fraction=0.1), line.now)
    first = agent.unacked()
    agent.spool.seq -= 1
    agent.spool.journal.pop()
    agent.intend(job, line.now)
    line.hear(*first, *agent.unacked())
    line.deliver(agent)
    assert seq in agent.spool.refused
    assert agent.starts == []


def a_report(line: Line) -> dict[str, Any]:
    return json.loads(line.agents["mill.pi"].report("m1", line.now)[1])


@pytest.mark.parametrize(
    "change",
    [
        {"shop": "forge"},
        {"agent": "other"},
        {"since": "9999-12-31T23:59:59-23:00"},
        {"windows": [["2026-03-02T10:00:00Z", "2026-03-02T09:00:00Z"]]},
        {"windows": [["2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z"]] * 5000},
        {"why": "\u0000"},
        {"description": {"envelope_mm": [-1, 200, 200]}},
        {"description": {"machine": "m2"}},
    ],
)
def test_a_report_nobody_can_plan_with_stays_out(line: Line, change: dict[str, Any]) -> None:
    said = a_report(line)
    said["body"]["state"] = MachineState.ALARM.value
    description = said["body"]["description"] | change.get("description", {})
    said["body"] |= {**change, "description": description}
    line.hear((MACHINE.of(**MILL, machine="m1"), json.dumps(said).encode()))
    with line.scheduler.store.read() as c:
        row = queries.machine(c, "mill.pi", "m1")
    assert row is not None
    assert (row.state, row.shop) == ("idle", "mill")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
TOPICS = st.sampled_from(
    [JOURNAL.of(**MILL), PRESENCE.of(**MILL), MACHINE.of(**MILL, machine="m1"), "workshed/v1/mill/pi/inbox", "x"]
)
KINDS = [kind.__struct_config__.tag for kind in m.AnyMessage.__args__]  # type: ignore[attr-defined]


@st.composite
def hostile(draw: st.DrawFn) -> tuple[str, bytes]:
    """Noise, or an envelope whose body is a message of the contract with some fields made up."""
    topic = draw(TOPICS)
    if draw(st.booleans()):
        return topic, draw(st.binary(max_size=200))
    fields = ("job", "fence", "machine", "line", "why", "jobs", "boot", "highest_fences", "started", "description")
    body = {"type": draw(st.sampled_from(KINDS)), "job": "j", "fence": 1, "machine": "m1", "line": 1, "why": "x"}
    body |= draw(st.dictionaries(st.sampled_from(fields), VALUES, max_size=3))
    envelope = {"v": 1, "id": draw(st.text(max_size=5)), "sent": START.isoformat(), "sender": SENDER, "body": body}
    envelope |= {"seq": draw(st.integers(-2, 60) | VALUES)}
    return topic, json.dumps(envelope).encode()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    made = Line(tmp_path_factory.mktemp("fuzz"), Agent("mill", "pi", ("m1",)), Agent("forge", "pi", ("f1",)))
    made.arrive()
    yield made
    made.close()


@settings(max_examples=80)
@given(noise=st.lists(hostile(), min_size=1, max_size=6), after=st.integers(0, 6))
def test_any_bytes_beside_a_good_word_never_lose_it(fuzzed: Line, noise: list[tuple[str, bytes]], after: int) -> None:
    good = fuzzed.agents["forge.pi"]
    seq = good.say(m.Progressed(job="none", fence=1, machine="f1", line=1, fraction=0.5), fuzzed.now)
    fuzzed.hear(*noise[:after], *good.unacked(), *noise[after:])
    good.spool.acked = acknowledged(fuzzed, good).upto
    assert good.spool.acked == seq
    fuzzed.plan()


def test_what_breaks_the_transaction_is_refused_alone(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of our own met by one message: the others of its batch are committed, it is refused by number."""
    from scheduler.dispatch import journal as module

    agent, other = line.agents["mill.pi"], line.agents["forge.pi"]
    poison = agent.say(m.Held(job="poison", fence=1, machine="m1", line=1, why="x"), line.now)
    after = agent.say(m.Progressed(job="none", fence=1, machine="m1", line=1, fraction=0.5), line.now)
    beside = other.say(m.Progressed(job="none", fence=1, machine="f1", line=1, fraction=0.5), line.now)
    whole = module.apply_event

    def broken(c: sa.Connection, mover: Any, who: str, event: Any, now: Any) -> str | None:
        if event.job == "poison":
            raise ZeroDivisionError
        return whole(c, mover, who, event, now)

    monkeypatch.setattr(module, "apply_event", broken)
    line.office.boxes.clear()
    line.hear(*agent.unacked(), *other.unacked())
    ack = acknowledged(line, agent)
    assert (ack.upto, [event.seq for event in ack.refused]) == (after, [poison])
    assert acknowledged(line, other).upto == beside


# --- the order of work ---------------------------------------------------------------------------------------------


def inbound(agent: str, text: str) -> Inbound:
    return Inbound(f"workshed/v1/{agent}/pi/journal", text.encode(), lambda: None)


def test_a_start_is_not_behind_a_crowd_and_overtakes_nothing_of_its_own() -> None:
    backlog = Backlog()
    for number in range(3 * MOST_IN_A_BATCH):
        backlog.put(inbound(f"shop{number % 50}", '{"type":"progressed"}'))
    backlog.put(inbound("shop7", '{"type":"start_intended"}'))
    first = backlog.batch(0)
    assert first is not None
    assert {message.topic for message in first} == {"workshed/v1/shop7/pi/journal"}
    assert [b"start_intended" in message.payload for message in first] == [False] * (len(first) - 1) + [True]


def test_calling_everything_urgent_holds_nobody_up() -> None:
    backlog = Backlog()
    for number in range(5 * MOST_IN_A_BATCH):
        backlog.put(inbound("loud", f'{{"type":"start_intended","n":{number}}}'))
    backlog.put(inbound("quiet", '{"type":"progressed"}'))
    for number in range(5 * MOST_IN_A_BATCH):
        backlog.put(inbound("loud", f'{{"type":"start_intended","m":{number}}}'))
    backlog.close()
    batches = list(iter(lambda: backlog.batch(0), None))
    where = next(n for n, batch in enumerate(batches) if any("quiet" in message.topic for message in batch))
    assert where <= 11  # of all that came before it, one batch in two at most was taken out of turn
    assert sum(map(len, batches)) == 10 * MOST_IN_A_BATCH + 1


def test_every_message_leaves_the_backlog_once_and_in_its_agents_order() -> None:
    backlog, seen = Backlog(most=7), list[tuple[str, bytes]]()

    def fill() -> None:
        for number in range(400):
            kind = "claimed" if number % 11 == 0 else "progressed"
            backlog.put(inbound(f"shop{number % 5}", f'{{"type":"{kind}"}}{number:04}'))
        backlog.close()

    thread = threading.Thread(target=fill)
    thread.start()
    while (batch := backlog.batch(1)) is not None:
        seen += [(message.topic, message.payload[-4:]) for message in batch]
    thread.join()
    for shop in range(5):
        own = [number for topic, number in seen if topic == f"workshed/v1/shop{shop}/pi/journal"]
        assert own == sorted(own)
        assert len(own) == 80


def test_an_idle_backlog_answers_so_that_what_is_owed_can_be_said() -> None:
    assert Backlog().batch(0.01) == []


@pytest.mark.parametrize("together", [True, False])
def test_the_will_of_a_process_that_another_one_followed_is_history(line: Line, *, together: bool) -> None:
    """It came late, or a second time: the shop would count as gone for as long as it says nothing."""
    agent = line.agents["mill.pi"]
    will = agent.presence(line.now, online=False)
    agent.boot = "another"
    words = [agent.presence(line.now), will]
    for batch in [words] if together else [[word] for word in words]:
        line.hear(*batch)
    with line.scheduler.store.read() as c:
        known = queries.agent(c, "mill.pi")
    assert known is not None
    assert (known.online, known.boot) == (True, "another")
    line.hear(agent.presence(line.now, online=False))
    with line.scheduler.store.read() as c:
        known = queries.agent(c, "mill.pi")
    assert known is not None
    assert not known.online


def test_a_presence_that_is_said_again_is_no_news(line: Line) -> None:
    """Hundreds of shops say it every five minutes: the plan is not made anew for that."""
    agent = line.agents["mill.pi"]
    line.scheduler.bell.heard_news()
    line.hear(agent.presence(line.now))
    assert not line.scheduler.bell.heard_news()
    line.hear(agent.presence(line.now, online=False))
    assert line.scheduler.bell.heard_news()
    line.hear(agent.presence(line.now))
    assert line.scheduler.bell.heard_news()
