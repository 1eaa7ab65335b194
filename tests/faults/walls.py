"""What stands around real processes: a network of the agent's own, disks that can be full, clocks that can be wrong.

Network namespaces and small disks need root; a clock that can be wrong needs a C compiler.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_RUN: Final = Path("/run/netns")
_NAME: Final = re.compile(r"workshed-(\d+)-(\d+)$")
_DISK_MB: Final = {"scheduler": 48, "shop": 12}


def _does(*command: str) -> bool:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def _is_root() -> bool:
    return os.geteuid() == 0


class OwnNetwork:
    """A network namespace with two cables: one to the rest of the network, one to the people of the shop."""

    def __init__(self) -> None:
        """Raises OSError where none can be made."""
        if not _is_root() or shutil.which("ip") is None or shutil.which("nsenter") is None:
            raise OSError("network namespaces need root, iproute2 and nsenter")
        _clear_up_after_the_dead()
        for number in range(250):
            self._cable = f"wshd{number}n"
            if _does("ip", "link", "add", self._cable, "type", "veth", "peer", "name", f"wshd{number}m"):
                break
        else:
            raise OSError("no network namespace could be made here")
        self.name = f"workshed-{number}-{os.getpid()}"
        self.outside, self.inside = f"10.213.{number}.1", f"10.213.{number}.6"
        people = f"wshd{number}p"
        steps = [
            f"ip netns add {self.name}",
            f"ip link add {people} type veth peer name wshd{number}q",
            f"ip link set wshd{number}m netns {self.name}",
            f"ip link set wshd{number}q netns {self.name}",
            f"ip addr add {self.outside}/30 dev {self._cable}",
            f"ip addr add 10.213.{number}.5/30 dev {people}",
            f"ip link set {self._cable} up",
            f"ip link set {people} up",
            f"ip -n {self.name} addr add 10.213.{number}.2/30 dev wshd{number}m",
            f"ip -n {self.name} addr add {self.inside}/30 dev wshd{number}q",
            *(f"ip -n {self.name} link set {one} up" for one in ("lo", f"wshd{number}m", f"wshd{number}q")),
        ]
        if not all(_does(*step.split()) for step in steps):
            self.close()
            raise OSError("the network namespace could not be set up")
        self.enter = ("nsenter", f"--net={_RUN / self.name}")

    def pull(self) -> None:
        """Pull the cable to the rest of the network: packets vanish, connections seem to stand."""
        _does("ip", "link", "set", self._cable, "down")

    def put_in(self) -> None:
        """Put it in again."""
        _does("ip", "link", "set", self._cable, "up")

    def close(self) -> None:
        """Take everything away."""
        _does("ip", "netns", "del", self.name)
        _does("ip", "link", "del", self._cable)


def _clear_up_after_the_dead() -> None:
    for place in _RUN.glob("workshed-*"):
        hit = _NAME.match(place.name)
        if hit is not None and not Path(f"/proc/{hit[2]}").exists():
            _does("ip", "netns", "del", place.name)


class Disk:
    """A folder on a small disk of its own, or without one; files of one process can be kept from growing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        size = _DISK_MB.get(folder.name, 12)
        self.own = _is_root() and _does("mount", "-t", "tmpfs", "-o", f"size={size}m", "workshed-test", str(folder))

    def fill(self) -> None:
        """Not a byte more fits."""
        with contextlib.suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(b"\0" * size):
                        pass

    def make_room(self) -> None:
        """There is room again."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Take the disk away."""
        if self.own:
            _does("umount", "-l", str(self.folder))


def refuse_writes(pid: int) -> None:
    """Every write of a process to a file fails from now on (EFBIG, setrlimit(2) RLIMIT_FSIZE)."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))


def allow_writes(pid: int) -> None:
    """Writes go through again."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


class WallClock:
    """The wall clock of a process and its children, which can be wrong; their monotonic clocks stay true.

    libfaketime 0.9.10 does the same and more, but under it `time.sleep` of Python 3.11 fails with EINVAL.
    """

    def __init__(self, file: Path, bender: Path | None) -> None:
        self._file = file
        file.write_bytes(bytes(8))
        self.env = {} if bender is None else {"LD_PRELOAD": str(bender), "WRONG_CLOCK": str(file)}

    def set(self, wrong_by_s: int) -> None:
        """How wrong it is from now on."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(wrong_by_s.to_bytes(8, sys.byteorder, signed=True))


def wrong_clock(folder: Path) -> Path | None:
    """The shared object that makes clocks wrong, made in `folder`; None where there is no C compiler."""
    compiler = shutil.which("cc")
    made = folder / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    if compiler is None or not _does(compiler, "-shared", "-fPIC", "-O2", "-o", str(made), str(source)):
        return None
    return made


@contextlib.contextmanager
def own_network() -> Iterator[OwnNetwork | None]:
    """A network namespace, or None where there can be none (or WORKSHED_NO_NAMESPACES says not to)."""
    made: OwnNetwork | None = None
    if not os.environ.get("WORKSHED_NO_NAMESPACES"):
        with contextlib.suppress(OSError):
            made = OwnNetwork()
    try:
        yield made
    finally:
        if made is not None:
            made.close()
