"""The owner's rules, one by one, and the one that outranks them: never outside the owner's hours."""

from __future__ import annotations

import os
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from agents.contract import messages as m
from agents.contract.vocabulary import NeedClass, Process, Ring
from agents.policy import (
    Accept,
    Accepting,
    Ask,
    Decline,
    MachineView,
    Policy,
    PolicyFile,
    attended_hours,
    decide,
    is_down,
    maintenance_of,
    may_run,
    open_hours,
    p90_length,
    read_policy,
)
from agents.section import ConfigError
from agents.windows import Interval, Once, QuietHours, Window, allowed, first_fit, read_rule
from tests.agents.scene import T0, machine_settings, offer_of

VIEW = MachineView(machine_settings().description)


def ticket(**changes: Any) -> m.Offer:
    offer = offer_of()
    return structs.replace(offer, ticket=structs.replace(offer.ticket, **changes))


@pytest.mark.parametrize(
    ("policy", "offer", "view", "word"),
    [
        (Policy(pool=False), offer_of(), VIEW, "no pool work now"),
        (Policy(closed_machines=frozenset({"m1"})), offer_of(), VIEW, "takes no pool work"),
        (Policy(), offer_of(), MachineView(VIEW.description, disabled="nozzle broken"), "nozzle broken"),
        (Policy(), offer_of(process=Process.CNC), VIEW, "cnc work"),
        (Policy(processes=frozenset({Process.LASER})), offer_of(), VIEW, "no fdm work"),
        (Policy(materials=frozenset({"petg"})), offer_of(), VIEW, "does not work PLA"),
        (
            Policy(change_material=False),
            ticket(material=m.MaterialNeed(material="ASA")),
            VIEW,
            "ASA is not loaded",
        ),
        (Policy(longest_job=timedelta(minutes=20)), offer_of(), VIEW, "longest is 0.3 h"),
        (Policy(need_classes=frozenset({NeedClass.SURVIVAL})), offer_of(), VIEW, "no commons work"),
        (Policy(widest_ring=Ring.BLOCK), offer_of(), VIEW, "for the block at most"),
        (Policy(), ticket(licence="CC-BY-NC-4.0"), VIEW, "CC-BY-NC-4.0"),
        (Policy(), ticket(licence=""), VIEW, "(none)"),
        (Policy(), ticket(licence="MIT AND LicenseRef-secret"), VIEW, "LicenseRef-secret"),
        (Policy(own_use=False), ticket(licence="", own_use=True), VIEW, "licence"),
        (Policy(unattended=False), offer_of(), VIEW, "nobody is present"),
        (Policy(queue_at_most=2), offer_of(), MachineView(VIEW.description, queued=2), "2 jobs wait"),
    ],
)
def test_each_rule_declines_with_its_reason(policy: Policy, offer: m.Offer, view: MachineView, word: str) -> None:
    decision = decide(offer, view, T0, policy)
    assert isinstance(decision, Decline)
    assert len(decision.reasons) == 1
    assert word in decision.reasons[0]
    assert decision.not_before is None, "waiting would not help"


def test_what_is_allowed_is_accepted_or_asked() -> None:
    assert decide(offer_of(), VIEW, T0, Policy()) == Accept()
    assert decide(offer_of(), VIEW, T0, Policy(accept=Accepting.ASK)) == Ask()
    assert decide(ticket(licence="MIT OR LicenseRef-other"), VIEW, T0, Policy()) == Accept()
    assert decide(ticket(licence="", own_use=True), VIEW, T0, Policy()) == Accept()
    here = MachineView(VIEW.description, person_present=True)
    assert decide(offer_of(), here, T0, Policy(unattended=False)) == Accept()


def daily(hour: int, hours: float, machines: frozenset[str] = frozenset()) -> Window:
    return Window(read_rule(f"FREQ=DAILY;BYHOUR={hour};BYMINUTE=0;BYSECOND=0"), timedelta(hours=hours), machines)


def test_outside_the_hours_it_is_declined_with_the_next_time_that_fits() -> None:
    policy = Policy(windows=(daily(14, 2),))
    decision = decide(offer_of(minutes=90), VIEW, T0, policy)
    assert isinstance(decision, Decline)
    assert decision.not_before == T0.replace(hour=14)
    assert decide(offer_of(start=T0.replace(hour=14), minutes=120), VIEW, T0, policy) == Accept()
    late = decide(offer_of(start=T0.replace(hour=14, minute=31), minutes=90), VIEW, T0, policy)
    assert isinstance(late, Decline)
    never = decide(offer_of(minutes=121), VIEW, T0, policy)
    assert isinstance(never, Decline)
    assert never.not_before is None


