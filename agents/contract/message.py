"""What every message of the contract is made from: the tagged struct, and the bounded values its fields take.

Times are UTC, durations seconds, lengths millimetres, masses grams.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Identifier = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Fence = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(max_length=2000)]
Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its zone; one without is refused."""


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag=True, omit_defaults=True):
    """What every message is: immutable, tagged with its own name in the field `type`."""
