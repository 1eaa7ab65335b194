"""The frame of every twin: a pseudo-terminal under a name, bytes at the wire's rate, a fast clock, faults.

A twin is a value with a clock passed in; this module gives it a wire. The wire carries `baud / 10` bytes a second of
the twin's time each way (8N1), so a twin at speed 60 has a wire sixty times as fast.
"""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
import threading
import time
import tty
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from firmware_bridges.twins.faults import FaultyWire

SLICE_S: Final = 0.001
"""How finely bytes are handed over, in the twin's seconds at speed 1."""
IDLE_S: Final = 0.02
UNOPENED_S: Final = 0.005


class Twin(Protocol):
    """A simulated firmware and its machine. `now` is the twin's own time in seconds, starting at 0."""

    #: Whether opening the port resets the controller (DTR on boards with a USB-to-serial chip).
    resets_on_open: bool

    def boot(self, now: float, cause: str) -> None:
        """The controller starts: "power", "reset" or "watchdog"."""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes arrived at the controller's receiver."""

    def advance(self, now: float) -> None:
        """Live until `now`."""

    def take_output(self) -> list[bytes]:
        """What was sent since the last call, in whole writes (lines)."""

    def wakes_at(self) -> float | None:
        """When something happens next without input; None when nothing will."""

    def state(self, now: float) -> dict[str, Any]:
        """A truthful record: position, executed lines, heaters, spindle, planner."""

    def fault(self, name: str, options: dict[str, Any], now: float) -> bool:
        """Break something inside. False for a fault this twin does not know."""

    def person(self, act: str, options: dict[str, Any], now: float) -> bool:
        """A person does something at the machine. False for an act this twin does not know."""


