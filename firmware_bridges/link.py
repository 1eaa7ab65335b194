"""The serial port: identity by path, one thread that reads, writes that an emergency can overtake, reconnect.

The only module that imports pyserial. A `Link` moves bytes; what they mean is for its `Ear`. One long-lived thread owns
the reading side: it hands every piece that arrives to the ear in that thread, so that a bridge can answer at once
without handing lines from thread to thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import serial

from firmware_bridges.bridge import Clock, PortUnavailable

READ_SIZE: Final = 65536
TICK_S: Final = 0.05
REOPEN_FIRST_S: Final = 0.1
REOPEN_SLOWEST_S: Final = 2.0
EMERGENCY_WRITE_S: Final = 1.0
_BY_NAME: Final = (Path("/dev/serial/by-path"), Path("/dev/serial/by-id"))


class Port(Protocol):
    """What an opener returns: an open, non-blocking file descriptor with a name and an end."""

    def fileno(self) -> int:
        """The descriptor to poll, read and write."""

    def close(self) -> None:
        """Give the descriptor back."""


@dataclass(frozen=True, slots=True)
class PortSettings:
    """Where the port is and how it is opened. `modem_lines` is "low", "high" or "auto" (see `open_serial`)."""

    path: str
    baud: int = 115200
    modem_lines: str = "auto"


Opener = Callable[[PortSettings], Port]
Spawn = Callable[[Callable[[], None], str], threading.Thread]


class Ear(Protocol):
    """Who listens to a link. All are called in the link's thread."""

    def heard(self, data: bytes, now: float) -> None:
        """Bytes arrived, in order; a line may be cut anywhere."""

    def tick(self, now: float) -> None:
        """Called after every piece read, and at least every TICK_S seconds."""

    def lost(self, why: str) -> None:
        """The port is gone. The link tries to open it again by itself."""

    def back(self) -> None:
        """The port is open again. What answers there has to be identified anew."""

    def broke(self, error: Exception) -> None:
        """`heard` or `tick` raised: a defect of this program. Whatever runs must be stopped, not left unwatched."""


