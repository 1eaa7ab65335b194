"""How long things may take and how much may be in flight: declared in one place, changed by configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines of transitional states and bounds of dispatch. Passing one is an event, never a guess."""

    offer: timedelta = timedelta(seconds=60)
    """An offer not answered by then lapses."""
    start: timedelta = timedelta(minutes=30)
    """A lease not begun by then (after its planned start) lapses and the job is offered anew."""
    first_line: timedelta = timedelta(minutes=10)
    """STARTING without a confirmed first line for so long is flagged (heating counts)."""
    cancel: timedelta = timedelta(minutes=2)
    """A machine asked to end that did not confirm it for so long is asked once more, and its job flagged."""
    decline: timedelta = timedelta(minutes=10)
    """A shop that declined is not asked for the same job before that, unless it named another time."""
    unanswered: timedelta = timedelta(minutes=2)
    """A shop that let an offer lapse is not asked for the same job before that."""
    avoid: timedelta = timedelta(hours=1)
    """A machine on which an attempt failed is not asked for the same job before that; another one may be at once."""
    silence: timedelta = timedelta(seconds=45)
    """An agent that is not connected, or a machine that its agent cannot reach, for so long: its offers and leases that
    have not begun go elsewhere."""
    quiet: timedelta = timedelta(minutes=10)
    """No word from a connected agent whose machine moves for so long: the job is flagged, in case the broker lost its
    will. Agents speak by exception, and no line is confirmed while a bed heats or a program waits."""
    ahead: timedelta = timedelta(minutes=15)
    """Work is offered when its planned start is no further away than this."""
    queue_per_machine: int = 1
    """Offers and leases a machine may hold that have not begun, beside the job it runs."""
    drift: timedelta = timedelta(minutes=10)
    """A job that waits behind one that ends so much later than planned is planned anew."""
    replan: timedelta = timedelta(seconds=60)
    """A plan is made anew at least so often while anything waits."""
    reconcile: timedelta = timedelta(seconds=10)
    """After a start: how long to wait for what the agents hold before offering to those that answered."""
    leadership: timedelta = timedelta(seconds=10)
    """A scheduler that did not say for so long that it is there is followed by one that stands by."""
