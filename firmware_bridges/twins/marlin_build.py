"""How a simulated Marlin was configured before it was compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from firmware_bridges.twins.marlin_texts import CAPABILITIES


@dataclass(frozen=True, slots=True)
class MarlinBuild:
    """How the firmware was configured."""

    advanced_ok: bool = True
    emergency_parser: bool = True
    busy: bool = True
    queue_lines: int = 4
    receive_bytes: int = 128
    resets_on_open: bool = True
    machine_type: str = "rig"
    uuid: str = "cede2a2f-41a2-4748-9b12-c55c62f367ff"
    line_cost_s: float = 0.0
    """Processor time a line takes; about 1 ms on an AVR."""
    ok_after_resend: bool = True
    resend_style: str = "Resend: {n}"
    acceleration: float = 3000.0
    """Of X and Y, mm/s²."""
    sd_card: bool = False
    """A card reader with a display; the recorded build has none."""
    sd_reports: bool = False
    """AUTO_REPORT_SD_STATUS: `M27 S2` is taken. Without it M27 reports once, whatever stands behind it."""
    keep_executed: bool = False
    """Keep every executed command as text (tests); otherwise only their count and hash."""

    def capabilities(self) -> list[str]:
        """`NAME:1` for each of M115's capability lines."""
        card, reports = int(self.sd_card), int(self.sd_card and self.sd_reports)
        return CAPABILITIES.format(e=int(self.emergency_parser), s=card, r=reports).split()


def build_from(build: MarlinBuild, settings: Sequence[tuple[str, str]]) -> MarlinBuild:
    """A build with some fields changed by name. Raises ValueError for a name that is no field."""
    known = [field.name for field in fields(build)]
    values: dict[str, Any] = {}
    for name, value in settings:
        if name not in known:
            raise ValueError(f"A Marlin twin has no setting {name!r}; it has {', '.join(known)}.")
        default = getattr(build, name)
        values[name] = (
            value.lower() in ("1", "true", "yes", "on") if isinstance(default, bool) else type(default)(value)
        )
    return replace(build, **values)