def test_an_understated_p90_is_not_believed() -> None:
    offer = offer_of(minutes=1)
    offer = structs.replace(offer, toolpath=structs.replace(offer.toolpath, duration_s=7200.0))
    assert p90_length(offer) == timedelta(hours=2)
    assert isinstance(decide(offer, VIEW, T0, Policy(windows=(daily(12, 1),))), Decline)


def test_windows_for_other_machines_do_not_open_this_one() -> None:
    policy = Policy(windows=(daily(0, 24, frozenset({"m2"})),))
    assert not may_run(VIEW.description, T0, timedelta(minutes=5), policy)
    assert may_run(structs.replace(VIEW.description, machine="m2"), T0, timedelta(minutes=5), policy)


def test_maintenance_and_who_is_there_shut_the_hours_too() -> None:
    three = T0.replace(hour=15)
    down = Policy(maintenance=(Once(three.replace(tzinfo=None), timedelta(hours=2), frozenset({"m1"})),))
    into = decide(offer_of(minutes=240), VIEW, T0, down)
    assert isinstance(into, Decline)
    assert into.not_before == T0.replace(hour=17)
    assert decide(offer_of(minutes=180), VIEW, T0, down) == Accept(), "it ends as the maintenance begins"
    other = MachineView(structs.replace(VIEW.description, machine="m2"))
    assert decide(structs.replace(offer_of(minutes=240), machine="m2"), other, T0, down) == Accept()
    assert [is_down("m1", T0.replace(hour=hour), down) for hour in (14, 15, 16, 17)] == [False, True, True, False]

    there = (daily(13, 3),)
    alone = Policy(attended=there)
    assert decide(offer_of(minutes=600), VIEW, T0, alone) == Accept(), "a printer may run on by itself"
    beside = Policy(attended=there, unattended=False)
    decision = decide(offer_of(minutes=60), VIEW, T0, beside)
    assert isinstance(decision, Decline)
    assert decision.not_before == T0.replace(hour=13)
    assert decide(offer_of(start=T0.replace(hour=13), minutes=180), VIEW, T0, beside) == Accept()
    assert isinstance(decide(offer_of(start=T0.replace(hour=13), minutes=181), VIEW, T0, beside), Decline)
    laser = MachineView(structs.replace(VIEW.description, attended=True))
    assert isinstance(decide(offer_of(minutes=60), laser, T0, alone), Decline)
    unsaid = Policy(attended=(daily(13, 3, frozenset({"m2"})),))
    assert decide(offer_of(minutes=60), laser, T0, unsaid) == Accept(), "nobody said when somebody is beside m1"
    assert attended_hours("m1", T0, unsaid) is None


def test_maintenance_is_read_once_or_recurring(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        'timezone = "Europe/Berlin"\n[[maintenance]]\nstart = "2030-05-06T20:00"\nhours = 2\nmachines = ["m1"]\n'
        '[[maintenance]]\nrrule = "FREQ=WEEKLY;BYDAY=TU;BYHOUR=8;BYMINUTE=0"\nhours = 1\n'
        '[[attended]]\nrrule = "FREQ=DAILY;BYHOUR=9;BYMINUTE=0"\nhours = 8\n'
    )
    policy = read_policy(path)
    assert [(i.start.day, i.start.hour) for i in maintenance_of("m1", T0, policy)] == [(6, 18), (7, 6)], "UTC"
    assert [i.start.day for i in maintenance_of("m2", T0, policy)] == [7]
    assert len(attended_hours("m1", T0, policy) or ()) == 8


def test_windows_that_touch_make_one_and_quiet_hours_cut_it() -> None:
    span = Interval(T0, T0 + timedelta(days=2))
    round_the_clock = (daily(0, 24),)
    whole = allowed(round_the_clock, (), "m1", ZoneInfo("UTC"), span)
    assert whole == (span,)
    quiet = QuietHours(time(22), time(7))
    cut = allowed(round_the_clock, (quiet,), "m1", ZoneInfo("UTC"), span)
    assert [(i.start.hour, i.end.hour) for i in cut] == [(12, 22), (7, 22), (7, 12)]
    weekend = QuietHours(time(0), time(12), frozenset({5, 6}))
    assert allowed((), (weekend,), "m1", ZoneInfo("UTC"), span) == (span,), "a Monday is no weekend"


