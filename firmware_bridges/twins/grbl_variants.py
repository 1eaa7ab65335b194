"""How the members of the GRBL family differ, as far as a host can see: greetings, build lines, buffers, words.

Facts: grbl/config.h and grbl/report.c (1.1h); grblHAL core/report.c and core/config.h; FluidNC src/Report.cpp and
src/Channel.h. A variant is data: the twin's behaviour is GRBL 1.1's where nothing here says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variant:
    """One firmware as it presents itself."""

    name: str
    banner: str
    build: tuple[str, ...]
    rx_bytes: int
    planner_blocks: int
    status_mask: int
    unlock_hint: str = "[MSG:'$H'|'$X' to unlock]"
    extra_status: str = ""
    """A further field of every status report."""
    full_status_0x87: bool = False


GRBL: Final = Variant(
    name="grbl",
    banner="Grbl 1.1h ['$' for help]",
    build=("[VER:1.1h.20190830:]", "[OPT:V,15,128]"),
    rx_bytes=128,
    planner_blocks=15,
    status_mask=1,
)
GRBLHAL: Final = Variant(
    name="grblhal",
    banner="GrblHAL 1.1f ['$' or '$HELP' for help]",
    build=(
        "[VER:1.1f.20260817:]",
        "[OPT:VNML+,100,1024,3,0]",
        "[AXS:3:XYZ]",
        "[NEWOPT:ENUMS,RT+]",
        "[FIRMWARE:grblHAL]",
        "[DRIVER:twin]",
    ),
    rx_bytes=1024,
    planner_blocks=100,
    status_mask=511,
    extra_status="|TLR:0",
    full_status_0x87=True,
)
FLUIDNC: Final = Variant(
    name="fluidnc",
    banner="Grbl 3.9 [FluidNC v3.9.1 (esp32-wifi) '$' for help]",
    build=("[VER:3.9 FluidNC v3.9.1 (esp32-wifi) :]", "[OPT:MPHS,16,256]"),
    rx_bytes=256,
    planner_blocks=16,
    status_mask=3,
)
VARIANTS: Final = {variant.name: variant for variant in (GRBL, GRBLHAL, FLUIDNC)}

#: Factory settings of 1.1h as `$$` prints them (grbl/defaults.h, DEFAULTS_GENERIC): number → (value, decimals).
FACTORY: Final[dict[int, tuple[float, int]]] = {
    0: (10, 0),
    1: (25, 0),
    2: (0, 0),
    3: (0, 0),
    4: (0, 0),
    5: (0, 0),
    6: (0, 0),
    10: (1, 0),
    11: (0.010, 3),
    12: (0.002, 3),
    13: (0, 0),
    20: (0, 0),
    21: (0, 0),
    22: (0, 0),
    23: (0, 0),
    24: (25.0, 3),
    25: (500.0, 3),
    26: (250, 0),
    27: (1.0, 3),
    30: (1000, 0),
    31: (0, 0),
    32: (0, 0),
    100: (250.0, 3),
    101: (250.0, 3),
    102: (250.0, 3),
    110: (500.0, 3),
    111: (500.0, 3),
    112: (500.0, 3),
    120: (10.0, 3),
    121: (10.0, 3),
    122: (10.0, 3),
    130: (200.0, 3),
    131: (200.0, 3),
    132: (200.0, 3),
}

#: What `--profile` sets before the first boot: a machine that could stand in a garage.
PROFILES: Final[dict[str, dict[int, float]]] = {
    "router": {
        20: 0,
        21: 1,
        22: 1,
        23: 3,
        24: 200,
        25: 2000,
        27: 2,
        30: 24000,
        31: 0,
        32: 0,
        110: 5000,
        111: 5000,
        112: 1500,
        120: 400,
        121: 400,
        122: 200,
        130: 400,
        131: 400,
        132: 80,
    },
    "laser": {
        20: 0,
        21: 0,
        22: 0,
        30: 1000,
        31: 0,
        32: 1,
        110: 12000,
        111: 12000,
        112: 1000,
        120: 800,
        121: 800,
        122: 100,
        130: 400,
        131: 400,
        132: 40,
    },
}
