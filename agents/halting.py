"""Asking a machine to hold or to cancel; one that cannot is stopped. And what keeps a blocked one blocked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from agents.spool import Spool
from firmware_bridges import bridge as b

_log = logging.getLogger(__name__)


def ask_or_stop(bridge: b.Bridge, ask: Callable[[], None], what: str, machine: str) -> None:
    """Call `ask` (`what`: hold, cancel). Where nothing can be held that is no failure; any other stops the machine."""
    fields = {"fields": {"machine": machine}}
    try:
        ask()
    except b.NotNow as error:
        _log.info("%s: %s", what, error, extra=fields)
    except (b.BridgeError, OSError) as error:
        try:
            bridge.emergency_stop()
        except b.BridgeError as worse:
            _log.error("%s failed (%s), and so did the stop: %s", what, error, worse, extra=fields)
        else:
            _log.error("%s failed, so it was stopped: %s", what, error, extra=fields)


def end_unsupervised(bridge: b.Bridge, machine: str, error: Exception) -> str:
    """A defect of ours struck a supervisor: what runs on its machine is ended, everything off. What to tell people."""
    _log.error("the supervisor of %s broke", machine, exc_info=error)
    if bridge.status().state in b.BUSY_STATES - {b.BridgeState.CANCELLING}:
        try:
            ask_or_stop(bridge, bridge.cancel, "cancel", machine)
        except Exception:  # noqa: BLE001 - one defect more: the hardest stop is left
            _log.exception("%s could not be cancelled", machine)
            bridge.emergency_stop()
    return f"the agent itself broke ({type(error).__name__}: {error}) and ended what ran; please report this"


def keep_blocked(spool: Spool, machine: str, bridge: b.Bridge, event: b.StateChanged) -> None:
    """A lost link and a fault wait for a person also where the agent ends first: its next bridge knows of none."""
    lost = event.state is b.BridgeState.OFFLINE and event.was in b.IDENTIFIED_STATES and bool(event.why)
    if not lost and event.state not in {b.BridgeState.DISARMED, b.BridgeState.FAULT}:
        return
    with spool.transaction():
        flags = spool.flags(machine)
        if not flags.disarmed and bridge.status().state is not b.BridgeState.IDLE:  # else it was re-armed meanwhile
            spool.put_flags(machine, replace(flags, disarmed=event.why or f"the machine was {event.state}"))