class TwinHost:
    """Gives `twin` a pseudo-terminal and a thread. Use as a context manager; `port` is where to connect."""

    def __init__(
        self,
        twin: Twin,
        *,
        speed: float = 1.0,
        baud: int = 0,
        port: Path | None = None,
        seed: int = 0,
    ) -> None:
        self.twin = twin
        self.speed = speed
        self.baud = baud
        self.wire = FaultyWire(seed)
        # Numbers of pseudo-terminals are given out again at once: a host that opens a gone one by its number would get
        # somebody else's machine. So every twin has a name of its own.
        self._folder = tempfile.TemporaryDirectory(prefix="workshed-twin-")
        self._link = port or Path(self._folder.name) / "port"
        self._lock = threading.RLock()
        self._master = self._slave = -1
        self._stop = threading.Event()
        self._gone_until: float | None = None
        self._powered = True
        self._epoch = time.monotonic()
        self._base = 0.0
        self._opened = False
        self._in_free = 0.0
        self._dry = True
        self._out_free = 0.0
        self._out: deque[bytes] = deque()
        self._thread = threading.Thread(target=self._run, name="twin", daemon=True)

    # --- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> TwinHost:
        self._plug()
        self.twin.boot(self.now(), "power")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread and take the port away."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        self._unplug()
        self._folder.cleanup()

    @property
    def port(self) -> str:
        """Where to connect: the link that was asked for, or one of the twin's own."""
        return str(self._link)

    def now(self) -> float:
        """The twin's time."""
        return self._base + (time.monotonic() - self._epoch) * self.speed

    def set_speed(self, speed: float) -> None:
        """Let the twin's clock run `speed` times as fast as ours."""
        with self._lock:
            self._base, self._epoch = self.now(), time.monotonic()
            self.speed = speed

    def state(self) -> dict[str, Any]:
        """The twin's truthful record, and the wire's counters."""
        with self._lock:
            now = self.now()
            self.twin.advance(now)
            return {**self.twin.state(now), "wire": self.wire.counters(), "time_s": now, "powered": self._powered}

    # --- faults and people --------------------------------------------------------------------------------------------

    def fault(self, name: str, **options: Any) -> None:
        """Break something. Raises ValueError for a fault that nobody here knows.

        Of the wire (see `FaultyWire`): noise, stall, mute, garbage, lose_ok, slow_ok, clear. Of the frame: reset,
        power_off, power_on, vanish (`for_s`: real seconds; `name`: the new link's name). All else is asked of the twin.
        """
        with self._lock:
            now = self.now()
            if name == "reset":
                self._reset("reset")
            elif name == "power_off":
                self._powered = False
                self._out.clear()
            elif name == "power_on":
                self._powered = True
                self._reset("power")
            elif name == "vanish":
                self._unplug()
                self._gone_until = time.monotonic() + float(options.get("for_s", 1.0))
            elif not self.wire.fault(name, options, now) and not self.twin.fault(name, options, now):
                raise ValueError(f"no fault is called {name!r} here")

    def person(self, act: str, **options: Any) -> None:
        """Somebody does something at the machine. Raises ValueError for an act this twin does not know."""
        with self._lock:
            if not self.twin.person(act, options, self.now()):
                raise ValueError(f"nobody can do {act!r} at this machine")

    def _reset(self, cause: str) -> None:
        """The controller starts anew; what it was sending is cut in the middle of a line."""
        if self._out:
            cut = self._out[0][: max(1, len(self._out[0]) // 2)].rstrip(b"\r\n")
            self._out.clear()
            self._out.append(cut)
        self.twin.boot(self.now(), cause)

    # --- the pseudo-terminal ------------------------------------------------------------------------------------------

    def _plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._name = os.ttyname(self._slave)
        os.close(self._slave)
        self._slave = -1
        self._opened = False
        fresh = self._link.with_name(self._link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._name)
        fresh.replace(self._link)

    def _unplug(self) -> None:
        for fd in (self._master, self._slave):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._master = self._slave = -1
        self._link.unlink(missing_ok=True)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                wait_s = self._live()
                fd = self._master
            if fd < 0 or not self._opened:
                self._stop.wait(min(wait_s, UNOPENED_S))
            elif wait_s > 0:
                if self._pacing():
                    self._stop.wait(min(wait_s, SLICE_S))
                else:
                    with contextlib.suppress(OSError, ValueError):
                        select.select([fd], [], [], min(wait_s, IDLE_S))
                    if self._dry:
                        self._in_free = self.now()  # the first byte sets out now

    def _pacing(self) -> bool:
        """Whether bytes wait for the wire: then the next slice is due soon, whatever else happens."""
        return self.baud > 0 and (not self._dry or bool(self._out))

    def _live(self) -> float:
        """One turn; returns the real seconds until the next one is due."""
        if self._gone_until is not None:
            if time.monotonic() < self._gone_until:
                self.twin.advance(self.now())
                self.twin.take_output()
                return UNOPENED_S
            self._gone_until = None
            self._plug()
        now = self.now()
        if not self._notice_opening() or not self._powered:
            if self._powered:
                self.twin.advance(now)
                self.twin.take_output()
            return UNOPENED_S
        moved = self._bytes_in(now)
        self.twin.advance(now)
        self._out.extend(self.wire.lines_out(self.twin.take_output(), now))
        moved |= self._bytes_out(now)
        if moved and not self.baud:
            return 0.0
        due = self.twin.wakes_at()
        return IDLE_S if due is None else max(0.0002, min(IDLE_S, (due - now) / self.speed))

    def _notice_opening(self) -> bool:
        """Whether somebody has the port open; a fresh opening resets boards that do."""
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        hung = any(flags & select.POLLHUP for _, flags in poller.poll(0))
        if hung:
            self._opened = False
            self._out.clear()
            return False
        if not self._opened:
            self._opened = True
            self._out.clear()
            self._in_free = self._out_free = self.now()
            if self.twin.resets_on_open and self._powered:
                self.twin.boot(self.now(), "reset")
        return True

    def _bytes_in(self, now: float) -> bool:
        """Hand over what the wire has carried by `now`."""
        if self.wire.stalled(now):
            return False
        want = 65536
        if self.baud:
            want = int((now - self._in_free) * self.baud / 10)
            if want < 1:
                self._dry = False  # whether there is anything is seen when one byte's time is over
                return False
        try:
            data = os.read(self._master, want)
        except (BlockingIOError, OSError):
            data = b""
        if self.baud:
            # A wire that ran dry starts again when there is something to carry; one that did not lost no time.
            self._dry = len(data) < want
            self._in_free = now if self._dry else self._in_free + len(data) * 10 / self.baud
        if not data:
            return False
        self.twin.receive(self.wire.to_machine(data), now)
        return True

    def _bytes_out(self, now: float) -> bool:
        if self.wire.stalled(now):
            return False
        if not self._out:
            self._out_free = max(self._out_free, now - SLICE_S)
            return False
        data = b"".join(self._out)
        self._out.clear()
        allowed = len(data)
        if self.baud:
            allowed = min(allowed, int((now - self._out_free) * self.baud / 10))
        allowed = min(allowed, 4096)
        sent = 0
        if allowed > 0:
            noisy = self.wire.to_host(data[:allowed])
            with contextlib.suppress(BlockingIOError, OSError):
                if noisy:
                    os.write(self._master, noisy)
            sent = allowed
            if self.baud:
                self._out_free += allowed * 10 / self.baud
        if sent < len(data):
            self._out.append(data[sent:])
        return sent > 0
