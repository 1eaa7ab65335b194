"""Commands that the Marlin twin takes without modelling them, and its arithmetic of arcs and zeros."""

from __future__ import annotations

import math
import re
from typing import Final

#: Commands that this build takes and that change nothing the twin models.
ACCEPTED: Final = frozenset(
    {
        f"G{n}"
        for n in (
            10,
            11,
            12,
            17,
            18,
            19,
            29,
            42,
            80,
        )
    }
    | {
        f"M{n}"
        for n in (
            17,
            18,
            42,
            75,
            76,
            77,
            78,
            84,
            85,
            92,
            111,
            117,
            120,
            121,
            150,
            200,
            201,
            202,
            203,
            204,
            205,
            206,
            211,
            221,
            226,
            240,
            250,
            280,
            281,
            300,
            301,
            302,
            304,
            355,
            407,
            420,
            425,
            428,
            486,
            500,
            501,
            502,
            540,
            569,
            603,
            900,
            906,
            907,
            913,
        )
    }
)


def leading_int(text: str) -> int:
    """C's strtol: the number at the start, 0 where there is none."""
    match = re.match(r"\s*([-+]?\d+)", text)
    return int(match[1]) if match is not None else 0


def positive_zero(value: float) -> float:
    return 0.0 if abs(value) < 5e-4 else value


def centre_from_radius(
    start: tuple[float, ...], goal: tuple[float, ...], radius: float, *, clockwise: bool
) -> tuple[float, float]:
    """(I, J) of an arc given by radius (Marlin src/gcode/motion/G2_G3.cpp)."""
    dx, dy = goal[0] - start[0], goal[1] - start[1]
    distance = math.hypot(dx, dy)
    if distance < 1e-9:
        return 0.0, 0.0
    side = -1.0 if clockwise != (radius < 0) else 1.0
    height = math.sqrt(max(0.0, radius * radius - distance * distance / 4))
    return dx / 2 - side * dy / distance * height, dy / 2 + side * dx / distance * height
