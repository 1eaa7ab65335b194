"""How wrong estimates have been, so that the next one tells its spread: actual / estimate, by design and machine class.

Pure: the store keeps the runs, this says what they teach. A run is one finished attempt's estimated and actual seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TRIM = 0.05
_FEW = 8
_PRIOR = ((0.5, 1.0), (0.8, 1.12), (0.9, 1.22))
"""Spread before anything is known: half of the runs take longer than estimated, one in ten by more than 22 %."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished attempt."""

    estimate_s: float
    actual_s: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Factors on an estimate: half, four fifths, nine tenths of the runs take no longer. `runs` behind them."""

    p50: float
    p80: float
    p90: float
    runs: int

    def seconds(self, estimate_s: float) -> tuple[float, float, float]:
        """(P50, P80, P90) seconds of an estimate."""
        return estimate_s * self.p50, estimate_s * self.p80, estimate_s * self.p90


def ratios(runs: Iterable[Run]) -> list[float]:
    """Actual / estimate of the runs that can teach something, sorted; the wildest twentieth at each end left out."""
    found = sorted(
        r.actual_s / r.estimate_s
        for r in runs
        if r.estimate_s > 1.0 and r.actual_s > 0.0 and math.isfinite(r.actual_s) and math.isfinite(r.estimate_s)
    )
    cut = int(len(found) * _TRIM)
    return found[cut : len(found) - cut] if cut else found


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """Linear between order statistics (Hyndman & Fan type 7). Raises ValueError for an empty sequence."""
    if not sorted_values:
        raise ValueError("no values, no quantile")
    at = share * (len(sorted_values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(sorted_values) - 1)
    return sorted_values[low] + (at - low) * (sorted_values[high] - sorted_values[low])


def spread(own: Iterable[Run], machine_class: Iterable[Run] = ()) -> Spread:
    """What runs of this design on this class of machine teach; with few of them, the whole class weighs in.

    Each quantile is a weighted mean of own, class and prior: own runs count `n`, the class at most 8, the prior 2.
    """
    mine, others = ratios(own), ratios(machine_class)
    weights = (float(len(mine)), float(min(len(others), _FEW)), 2.0)
    factors = []
    for share, prior in _PRIOR:
        values = (quantile(mine, share) if mine else 0.0, quantile(others, share) if others else 0.0, prior)
        factors.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    p50 = factors[0]
    p80 = max(factors[1], p50)
    return Spread(p50, p80, max(factors[2], p80), len(mine))
