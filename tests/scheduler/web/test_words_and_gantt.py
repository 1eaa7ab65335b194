"""How things are said, and how the schedule is drawn: pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.contract.vocabulary import JobState, MachineState, NeedClass, Process
from scheduler.dispatch.reservations import Effect
from scheduler.orders.progress import OrderState
from scheduler.web import words
from scheduler.web.gantt import options, window
from scheduler.web.models import BarShown, MachineShown, Overview

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min"),
        (3599, "1 h"),
        (3600, "1 h"),
        (7500, "2 h 05 min"),
        (86_400, "1 d"),
        (100_000, "1 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_lengths_of_time(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


@given(st.floats(0, 1e8), st.floats(0, 1e8))
def test_a_longer_time_is_never_said_without_a_number(one: float, other: float) -> None:
    assert any(letter.isdigit() for letter in words.duration(one))
    if abs(one - other) > 86_400 * 2:
        assert words.duration(one) != words.duration(other)


def test_moments() -> None:
    assert words.at(NOW, NOW) == "12:00 today"
    assert words.at(NOW + timedelta(days=1), NOW) == "12:00 tomorrow"
    assert words.at(NOW + timedelta(days=3), NOW) == "Thu 5 Mar, 12:00"
    assert words.at(None, NOW) == "–"
    assert words.ago(NOW - timedelta(seconds=3), NOW) == "just now"
    assert words.ago(NOW - timedelta(minutes=4), NOW) == "4 min ago"
    assert words.ago(None, NOW) == "never"


def test_hours_and_weeks() -> None:
    assert [words.hours(seconds) for seconds in (0, 1440, 45_000, 72_000)] == ["0 h", "0.4 h", "12.5 h", "20 h"]
    monday = NOW.replace(hour=0)
    said = [words.week(monday + timedelta(days=days), NOW + timedelta(days=5)) for days in (0, 7, 14)]
    assert said == ["this week", "next week", "the week from 16 Mar"]


@pytest.mark.parametrize(
    ("table", "vocabulary"),
    [
        (words.JOB_WORDS, JobState),
        (words.MACHINE_STATE_WORDS, MachineState),
        (words.ORDER_WORDS, OrderState),
        (words.NEED_WORDS, NeedClass),
        (words.NEED_MEANING, NeedClass),
        (words.PROCESS_WORDS, Process),
        (words.PROCESS_ICONS, Process),
        (words.MACHINE_WORDS, Process),
        (words.EFFECT_WORDS, Effect),
        (words.EFFECT_MEANING, Effect),
    ],
)
def test_every_word_of_the_vocabulary_has_one_for_people(table: dict[str, str], vocabulary: type) -> None:
    assert set(table) == {item.value for item in vocabulary}


def bar(lane: str, start_min: float, length_min: float, kind: str = "planned", title: str = "Clip") -> BarShown:
    start = NOW + timedelta(minutes=start_min)
    end = start + timedelta(minutes=length_min)
    return BarShown(lane, "j", title, "fdm", kind, start, end, end + timedelta(minutes=2))


def test_the_chart_shows_every_bar_in_its_lane() -> None:
    bars = [bar("P1", -5, 10, "running"), bar("P2", 3, 20), bar("P1", -30, 5, "done"), bar("gone", 0, 1)]
    made = options(["P1", "P2"], bars, NOW)
    items = made["series"][0]["data"]
    assert [item["value"][0] for item in items] == [0, 1, 0], "a bar of a machine that is gone is left out"
    assert all(item["value"][1] <= item["value"][2] <= item["value"][3] for item in items)
    done = items[2]["value"]
    assert done[3] == done[2], "what is done has no doubtful end"
    assert made["series"][0]["markLine"]["data"][0]["xAxis"] == round(NOW.timestamp() * 1000)
    json.dumps(made)


def test_a_title_never_becomes_code() -> None:
    title = '"]; alert(1); //</script>'
    render = options(["P1"], [bar("P1", 0, 1, title=title)], NOW)["series"][0][":renderItem"]
    assert json.dumps([title]) in render


@given(st.lists(st.tuples(st.floats(-600, 600), st.floats(0, 600)), max_size=6))
def test_the_window_holds_every_bar_and_now(spans: list[tuple[float, float]]) -> None:
    bars = [bar("P1", start, length) for start, length in spans]
    first, last = window(bars, NOW)
    assert first < NOW < last
    assert all(first <= one.start and one.end <= last for one in bars)


def test_a_silent_machine_is_not_counted_as_running() -> None:
    running = MachineShown("a.b.c", "a", "C", "fdm", "running")
    silent = MachineShown("a.b.d", "a", "D", "fdm", "running", stale=True)
    shown = Overview(orders=(), queue=(), machines=(running, silent), bars=(), lanes=())
    assert shown.running == 1
