"""What the pages show is what the store says, from the order to the finished part."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.contract.vocabulary import MachineState
from scheduler.planning import plan
from scheduler.web.overview import hours_words
from scheduler.web.source import Source, read_order, read_overview
from scheduler.web.words import STALE_AFTER, hours
from tests.scheduler.line import START, Agent, Line, agent_of, offer, start


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path, Agent("mill", "pi", ("m1",)))
    made.arrive()
    yield made
    made.close()


def seen(line: Line):
    with line.scheduler.store.read() as c:
        return read_overview(c, line.now)


def test_nothing_yet_is_shown_as_nothing(tmp_path: Path) -> None:
    empty = Line(tmp_path)
    shown = seen(empty)
    assert (shown.orders, shown.queue, shown.machines, shown.bars, shown.lanes) == ((), (), (), (), ())
    with empty.scheduler.store.read() as c:
        assert read_order(c, "nothing", empty.now) is None
    empty.close()


def test_a_job_is_followed_from_waiting_to_done(line: Line) -> None:
    (job,) = line.order()
    shown = seen(line)
    assert [order.jobs for order in shown.orders] == [1]
    assert [(one.job, one.state, one.machine) for one in shown.queue] == [(job, "waiting", "")]
    assert shown.waiting == 1
    offer(line)
    (waiting,) = seen(line).queue
    assert waiting.machine == seen(line).machines[0].name
    assert waiting.shop == "mill"
    start(line, job)
    agent = agent_of(line)
    agent.progress(job, line.now, 0.5)
    line.exchange(agent)
    line.plan()
    shown = seen(line)
    assert [bar.kind for bar in shown.bars] == ["running"]
    assert shown.bars[0].lane in shown.lanes
    assert shown.queue[0].progress == 0.5
    assert shown.orders[0].progress == 0.5
    held = agent.finish(job, line.now)
    line.exchange(agent)
    agent.inspect(held, line.now, good=1)
    line.exchange(agent)
    shown = seen(line)
    assert shown.queue == ()
    assert [bar.kind for bar in shown.bars] == ["done"]
    assert (shown.orders[0].state, shown.orders[0].jobs_done) == ("made", 1)
    with line.scheduler.store.read() as c:
        detail = read_order(c, shown.orders[0].order, line.now)
    assert detail is not None
    assert [(part.good, part.quantity) for part in detail.parts] == [(1, 1)]
    assert detail.jobs[0].made_by
    assert detail.jobs[0].run_s


def test_a_machine_whose_agent_is_gone_is_stale_and_says_since_when(line: Line) -> None:
    agent = agent_of(line)
    assert [(one.stale, one.heard_at) for one in seen(line).machines] == [(False, None)]
    line.hear(agent.presence(line.now, online=False))
    (machine,) = seen(line).machines
    assert machine.stale
    assert machine.heard_at is not None


def test_a_running_machine_that_fell_silent_is_stale_too(line: Line) -> None:
    agent = agent_of(line)
    line.hear(agent.report("m1", line.now, MachineState.RUNNING))
    assert not seen(line).machines[0].stale
    line.clock.moment = line.now + STALE_AFTER + timedelta(seconds=1)
    assert seen(line).machines[0].stale


class Tended(Agent):
    """A shop with one person who gives half an hour a week: enough to load and clear three times."""

    def report(self, machine: str, now: datetime, *values: Any, **more: Any) -> tuple[str, bytes]:
        there = tuple((START + timedelta(days=day), START + timedelta(days=day, hours=9)) for day in range(14))
        told = {"people": 1, "hours_a_week": 0.5, "attended_windows": there}
        return super().report(machine, now, *values, **{**told, **more})


def test_hours_that_people_lack_are_said_with_what_would_help(tmp_path: Path) -> None:
    line = Line(tmp_path, Tended("mill", "pi", ("m1",)), Agent("barn", "pi", ()), planner=partial(plan, budget_s=0.05))
    line.arrive()
    assert seen(line).hours == ()
    line.order(2)
    for _ in range(2):
        line.plan()
    (week,) = seen(line).hours
    said = "0.3 h of the 0.5 h that its people give this week are spent or planned."
    assert (week.missing_s, hours_words(week, line.now)) == (0.0, said)
    line.order(3)
    for _ in range(2):
        line.plan()
    this, after = seen(line).hours
    assert (this.given_s, this.planned_s) == (1800.0, 1800.0)
    assert this.missing_s == after.planned_s > 600, "what this week lacks is planned for the next"
    said = f"Work for {hours(this.missing_s)} more could be done: it waits, or is planned for later. Another person"
    assert said in hours_words(this, line.now)
    assert "give next week are spent or planned." in hours_words(after, line.now)
    line.clock.moment = START + timedelta(days=8)
    assert [one.week for one in seen(line).hours] == [after.week], "a week that is over is no news"
    line.close()


def test_where_nobodys_hours_are_known_nothing_is_said_of_them(line: Line) -> None:
    line.order(3)
    line.plan()
    assert seen(line).hours == ()


def test_nothing_changed_means_equal_values_and_one_read_serves_everybody(line: Line) -> None:
    line.order()
    assert seen(line) == seen(line)
    source = Source(line.scheduler.store, line.clock)
    first = source.overview()
    assert source.overview() is first
    line.order()
    assert source.overview() is first, "within a second the same read is shown"
    line.clock.moment = line.now + timedelta(seconds=1)
    assert len(source.overview().orders) == 2
