"""Mutations that concern owners' own jobs, beside those of `spoiling.py`."""

from __future__ import annotations

from typing import Final

import pytest

from agents import agent, inbox, machine, safety
from agents.machine import Supervisor
from tests.faults.spoiling import Mutation

_OLD: Final = "restore_agent_database"


def _start_untold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "told_own", lambda *_: None)


def _pool_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Supervisor, "_goes_first", lambda self, lease: False)


def _old_copy_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agent, "put_in_doubt", lambda *_: None)
    patch.setattr(inbox, "put_in_doubt", lambda *_: None)


def _nobody_asked(patch: pytest.MonkeyPatch) -> None:
    kept = tuple(check for check in safety._START_GATES if check is not safety._remembered)
    patch.setattr(safety, "_START_GATES", kept)


OWN: Final = {
    "own start untold": Mutation("an own job starts, and no number of the journal says so", _start_untold),
    "pool before own": Mutation("pool work asks for its start while own work waits", _pool_first),
    "old copy believed": Mutation("neither the mark nor the numbers tell an old memory", _old_copy_believed, _OLD),
    "own job not asked about": Mutation("an own job of an old memory starts unasked", _nobody_asked, _OLD),
}
