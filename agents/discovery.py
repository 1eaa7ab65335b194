"""Find schedulers on the local network (multicast DNS), for agents whose file names none.

The looking happens in a process of its own that ends again: its library is larger than the rest of a sleeping agent.
`python -m agents.discovery` prints what it found as JSON. The address found last is kept, so that a shop whose
scheduler is down at the moment still knows where to knock.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from agents.contract.discovery import SERVICE, FoundScheduler, read_txt

if TYPE_CHECKING:
    from zeroconf import Zeroconf

_log = logging.getLogger(__name__)

LOOK_FOR_S: Final = 3.0
_ANSWER_WITHIN_MS: Final = 2000
_CHILD_ENDS_WITHIN_S: Final = 20.0


class NotInstalled(RuntimeError):
    """The library for multicast DNS is not there; the text says how to get it."""


def find(for_s: float = LOOK_FOR_S, interfaces: Sequence[str] = ()) -> tuple[FoundScheduler, ...]:
    """Listen for so long; every scheduler that answered, by name. Raises NotInstalled, OSError without a network."""
    try:
        from zeroconf import InterfaceChoice, ServiceBrowser, ServiceStateChange, Zeroconf
    except ImportError as error:
        raise NotInstalled("finding schedulers needs one more library: pip install 'workshed[mdns]'") from error
    names: set[str] = set()
    lock = threading.Lock()

    def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        with lock:
            (names.discard if state_change is ServiceStateChange.Removed else names.add)(name)

    zeroconf = Zeroconf(interfaces=list(interfaces) or InterfaceChoice.All)
    try:
        ServiceBrowser(zeroconf, SERVICE, handlers=[heard])
        threading.Event().wait(for_s)
        with lock:
            known = sorted(names)
        found = [_ask(zeroconf, name) for name in known]
    finally:
        zeroconf.close()
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.scheduler))


def _ask(zeroconf: Zeroconf, name: str) -> FoundScheduler | None:
    info = zeroconf.get_service_info(SERVICE, name, timeout=_ANSWER_WITHIN_MS)
    if info is None or info.port is None or not info.parsed_addresses():
        return None
    return read_txt(name, info.parsed_addresses()[0], info.port, info.properties)


def find_in_child(interfaces: Sequence[str] = ()) -> tuple[FoundScheduler, ...]:
    """As `find`, in a process that ends. Nothing found where that process fails; its words go to the log."""
    command = [sys.executable, "-m", "agents.discovery", *(f"--interface={name}" for name in interfaces)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_CHILD_ENDS_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.warning("looking for schedulers failed: %s", error)
        return ()
    if done.returncode != 0:
        _log.warning("looking for schedulers failed: %s", done.stderr.decode(errors="replace").strip())
        return ()
    return msgspec.json.decode(done.stdout, type=tuple[FoundScheduler, ...])


def remembered(path: Path) -> FoundScheduler | None:
    """The scheduler found last; None where none was or the note cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=FoundScheduler)
    except (OSError, msgspec.MsgspecError):
        return None


def remember(path: Path, found: FoundScheduler) -> None:
    """Keep it for the next start. Raises OSError."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(found))
    part.replace(path)


def choose(found: Sequence[FoundScheduler], wanted: Sequence[str]) -> FoundScheduler | None:
    """The one to go to: the first of `wanted` that was found; without wishes, the only one there is."""
    for name in wanted:
        for one in found:
            if one.scheduler == name:
                return one
    return found[0] if not wanted and len(found) == 1 else None


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was found as JSON; 1 when it could not be looked for."""
    parser = argparse.ArgumentParser(description="Find schedulers on the local network.")
    parser.add_argument("--interface", action="append", default=[], help="only on this address (default: all)")
    parser.add_argument("--seconds", type=float, default=LOOK_FOR_S)
    options = parser.parse_args(argv)
    try:
        found = find(options.seconds, options.interface)
    except (NotInstalled, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