class SystemClock:
    """The machine's own monotonic clock."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


def spawn_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread: a bridge must never keep a stopping agent alive."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def stable_name(path: str) -> str:
    """The by-path (else by-id) name of a port, or `path` where there is none.

    Two adapters of one make have the same id, so the socket they sit in is the better name.
    """
    real = Path(path).resolve()
    for folder in _BY_NAME:
        if not folder.is_dir():
            continue
        for name in sorted(folder.iterdir()):
            if name.resolve() == real:
                return str(name)
    return path


def open_serial(settings: PortSettings) -> Port:
    """Open a serial port for this process alone, 8N1, without hardware flow control.

    DTR is what resets boards with a USB-to-serial chip (Arduino boards wire it to RESET through a capacitor), and on
    ESP32 boards DTR and RTS together select the boot mode; on boards with native USB (ttyACM) the firmware often sends
    nothing before DTR is set. So "auto" keeps both lines low, except on ttyACM. Linux raises DTR for a moment at the
    first open whatever one asks for: nobody may count on not resetting the board. HUPCL is cleared so that closing
    does not reset it.

    Raises PortUnavailable.
    """
    port = serial.Serial()
    port.port = settings.path
    port.baudrate = settings.baud
    port.exclusive = True
    port.timeout = 0
    port.write_timeout = 0
    port.xonxoff = port.rtscts = port.dsrdtr = False
    high = settings.modem_lines == "high" or (
        settings.modem_lines == "auto" and "ttyACM" in str(Path(settings.path).resolve())
    )
    port.dtr = high
    port.rts = high
    try:
        port.open()
    except (serial.SerialException, OSError, ValueError, termios.error) as error:  # unplugged while it is opened, too
        raise PortUnavailable(_why_not_open(settings.path, error)) from error
    with contextlib.suppress(termios.error):
        attributes = termios.tcgetattr(port.fileno())
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    opened: Port = port
    return opened


def _why_not_open(path: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT or not Path(path).exists():
        return f"There is no port {path}: the machine is off or unplugged, or sits in another socket. Check its cable."
    if number in (errno.EACCES, errno.EPERM):
        return f"This program may not open {path}: add its user to the group that owns the port (often dialout)."
    if number in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
        return f"Another program holds {path}: close it, one port has one owner."
    return f"{path} could not be opened ({error}). Check the cable and the name of the port."


class Link:
    """One port, held open for as long as the machine is ours.

    `write` queues, `interject` overtakes the queue with bytes that are legal in the middle of a line, `emergency`
    throws away all that is not on the wire yet and writes. All are safe from any thread and never wait for the ear.
    """

    def __init__(
        self,
        settings: PortSettings,
        ear: Ear,
        *,
        clock: Clock,
        opener: Opener = open_serial,
        spawn: Spawn = spawn_thread,
    ) -> None:
        self._settings = settings
        self._ear = ear
        self._clock = clock
        self._opener = opener
        self._spawn = spawn
        self._write_lock = threading.Lock()
        self._unsent = bytearray()
        self._hushed = False
        self._port: Port | None = None
        self._fd = -1
        self._wake_out, self._wake_in = -1, -1
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self.bytes_in = 0
        self.bytes_out = 0
        self.reopened = 0

    @property
    def is_open(self) -> bool:
        """Whether the port is open now."""
        return self._fd >= 0

    @property
    def unsent(self) -> int:
        """Bytes queued here that the system has not taken yet."""
        return len(self._unsent)

    def open(self) -> None:
        """Open the port and start to read. Writes nothing. Raises PortUnavailable."""
        if self._thread is not None:
            raise PortUnavailable(f"{self._settings.path} is open already in this bridge.")
        self._closing.clear()
        self._take(self._opener(self._settings))
        name = stable_name(self._settings.path)
        self._settings = PortSettings(name, self._settings.baud, self._settings.modem_lines)
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._thread = self._spawn(self._run, f"link {name}")

    def write(self, data: bytes) -> None:
        """Queue bytes behind all that is queued; nothing is kept for a port that is gone."""
        with self._write_lock:
            if self._fd < 0 or self._hushed:
                return
            if self._unsent:
                self._unsent += data
                return
            taken = self._write_now(data)
            if taken == len(data):
                return
            self._unsent += data[taken:]
        self._wake()

    def interject(self, data: bytes) -> None:
        """Write bytes ahead of the queue: for real-time bytes that a firmware picks out of the middle of a line."""
        with self._write_lock:
            if self._fd < 0 or self._hushed:
                return
            taken = self._write_now(data)
            if taken < len(data):
                self._unsent[:0] = data[taken:]
                self._wake()

    def emergency(self, data: bytes, *, hush: bool = False) -> bool:
        """Throw away every byte not yet on the wire, here and in the system, and write `data` now.

        With `hush`, later writes are dropped until `speak_again`: nothing that another thread was about to send may
        follow a stop. Returns whether the system took all of it. Waits at most EMERGENCY_WRITE_S for a stuck line.
        """
        with self._write_lock:
            self._hushed = hush
            self._unsent.clear()
            if self._fd < 0:
                return False
            with contextlib.suppress(termios.error, OSError):
                termios.tcflush(self._fd, termios.TCOFLUSH)
            until, rest = self._clock.monotonic() + EMERGENCY_WRITE_S, data
            try:
                while rest := rest[self._taken(rest) :]:
                    if self._clock.monotonic() >= until:
                        return False
                    select.select([], [self._fd], [], 0.01)
            except (OSError, ValueError):  # the port is dead: nobody may believe that it was stopped
                return False
            return True

    def speak_again(self) -> None:
        """End the hush of an emergency: the bridge's state has caught up with it."""
        with self._write_lock:
            self._hushed = False

    def wake(self) -> None:
        """Let the ear's `tick` come now."""
        self._wake()

    def forget_unsent(self) -> None:
        """Drop what is queued here and not yet with the system."""
        with self._write_lock:
            self._unsent.clear()

    def close(self) -> None:
        """Close the port and end the thread. Safe to call twice, and from the ear."""
        self._closing.set()
        self._wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)
        self._drop()
        self._thread = None

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        while not self._closing.is_set():
            why = self._serve(poller)
            if self._closing.is_set():
                break
            self._drop()
            self._ear.lost(why)
            if not self._reopen():
                break
            self._ear.back()
        with self._write_lock:
            pipe = (self._wake_out, self._wake_in)
            self._wake_out = self._wake_in = -1
        for fd in pipe:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _serve(self, poller: select.poll) -> str:
        """Read until the port is lost; returns why."""
        fd = self._fd
        if fd < 0:
            return "the port is closed"
        poller.register(fd, select.POLLIN)
        clock, ear = self._clock, self._ear
        try:
            while not self._closing.is_set():
                if self._unsent:
                    poller.modify(fd, select.POLLIN | select.POLLOUT)
                    ready = poller.poll(TICK_S * 1000)
                    poller.modify(fd, select.POLLIN)
                    self._flush()
                else:
                    ready = poller.poll(TICK_S * 1000)
                for which, _ in ready:
                    if which != fd:
                        self._drain_wake()
                        continue
                    try:
                        data = os.read(fd, READ_SIZE)
                    except BlockingIOError:
                        continue
                    if not data:
                        if any(flags & ~select.POLLOUT for w, flags in ready if w == fd):
                            return "the port was unplugged"
                        continue
                    self.bytes_in += len(data)
                    self._tell(ear.heard, data, clock.monotonic())
                self._tell(ear.tick, clock.monotonic())
        except OSError as error:
            return f"the port was unplugged ({error.strerror or error})"
        finally:
            with contextlib.suppress(KeyError, OSError, ValueError):
                poller.unregister(fd)
        return "the port was closed"

    def _tell(self, say: Callable[..., None], *what: object) -> None:
        """Call the ear. A machine whose watcher died in silence would run on unwatched: any error stops it instead."""
        try:
            say(*what)
        except Exception as error:  # noqa: BLE001 - see above; the ear says what happened
            self._ear.broke(error)

    def _reopen(self) -> bool:
        wait_s = REOPEN_FIRST_S
        while not self._closing.wait(wait_s):
            try:
                port = self._opener(self._settings)
            except PortUnavailable:
                wait_s = min(wait_s * 1.5, REOPEN_SLOWEST_S)
                continue
            self._take(port)
            self.reopened += 1
            return True
        return False

    def _take(self, port: Port) -> None:
        fd = port.fileno()
        os.set_blocking(fd, False)
        with self._write_lock:
            self._port, self._fd = port, fd
            self._hushed = False
            self._unsent.clear()

    def _drop(self) -> None:
        with self._write_lock:
            port, self._port, self._fd = self._port, None, -1
            self._unsent.clear()
        if port is not None:
            with contextlib.suppress(OSError, serial.SerialException):
                port.close()

    def _flush(self) -> None:
        with self._write_lock:
            if self._unsent and self._fd >= 0:
                del self._unsent[: self._write_now(bytes(self._unsent))]

    def _write_now(self, data: bytes) -> int:
        """Bytes that are off our hands. A dead port loses them: the reading side finds out and says so."""
        try:
            return self._taken(data)
        except OSError:
            return len(data)

    def _taken(self, data: bytes) -> int:
        """Bytes the system took. Raises OSError for a dead port."""
        try:
            taken = os.write(self._fd, data)
        except BlockingIOError:
            return 0
        self.bytes_out += taken
        return taken

    def _wake(self) -> None:
        if self._wake_in >= 0:
            with contextlib.suppress(OSError):
                os.write(self._wake_in, b"!")

    def _drain_wake(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self._wake_out, 4096)
