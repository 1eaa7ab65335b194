"""One decorator between the planner and its compiler.

`compiled` turns a function on arrays into machine code with numba and caches the result beside the source. With
`WORKSHED_PLAIN=1`, or where numba is not installed, the same functions run as plain Python: slower, and equal to the
last digit (the tests compare them), so that a machine without a compiler still plans.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

PLAIN: Final = os.environ.get("WORKSHED_PLAIN") == "1"

if PLAIN:
    HAS_COMPILER = False
else:
    try:
        from numba import njit

        HAS_COMPILER = True
    except ImportError:  # numba is optional: the plain core answers the same
        HAS_COMPILER = False


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Machine code where there is a compiler, the function itself where there is none."""
    if not HAS_COMPILER:
        return function
    return njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, and copied into its callers: for the few functions called millions of times a second."""
    if not HAS_COMPILER:
        return function
    return njit(cache=True, nogil=True, inline="always")(function)  # type: ignore[no-any-return]
