"""systemd's notification protocol: a datagram to the socket named in the environment.

Source: sd_notify(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

#: A manager whose queue is full, because it hangs or is replaced, must not hold the agent up.
_HEARD_WITHIN_S: Final = 1.0


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send e.g. `READY=1` or `WATCHDOG=1`; False where no service manager listens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(_HEARD_WITHIN_S)
            sender.sendto(state.encode(), address)
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often `WATCHDOG=1` is wanted (half the limit), or None where it is not."""
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 2_000_000 if text.isdigit() and int(text) > 0 else None
