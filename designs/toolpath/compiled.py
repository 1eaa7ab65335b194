"""Kernels that run compiled on large files and as plain Python on small ones: one source for both.

A kernel module holds plain functions over flat sequences, each calling only functions of its own module, and a tuple
`KERNELS` of their names. Compiled, a second copy of the module is loaded and every kernel replaced by its numba version
(cached beside the source), so that calls between kernels stay compiled too. Without numba the plain ones do the work.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

#: Bytes of G-code from which compiled kernels pay: plain ones take about 1 s a megabyte, a first compilation 20 s.
COMPILE_FROM_BYTES = 1_500_000


@cache
def compiled(module: ModuleType) -> ModuleType | None:
    """A compiled copy of a kernel module, or None where numba is not installed."""
    try:
        import numba
    except ImportError:
        return None
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_compiled", str(module.__file__))
    if spec is None or spec.loader is None:
        return None
    copy = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = copy  # numba's cache finds a kernel's module by name when it loads
    spec.loader.exec_module(copy)
    for name in copy.KERNELS:
        setattr(copy, name, numba.njit(cache=True, nogil=True, error_model="numpy")(getattr(copy, name)))
    return copy


def pick(module: ModuleType, fast: bool) -> Any:
    """The module's kernels: compiled where wanted and possible, plain otherwise."""
    if fast:
        found = compiled(module)
        if found is not None:
            return found
    return module
