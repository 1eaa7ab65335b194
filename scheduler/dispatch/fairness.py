"""Fair shares between willing shops, as a price on each shop's machine minutes. Pure.

What pool work was done of each process is divided among the shops that offer machines for it, in proportion to the
hours they offer (`scheduler.planning.fairness`, which also turns shares into prices). What lies back counts less and
less, of work and of entitlements alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from scheduler.planning.fairness import LITTLE_MIN, entitlements, prices
from scheduler.planning.snapshot import Pressure
from scheduler.store.content_queries import OutcomeRow

#: After so long, a minute counts half.
HALF_LIFE: Final = timedelta(days=7)
#: Fewer decayed machine minutes than this in a process say nothing about shares.
_LEAST_MIN: Final = 60.0


def pressures(
    outcomes: Iterable[OutcomeRow], offered: Mapping[str, Mapping[str, float]], now: datetime
) -> tuple[Pressure, ...]:
    """One pressure a shop, by name; none where one shop alone could do the work, or there was hardly any.

    Args:
        offered: machine minutes by process and shop.
    """
    done: dict[tuple[str, str], float] = defaultdict(float)
    for row in outcomes:
        age = max(timedelta(0), now - row.at)
        done[row.process, row.shop] += row.measured_s / 60.0 * float(0.5 ** (age / HALF_LIFE))
    takers: list[tuple[str, str]] = []
    work: list[float] = []
    for process, shops in offered.items():
        open_ones = [(process, shop) for shop in sorted(shops) if shops[shop] > 0]
        minutes = sum(done[taker] for taker in open_ones)
        if len(open_ones) >= 2 and minutes >= _LEAST_MIN:
            takers += open_ones
            work.append(minutes)
    if not takers:
        return ()
    processes = list(dict.fromkeys(process for process, _ in takers))
    able = np.array([[process == own for own, _ in takers] for process in processes])
    share = entitlements(np.array(work), able, np.array([offered[process][shop] for process, shop in takers]))
    names = sorted({shop for _, shop in takers})
    row_of = np.array([names.index(shop) for _, shop in takers])
    had, entitled = np.zeros(len(names)), np.zeros(len(names))
    np.add.at(had, row_of, [done[taker] for taker in takers])
    np.add.at(entitled, row_of, share)
    found = prices(had, entitled, least=LITTLE_MIN)
    return tuple(Pressure(shop, round(float(price), 2)) for shop, price in zip(names, found, strict=True))
