"""Ports that die at the worst moment: while they are opened, and while a stop is written."""

from __future__ import annotations

import os
import termios
import tty

import pytest

from firmware_bridges.bridge import BridgeState, MachineConfig
from firmware_bridges.link import Link, PortSettings, SystemClock
from firmware_bridges.registry import open_bridge
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.agents.peer import eventually


def test_a_port_unplugged_again_while_it_is_opened_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyserial lets `termios.error` out, which is no OSError: the link's thread ended in silence."""
    flush, broken = termios.tcflush, iter(range(3))

    def once_gone(fd: int, queue: int) -> None:
        if next(broken, None) is not None:
            raise termios.error(5, "Input/output error")
        flush(fd, queue)

    with TwinHost(make_twin(TwinOptions("marlin")), speed=40.0) as host:
        bridge = open_bridge(MachineConfig(port=host.port, dialect="marlin", options=(("banner_wait_s", "0.2"),)))
        bridge.connect()
        try:
            monkeypatch.setattr(termios, "tcflush", once_gone)
            host.fault("vanish", for_s=0.2)
            eventually(lambda: bridge.status().state is BridgeState.DISARMED, 25.0, "the link is back")
            assert next(broken, None) is None, "the port was opened too early for this test"
        finally:
            bridge.close()


class Deaf:
    """An ear for a link whose thread is not started."""

    def heard(self, data: bytes, now: float) -> None: ...
    def tick(self, now: float) -> None: ...
    def lost(self, why: str) -> None: ...
    def back(self) -> None: ...
    def broke(self, error: Exception) -> None: ...


class Pty:
    """The far end is ours."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()
        tty.setraw(self.near)

    def fileno(self) -> int:
        return self.near

    def close(self) -> None:
        os.close(self.near)


def test_a_stop_into_a_dead_port_is_not_called_sent() -> None:
    port = Pty()
    link = Link(PortSettings("/dev/none"), Deaf(), clock=SystemClock(), opener=lambda _: port)
    link._take(port)
    assert link.emergency(b"\x18"), "the far end is there"
    os.close(port.far)
    assert not link.emergency(b"\x18")
    link.close()
