"""Going on with a half-made part: from which line, and what the machine does before it. Offered, never automatic.

In: the lease that was interrupted, its toolpath, the bridge's capabilities. Out: a `RestartPoint`, or a sentence that
says why it cannot be. The run itself is a start like any other: every gate counts, and the bed must *not* have been
cleared (safety.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents.contract.vocabulary import Process
from agents.lease import LeaseState
from agents.spool import Lease
from firmware_bridges.bridge import Capability, Identity, NotSupported, Toolpath
from firmware_bridges.start_at_line import preamble_lines

#: Ends after which something half made may lie on the bed.
INTERRUPTED: Final = frozenset({LeaseState.FAILED, LeaseState.CANCELLED})


class CannotRestart(Exception):
    """The part cannot be gone on with; the text says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """Where to go on. `preamble` is what the bridge sends before `line` (empty for a work card that people follow)."""

    line: int
    preamble: tuple[str, ...]


def half_made(last_run: Lease | None) -> Lease | None:
    """The run that ended last on a machine, if it was interrupted: what it made may lie there."""
    return last_run if last_run is not None and last_run.state in INTERRUPTED else None


def restart_point(
    before: Lease, line: int | None, toolpath: Toolpath, process: Process, dialect: str, identity: Identity | None
) -> RestartPoint:
    """Where an interrupted attempt goes on: at `line`, or after the last line that the machine confirmed.

    Raises CannotRestart where nothing was interrupted, the line does not exist, or the bridge cannot rebuild its state.
    """
    if before.state not in INTERRUPTED or before.last_line < 1:
        raise CannotRestart(f"{before.job} is {before.state}: only an interrupted run can be gone on with")
    if identity is None or Capability.START_AT_LINE not in identity.capabilities:
        raise CannotRestart("this machine cannot start in the middle of a toolpath: start it from the beginning")
    wanted = before.last_line + 1 if line is None else line
    if not 1 < wanted <= toolpath.total_lines:
        raise CannotRestart(
            f"line {wanted} is not one to go on from: the toolpath has {toolpath.total_lines} lines and the machine"
            f" confirmed {before.last_line} of them"
        )
    if Capability.HUMAN_CONFIRMED in identity.capabilities:
        return RestartPoint(wanted, ())
    try:
        return RestartPoint(wanted, preamble_lines(toolpath, wanted, process.value, dialect=dialect))
    except NotSupported as error:
        raise CannotRestart(str(error)) from error
