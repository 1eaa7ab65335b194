"""When an agent asks for an open job by itself: a delay for each (job, machine), drawn so that few ask at once. Pure.

Every machine draws a number from the job's and its own name. Those with the smallest numbers ask first, and with every
slot of time twice as many may ask. So the first claim comes when about one machine's turn has come, whatever the size
of the fleet, and how many more are on the way before its mark disappears depends on the time a message takes, not on
how many machines there are: a delay of s slots more than the first holds 2**s times as many machines.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import Final

from agents.contract.messages import BoardMark
from agents.contract.vocabulary import NeedClass

#: The set of machines that may ask doubles with every slot; a message takes less than one on a local network.
SLOT_S: Final = 0.25
#: After so many slots everybody may ask: 2**14 machines are spread over the slots before.
SLOTS: Final = 14
#: Need ranks marks; so does age, without bound: one class is made up for by so many hours.
HOURS_A_CLASS: Final = 2.0
_NEED_SLOTS: Final = {need: float(rank) for rank, need in enumerate(NeedClass)}


def draw(job: str, attempt: int, machine: str) -> float:
    """A number in (0, 1], the same on every run; `machine` is its name in the whole network."""
    digest = hashlib.sha256(f"{job}/{attempt}/{machine}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 1) / 2**64


def pressing(mark: BoardMark, now: datetime) -> float:
    """How many slots a mark waits behind the most pressing kind: by need, less by age and by reinforcement."""
    hours = max(0.0, (now - mark.posted).total_seconds() / 3600)
    return max(0.0, _NEED_SLOTS[mark.ticket.need_class] - hours / HOURS_A_CLASS - mark.reinforced)


def delay_s(number: float, slots_behind: float) -> float:
    """How long a machine that drew `number` waits before it asks, in seconds."""
    return SLOT_S * (max(0.0, SLOTS + math.log2(number)) + slots_behind)


def evaporated(mark: BoardMark, now: datetime) -> bool:
    """Whether nobody should read the mark any more."""
    return mark.evaporates is not None and now >= mark.evaporates
