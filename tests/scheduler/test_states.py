"""The transition table, exhaustively: what is in it, what is not, and what every path through it keeps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.contract.vocabulary import (
    CLOSED_STATES,
    FILE_FAULTS,
    LEASED_STATES,
    MACHINE_FAULTS,
    MAYBE_MADE,
    MOTION_STATES,
    TRANSITIONAL_STATES,
    FailureClass,
    JobState,
)
from scheduler.dispatch.actions import ACTIONS
from scheduler.dispatch.retry import MOST_ATTEMPTS, RULES, Stop, after_failure
from scheduler.dispatch.states import TRANSITIONS, Action, ImpossibleTransition, JobEvent, step

PAIRS = list(itertools.product(JobState, JobEvent))
#: What only an agent's journal may say; everything else comes from this side.
FROM_THE_MACHINE = {
    JobEvent.STAGED,
    JobEvent.READY,
    JobEvent.GATES_SHUT,
    JobEvent.START_INTENDED,
    JobEvent.RUNNING,
    JobEvent.PROGRESSED,
    JobEvent.HELD,
    JobEvent.RESUMED,
    JobEvent.FINISHED,
    JobEvent.FAILED,
    JobEvent.CANCEL_CONFIRMED,
    JobEvent.STOPPED_BY_SHOP,
    JobEvent.INSPECTED,
    JobEvent.GIVEN_UP,
}


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_either_stands_in_the_table_or_is_refused(state: JobState, event: JobEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert step(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ImpossibleTransition, match=str(state)):
            step(state, event)


def test_every_state_and_event_is_used() -> None:
    assert {state for state, _ in TRANSITIONS} == set(JobState) - CLOSED_STATES
    assert {event for _, event in TRANSITIONS} == set(JobEvent)


def test_closed_states_are_left_by_nothing() -> None:
    assert not [state for state, _ in TRANSITIONS if state in CLOSED_STATES]


def test_every_state_can_still_end() -> None:
    reached = set(CLOSED_STATES)
    grew = True
    while grew:
        before = len(reached)
        reached |= {state for (state, _), taken in TRANSITIONS.items() if taken.to in reached}
        grew = len(reached) > before
    assert reached == set(JobState)


def test_a_machine_starts_only_by_its_own_recorded_intention() -> None:
    into = {(s, e) for (s, e), taken in TRANSITIONS.items() if taken.to in MOTION_STATES and s not in MOTION_STATES}
    by_the_scheduler = {(JobState.STAGED, JobEvent.START_INTENDED), (JobState.READY, JobEvent.START_INTENDED)}
    by_its_home = {(JobState.WAITING, JobEvent.STARTED_BY_HOME), (JobState.FAILED, JobEvent.STARTED_BY_HOME)}
    assert into == by_the_scheduler | by_its_home, "either has committed the agent's own intention"


def test_while_a_machine_may_move_only_its_word_or_a_persons_changes_state() -> None:
    for (state, event), taken in TRANSITIONS.items():
        if state in MOTION_STATES and taken.to is not state:
            assert event in FROM_THE_MACHINE | {JobEvent.DECLARED_LOST}


def test_leases_are_granted_in_one_place_and_ended_on_every_way_out() -> None:
    for (state, event), taken in TRANSITIONS.items():
        entering = taken.to in LEASED_STATES and state not in LEASED_STATES
        leaving = state in LEASED_STATES and taken.to not in LEASED_STATES
        assert (Action.GRANT in taken.actions) == (event is JobEvent.CLAIMED)
        assert (Action.ADOPT_LEASE in taken.actions) == (event is JobEvent.STARTED_BY_HOME)
        assert entering == (event in {JobEvent.CLAIMED, JobEvent.STARTED_BY_HOME})
        assert (Action.END_LEASE in taken.actions) == leaving


def test_offers_are_closed_on_every_way_out() -> None:
    for (state, _), taken in TRANSITIONS.items():
        assert (Action.CLOSE_OFFER in taken.actions) == (state is JobState.OFFERED)


def test_a_lease_taken_back_by_this_side_is_always_said_to_the_agent() -> None:
    for (state, event), taken in TRANSITIONS.items():
        if state in LEASED_STATES - MOTION_STATES and Action.END_LEASE in taken.actions:
            told = Action.WITHDRAW_LEASE in taken.actions
            assert told == (event not in FROM_THE_MACHINE | {JobEvent.GRANT_REFUSED})


def test_every_transitional_state_has_a_way_out_in_time() -> None:
    timed = {JobEvent.OFFER_LAPSED, JobEvent.LEASE_LAPSED, JobEvent.START_OVERDUE}
    assert {state for state, event in TRANSITIONS if event in timed} == TRANSITIONAL_STATES


def test_time_alone_never_makes_a_success() -> None:
    timed = {JobEvent.OFFER_LAPSED, JobEvent.LEASE_LAPSED, JobEvent.START_OVERDUE}
    for (state, event), taken in TRANSITIONS.items():
        if event in timed:
            assert taken.to is (JobState.STARTING if event is JobEvent.START_OVERDUE else JobState.WAITING)
            assert (Action.FLAG_OVERDUE in taken.actions) == (state is JobState.STARTING)


def test_a_cancellation_that_nobody_confirms_ends_nothing_by_itself() -> None:
    asked = {(state, taken.to) for (state, event), taken in TRANSITIONS.items() if event is JobEvent.CANCEL_OVERDUE}
    assert asked == {(state, state) for state in MOTION_STATES}


def test_success_is_only_what_a_machine_or_a_person_said() -> None:
    for (state, event), taken in TRANSITIONS.items():
        if taken.to is not state and taken.to in {JobState.RUNNING, JobState.FINISHED, JobState.INSPECTED}:
            assert event in FROM_THE_MACHINE


def test_every_failure_class_has_a_rule_with_a_cap() -> None:
    assert set(RULES) == set(FailureClass)
    assert all(1 <= rule.attempts <= MOST_ATTEMPTS for rule in RULES.values())
    for failure in MACHINE_FAULTS | FILE_FAULTS:
        assert not RULES[failure].same_machine


@given(failures=st.lists(st.sampled_from(list(FailureClass)), min_size=MOST_ATTEMPTS, max_size=MOST_ATTEMPTS))
def test_no_run_of_failures_is_tried_without_end(failures: list[FailureClass]) -> None:
    for attempt, failure in enumerate(failures, 1):
        same = failures[:attempt].count(failure)
        decision = after_failure(failure, attempt=attempt, of_this_class=same, file_quarantined=False)
        if isinstance(decision, Stop):
            assert "a person must decide" in decision.why
            return
    raise AssertionError("it is tried for ever")


def test_what_may_have_been_made_is_not_made_again_by_itself() -> None:
    for failure in MAYBE_MADE:
        decision = after_failure(failure, attempt=1, of_this_class=1, file_quarantined=False)
        assert isinstance(decision, Stop)
        assert "the part may be there" in decision.why


def test_every_action_is_carried_out_somewhere() -> None:
    by_the_mover = {Action.DECIDE_RETRY, Action.COUNT_PIECES, Action.TELL_ORDER}
    assert set(ACTIONS) | by_the_mover == set(Action)
    assert not set(ACTIONS) & by_the_mover
