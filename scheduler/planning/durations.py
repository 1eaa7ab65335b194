"""How long will it really take: durations learned from outcomes, per design and class of machines.

The first word is the toolpath's own estimate. Every finished run adds the ratio of measured to estimated time; the
quantiles of the ratios, trimmed so that no single shop can bend them, turn estimates into P50, P80 and P90.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

from scheduler.planning.feasibility import P80_OVER_P50, P90_OVER_P50
from scheduler.planning.snapshot import DurationOption

#: Outcomes of one shop counted for one design and model; more would let it decide alone.
MOST_OF_ONE_SHOP: Final = 5
#: As many outcomes as the prior (the estimate with its usual spread) counts for.
PRIOR_OUTCOMES: Final = 4
#: Ratios outside are clipped: a run of a tenth or ten times the estimate says more about its record than about time.
LOWEST, HIGHEST = 0.2, 5.0
#: The prior as ratios: estimates run short more often than long.
PRIOR: Final = (0.95, 1.0, 1.05, P80_OVER_P50, P90_OVER_P50)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished run: what was estimated and what the machine took, in seconds."""

    design: str
    model: str
    shop: str
    estimated_s: float
    measured_s: float


class Durations:
    """Learned ratios. Feed it outcomes, ask it for options."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._ratios: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for outcome in outcomes:
            self.learn(outcome)

    def learn(self, outcome: Outcome) -> None:
        """Take a finished run in; runs without a positive estimate or measure say nothing and are left out."""
        if not (outcome.estimated_s > 0 and outcome.measured_s > 0):
            return
        ratio = min(HIGHEST, max(LOWEST, outcome.measured_s / outcome.estimated_s))
        for key in ((outcome.design, outcome.model), ("", outcome.model)):
            kept = self._ratios[key][outcome.shop]
            kept.append(ratio)
            del kept[:-MOST_OF_ONE_SHOP]

    def option(self, design: str, model: str, estimated_s: float) -> DurationOption:
        """P50, P80 and P90 of this design on this class of machines, from its own outcomes, the class's, the prior."""
        own = self._sorted((design, model))
        wide = self._sorted(("", model))
        prior = list(PRIOR[:PRIOR_OUTCOMES]) if len(own) + len(wide) < 2 * PRIOR_OUTCOMES else []
        ratios = sorted([*own * 3, *wide, *prior] or PRIOR)
        p50, p80, p90 = (self.quantile(ratios, q) for q in (0.5, 0.8, 0.9))
        if len(own) + len(wide) < PRIOR_OUTCOMES:
            p80, p90 = max(p80, p50 * P80_OVER_P50), max(p90, p50 * P90_OVER_P50)
        return DurationOption(estimated_s * p50, estimated_s * p80, estimated_s * p90, model=model)

    def _sorted(self, key: tuple[str, str]) -> list[float]:
        """All ratios, a tenth trimmed at either end once there are ten."""
        ratios = sorted(ratio for kept in self._ratios.get(key, {}).values() for ratio in kept)
        cut = len(ratios) // 10
        return ratios[cut : len(ratios) - cut]

    @staticmethod
    def quantile(ratios: list[float], q: float) -> float:
        """The smallest ratio that at least a share q does not pass."""
        return ratios[max(0, ceil(q * len(ratios)) - 1)]
