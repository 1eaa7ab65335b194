"""Shards and the team that searches them: borders that move, answers that fit together, workers that may be killed."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.planning import Snapshot, plan
from scheduler.planning.checker import violations
from scheduler.planning.construction import append_first
from scheduler.planning.core import (
    AVAIL,
    CHOICE,
    MACHINE,
    NUMBER,
    PINNED,
    POS,
    SHOP,
    START,
    Core,
    Schedule,
    copy_schedule,
    make_core,
)
from scheduler.planning.improving import LARGE, improve, times_agree, workers_for
from scheduler.planning.microfab import microfab
from scheduler.planning.problem import NEVER
from scheduler.planning.propagation import new_journal
from scheduler.planning.refusing import CORRECTED
from scheduler.planning.replaying import replayed
from scheduler.planning.search import anneal
from scheduler.planning.sharding import (
    Answer,
    carve,
    cut,
    deal,
    dealt_moves,
    kinds,
    meeting,
    rounds_of,
    take_in,
    whole_numbers,
)
from scheduler.planning.team import REPLACED, Heat, Team
from scheduler.planning.timing import retime_all, total_cost
from tests.scheduler.planning.worlds import HOUR, NOW, hours, print_job, printer, world

FAB = microfab(60, 24, seed=5, load=1.3)
CALM = microfab(60, 24, seed=6, load=1.3, calendars=False)


def started(fab: object = FAB) -> tuple[Core, Schedule]:
    """A core and its first plan."""
    problem = fab.problem  # type: ignore[attr-defined]
    core = make_core(problem)
    return core, append_first(problem, core)


def searched(core: Core, s: Schedule, shards: int, number: int, moves: int, hot: float) -> dict[int, Answer]:
    """What the workers of one round would answer, computed here."""
    shard = deal(core, kinds(core), shards, 3, number)
    answers = {}
    for i in range(shards):
        part = carve(core, s, cut(core, s, shard, number), i)
        n = len(core.ops)
        delta, _ = anneal(
            *(
                part.core,
                part.schedule,
                new_journal(n),
                np.array([number * 97 + i + 1], np.int64),
                moves,
                hot,
                hot / 10,
            ),
            *(0, 12, np.zeros(n + 1, NUMBER), np.zeros(n + 1, NUMBER)),
        )
        answers[i] = Answer(whole_numbers(part), int(delta))
    return answers


def test_machines_that_share_jobs_are_of_one_kind() -> None:
    core, _ = started()
    kind = kinds(core)
    for o in range(len(core.ops)):
        low, high = FAB.problem.elig_ptr[o], FAB.problem.elig_ptr[o + 1]
        assert len(set(kind[FAB.problem.elig_machine[low:high]].tolist())) == 1
        for m in FAB.problem.elig_machine[low:high].tolist():
            assert kind[m] == kind[FAB.problem.elig_machine[low]]


@given(st.integers(2, 9))
def test_in_a_tournament_every_cell_meets_every_other_once(shards: int) -> None:
    met = []
    for game in range(rounds_of(shards)):
        shard = meeting(shards, game)
        assert np.bincount(shard, minlength=shards).tolist() == [2] * shards
        met += [tuple(np.flatnonzero(shard == i).tolist()) for i in range(shards)]
    assert sorted(met) == list(itertools.combinations(range(2 * shards), 2))


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(0, 50), st.integers(0, 2**31))
def test_shards_cover_all_machines_and_every_pair_of_a_kind_soon_shares_one(shards: int, turn: int, seed: int) -> None:
    core, _ = started()
    kind = kinds(core)
    together = np.zeros((len(kind), len(kind)), bool)
    for game in range(rounds_of(shards)):
        shard = deal(core, kind, shards, seed, turn * rounds_of(shards) + game)
        assert shard.shape == kind.shape
        assert 0 <= shard.min() <= shard.max() < shards
        together |= shard[:, None] == shard[None]
    assert together[kind[:, None] == kind[None]].all()


def test_borders_move_from_tournament_to_tournament() -> None:
    core, _ = started()
    kind = kinds(core)
    first_rounds = {deal(core, kind, 2, 3, turn * rounds_of(2)).tobytes() for turn in range(12)}
    assert len(first_rounds) > 6


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([FAB, CALM]),
    st.integers(2, 4),
    st.integers(0, 40),
    st.sampled_from([2e2, 2e4, 1e7]),
)
def test_answers_fit_together_and_cost_at_most_what_the_shards_counted_with(
    fab: object, shards: int, number: int, hot: float
) -> None:
    core, s = started(fab)
    kind = kinds(core)
    cost = int(total_cost(core, s))
    for one in range(number, number + 2):
        shard = deal(core, kind, shards, 3, one)
        answers = searched(core, s, shards, one, 120, hot)
        before = copy_schedule(s)
        after, taken = take_in(core, s, cost, shard, answers)
        assert taken == list(range(shards))
        assert after == int(total_cost(core, s)) <= cost + sum(answer.delta for answer in answers.values())
        assert times_agree(core, s)
        complete_and_possible(core, s)
        moved = before.at[:, MACHINE] != s.at[:, MACHINE]
        assert (shard[before.at[moved, MACHINE]] == shard[s.at[moved, MACHINE]]).all()
        cost = after


def complete_and_possible(core: Core, s: Schedule) -> None:
    """Everything once, on a machine that can make it, nothing at once, parts in time: read off the tables alone."""
    assert sorted(np.concatenate([s.seq[m, : s.length[m]] for m in range(len(s.length))]).tolist()) == list(
        range(len(core.ops))
    )
    assert (core.elig_machine[s.at[:, CHOICE]] == s.at[:, MACHINE]).all()
    for m in range(len(s.length)):
        queue = s.seq[m, : s.length[m]]
        assert (s.at[queue[1:], START] >= s.end[queue[:-1]]).all()
        assert (s.at[queue, POS] == np.arange(len(queue))).all()
    problem = FAB.problem if len(core.ops) == FAB.problem.operations else CALM.problem
    for o in range(len(core.ops)):
        for q in problem.preds[problem.pred_ptr[o] : problem.pred_ptr[o + 1]]:
            way = core.legs[core.mach[s.at[q, MACHINE], SHOP], core.mach[s.at[o, MACHINE], SHOP]]
            assert s.at[o, START] >= s.at[q, AVAIL] + way


def test_an_untouched_shard_costs_and_times_what_it_did() -> None:
    """The promises across borders delay nobody."""
    core, s = started()
    n = len(core.ops)
    for number in range(6):
        shard = deal(core, kinds(core), 2, 1, number)
        for mine in range(2):
            part = carve(core, s, cut(core, s, shard, number), mine)
            anew = copy_schedule(part.schedule)
            assert retime_all(part.core, anew, np.empty(n, NUMBER), np.empty(n, NUMBER))
            assert np.array_equal(anew.at, part.schedule.at)
            assert np.array_equal(whole_numbers(part).at[part.own], s.at[part.own])


def test_what_is_pinned_or_behind_the_fence_stays_where_it_is() -> None:
    core, s = started()
    pinned = np.flatnonzero(s.at[:, START] < 600)
    core.ops[pinned, PINNED] = s.at[pinned, START]
    before = s.at[pinned].copy()
    cost = int(total_cost(core, s))
    for number in range(6):
        shard = deal(core, kinds(core), 2, 3, number)
        cost, taken = take_in(core, s, cost, shard, searched(core, s, 2, number, 200, 1e6))
        assert len(taken) == 2
    assert np.array_equal(s.at[pinned][:, [MACHINE, START]], before[:, [MACHINE, START]])


def test_an_answer_that_does_not_fit_is_left_out_and_the_other_counts() -> None:
    core, s = started()
    cost = int(total_cost(core, s))
    shard = deal(core, kinds(core), 2, 3, 0)
    answers = searched(core, s, 2, 0, 300, 2e3)
    good, wrong = answers[0], answers[1]
    liar = Answer(wrong.schedule, wrong.delta - 1_000_000_000)
    after, taken = take_in(core, s, cost, shard, {0: good, 1: liar})
    assert taken == [0]
    assert after == int(total_cost(core, s)) <= cost + good.delta
    assert times_agree(core, s)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 5000), min_size=1, max_size=9))
def test_moves_are_dealt_out_exactly(moves: int, weights: list[int]) -> None:
    shares = dealt_moves(moves, np.array(weights, np.int64))
    assert sum(shares) == (moves if sum(weights) else 0)
    assert all(share >= 0 and (share == 0 or weight > 0) for share, weight in zip(shares, weights, strict=True))


def test_what_no_other_shard_waits_for_is_bound_by_nothing() -> None:
    core, s = started()
    everything = np.zeros(len(core.mach), np.int32)
    assert (cut(core, s, everything, 1).latest == NEVER).all()


@pytest.fixture
def team() -> Iterator[Team]:
    with Team(2, seed=4) as both:
        yield both


HEAT = Heat(20_000.0, 2_000.0, 0, 12)


@pytest.mark.processes
def test_a_team_improves_the_plan_the_same_way_every_time_and_nothing_is_worse(team: Team) -> None:
    results = []
    for _ in range(2):
        core, s = started()
        team.load(core, s)
        first = int(total_cost(core, s))
        done = improve(core, s, moves=2_400, seed=4, steps=6, team=team)
        assert done.before == first
        assert done.after == int(total_cost(core, s)) < first
        assert done.moves == 2_400
        assert times_agree(core, s)
        complete_and_possible(core, s)
        results.append((done.after, done.accepted, s.seq.tolist(), s.at.tolist()))
    assert results[0] == results[1]
    assert team.left_out == team.lost == 0


@pytest.mark.processes
def test_a_worker_that_is_killed_costs_its_shards_round_and_no_more(team: Team) -> None:
    core, s = started()
    team.load(core, s)
    cost = int(total_cost(core, s))
    os.kill(team.pids[0], signal.SIGKILL)
    before = copy_schedule(s)
    done = team.cool(s, cost, 400, HEAT)
    assert done is not None
    cost += done.delta
    assert cost == int(total_cost(core, s))
    assert times_agree(core, s)
    complete_and_possible(core, s)
    shard = deal(core, kinds(core), 2, 4, 0)
    changed = {int(shard[m]) for m in range(len(shard)) if not np.array_equal(before.seq[m], s.seq[m])}
    assert len(changed) <= 1
    improve(core, s, moves=1_200, seed=4, steps=6, team=team)
    assert team.lost == 1
    assert len(team.pids) == 2
    complete_and_possible(core, s)


@pytest.mark.processes
def test_a_worker_that_hangs_is_not_waited_for_long_and_is_replaced() -> None:
    core, s = started()
    with Team(2, seed=4, grace_s=1.0) as both:
        both.load(core, s)
        cost = int(total_cost(core, s))
        first = both.cool(s, cost, 400, HEAT)
        assert first is not None
        hung = both.pids[1]
        os.kill(hung, signal.SIGSTOP)
        began = time.monotonic()
        second = both.cool(s, cost + first.delta, 400, HEAT)
        assert time.monotonic() - began < 60
        assert second is not None
        assert cost + first.delta + second.delta == int(total_cost(core, s))
        complete_and_possible(core, s)
        both.cool(s, int(total_cost(core, s)), 400, HEAT)
        assert hung not in both.pids
        assert both.lost == 1
        with pytest.raises(ProcessLookupError):
            os.kill(hung, 0)


@pytest.mark.processes
def test_workers_that_are_killed_while_they_search_leave_a_possible_plan(team: Team) -> None:
    core, s = started()
    team.load(core, s)
    first = int(total_cost(core, s))
    struck = threading.Timer(0.3, lambda: list(map(os.kill, team.pids, itertools.repeat(signal.SIGKILL))))
    struck.start()
    done = team.cool(s, first, 10_000_000, HEAT)
    struck.join()
    assert done is None or done.moves == 0
    assert int(total_cost(core, s)) == first
    complete_and_possible(core, s)


@pytest.mark.processes
def test_without_any_worker_left_the_caller_searches_alone(team: Team) -> None:
    core, s = started()
    team.load(core, s)
    until = time.monotonic() + 60
    # Until nobody is left and nobody is replaced any more: lost ones are counted when the next round begins.
    while (team.pids or team.lost <= REPLACED) and time.monotonic() < until:
        for pid in team.pids:
            os.kill(pid, signal.SIGKILL)
        team.cool(s, int(total_cost(core, s)), 50, HEAT)
    assert team.pids == ()
    done = improve(core, s, moves=1_000, seed=1, team=team)
    assert (done.moves, done.after < done.before) == (1_000, True)
    complete_and_possible(core, s)


@pytest.mark.processes
def test_a_team_that_is_closed_leaves_no_process(team: Team) -> None:
    pids = team.pids
    team.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def many(jobs: int) -> Snapshot:
    """More jobs than are planned whole, in three shops an hour from each other; every third has a second step."""
    plants = [printer(f"m{i}", shop=f"s{i % 3}", attended_windows=(hours(0, 10), hours(24, 34))) for i in range(12)]
    work = [print_job(f"j{i}", 90 + 7 * i % 211, due=NOW + (i % 9) * HOUR) for i in range(jobs)]
    second = [print_job(f"k{i}", 30, due=NOW + 12 * HOUR, predecessors=(f"j{i}",)) for i in range(0, jobs, 3)]
    return world(plants, [*work, *second])


@pytest.mark.processes
def test_a_plan_made_by_two_workers_is_accepted_and_repeats() -> None:
    snapshot = many(60)
    made, again = (plan(snapshot, seed=2, moves=2_000, workers=2) for _ in range(2))
    assert violations(snapshot, made) == []
    assert CORRECTED not in made.engine
    assert made.placements == again.placements
    assert made.moves is None, "kept as a plan that time ended: one process cannot search it again"
    assert replayed(snapshot, made).same
    start = plan(snapshot, seed=2, budget_s=0)
    assert made.cost < start.cost


@pytest.mark.processes
def test_one_worker_plans_as_nobody_said_how_many() -> None:
    snapshot = many(50)
    one, plain = plan(snapshot, seed=2, moves=500, workers=1), plan(snapshot, seed=2, moves=500)
    assert replace(one, wall_s=0) == replace(plain, wall_s=0)


def test_small_networks_short_budgets_and_counted_moves_are_searched_by_one_process() -> None:
    cores = len(os.sched_getaffinity(0))
    assert workers_for(LARGE - 1, 60, None) == workers_for(LARGE, 1, None) == workers_for(LARGE, 60, 5_000) == 1
    assert workers_for(LARGE, 60, None) == cores
