"""Jobs lent to a home: what goes out and when, what a lost connection puts in doubt, what a book makes true."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from agents.contract import decode, encode, wrap
from agents.contract import messages as m
from agents.contract.granting import Hold, epoch_of
from agents.contract.topics import PRESENCE
from agents.contract.vocabulary import FailureClass, JobState
from scheduler.api.application import create_app
from scheduler.dispatch import lending
from scheduler.dispatch.board import begin_epoch, declare_home_lost
from scheduler.store import queries
from tests.scheduler.line import Agent, Line

FIRST, SECOND, THIRD = epoch_of(1, 1), epoch_of(1, 2), epoch_of(1, 3)
HOME = "shed.pi"


class Shed(Agent):
    """A home without machines."""

    def __init__(self) -> None:
        super().__init__("shed", "pi", ())

    def volunteers(self, line: Line) -> tuple[str, bytes]:
        body = m.AgentPresence(
            shop="shed", agent="pi", online=True, boot=self.boot, volunteers=True, http="http://shed"
        )
        payload = encode(wrap(body, sender="agent/shed/pi", now=line.now))
        return PRESENCE.of(shop="shed", agent="pi"), payload

    def _on_bookrequest(self, request: m.BookRequest, now: Any) -> None:
        """The test answers."""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("able", "pi", ("m1",)), Agent("barn", "pi", ("m2",)), Shed())
    new_epoch(made, FIRST)
    made.arrive()
    made.hear(made.agents[HOME].volunteers(made))  # type: ignore[attr-defined]
    yield made
    made.close()


def ordered(line: Line) -> str:
    """One job, with a toolpath, planned."""
    (job,) = line.order()
    line.plan()
    line.plan()
    return job


def new_epoch(line: Line, epoch: int) -> None:
    """The connection is lost and made again."""
    with line.scheduler.store.write() as c:
        begin_epoch(c, line.scheduler.mover, epoch, line.now)


def holds(line: Line) -> dict[str, Hold]:
    with line.scheduler.store.read() as c:
        return {held.job: held.hold for held in lending.lendings(c)}


def marks(line: Line) -> dict[str, m.BoardMark | None]:
    """The newest mark of each job that went out."""
    line.send()
    found: dict[str, m.BoardMark | None] = {}
    for topic, payloads in line.office.boxes.items():
        if "/board/" in topic:
            body = decode(payloads[-1]).body if payloads[-1] else None
            assert body is None or isinstance(body, m.BoardMark)
            found[topic.rsplit("/", 1)[1]] = body
    return found


def home_lease(line: Line, job: str, fence: int, **more: Any) -> m.HomeLease:
    held = next(mark for mark in marks(line).values() if mark is not None and mark.ticket.job == job)
    values = {"attempt": 1, "epoch": held.epoch, "agent": "barn.pi", "machine": "m2", **more}
    return m.HomeLease(
        job=job,
        lease=f"h{job}-{fence}",
        fence=fence,
        sha256=held.toolpaths[0].sha256,
        granted=line.now,
        start_by=line.now + timedelta(minutes=30),
        **values,
    )


def book(line: Line, *leases: m.HomeLease, epoch: int = SECOND, **more: Any) -> None:
    """The home hands in its book."""
    home = line.agents[HOME]
    home.say(m.HomeBook(scheduler="main", epoch=epoch, leases=leases, **more), line.now)
    line.exchange(home)


def test_an_open_job_is_lent_and_its_grant_stands_on_the_mark_first(line: Line) -> None:
    job = ordered(line)
    mark = marks(line)[job]
    assert mark is not None
    assert (mark.home, mark.epoch, mark.floor, mark.held) == ("shed/pi", FIRST, 0, None)
    assert any(url.startswith("http://shed/toolpaths/") for url in mark.toolpaths[0].urls), "the home serves it too"
    line.exchange(line.agents["able.pi"], rounds=1)  # it claims
    order = [
        (topic.split("/")[2], type(decode(payload).body).__name__ if payload else "gone")
        for _, topic, payload, _, _ in unsent(line)
    ]
    assert order == [("board", "BoardMark"), ("able", "Grant")]
    held = marks(line)[job]
    assert held is not None
    assert held.held == m.HeldLease(agent="able.pi", machine="m1", fence=1)
    assert held.floor == 1


def test_nothing_is_put_on_the_board_before_the_shops_were_heard(line: Line) -> None:
    """Just after a start the database may be an old copy: what it calls open may have been made."""
    line.restart_scheduler()
    new_epoch(line, SECOND)
    line.hear(line.agents[HOME].volunteers(line))  # type: ignore[attr-defined]
    job = ordered(line)
    assert line.job(job).state is JobState.WAITING
    assert job not in marks(line)
    line.arrive()
    line.hear(line.agents[HOME].volunteers(line))  # type: ignore[attr-defined]
    line.plan()
    line.plan()
    assert job in marks(line)


def unsent(line: Line) -> list[Any]:
    from scheduler.store.record import unsent as rows

    with line.scheduler.store.read() as c:
        return rows(c)


def test_a_lost_connection_puts_what_was_lent_in_doubt(line: Line) -> None:
    job = ordered(line)
    line.office.open = False
    new_epoch(line, SECOND)
    assert holds(line) == {job: Hold.DOUBTED}
    line.office.open = True
    line.plan()
    line.send()
    assert line.job(job).state is JobState.WAITING
    assert HOME in line.job(job).waiting["why"]
    said = [decode(payload).body for payload in line.office.boxes.get(line.agents["able.pi"].inbox_topic(), [])]
    assert not [body for body in said if isinstance(body, m.Offer | m.Grant)], "nothing old goes out either"
    assert not marks(line), "nor an old mark"
    asked = [decode(payload).body for payload in line.office.boxes[line.agents[HOME].inbox_topic()]]
    assert [body.epoch for body in asked if isinstance(body, m.BookRequest)] == [SECOND]


def test_an_empty_book_gives_the_right_back(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    book(line)
    line.plan()
    assert holds(line) == {job: Hold.LENT}
    mark = marks(line)[job]
    assert mark is not None
    assert mark.epoch == SECOND
    line.exchange(line.agents["able.pi"])
    assert line.job(job).state is JobState.LEASED


@pytest.mark.parametrize("words", ["before the book", "after the book", "only in the book"])
def test_what_the_home_granted_becomes_the_record_once(line: Line, words: str) -> None:
    job = ordered(line)
    line.send()
    line.office.boxes.pop(line.agents["able.pi"].inbox_topic())
    barn = line.agents["barn.pi"]
    new_epoch(line, SECOND)
    now = line.now
    ran = m.Running(job=job, fence=2, machine="m2", started=now)
    ended = m.Finished(job=job, fence=2, machine="m2", started=now, finished=now, lines=4, machine_s=9.0)
    lease = home_lease(line, job, 2, committed=True, ended=ended)
    said = (m.Staged(job=job, fence=2, machine="m2", sha256=lease.sha256), ran, ended)
    tell = [lambda: [barn.say(body, now) for body in said], lambda: line.exchange(barn)]
    if words == "before the book":
        for step in tell:
            step()
    book(line, lease)
    if words == "after the book":
        for step in tell:
            step()
    job_row = line.job(job)
    assert (job_row.state, job_row.fence, job_row.agent, job_row.machine) == (JobState.FINISHED, 2, "barn.pi", "m2")
    new_epoch(line, THIRD)
    book(line, lease, epoch=THIRD)
    assert line.job(job).version == job_row.version, "a book that comes again changes nothing"
    barn.say(m.Inspected(job=job, fence=2, machine="m2", good=1, rejected=0), now)
    line.exchange(barn)
    assert line.job(job).state is JobState.INSPECTED


def test_a_homes_lease_that_never_began_only_raises_the_fence(line: Line) -> None:
    job = ordered(line)
    able = line.agents["able.pi"]
    line.exchange(able)
    assert line.job(job).state is JobState.LEASED
    new_epoch(line, SECOND)
    book(line, home_lease(line, job, 3), given_up={job: 1})
    assert (line.job(job).state, line.job(job).fence) == (JobState.WAITING, 3)
    line.plan()
    line.exchange(able)
    line.plan()
    line.exchange(able)
    assert line.job(job).fence == 4


def test_a_run_that_its_home_forgot_is_known_by_its_holders_word(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    barn = line.agents["barn.pi"]
    barn.say(m.Running(job=job, fence=2, machine="m2", started=line.now), line.now)
    line.hear(*barn.unacked())
    book(line, home_lease(line, job, 2))
    assert (line.job(job).state, line.job(job).agent) == (JobState.RUNNING, "barn.pi")


@pytest.mark.parametrize("meanwhile", ["it waits", "it is offered anew"])
def test_a_run_that_its_home_forgot_and_its_holder_tells_after_the_book_waits_for_a_person(
    line: Line, meanwhile: str
) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    book(line, home_lease(line, job, 2))
    if meanwhile == "it is offered anew":
        line.plan()
        assert line.job(job).state is JobState.OFFERED
    barn = line.agents["barn.pi"]
    barn.say(m.Running(job=job, fence=2, machine="m2", started=line.now), line.now)
    line.hear(*barn.unacked())
    line.plan()
    found = line.job(job)
    assert (found.state, found.fence) == (JobState.WAITING, 2), "nothing is offered before somebody looked"
    assert "fence 2" in found.flag


def test_what_was_told_of_a_homes_unbegun_lease_after_the_book_changes_nothing(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    book(line, home_lease(line, job, 2))
    barn = line.agents["barn.pi"]
    barn.say(m.Staged(job=job, fence=2, machine="m2", sha256="0" * 64), line.now)
    line.hear(*barn.unacked())
    assert line.job(job).flag == ""


def test_several_attempts_of_the_home_are_one_after_the_other(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    failed = m.Failed(job=job, fence=2, machine="m2", failure=FailureClass.THERMAL, last_line=2, why="cold")
    first = home_lease(line, job, 2, committed=True, ended=failed)
    second = home_lease(line, job, 3, committed=True, attempt=2, agent="able.pi", machine="m1")
    book(line, first, second)
    job_row = line.job(job)
    assert (job_row.state, job_row.fence, job_row.attempt, job_row.agent) == (JobState.STARTING, 3, 2, "able.pi")
    with line.scheduler.store.read() as c:
        assert [lease.fence for lease in queries.live_leases(c)] == [3]


def test_a_grant_that_had_not_gone_out_waits_for_the_book(line: Line) -> None:
    job = ordered(line)
    able = line.agents["able.pi"]
    line.deliver(able)
    line.office.open = False
    line.hear(*able.unacked())
    assert line.job(job).state is JobState.LEASED
    new_epoch(line, SECOND)
    line.office.open = True
    able.holdings(line.now)
    line.exchange(able)
    assert job not in able.spool.held, "its home may have granted it"
    book(line)
    line.exchange(able)
    assert able.spool.held[job].fence == 1, "nobody had: the agent, asked what it holds, gets it now"


def test_no_start_is_committed_under_a_fence_that_is_older_than_one_that_was_told(line: Line) -> None:
    """An old database: the job went to another shop since, whose word waits for the home's book."""
    job = ordered(line)
    able, barn = line.agents["able.pi"], line.agents["barn.pi"]
    line.exchange(able)
    assert line.job(job).state is JobState.LEASED
    new_epoch(line, SECOND)
    barn.say(m.Running(job=job, fence=2, machine="m2", started=line.now), line.now)
    line.hear(*barn.unacked())
    able.stage(job, line.now)
    able.intend(job, line.now)
    line.exchange(able)
    assert line.job(job).state is not JobState.STARTING
    assert able.starts == []
    book(line)
    assert "fence 2" in line.job(job).flag


