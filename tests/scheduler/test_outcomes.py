"""Learning from making: what machines measured turns estimates into what happens, and no shop bends it for others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import mean

import pytest

from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass, JobState
from scheduler.orders.outcomes import Learned
from scheduler.planning.snapshot import DurationOption, PlanMachine
from scheduler.store import content_queries
from scheduler.store.content_queries import OutcomeRow
from tests.scheduler.line import START, Agent, Line

ESTIMATE_S = 1_800.0


@pytest.fixture
def shops() -> list[Agent]:
    return [Agent(f"shop{n}", "pi", ("m1",)) for n in range(4)]


@pytest.fixture
def line(tmp_path: Path, shops: list[Agent]) -> Iterator[Line]:
    made = Line(tmp_path, *shops)
    made.arrive()
    yield made
    made.close()


def outcomes(line: Line) -> list[OutcomeRow]:
    with line.scheduler.store.read() as c:
        return content_queries.outcomes(c)


def make(line: Line, shop: Agent, factor: float) -> str:
    """Order one peg, let this shop make it; the machine takes `factor` times the estimate."""
    others = [agent for agent in line.agents.values() if agent is not shop]
    for agent in others:
        line.hear(agent.presence(line.now, online=False))
    line.hear(shop.presence(line.now))
    shop.holdings(line.now)
    line.exchange(shop)
    (job,) = line.order()
    line.plan()
    line.plan()
    line.exchange(shop)
    assert line.job(job).state is JobState.LEASED
    shop.stage(job, line.now)
    shop.intend(job, line.now)
    line.exchange(shop)
    shop.run(job, line.now)
    line.exchange(shop)
    line.clock.pass_(seconds=ESTIMATE_S * factor)
    held = shop.spool.held.pop(job)
    started = line.now - timedelta(seconds=ESTIMATE_S * factor)
    done = m.Finished(
        job=job,
        fence=held.fence,
        machine=held.machine,
        started=started,
        finished=line.now,
        lines=4,
        machine_s=ESTIMATE_S * factor,
    )
    shop.say(done, line.now)
    shop.inspect(held, line.now, good=1)
    line.exchange(shop)
    for agent in others:
        line.hear(agent.presence(line.now))
        agent.holdings(line.now)
        line.exchange(agent)
    return job


def expected_s(line: Line, agent: Agent) -> float:
    """What the next peg is planned with on the agent's machine."""
    picture = line.scheduler.dispatcher.look(line.now)
    key = line.jobs()[0].file_key
    return picture.learned.option(key, "plain", agent.shop, ESTIMATE_S, f"{agent.id}.m1").p50_s


def options(line: Line) -> dict[str, DurationOption]:
    line.order()
    line.plan()
    picture = line.scheduler.dispatcher.look(line.now)
    job = next(job for job in picture.snapshot.jobs if job.options)
    return {str(option.machine): option for option in job.options}


def test_the_error_of_what_is_expected_falls_as_runs_come_in(line: Line, shops: list[Agent]) -> None:
    for n in range(9):
        make(line, shops[n % 3], 1.4)
    rows = outcomes(line)
    assert [row.measured_s for row in rows] == [pytest.approx(2_520.0)] * 9
    slicer = [abs(row.estimated_s - row.measured_s) / row.measured_s for row in rows if row.estimated_s]
    ours = [abs(row.expected_s - row.measured_s) / row.measured_s for row in rows if row.expected_s]
    assert mean(slicer) == pytest.approx(0.4 / 1.4)
    assert mean(ours[6:]) < 0.25 * mean(slicer)
    assert mean(ours[6:]) < mean(ours[:3])


def test_one_shop_speaks_for_itself_and_does_not_bend_the_others(line: Line, shops: list[Agent]) -> None:
    for n in range(6):
        make(line, shops[n % 3], 1.1)
    before = {shop.shop: expected_s(line, shop) for shop in shops[:3]}
    for _ in range(5):
        make(line, shops[3], 4.5)
    for shop in shops[:3]:
        assert expected_s(line, shop) == pytest.approx(before[shop.shop], rel=0.02)
    assert expected_s(line, shops[3]) > 3 * ESTIMATE_S
    stranger = Agent("shop9", "pi", ("m1",))
    assert expected_s(line, stranger) < 1.6 * ESTIMATE_S


def test_p50_p80_p90_rise_and_reach_the_snapshot(line: Line) -> None:
    for option in options(line).values():
        assert option.p80_s is not None
        assert option.p90_s is not None
        assert option.p50_s == pytest.approx(ESTIMATE_S, rel=0.06)
        assert option.p50_s < option.p80_s < option.p90_s


def test_a_machine_that_fails_by_itself_is_trusted_less(line: Line, shops: list[Agent]) -> None:
    (job,) = line.order()
    line.plan()
    line.plan()
    holder = next(agent for agent in shops if line.job(job).state is JobState.OFFERED and _offered(line, agent))
    line.exchange(holder)
    holder.stage(job, line.now)
    holder.intend(job, line.now)
    line.exchange(holder)
    holder.run(job, line.now)
    line.exchange(holder)
    holder.fail(job, line.now, FailureClass.THERMAL)
    line.exchange(holder)
    (row,) = outcomes(line)
    assert (row.outcome, row.failure, row.shop) == ("failed", "thermal", holder.shop)
    picture = line.scheduler.dispatcher.look(line.now)
    trust: dict[str, PlanMachine] = {machine.shop: machine for machine in picture.snapshot.machines}
    assert trust[holder.shop].reliability < min(t.reliability for shop, t in trust.items() if shop != holder.shop)


def _offered(line: Line, agent: Agent) -> bool:
    line.send()
    return bool(line.office.boxes.get(agent.inbox_topic()))


def test_a_file_that_fails_does_not_blame_the_machine() -> None:
    known = Learned()
    plain = known.reliability("a.b.c")
    row = OutcomeRow("j", 1, START, "d", "fdm", "m", "a", "a.b.c", 60.0, 60.0, 10.0, None, 1, "failed", "line_rejected")
    known.take(row)
    assert known.reliability("a.b.c") == plain
