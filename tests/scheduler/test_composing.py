"""Orders on one sheet and one plate: shared while nothing is frozen, each order's pieces its own to the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.contract import messages as m
from agents.contract.vocabulary import CLOSED_STATES, FailureClass, JobState, NeedClass, Process
from designs.processes.model import MadeToolpath
from scheduler.api.views import overview
from scheduler.dispatch import people
from scheduler.orders.contents import WHOSE
from scheduler.orders.making import Impossible
from scheduler.orders.progress import good_pieces
from scheduler.orders.recipes import Recipe, read_body
from scheduler.orders.refusal import Refused
from scheduler.store import content_queries, content_tables, queries
from scheduler.store import tables as t
from tests.scheduler import line as line_module
from tests.scheduler.line import Agent, Line, tiny_toolpath
from tests.scheduler.shelf import ask, block, drawing


@pytest.fixture
def cutter() -> Agent:
    return Agent("mill", "pi", ("laser",), Process.LASER)


@pytest.fixture
def line(tmp_path: Path, cutter: Agent, url: str) -> Iterator[Line]:
    made = Line(tmp_path, cutter, database=url)
    made.arrive()
    yield made
    made.close()


def contents(line: Line) -> dict[str, dict[str, int]]:
    """Pieces by order, on each job that has any and is not over."""
    with line.scheduler.store.read() as c:
        jobs = [job for job in queries.jobs(c) if job.state not in CLOSED_STATES]
        return {job.id: {x.order: x.pieces for x in content_queries.lines(c, job.id)} for job in jobs}


def conserved(line: Line) -> None:
    """Every piece asked for lies on exactly one job that is open or was made; every job is counted once."""
    with line.scheduler.store.read() as c:
        wanted = {
            (p["order"], p["part"]): p["quantity"] for o in queries.orders(c) for p in queries.order_parts(c, o.id)
        }
        lying: Counter[tuple[str, str]] = Counter()
        for job in queries.jobs(c):
            found = content_queries.lines(c, job.id)
            assert sum(x.pieces for x in found) in (job.pieces, 0)
            assert bool(found) or job.state is JobState.CANCELLED
            for x in found:
                lying[x.order, x.part] += x.pieces - x.rejected
        cancelled = {o.id for o in queries.orders(c) if o.state == "cancelled"}
        for key, count in wanted.items():
            assert lying[key] == count or (key[0] in cancelled and lying[key] <= count)
        seen = overview(c)
        assert seen.jobs_in == seen.done + seen.running + seen.waiting + seen.unmatched + seen.cancelled


def lease(line: Line, agent: Agent, job: str) -> None:
    line.plan()
    line.plan()
    line.exchange(agent)
    assert line.job(job).state is JobState.LEASED


def run(line: Line, agent: Agent, job: str) -> None:
    lease(line, agent, job)
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    line.exchange(agent)


def test_two_orders_share_a_sheet_and_each_counts_its_own_pieces(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    ((job, shared),) = contents(line).items()
    assert shared == {one.id: 3, other.id: 2}
    body = read_body(line.job(job).body)
    assert sorted((piece.name, piece.quantity) for piece in body.pieces) == [("coaster.svg", 3), ("tag.svg", 2)]
    conserved(line)
    run(line, cutter, job)
    held = cutter.finish(job, line.now)
    cutter.inspect(held, line.now, good=5)
    line.exchange(cutter)
    with line.scheduler.store.read() as c:
        assert good_pieces(c, one.id) == {"coaster": 3}
        assert good_pieces(c, other.id) == {"tag": 2}
        assert {queries.order(c, o.id).state for o in (one, other)} == {"made"}  # type: ignore[union-attr]
    conserved(line)


def test_a_later_order_joins_while_the_sheet_waits_and_not_after(line: Line, cutter: Agent) -> None:
    busy = ask(line, "large.svg", drawing(180, 180))
    line.plan()
    lease(line, cutter, f"{busy.id}-1")
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    line.plan()
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    lying = contents(line)
    assert lying.pop(f"{busy.id}-1") == {busy.id: 1}
    assert list(lying.values()) == [{one.id: 3, other.id: 2}]
    conserved(line)


def test_cancelling_one_order_leaves_the_others_pieces_where_they_are(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, one.id, "no longer needed", line.now)
    assert contents(line) == {job: {other.id: 2}}
    assert line.job(job).order == other.id
    conserved(line)


def test_cancelling_after_the_claim_makes_the_sheet_as_it_is_frozen(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    run(line, cutter, job)
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, one.id, "no longer needed", line.now)
    assert line.job(job).state is JobState.RUNNING
    assert not line.job(job).cancel_why
    held = cutter.finish(job, line.now)
    cutter.inspect(held, line.now, good=5)
    line.exchange(cutter)
    with line.scheduler.store.read() as c:
        assert queries.order(c, other.id).state == "made"  # type: ignore[union-attr]
        assert queries.order(c, one.id).state == "cancelled"  # type: ignore[union-attr]
    conserved(line)


def test_cancelling_while_the_offer_stands_takes_it_back_and_the_pieces_out(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    line.plan()
    (job,) = contents(line)
    assert line.job(job).state is JobState.OFFERED
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, one.id, "no longer needed", line.now)
    assert line.job(job).state is JobState.WAITING
    assert contents(line) == {job: {other.id: 2}}
    conserved(line)


def test_after_a_failure_the_pieces_come_back_order_by_order(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    run(line, cutter, job)
    cutter.fail(job, line.now, FailureClass.LINE_REJECTED)
    line.exchange(cutter)
    apart = contents(line)
    assert sorted(apart.values(), key=str) == sorted([{one.id: 3}, {other.id: 2}], key=str)
    line.clock.pass_(minutes=30)
    line.plan()
    assert sorted(contents(line).values(), key=str) == sorted(apart.values(), key=str), "a file may be to blame"
    assert all(line.job(name).attempt == 2 for name in apart)
    conserved(line)


def test_rejected_pieces_of_a_shared_sheet_are_somebodys(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    run(line, cutter, job)
    held = cutter.finish(job, line.now)
    cutter.inspect(held, line.now, good=4, rejected=1)
    line.exchange(cutter)
    assert line.job(job).flag == WHOSE.format(rejected=1, pieces=5)
    with line.scheduler.store.read() as c:
        assert good_pieces(c, one.id) == {"coaster": 0}
    with pytest.raises(Refused, match="does not add up"), line.scheduler.store.write() as c:
        people.say_whose(c, line.scheduler.mover, job, {(one.id, "coaster"): 2}, line.now)
    with line.scheduler.store.write() as c:
        people.say_whose(c, line.scheduler.mover, job, {(other.id, "tag"): 1}, line.now)
    assert line.job(job).flag == ""
    with line.scheduler.store.read() as c:
        assert queries.order(c, one.id).state == "made"  # type: ignore[union-attr]
        assert good_pieces(c, other.id) == {"tag": 1}
    assert list(contents(line).values()) == [{other.id: 1}]
    conserved(line)


def test_at_the_machine_it_is_said_whose_pieces_were_bad_and_only_those_are_made_again(
    line: Line, cutter: Agent
) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    run(line, cutter, job)
    (ticket,) = (offer.ticket for offer in cutter.spool.offers.values())
    assert {(lying.order, lying.pieces) for lying in ticket.contents} == {(one.id, 3), (other.id, 2)}
    tag = next(lying for lying in ticket.contents if lying.order == other.id)
    assert [lying.order in ticket.work_card for lying in ticket.contents] == [True, True]
    held = cutter.finish(job, line.now)
    bad = m.RejectedPieces(order=other.id, part=tag.part, rejected=1)
    cutter.inspect(held, line.now, good=4, rejected=1, rejected_of=(bad,))
    line.exchange(cutter)
    assert line.job(job).flag == ""
    again = contents(line)
    assert list(again.values()) == [{other.id: 1}]
    assert all(line.job(name).replaces == job for name in again)
    conserved(line)


@pytest.mark.parametrize("wrong", ["another order", "another part", "named twice", "too few named"])
def test_a_word_about_pieces_that_do_not_lie_there_leaves_the_question_open(
    line: Line, cutter: Agent, wrong: str
) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    run(line, cutter, job)
    with line.scheduler.store.read() as c:
        part = next(x.part for x in content_queries.lines(c, job) if x.order == one.id)
    said = {
        "another order": (m.RejectedPieces(order="elsewhere", part=part, rejected=2),),
        "another part": (m.RejectedPieces(order=one.id, part="leg", rejected=2),),
        "named twice": (m.RejectedPieces(order=one.id, part=part, rejected=1),) * 2,
        "too few named": (m.RejectedPieces(order=one.id, part=part, rejected=1),),
    }[wrong]
    cutter.inspect(cutter.finish(job, line.now), line.now, good=3, rejected=2, rejected_of=said)
    line.exchange(cutter)
    assert line.job(job).state is JobState.INSPECTED, "what the person counted stands"
    assert line.job(job).flag == WHOSE.format(rejected=2, pieces=5)


def test_what_must_not_share_does_not(line: Line) -> None:
    ask(line, "coaster.svg", drawing(40, 40), 3, colour="oak")
    ask(line, "tag.svg", drawing(30, 20), 2, due=line.now + timedelta(days=1))
    ask(line, "lid.svg", drawing(30, 30), 2, due=line.now + timedelta(days=12))
    line.plan()
    assert len(contents(line)) == 3
    assert all(len(shared) == 1 for shared in contents(line).values())


def test_a_shared_plate_is_treated_by_the_most_pressing_need(line: Line) -> None:
    wish = ask(line, "coaster.svg", drawing(40, 40), 3)
    need = ask(line, "tag.svg", drawing(30, 20), 3, need_class=NeedClass.SURVIVAL, due=line.now + timedelta(days=1))
    line.plan()
    ((job, shared),) = contents(line).items()
    assert shared == {wish.id: 3, need.id: 3}
    picture = line.scheduler.dispatcher.look(line.now)
    (seen,) = picture.snapshot.jobs
    assert (seen.id, seen.need_class, seen.due, seen.weight) == (job, NeedClass.SURVIVAL, need.due, 10)


def test_plates_of_small_prints_are_shared_and_long_prints_divided(tmp_path: Path) -> None:
    printers = Agent("shed", "pi", ("p1", "p2"))
    line = Line(tmp_path, printers)
    line.arrive()
    ask(line, "clip.stl", block(20, 10, 3), 3)
    ask(line, "peg.stl", block(15, 15, 4), 2)
    line.plan()
    assert [sum(shared.values()) for shared in contents(line).values()] == [5]
    due = line.now + timedelta(hours=8)
    long = ask(line, "brick.stl", block(60, 60, 60), 4, due=due)
    line.plan()
    bricks = [shared[long.id] for shared in contents(line).values() if long.id in shared]
    assert sum(bricks) == 4
    assert len(bricks) >= 2
    conserved(line)
    line.close()


def test_what_turns_out_not_to_fit_is_divided_order_by_order_and_then_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_most_two(recipe: Recipe, blobs: str) -> MadeToolpath | Impossible:
        if sum(piece.quantity for piece in recipe.pieces) > 2:
            return Impossible("They do not all fit on one plate: 2 fit. Make plates of 2 or fewer.")
        return tiny_toolpath(recipe, blobs)

    monkeypatch.setattr(line_module, "tiny_toolpath", at_most_two)
    line = Line(tmp_path, Agent("mill", "pi", ("laser",), Process.LASER))
    line.arrive()
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 1)
    for _ in range(6):
        line.plan()
        line.clock.pass_(minutes=1)
    lying = contents(line).values()
    assert sorted(sum(shared.values()) for shared in lying) == [1, 1, 2]
    assert sum(shared.get(one.id, 0) for shared in lying) == 3
    assert sum(shared.get(other.id, 0) for shared in lying) == 1
    conserved(line)
    line.close()


def test_the_database_holds_no_line_twice(line: Line) -> None:
    order = ask(line, "coaster.svg", drawing(40, 40), 3)
    (job,) = contents(line)
    row = {"job": job, "order": order.id, "part": "coaster", "pieces": 1, "good": 0, "rejected": 0, "body": {}}
    with pytest.raises(sa.exc.IntegrityError), line.scheduler.store.write() as c:
        c.execute(sa.insert(content_tables.job_pieces).values(**row))
    with line.scheduler.store.read() as c:
        assert c.execute(sa.select(sa.func.sum(t.jobs.c.pieces))).scalar() == 3


_DEEDS = ("ask", "ask", "plan", "plan", "begin", "finish", "reject", "fail", "cancel", "whose", "wait")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(_DEEDS), st.integers(0, 30)), min_size=8, max_size=24))
def test_whatever_happens_no_piece_and_no_job_is_lost(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[str, int]]
) -> None:
    cutters = Agent("mill", "pi", ("l1", "l2"), Process.LASER)
    line = Line(tmp_path_factory.mktemp("any"), cutters)
    line.arrive()
    try:
        for deed, n in deeds:
            _do(line, cutters, deed, n)
            conserved(line)
    finally:
        line.close()


def _do(line: Line, agent: Agent, deed: str, n: int) -> None:
    if deed == "ask":
        due = None if n % 3 == 0 else line.now + timedelta(hours=6 + 20 * n)
        ask(line, f"p{n % 4}.svg", drawing(20 + 5 * (n % 4), 30), 1 + n % 5, due=due, need_class=list(NeedClass)[n % 4])
    elif deed == "plan":
        line.plan()
        line.exchange(agent)
    elif deed == "wait":
        line.clock.pass_(minutes=5 + n)
    elif deed == "cancel":
        _cancel(line, n)
    elif deed == "whose":
        _whose(line)
    else:
        _at_the_machine(line, agent, deed, n)


def _at_the_machine(line: Line, agent: Agent, deed: str, n: int) -> None:
    wanted = JobState.LEASED if deed == "begin" else JobState.RUNNING
    jobs = [job for job in line.jobs(wanted) if job.id in agent.spool.held]
    if not jobs:
        return
    job = jobs[n % len(jobs)].id
    if deed == "begin":
        agent.stage(job, line.now)
        agent.intend(job, line.now)
        line.exchange(agent)
        if line.job(job).state is JobState.STARTING:
            agent.run(job, line.now)
    elif deed == "fail":
        agent.fail(job, line.now, list(FailureClass)[n % 10])
    else:
        pieces = line.job(job).pieces
        bad = min(1, pieces) if deed == "reject" else 0
        agent.inspect(agent.finish(job, line.now), line.now, good=pieces - bad, rejected=bad)
    line.exchange(agent)


def _cancel(line: Line, n: int) -> None:
    with line.scheduler.store.read() as c:
        orders = [row.id for row in queries.orders(c) if row.state in ("accepted", "making")]
    if orders:
        with line.scheduler.store.write() as c:
            people.cancel_order(c, line.scheduler.mover, sorted(orders)[n % len(orders)], "changed my mind", line.now)


def _whose(line: Line) -> None:
    for job in line.jobs(JobState.INSPECTED):
        if job.flag:
            with line.scheduler.store.write() as c:
                first = content_queries.lines(c, job.id)[0]
                people.say_whose(c, line.scheduler.mover, job.id, {(first.order, first.part): job.rejected}, line.now)


def test_pieces_of_a_cancelled_order_do_not_come_back_after_a_failure(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    run(line, cutter, job)
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, one.id, "no longer needed", line.now)
    cutter.fail(job, line.now, FailureClass.MATERIAL_RUNOUT)
    line.exchange(cutter)
    assert [found for found in contents(line).values() if one.id not in found] == [{other.id: 2}]
    left = [row for row in line.jobs() if row.order == one.id]
    assert {row.state for row in left} <= {JobState.CANCELLED}
    conserved(line)


def test_pieces_of_a_cancelled_order_leave_the_sheet_once_it_is_frozen_no_more(line: Line, cutter: Agent) -> None:
    one = ask(line, "coaster.svg", drawing(40, 40), 3)
    other = ask(line, "tag.svg", drawing(30, 20), 2)
    line.plan()
    (job,) = contents(line)
    lease(line, cutter, job)
    with line.scheduler.store.write() as c:
        people.cancel_order(c, line.scheduler.mover, one.id, "no longer needed", line.now)
    assert line.job(job).state is JobState.LEASED
    line.clock.pass_(hours=1)  # it was never begun
    line.plan()
    assert {other.id: 2} in contents(line).values()
    assert {row.state for row in line.jobs() if row.order == one.id} == {JobState.CANCELLED}
    conserved(line)
