"""An owner's own jobs: told by numbers and by nothing else, and made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agents import forgetting, own_jobs
from agents.config import CacheSettings
from agents.contract.envelope import decode
from agents.contract.messages import OwnStep
from agents.contract.vocabulary import FailureClass
from agents.deeds import Deeds
from agents.hands import NotPossible
from agents.lease import LeaseState
from agents.mark import Mark
from agents.spool import Spool
from firmware_bridges import bridge as b
from tests.agents.den import HOUR_LONG, AtOnce, Den
from tests.agents.scene import PROGRAM, T0, grant_of, offer_of

# --- what is told ---------------------------------------------------------------------------------------------------


def test_every_step_is_numbered_and_the_start_is_on_disk_before_the_machine_is_called(den: Den) -> None:
    seen: list[OwnStep] = []

    def look() -> None:
        other = Spool(den.folder / "agent.sqlite", sender="agent/a/b")
        seen.extend(step.step for step in den.told())
        assert other.last_seq == den.agent.spool.last_seq == 1
        assert Mark(den.folder / "agent.mark").read() == int(other.row("SELECT value FROM meta WHERE key='deeds'")[0])  # type: ignore[index]
        other.close()

    den.before_run = look
    job = den.queue(HOUR_LONG)
    assert den.told() == [], "what waits is nobody's business"
    den.clear()
    assert seen == [OwnStep.INTENDED]
    den.finish()
    den.clear()
    assert [told.step for told in den.told()] == [
        *(OwnStep.INTENDED, OwnStep.RUNNING, OwnStep.FINISHED, OwnStep.BED_CLEARED)
    ]
    assert {told.run for told in den.told()} == {job}
    assert [told.expected_end for told in den.told()][:2] == [T0 + timedelta(hours=1)] * 2


def test_nothing_of_what_is_made_leaves_the_shop(den: Den) -> None:
    job = den.make()
    lease = den.agent.spool.lease_of_job(job)
    assert lease is not None
    for private in ("secret", "vase", lease.toolpath.sha256):
        assert private.encode() not in den.payloads()


def test_how_a_run_failed_is_told_and_a_job_that_never_began_is_not(den: Den) -> None:
    den.queue()
    den.clear()
    den.bridge.first_line()
    den.bridge.fail(b.Failure.THERMAL, b.BridgeState.FAULT)
    den.turn()
    assert (den.told()[-1].step, den.told()[-1].failure) == (OwnStep.FAILED, FailureClass.THERMAL)
    count = len(den.told())
    den.hands.cancel_job(den.queue())
    den.turn()
    assert len(den.told()) == count


def test_a_bed_that_pool_work_occupied_is_no_own_work(heard: Den) -> None:
    heard.make()
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer, grant_of(offer))
    heard.acknowledge()
    heard.finish()
    heard.clear()
    assert [told.step for told in heard.told()].count(OwnStep.BED_CLEARED) == 1


def test_others_are_told_until_when_own_work_keeps_the_machine(den: Den) -> None:
    views = den.agent.views
    assert views.report("m1").own_until is None
    den.queue(HOUR_LONG)
    den.queue(HOUR_LONG + b"\n")
    assert views.report("m1").own_until == T0 + timedelta(hours=2)
    den.clear()
    den.bridge.first_line()
    den.clock.go(1800)
    den.bridge.progress(den.bridge.snapshot.total_lines // 2)
    den.turn()
    report = views.report("m1")
    assert report.job is None
    half_done = den.bridge.snapshot.line / den.bridge.snapshot.total_lines
    left = timedelta(seconds=1800 + 3600 * (1 - half_done) + 3600)
    assert timedelta() <= report.own_until - (T0 + left) < timedelta(minutes=5)  # type: ignore[operator]


def test_a_run_that_says_nothing_of_its_length_is_guessed_by_how_far_it_came(den: Den) -> None:
    den.queue()
    den.clear()
    den.bridge.first_line()
    den.turn()
    den.clock.go(600)
    assert den.agent.views.report("m1").own_until is not None, "a tenth of ten lines"
    den.bridge.progress(0)
    assert den.agent.views.report("m1").own_until is None, "nobody can say"


@pytest.mark.parametrize(
    ("comment", "seconds"),
    [
        (b";TIME:5025", 5025),
        (b"; estimated printing time (normal mode) = 1d 2h 3m 4s", 93_784),
        (b"; model printing time: 1h 2m; total estimated time: 1h 9m 8s", 4_148),
        (b"M73 P0 R42", 2_520),
        (b"; nothing of the kind", 0),
        (b";TIME:junk\n; estimated printing time (normal mode) = soon", 0),
    ],
)
@pytest.mark.parametrize("place", ["head", "tail"])
def test_what_slicers_say_of_the_time(comment: bytes, seconds: int, place: str) -> None:
    rest = b"G1 X1 Y1 ; M73\n" * 20_000
    program = comment + b"\n" + rest if place == "head" else rest + comment + b"\n"
    assert own_jobs.stated_duration_s(program) == seconds


# --- killed ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """kill -9, here."""


def one_job(den: Den, tick: Callable[[], None]) -> None:
    """From the queue to a clear bed, with a step before and after the call of the machine."""
    den.before_run = tick
    den.queue()
    den.clear()
    tick()
    den.finish()
    den.clear()


def test_killed_after_any_commit_or_mark_an_own_job_is_called_once_at_most(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, fatal = 0, 0

    def tick() -> None:
        nonlocal passed
        passed += 1
        if passed == fatal:
            raise Killed

    committed, write = Deeds.committed, Mark.write

    def after_commit(deeds: Deeds) -> None:
        tick()
        committed(deeds)

    def after_mark(mark: Mark, count: int) -> None:
        write(mark, count)
        tick()

    monkeypatch.setattr(Deeds, "committed", after_commit)
    monkeypatch.setattr(Mark, "write", after_mark)
    lived_through = False
    while not lived_through:
        fatal, passed = fatal + 1, 10**6
        den = Den(memory_path / str(fatal))
        passed = 0
        try:
            one_job(den, tick)
            lived_through = True
        except Killed:
            passed = 10**6
            called, clear = den.runs, den.flags().bed_clear
            den.die()
            den.begin()
            assert "old copy" not in den.flags().disarmed, f"step {fatal}: nothing was put back"
            if called and not clear:
                assert den.runs == called, f"step {fatal}: called again on a bed that nobody cleared"
            if den.flags().disarmed:
                den.rearm()
            elif not den.flags().bed_clear:
                den.clear()
            assert den.runs <= 1, f"step {fatal}: called {den.runs} times"
        den.die()
    assert fatal > 25


# --- with a scheduler -----------------------------------------------------------------------------------------------


def test_a_whole_folder_put_back_is_noticed_by_the_numbers_before_an_own_job_starts(heard: Den) -> None:
    job = heard.queue()
    heard.copy("old", mark=True)
    heard.make(job)
    heard.acknowledge()
    last, runs = heard.agent.spool.last_seq, heard.runs
    heard.put_back("old", mark=True)
    heard.set_clear_behind_its_back()
    assert heard.runs == runs
    assert heard.shut() == ["remembered"], "the scheduler has not spoken"
    heard.acknowledge(upto=last)
    assert "old copy" in heard.flags().disarmed
    heard.acknowledge()
    heard.rearm()
    assert heard.runs == runs
    assert "remembered" in heard.shut()


def test_a_scheduler_that_stays_away_does_not_keep_the_owner_from_working(heard: Den) -> None:
    heard.die()
    heard.begin()
    heard.queue()
    heard.clear()
    assert heard.runs == 0
    heard.clock.go(61)
    heard.turn()
    assert heard.runs == 1


def test_pool_work_waits_for_an_own_job_that_is_still_surveyed(heard: Den) -> None:
    """Not begun, it makes way; a job of the pool whose start was committed begins."""
    heard.clear()
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer)
    heard.agent._fetchers = Never()  # type: ignore[assignment]
    own = heard.queue(HOUR_LONG)
    heard.agent._fetchers = AtOnce()  # type: ignore[assignment]
    heard.hear(grant_of(offer))
    heard.acknowledge()
    assert heard.runs == 0
    assert heard.state("j1") is LeaseState.READY
    heard.hands.cancel_job(own)
    heard.turn()
    heard.acknowledge()
    assert heard.runs == 1


class Never:
    """Fetching threads that are busy with something else."""

    def submit(self, work: object, lease: object) -> None: ...


def test_pool_work_does_not_wait_for_an_own_job_that_asks_a_person(heard: Den) -> None:
    heard.queue()
    heard.copy("old")
    heard.clear()
    heard.put_back("old")
    heard.acknowledge()
    heard.rearm()
    heard.agent.store.put(PROGRAM)
    offer = offer_of(machine="m1")
    heard.hear(offer, grant_of(offer))
    heard.acknowledge()
    assert heard.bridge.runs


# --- without end ----------------------------------------------------------------------------------------------------


def test_a_shop_that_never_has_a_scheduler_does_not_grow_for_ever(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "UNTOLD_KEPT", 20)
    monkeypatch.setattr(forgetting, "RUNS_KEPT", 5)
    monkeypatch.setattr("agents.agent.LOOK_EVERY", 4)
    for _ in range(15):
        den.make()
    spool = den.agent.spool
    assert spool.last_seq == 60
    assert spool.unacknowledged_count() <= 24
    assert spool.first_kept == 60 - spool.unacknowledged_count() + 1, "no gap in what is kept"
    runs = spool.row("SELECT count(*) FROM leases")
    assert runs is not None
    assert runs[0] <= 6


def test_where_there_is_a_scheduler_only_own_work_is_forgotten(heard: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "UNTOLD_KEPT", 4)
    spool = heard.agent.spool
    heard.make()
    heard.make()
    heard.hear(offer_of(machine="m1"))
    heard.make()
    heard.make()
    kinds = [type(body).__name__ for body in _untold(spool)]
    assert kinds.count("Claimed") == 1
    forgetting.forget(spool, has_scheduler=True)
    left = [type(body).__name__ for body in _untold(spool)]
    assert left[0] == "Claimed"
    assert len(left) < len(kinds)


def _untold(spool: Spool) -> list[object]:
    return [decode(payload).body for _, payload in spool.unacknowledged()]


def test_own_files_stay_within_the_limit_of_the_cache(memory_path: Path) -> None:
    den = Den(memory_path)
    den.die()
    den.settings(cache=replace(CacheSettings(), space_bytes=3 * len(PROGRAM) + 20))
    den.begin()
    for number in range(6):
        den.make(den.queue(PROGRAM + b"; %d\n" % number))
    assert sum(size for _, size in den.agent.spool.cached()) <= 3 * len(PROGRAM) + 20
    with pytest.raises(NotPossible, match="do not fit"):
        den.queue(PROGRAM * 4)
    den.die()


def test_an_own_file_that_is_gone_ends_the_job_instead_of_waiting_for_ever(den: Den) -> None:
    job = den.queue()
    den.die()
    (den.folder / "toolpaths").joinpath(next((den.folder / "toolpaths").glob("*.gcode")).name).unlink()
    den.begin()
    den.clear()
    den.turn()
    assert den.state(job) is LeaseState.FAILED
    assert den.runs == 0
