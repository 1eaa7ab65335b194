"""A lease's toolpath, got and surveyed on a fetching thread: whatever comes of it, the machine's supervisor hears it.

In: a lease. Out: `Fetched`, posted to the supervisor of the lease's machine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from agents.contract.vocabulary import FailureClass
from agents.inputs import Fetched
from agents.lease import LeaseState
from agents.machine import Supervisor
from agents.spool import Lease, Spool
from agents.toolpaths import GivenUp, ToolpathStore, ToolpathUnavailable, ToolpathWrong, problems_for

_log = logging.getLogger(__name__)


class Fetching:
    """Called on fetching threads, several at a time."""

    def __init__(
        self, store: ToolpathStore, spool: Spool, supervisors: Mapping[str, Supervisor], ending: threading.Event
    ) -> None:
        self._store, self._spool, self._supervisors, self._ending = store, spool, supervisors, ending

    def fetch(self, lease: Lease) -> None:
        """Get the toolpath while the lease waits for it, survey it, and tell the supervisor."""
        supervisor = self._supervisors[lease.machine]
        failure: FailureClass | None = None
        why = ""
        problems: tuple[str, ...] = ()
        try:
            path = self._store.fetch(lease.toolpath, lambda: self._wanted(lease))
            problems = problems_for(path, lease.toolpath, supervisor.machine)
        except GivenUp:
            pass
        except (ToolpathWrong, ToolpathUnavailable, OSError) as error:
            failure, why = FailureClass.TOOLPATH_UNAVAILABLE, str(error)
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it, and the lease would wait for ever
            _log.exception("the toolpath of %s could not be read", lease.job)
            failure, why = FailureClass.TOOLPATH_UNSAFE, f"it could not be read ({type(error).__name__}: {error})"
        supervisor.post(Fetched(lease.lease, problems, failure, why))

    def _wanted(self, lease: Lease) -> bool:
        current = self._spool.lease(lease.lease)
        return not self._ending.is_set() and current is not None and current.state is LeaseState.LEASED
