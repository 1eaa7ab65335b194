"""Fair shares between willing shops, as a price on each shop's machine minutes. Pure.

What pool work there was is shared out equally among the shops that were able and willing to do it, process by process
(max-min: a shop cannot be given more than its processes had). A shop that did more than its share gets a positive
pressure, one that did less a negative one; what lies back counts less and less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from scheduler.planning.snapshot import Pressure
from scheduler.store.content_queries import OutcomeRow

#: After so long, a minute counts half.
HALF_LIFE: Final = timedelta(days=7)
#: Weight-minutes a machine minute costs more in a shop that did twice its share (planning measured 0.5 as a fair price
#: of fairness: Jain's index 0.93 to 0.97 for 6 % more tardiness).
PHI: Final = 0.5
#: Fewer decayed machine minutes than this in a process say nothing about shares.
_LEAST_MIN: Final = 60.0


def pressures(outcomes: Iterable[OutcomeRow], willing: Mapping[str, set[str]], now: datetime) -> tuple[Pressure, ...]:
    """One pressure a shop, by name; none where one shop alone could do the work, or there was hardly any."""
    done: dict[tuple[str, str], float] = defaultdict(float)
    for row in outcomes:
        age = max(timedelta(0), now - row.at)
        done[row.process, row.shop] += row.measured_s / 60.0 * float(0.5 ** (age / HALF_LIFE))
    worked: dict[str, float] = defaultdict(float)
    fair: dict[str, float] = defaultdict(float)
    for process, shops in willing.items():
        minutes = sum(done[process, shop] for shop in shops)
        if len(shops) < 2 or minutes < _LEAST_MIN:
            continue
        for shop in shops:
            worked[shop] += done[process, shop]
            fair[shop] += minutes / len(shops)
    found = []
    for shop in sorted(fair):
        over = max(-1.0, min(1.0, worked[shop] / fair[shop] - 1.0))
        found.append(Pressure(shop, round(PHI * over, 3)))
    return tuple(found)