@pytest.mark.parametrize("told", ["its words", "only its highest fence"])
@pytest.mark.parametrize("home", ["hands in an empty book", "is declared lost"])
def test_what_no_book_explains_waits_for_a_person(line: Line, told: str, home: str) -> None:
    """An old copy of the database, in which the job is still open: a shop had it since, and made it."""
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    barn = line.agents["barn.pi"]
    barn.spool.fences[job] = 1
    if told == "its words":
        barn.say(m.Running(job=job, fence=1, machine="m2", started=line.now), line.now)
    else:
        barn.holdings(line.now)
    line.hear(*barn.unacked())
    if home == "is declared lost":
        line.scheduler.write(lambda c: declare_home_lost(c, line.scheduler.mover, HOME, "it burnt down", line.now))
    else:
        book(line)
    line.plan()
    line.exchange(line.agents["able.pi"])
    found = line.job(job)
    assert found.state is JobState.WAITING, "nothing is offered before somebody looked"
    assert "fence 1" in found.flag
    assert found.fence > 10, "a home that forgot one grant may have given out more that nobody told of"


def test_a_book_for_another_epoch_is_refused(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    new_epoch(line, THIRD)
    book(line, home_lease(line, job, 2, committed=True), epoch=SECOND)
    assert holds(line) == {job: Hold.DOUBTED}
    assert line.job(job).state is JobState.WAITING


def test_what_holders_have_is_not_taken_from_them_in_doubt(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    barn = line.agents["barn.pi"]
    barn.spool.fences[job] = 2
    barn.say(
        m.Holdings(
            boot=barn.boot,
            jobs=(m.Holding(job=job, fence=2, machine="m2", state="running", lease=f"h{job}-2"),),
            highest_fences={job: 2},
        ),
        line.now,
    )
    line.hear(*barn.unacked())
    line.send()
    said = [decode(payload).body for payload in line.office.boxes.get(barn.inbox_topic(), [])]
    assert not [body for body in said if isinstance(body, m.CancelRequest) or getattr(body, "fence", None) == 2]
    assert line.job(job).flag == ""


def test_a_start_under_a_homes_lease_is_not_permitted_here(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    barn = line.agents["barn.pi"]
    asked = barn.say(m.StartIntended(job=job, fence=2, machine="m2"), line.now)
    line.exchange(barn)
    assert asked in barn.spool.refused


def test_a_person_can_declare_a_home_lost(line: Line) -> None:
    job = ordered(line)
    line.send()
    new_epoch(line, SECOND)
    client = TestClient(create_app(line.settings, scheduler=line.scheduler))
    path, said = f"/api/v1/homes/{HOME}/lost", {"why": "it burnt down"}
    assert client.post(path, json=said).status_code == 401, "not without a person's token"
    client.headers["Authorization"] = f"Bearer {(line.settings.data / 'admin.token').read_text().strip()}"
    assert client.post(path, json=said).json() == {"jobs": 1}
    line.plan()
    line.exchange(line.agents["able.pi"])
    assert line.job(job).state is JobState.LEASED


def test_the_mark_comes_down_when_the_job_runs(line: Line) -> None:
    job = ordered(line)
    able = line.agents["able.pi"]
    line.exchange(able)
    able.stage(job, line.now)
    able.intend(job, line.now)
    line.exchange(able)
    line.clock.pass_(seconds=6)
    line.plan()
    assert marks(line)[job] is None
