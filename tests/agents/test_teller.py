"""Telling the journal goes on after what interrupts it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agents import teller
from agents.clock import SystemClock
from agents.contract import messages as m
from agents.spool import Spool, SpoolFull
from agents.teller import Teller
from tests.agents.scene import T0


class Shaky(Spool):
    """A spool on a card that cannot be read once."""

    broken = True

    def unacknowledged(self, after: int = 0, limit: int = 200) -> tuple[tuple[int, bytes], ...]:
        if self.broken:
            self.broken = False
            raise SpoolFull("disk I/O error")
        return super().unacknowledged(after, limit)


def test_a_card_that_cannot_be_read_once_does_not_silence_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "FIRST_REPEAT_S", 0.05)
    spool = Shaky(tmp_path / "agent.sqlite", sender="agent/a/b")
    spool.journal(m.Holdings(boot="b", jobs=(), highest_fences={}, unacked_from=1), T0)
    sent = threading.Event()

    def send(payload: bytes) -> bool:
        sent.set()
        return True

    telling = Teller(spool, send, SystemClock())
    thread = threading.Thread(target=telling.run, daemon=True)
    thread.start()
    assert sent.wait(10)
    telling.end()
    thread.join(10)
    assert not thread.is_alive()
    spool.close()
