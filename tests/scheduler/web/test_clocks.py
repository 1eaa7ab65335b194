"""Times by the clock of a shop: what is typed there is that moment, and what no clock shows is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.orders.refusal import Refused
from scheduler.web.clocks import Fold, as_typed, from_typed, own_zone, shop_zone, zone_named, zone_words

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")


NAIVE = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1))  # noqa: DTZ001 (wall times have no zone)


@given(NAIVE, st.sampled_from(ZONES), st.sampled_from(Fold))
def test_what_is_shown_and_typed_again_is_the_same_minute(naive: datetime, zone: str, fold: Fold) -> None:
    moment = naive.replace(second=0, microsecond=0, tzinfo=UTC)
    there = ZoneInfo(zone)
    again = from_typed(as_typed(moment, there), there, fold)
    assert as_typed(again, there) == as_typed(moment, there)
    assert abs(again - moment) <= timedelta(hours=1)


def test_the_hour_that_comes_twice_is_reserved_whole() -> None:
    first = from_typed("2026-10-25T02:00", BERLIN, Fold.FIRST)
    last = from_typed("2026-10-25T03:00", BERLIN, Fold.SECOND)
    assert last - first == timedelta(hours=2)
    assert from_typed("2026-10-25T02:30", BERLIN, Fold.SECOND) - first == timedelta(hours=1, minutes=30)


@pytest.mark.parametrize("said", ["", "tomorrow", "2026-13-01T10:00", "2026-03-29T02:30", "9999-12-31T23:59"])
def test_what_is_no_time_there_is_refused(said: str) -> None:
    with pytest.raises(Refused, match="Nothing was reserved"):
        from_typed(said, ZoneInfo("America/New_York") if said.startswith("9999") else BERLIN, Fold.FIRST)


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../../etc/passwd", "Europe", "x" * 300, "a\0b"])
def test_a_zone_that_is_not_known_here_is_this_computers(name: str) -> None:
    assert zone_named(name) is None
    assert shop_zone(name) == own_zone()


def test_a_zone_is_named() -> None:
    now = datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert zone_words(BERLIN, now) == "Europe/Berlin"
    assert zone_words(own_zone(), now)
