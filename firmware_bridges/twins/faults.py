"""A wire with faults on command: noise both ways, stalls, garbage, lost and slow acknowledgements.

Deterministic for one seed and one stream of bytes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

DIRECTIONS: Final = ("to_machine", "to_host")


@dataclass(slots=True)
class Noise:
    """Chances per byte, in [0, 1]. `printable` keeps corrupted bytes legible: the nastier kind."""

    drop: float = 0.0
    corrupt: float = 0.0
    duplicate: float = 0.0
    printable: bool = False
    gap: int = 0
    """Bytes that stay whole after a fault: longer than a line, no line has two."""
    _whole: int = 0

    def apply(self, data: bytes, dice: random.Random) -> bytes:
        """The bytes as they arrive."""
        if not (self.drop or self.corrupt or self.duplicate):
            return data
        out = bytearray()
        for byte in data:
            roll = dice.random()
            if self._whole > 0:
                self._whole -= 1
                out.append(byte)
                continue
            if roll < self.drop + self.corrupt + self.duplicate:
                self._whole = self.gap
            if roll < self.drop:
                continue
            if roll < self.drop + self.corrupt:
                out.append(dice.randrange(32, 127) if self.printable else byte ^ (1 << dice.randrange(8)))
            elif roll < self.drop + self.corrupt + self.duplicate:
                out += bytes((byte, byte))
            else:
                out.append(byte)
        return bytes(out)


@dataclass(slots=True)
class FaultyWire:
    """Both directions of one wire."""

    seed: int = 0
    noise: dict[str, Noise] = field(default_factory=lambda: {name: Noise() for name in DIRECTIONS})
    _dice: random.Random = field(init=False)
    _stalled_until: float = -1.0
    _mute_until: float = -1.0
    _lose_ok: int = 0
    _ok_delay_s: float = 0.0
    _delayed: list[tuple[float, bytes]] = field(default_factory=list)
    _garbage: bytes = b""
    _bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0))

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def fault(self, name: str, options: dict[str, Any], now: float) -> bool:
        """Set a fault. Times are the twin's seconds. False for a name that is not the wire's.

        noise: direction, drop, corrupt, duplicate (chances per byte), printable, gap · stall: for_s (nothing moves) ·
        mute: for_s (nothing comes back) · garbage: bytes (random ones to the host) · lose_ok: count · slow_ok:
        delay_s · clear: all of them end.
        """
        for_s = float(options.get("for_s", 1e9))
        if name == "noise":
            names = [options["direction"]] if "direction" in options else list(DIRECTIONS)
            for direction in names:
                self.noise[direction] = Noise(
                    float(options.get("drop", 0.0)),
                    float(options.get("corrupt", 0.0)),
                    float(options.get("duplicate", 0.0)),
                    bool(options.get("printable", False)),
                    int(options.get("gap", 0)),
                )
        elif name == "stall":
            self._stalled_until = now + for_s
        elif name == "mute":
            self._mute_until = now + for_s
        elif name == "garbage":
            self._garbage += self._dice.randbytes(int(options.get("bytes", 40)))
        elif name == "lose_ok":
            self._lose_ok += int(options.get("count", 1))
        elif name == "slow_ok":
            self._ok_delay_s = float(options.get("delay_s", 0.1))
        elif name == "clear":
            self.noise = {direction: Noise() for direction in DIRECTIONS}
            self._stalled_until = self._mute_until = -1.0
            self._lose_ok, self._ok_delay_s = 0, 0.0
        else:
            return False
        return True

    def stalled(self, now: float) -> bool:
        """Whether nothing moves on the wire."""
        return now < self._stalled_until

    def to_machine(self, data: bytes) -> bytes:
        """What arrives of bytes from the host."""
        self._bytes["to_machine"] += len(data)
        return self.noise["to_machine"].apply(data, self._dice)

    def to_host(self, data: bytes) -> bytes:
        """What arrives of bytes from the machine."""
        self._bytes["to_host"] += len(data)
        return self.noise["to_host"].apply(data, self._dice)

    def lines_out(self, lines: list[bytes], now: float) -> list[bytes]:
        """What the firmware sent, less what this fault eats, plus what it adds; delayed lines when they are due."""
        out: list[bytes] = []
        if self._garbage:
            out.append(self._garbage)
            self._garbage = b""
        for line in lines:
            if now < self._mute_until:
                continue
            if line.startswith(b"ok"):
                if self._lose_ok:
                    self._lose_ok -= 1
                    continue
                if self._ok_delay_s:
                    self._delayed.append((now + self._ok_delay_s, line))
                    continue
            if self._delayed:
                self._delayed.append((self._delayed[-1][0], line))
                continue
            out.append(line)
        while self._delayed and self._delayed[0][0] <= now:
            out.append(self._delayed.pop(0)[1])
        return out

    def counters(self) -> dict[str, int]:
        """Bytes carried each way, before noise."""
        return dict(self._bytes)
