"""Who is entitled to how much, against linear programs; and what a minute costs by how far a shop is from its share."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from scheduler.planning.fairness import LEFT_OUT, MOST, SLOPE, STEEP, Numbers, entitlements, prices

amounts = st.floats(0.0, 100.0)
offers = st.floats(0.5, 10.0)


@st.composite
def divisions(draw: st.DrawFn) -> tuple[Numbers, np.typing.NDArray[np.bool_], Numbers]:
    kinds, takers = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    able = draw(st.lists(st.lists(st.booleans(), min_size=takers, max_size=takers), min_size=kinds, max_size=kinds))
    work = draw(st.lists(amounts, min_size=kinds, max_size=kinds))
    weight = draw(st.lists(offers, min_size=takers, max_size=takers))
    return np.array(work), np.array(able), np.array(weight)


def lexicographic(work: Numbers, able: np.typing.NDArray[np.bool_], weight: Numbers) -> Numbers:
    """The same by one linear program a taker and level: raise all that are not settled, settle who cannot rise."""
    places = [(k, int(t)) for k, row in enumerate(able) for t in np.flatnonzero(row)]
    level = np.full(len(weight), np.nan)
    while np.isnan(level).any():
        free = np.flatnonzero(np.isnan(level)).tolist()
        lowest = _raised(work, weight, places, level, free, free)
        for t in free:
            alone = np.where(np.arange(len(level)) == t, np.nan, level)
            if _raised(work, weight, places, alone, free, [t], lowest) <= lowest + 1e-6:
                level[t] = lowest
    return level * weight


def _raised(
    work: Numbers,
    weight: Numbers,
    places: list[tuple[int, int]],
    level: Numbers,
    free: Collection[int],
    raised: Collection[int],
    others: float = 0.0,
) -> float:
    """The largest common level of `raised`, the free ones at `others` at least and the settled at theirs."""
    columns = len(places) + 1
    equal = np.zeros((len(work), columns))
    least = np.zeros((len(weight), columns))
    bound = np.zeros(len(weight))
    for i, (k, t) in enumerate(places):
        equal[k, i] = 1
        least[t, i] = -1
    for t in range(len(weight)):
        if t in raised:
            least[t, -1] = weight[t]
        else:
            bound[t] = -weight[t] * (others if t in free else level[t])
    known = [k for k in range(len(work)) if equal[k].any()]
    found = linprog(
        np.eye(columns)[-1] * -1, least, bound + 1e-9, equal[known] if known else None, work[known] if known else None
    )
    return float(-found.fun)


@given(divisions())
def test_entitlements_are_the_max_min_division(division: tuple[Numbers, np.typing.NDArray[np.bool_], Numbers]) -> None:
    work, able, weight = division
    found = entitlements(work, able, weight)
    assert np.allclose(found, lexicographic(work, able, weight), atol=1e-3)
    assert np.isclose(found.sum(), work[able.any(axis=1)].sum())


def test_the_division_by_hand() -> None:
    able = np.array([[True, True, False], [False, True, True]])
    # The first kind fills the first taker alone up to what the other two share of the second kind.
    assert entitlements(np.array([90.0, 10.0]), able, np.ones(3)).tolist() == [45.0, 45.0, 10.0]
    assert np.allclose(entitlements(np.array([30.0, 30.0]), able, np.array([1.0, 2.0, 1.0])), [15.0, 30.0, 15.0])
    assert entitlements(np.array([5.0]), np.zeros((1, 2), bool), np.ones(2)).tolist() == [0.0, 0.0]


shares = st.lists(st.floats(0.0, 4.0), min_size=2, max_size=6)


@given(shares, st.floats(0.01, 1e6), st.floats(0.01, 1e6))
@example([0.0, 5e-324], 1.0, 1.0)
def test_prices_know_no_scale_and_no_order(ratios: list[float], work: float, unit: float) -> None:
    had, entitled = np.array(ratios) * 60.0, np.linspace(50.0, 70.0, len(ratios))
    found = prices(had, entitled, least=100.0)
    assert np.allclose(prices(had * work, entitled * unit, least=100.0 * work), found, atol=1e-9)
    assert np.allclose(prices(had[::-1], entitled[::-1], least=100.0), found[::-1])


#: From nothing over the smallest number there is to nearly the largest.
ANY = st.sampled_from([0.0, 5e-324, 1e-310, 1e-300, 1.0, 1e300, 1.7e308]) | st.floats(0.0, 1.7e308)


@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=5), ANY)
def test_prices_are_finite_and_between_their_ends_for_all_amounts(
    takers: list[tuple[float, float]], least: float
) -> None:
    had, entitled = np.array(takers).T
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = prices(had, entitled, least=least)
    assert (found >= -SLOPE - STEEP * LEFT_OUT - 1e-12).all()
    assert (found <= SLOPE * (MOST - 1) + 1e-12).all()


@given(
    st.lists(ANY.map(lambda amount: amount / 8), min_size=1, max_size=3),
    st.lists(ANY.filter(bool), min_size=1, max_size=4),
    st.data(),
)
def test_entitlements_are_finite_and_all_of_the_work_for_all_amounts(
    amounts: list[float], offered: list[float], data: st.DataObject
) -> None:
    row = st.lists(st.booleans(), min_size=len(offered), max_size=len(offered))
    able = np.array([data.draw(row) for _ in amounts])
    work = np.array(amounts)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = entitlements(work, able, np.array(offered))
    assert (found >= 0).all()
    assert np.isclose(found.sum(), work[able.any(axis=1)].sum(), rtol=1e-6, atol=work.max() * 1e-9)


def test_amounts_too_small_to_divide_by_are_divided_and_priced() -> None:
    least = 5e-324
    divided = entitlements(np.array([8 * least]), np.ones((1, 2), bool), np.array([least, 3 * least]))
    assert divided.tolist() == [2 * least, 6 * least]
    assert prices(np.array([0.0, least]), np.ones(2)).tolist() == prices(np.array([0.0, 1.0]), np.ones(2)).tolist()
    assert np.allclose(prices(np.array([0.0, least]), np.ones(2), least=100.0), 0.0)


def test_nothing_is_paid_at_the_share_more_the_further_from_it_and_most_by_who_is_left_out() -> None:
    entitled = np.ones(1_000)
    had = np.full(1_000, 1.0)
    assert prices(had, entitled).tolist() == [0.0] * 1_000
    curve = []
    for share in np.linspace(0.0, 3.0, 61):
        had[0] = share
        # The others make up for it, so that the mean stays one.
        had[1:] = (1_000 - share) / 999
        curve.append(float(prices(had, entitled)[0]))
    steps = np.diff(curve)
    at = (np.linspace(0.0, 3.0, 61)[:-1] + 0.025).round(3)
    assert (steps >= -1e-12).all(), "never cheaper for having had more"
    assert (np.diff(steps[at < MOST]) <= 1e-9).all(), "each step down costs as much as the one before, or more"
    assert steps[at < LEFT_OUT].min() > 3 * steps[(at > LEFT_OUT) & (at < MOST)].max()
    assert np.allclose(steps[at > MOST + 0.05], 0.0)


def test_who_is_entitled_to_nothing_is_not_priced_and_little_work_says_little() -> None:
    assert prices(np.array([3.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0]))[1] == 0.0
    assert prices(np.zeros(2), np.ones(2)).tolist() == [0.0, 0.0]
    sure = prices(np.array([100.0, 0.0]), np.ones(2), least=1.0)
    unsure = prices(np.array([1.0, 0.0]), np.ones(2), least=1.0)
    assert sure[1] < unsure[1] < 0 < unsure[0] < sure[0]