def test_eight_o_clock_stays_eight_o_clock_when_summer_time_ends() -> None:
    zone = ZoneInfo("Europe/Berlin")
    span = Interval(datetime(2030, 10, 26, tzinfo=UTC), datetime(2030, 10, 29, tzinfo=UTC))
    opened = allowed((daily(8, 1),), (), "m1", zone, span)
    assert [i.start.astimezone(zone).hour for i in opened] == [8, 8, 8]
    assert [i.start.hour for i in opened] == [6, 7, 7]


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)])
@pytest.mark.parametrize(
    ("start", "end"), [("22:00", "07:00"), ("01:00", "02:30"), ("02:15", "02:45"), ("02:30", "03:30")]
)
def test_it_is_quiet_whenever_the_clock_on_the_wall_says_so(night: datetime, start: str, end: str) -> None:
    zone, quiet = ZoneInfo("Europe/Berlin"), QuietHours(time.fromisoformat(start), time.fromisoformat(end))
    span = Interval(night, night + timedelta(hours=12))
    hours = allowed((), (quiet,), "m1", zone, span)
    for minute in range(12 * 60):
        moment = night + timedelta(minutes=minute)
        shown = moment.astimezone(zone).time()
        over_midnight = quiet.end <= quiet.start
        silent = shown >= quiet.start or shown < quiet.end if over_midnight else quiet.start <= shown < quiet.end
        if silent:
            assert not any(one.start <= moment < one.end for one in hours), moment.astimezone(zone)


def test_first_fit() -> None:
    one, two = Interval(T0, T0 + timedelta(hours=1)), Interval(T0 + timedelta(hours=3), T0 + timedelta(hours=6))
    assert first_fit((one, two), T0 + timedelta(minutes=30), timedelta(minutes=30)) == T0 + timedelta(minutes=30)
    assert first_fit((one, two), T0 + timedelta(minutes=31), timedelta(minutes=30)) == two.start
    assert first_fit((one, two), T0, timedelta(hours=4)) is None


hours = st.integers(0, 23)
windows = st.lists(
    st.builds(
        lambda day, hour, length: Window(
            read_rule(f"FREQ=WEEKLY;BYDAY={day};BYHOUR={hour};BYMINUTE=0;BYSECOND=0"), timedelta(minutes=length)
        ),
        st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]),
        hours,
        st.integers(10, 40 * 60),
    ),
    min_size=1,
    max_size=4,
)
quiets = st.lists(st.builds(QuietHours, st.builds(time, hours), st.builds(time, hours)), max_size=2)


def _inside(moment: datetime, policy: Policy) -> bool:
    """An independent reading of the rules: is this very minute inside a window and outside all quiet hours?"""
    wall = moment.astimezone(policy.zone)
    for quiet in policy.quiet:
        clock = wall.time()
        over_midnight = quiet.end <= quiet.start
        if (clock >= quiet.start or clock < quiet.end) if over_midnight else quiet.start <= clock < quiet.end:
            return False
    naive = wall.replace(tzinfo=None)
    for window in policy.windows:
        started = window.rule.before(naive, inc=True)
        while started is not None and naive - started < timedelta(days=8):
            if naive < started + window.length:
                return True
            started = window.rule.before(started)
    return False


@settings(max_examples=150)
@given(windows, quiets, st.integers(0, 7 * 24 * 60), st.integers(1, 30 * 60), st.integers(0, 600))
def test_nothing_is_ever_accepted_that_may_end_outside_a_window(
    opened: list[Window], silent: list[QuietHours], start_min: int, minutes: int, ahead_min: int
) -> None:
    policy = Policy(windows=tuple(opened), quiet=tuple(silent), longest_job=timedelta(days=2))
    start = T0 + timedelta(minutes=start_min)
    now = start - timedelta(minutes=ahead_min)
    decision = decide(offer_of(start=start, minutes=minutes), VIEW, now, policy)
    end = start + max(timedelta(minutes=minutes), timedelta(minutes=1))
    if decision == Accept():
        step = max(timedelta(minutes=1), (end - start) / 60)
        moment = start
        while moment < end:
            assert _inside(moment, policy), f"accepted, but {moment} is outside"
            moment += step
    elif isinstance(decision, Decline) and decision.not_before is not None:
        again = offer_of(start=decision.not_before, minutes=minutes)
        assert decide(again, VIEW, decision.not_before, policy) == Accept(), "a counter-offer must be good"


def test_hours_shown_to_the_network_are_those_of_the_rules() -> None:
    policy = Policy(windows=(daily(14, 2),), horizon=timedelta(days=3))
    shown = open_hours("m1", T0, policy)
    assert [i.start.hour for i in shown] == [14, 14, 14]
    assert open_hours("m1", T0, Policy(pool=False)) == ()


