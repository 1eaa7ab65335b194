"""A disk that takes no checkpoint: no run begins on it, and one that runs ends as what it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from firmware_bridges.bridge import BridgeState, Event, Failure, RunCancelled, RunFailed, RunFinished
from firmware_bridges.checkpoint import CheckpointFile
from firmware_bridges.link import SystemClock
from firmware_bridges.session import Happening, Session

FULL = Path("/dev/full")  # full(4): every write fails with ENOSPC


def at_once(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def session(tmp_path: Path, told: list[Event]) -> Session:
    made = Session(
        clock=SystemClock(), name="m1", checkpoint_file=CheckpointFile(tmp_path / "checkpoint"), spawn=at_once
    )
    made.listen(told.append)
    for happening in (Happening.OPENED, Happening.IDENTIFIED):
        made.happen(happening)
    assert made.state is BridgeState.IDLE
    return made


TOOLPATH: Any = SimpleNamespace(total_lines=3)


def test_no_run_begins_without_its_checkpoint(session: Session) -> None:
    """The file would still tell of an earlier run."""
    session._file = CheckpointFile(FULL)
    with pytest.raises(OSError, match="No space"):
        session.start_run(TOOLPATH, 1)
    assert session.state is BridgeState.IDLE
    assert session.run is None


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lambda session: session.finish(), RunFinished),
        (lambda session: (session.happen(Happening.CANCEL_ASKED), session.cancelled()), RunCancelled),
        (lambda session: session.fail(Failure.COMMUNICATION, "noise", Happening.BROKEN), RunFailed),
    ],
)
def test_a_run_ends_as_what_it_was(
    session: Session, told: list[Event], end: Callable[[Session], None], kind: type[Event]
) -> None:
    session.start_run(TOOLPATH, 1)
    session._file = CheckpointFile(FULL)
    session.confirm(1, 0.0)
    end(session)
    session.stop()
    assert [event for event in told if isinstance(event, kind)]
    assert session.run is None
