"""How pressing an order is: its need class, and how long it has waited. Pure; nothing here knows of money.

Weights age linearly and without bound (so does the priority of the accumulating queue of Kleinrock, "A delay dependent
queue discipline", 1964): whatever stands before an order, its turn comes. A class is never overtaken by a lesser one
that came at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from agents.contract.vocabulary import NeedClass, Ring
from scheduler.planning.snapshot import NEED_WEIGHTS
from scheduler.store.rows import OrderRow

#: Waiting so long adds the weight of the class once more.
AGEING: Final = timedelta(hours=24)
_NEEDS: Final = tuple(NeedClass)


def weight(order: OrderRow, now: datetime) -> int:
    """Weight of one minute late, aged since the order was accepted (or placed)."""
    waited = max(timedelta(0), now - (order.accepted_at or order.created_at))
    return max(1, round(NEED_WEIGHTS[NeedClass(order.need_class)] * (1.0 + waited / AGEING)))


def need_rank(order: OrderRow) -> int:
    """0 for the most pressing class."""
    return _NEEDS.index(NeedClass(order.need_class))


def date_of(order: OrderRow) -> datetime | None:
    """When it is wanted: the date asked for, or the one that was promised where that is all there is."""
    return order.due or order.promised


def earliest(moments: Iterable[datetime | None]) -> datetime | None:
    """The first of those that are given."""
    return min((moment for moment in moments if moment is not None), default=None)


def most_pressing(orders: Iterable[OrderRow]) -> NeedClass:
    """The class a shared plate is treated by: nobody on it is worse off than alone."""
    return _NEEDS[min(need_rank(order) for order in orders)]


def narrowest(orders: Iterable[OrderRow]) -> Ring:
    """How far a shared plate may travel."""
    return min((Ring(order.ring) for order in orders), key=lambda ring: ring.width)
