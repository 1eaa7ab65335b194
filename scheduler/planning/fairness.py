"""Fair shares of pool work: who is entitled to how much of it, and what a machine minute costs in a shop that had more.

Entitlements are the weighted max-min division of what work there was among those who were able to do it: nobody can be
given more without taking from somebody who has no more for what he offers. For divisible work and fixed eligibility
that is the division with the least sum of squares over weights (Fujishige, Lexicographically optimal base of a
polymatroid with respect to a weight vector, Math. Oper. Res. 5(2), 1980), found here by pouring one kind of work
after the other, as water finds its level, until nothing flows any more. The tests compare it with the linear programs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

#: Sweeps over all kinds of work, and the share of the work that may still flow at the last one.
SWEEPS: Final = 500
STILL: Final = 1e-7
#: Who offers less than this part of the largest offer offers as much, so that work over offers stays a number.
TRACE: Final = 1e-290


def entitlements(work: Numbers, able: NDArray[np.bool_], weight: Numbers) -> Numbers:
    """The weighted max-min division.

    Args:
        work: (kinds) amounts of work, in any unit, >= 0.
        able: (kinds, takers) who could do which.
        weight: (takers) what each offers, > 0; twice the offer is entitled to twice the work.

    Returns:
        (takers) in the unit of `work`. Work that nobody is able to do entitles nobody. Finite where the sum of all
        work is.
    """
    unit = float(work.max(initial=0.0))
    if unit <= 0 or not len(weight):
        return np.zeros(len(weight))
    # Parts of the largest: no level is too high to be a number, nor so low that its digits are lost.
    return unit * _divided(work / unit, able, np.maximum(weight / weight.max(), TRACE))


def _divided(work: Numbers, able: NDArray[np.bool_], weight: Numbers) -> Numbers:
    """The division, of work and weights of which the largest is 1."""
    whose = [np.flatnonzero(row) for row in able]
    poured = [np.zeros(len(takers)) for takers in whose]
    out = np.zeros(len(weight))
    for _ in range(SWEEPS):
        flowed = 0.0
        for kind, takers in enumerate(whose):
            if work[kind] <= 0 or not len(takers):
                continue
            others = out[takers] - poured[kind]
            now = _filled(others, weight[takers], float(work[kind]))
            flowed += float(np.abs(now - poured[kind]).sum())
            out[takers], poured[kind] = others + now, now
        if flowed <= STILL * float(work.sum()):
            break
    return out


def _filled(has: Numbers, weight: Numbers, amount: float) -> Numbers:
    """How an amount is poured onto what is there, so that the lowest levels (over weights) become equal."""
    order = np.argsort(has / weight, kind="stable")
    wide = np.cumsum(weight[order])
    levels = (np.cumsum(has[order]) + amount) / wide
    # The level counts that lies above all that it covers and not above the next.
    covered = int(np.flatnonzero(levels >= (has / weight)[order])[-1])
    poured: Numbers = np.maximum(0.0, levels[covered] * weight - has)
    return poured


#: Weight-minutes that a machine minute costs more (less) in a shop that had twice (none of) its share.
SLOPE: Final = 0.1
#: Below this part of its share a shop counts as left out; each whole share below it takes so much more off a minute.
LEFT_OUT: Final = 0.75
STEEP: Final = 1.0
#: Shops that had more than this many shares are not told apart: they are dear enough.
MOST: Final = 1.6
#: Machine minutes a shop or process below which shares say little: a day's.
LITTLE_MIN: Final = 1440.0


def prices(had: Numbers, entitled: Numbers, least: float = 0.0) -> Numbers:
    """What one more machine minute costs with each taker, by how far he is from his share.

    Nothing at the share; gentle around it, so that spread costs something; steep for who is left out; never falling in
    what somebody had, and convex up to `MOST` shares. Only parts of shares count: all work doubled changes nothing.
    The two slopes were chosen on made-up weeks (`tests/benchmarks/planning_online.py`).

    Args:
        had: (takers) work that each was given, >= 0.
        entitled: (takers) as from `entitlements`, in any unit; who is entitled to nothing is not priced.
        least: work a taker, in the unit of `had`, that is counted as done in fair shares beforehand: the first jobs
            of a network say little about anybody.

    Returns:
        (takers) weight-minutes a minute, always finite; less than 0 where somebody had less than his share.
    """
    out, unit = np.zeros(len(had)), max(float(had.max(initial=0.0)), least)
    part = _parts(entitled)
    counts = part > 0
    if not had.any() or not counts.any():
        return out
    # In parts of the largest amount: sums of what is near the ends of the numbers, or over it, would be nan.
    whole, before, part = float((had / unit).sum()), least / unit * float(counts.sum()), part[counts]
    has, fair = had[counts] / unit + before * part, (whole + before) * part
    share = np.full(len(has), MOST)
    np.divide(has, fair, out=share, where=has < MOST * fair)
    out[counts] = SLOPE * (share - 1) - STEEP * np.maximum(0.0, LEFT_OUT - share)
    return out


def _parts(amounts: Numbers) -> Numbers:
    """What each is of the sum; zeros where there is nothing."""
    largest = float(amounts.max(initial=0.0))
    if largest <= 0:
        return np.zeros(len(amounts))
    parts: Numbers = amounts / largest
    return parts / float(parts.sum())
