"""The line between an agent and its broker, as something that can be cut and healed."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.agents.peer import free_port


class Link:
    """A TCP proxy on a port of its own: `cut` breaks every connection and refuses new ones until `heal`."""

    def __init__(self, to_port: int) -> None:
        self.to_port, self.port = to_port, free_port()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Break it."""
        with self._lock:
            self._whole = False
            broken, self._open = self._open, set()
        for end in broken:
            _close(end)

    def heal(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._whole = True

    def close(self) -> None:
        """No more."""
        self.cut()
        _close(self._listener)
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to_port), timeout=2)
                far.settimeout(None)
            except OSError:
                _close(near)
                continue
            with self._lock:
                whole = self._whole
                if whole:
                    self._open |= {near, far}
            if not whole:
                _close(near)
                _close(far)
                continue
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    _close(one)
    _close(other)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
