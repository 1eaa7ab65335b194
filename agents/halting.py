"""Asking a machine to hold or to cancel; one that cannot is stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