GOOD = """
timezone = "Europe/Berlin"
accept = "ask"
materials = ["PLA", "PETG"]
need_classes = ["survival", "commons"]
ring = "city"
longest_job_h = 8
[[window]]
rrule = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0"
hours = 5
[[quiet]]
start = "22:00"
end = "07:00"
"""


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(GOOD)
    policy = read_policy(path)
    assert policy.accept is Accepting.ASK
    assert policy.materials == {"pla", "petg"}
    assert policy.widest_ring is Ring.CITY


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('accept = "maybe"', "one of auto, ask"),
        ("longest_job_h = 0", "above 0"),
        ('timezone = "Mars/Base"', "zone name"),
        ('timezone = "Europe"', "zone name"),
        ('colour = "red"', "unknown key `colour`"),
        ('need_classes = ["luxury"]', "survival"),
        ('[[window]]\nrrule = "EVERY DAY"\nhours = 3', "recurrence rule"),
        ('[[window]]\nrrule = "FREQ=SECONDLY"\nhours = 3', "more often than hourly"),
        (
            '[[window]]\nrrule = "RRULE:FREQ=SECONDLY\\nEXDATE:20200106T000000"\nhours = 3',
            "more often than hourly",
        ),
        ('[[window]]\nrrule = "DTSTART:20200106T080000Z\\nRRULE:FREQ=DAILY"\nhours = 3', "names a zone"),
        ('[[window]]\nrrule = "DTSTART;TZID=Europe/Berlin:20200106T080000\\nFREQ=DAILY"\nhours = 3', "names a zone"),
        ('[[window]]\nrrule = "FREQ=DAILY;UNTIL=20300101T000000Z"\nhours = 3', "names a zone"),
        ('[[window]]\nrrule = "FREQ=DAILY"\nhours = 0', "above 0"),
        ('[[quiet]]\nstart = "25:00"\nend = "07:00"', "22:00"),
        ('[[quiet]]\nstart = "22:00"\nend = "07:00"\ndays = ["noday"]', "mo, tu"),
        ('[[maintenance]]\nstart = "soon"\nhours = 3', "a local time such as"),
        ('[[maintenance]]\nstart = "2030-05-06T20:00+02:00"\nhours = 3', "without an offset"),
        ("[[attended]]\nhours = 3", "rrule"),
        ("queue_at_most = 0", "at least 1"),
        ("this is not toml", "not TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, line: str, word: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(line)
    with pytest.raises(ConfigError, match=word) as caught:
        read_policy(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "named",
    [
        'closed_machines = ["m1", "m3"]',
        '[[window]]\nrrule = "FREQ=DAILY"\nhours = 3\nmachines = ["m3"]',
        '[[quiet]]\nstart = "22:00"\nend = "07:00"\nmachines = ["m3"]',
        '[[attended]]\nrrule = "FREQ=DAILY"\nhours = 3\nmachines = ["m3"]',
        '[[maintenance]]\nstart = "2030-05-06T20:00"\nhours = 3\nmachines = ["m3"]',
    ],
)
def test_a_rule_for_a_machine_that_does_not_stand_here_is_refused(tmp_path: Path, named: str) -> None:
    """A misspelt name would leave the machine that was meant without its rule."""
    path = tmp_path / "policy.toml"
    path.write_text(named)
    with pytest.raises(ConfigError, match=r"`(closed_)?machines` is .*m3.*only machines of this shop \(m1, m2\)"):
        read_policy(path, ("m1", "m2"))
    read_policy(path, ("m1", "m2", "m3"))
    read_policy(path)


def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_last_good_rules(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("pool = true")
    file = PolicyFile(path, ("m1",))
    assert file.current().pool

    def rewrite(text: str, nth: int) -> None:
        path.write_text(text)
        os.utime(path, ns=(nth, nth))

    rewrite("pool = false", 10**18)
    assert not file.current().pool
    rewrite("pool = nonsense", 10**18 + 1)
    assert not file.current().pool
    assert "not TOML" in file.error
    rewrite('pool = true\nclosed_machines = ["m9"]', 10**18 + 3)
    assert not file.current().pool
    assert "m9" in file.error
    rewrite("pool = true", 10**18 + 2)
    assert file.current().pool
    assert file.error == ""
    path.unlink()
    assert file.current().pool, "a vanished file leaves the last good rules"
    assert "cannot be read" in file.error
