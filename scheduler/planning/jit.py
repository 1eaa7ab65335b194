"""One decorator between the planner and its compiler.

`compiled` turns a function on arrays into machine code with numba and caches the result beside the source. Where
nothing is cached yet (`python -m scheduler.planning.warm` does that at install), where numba is not installed, or with
`WORKSHED_PLAIN=1`, the same functions run as plain Python: slower, and equal to the last digit (the tests compare
them), so that no plan ever waits for a compiler. `WORKSHED_COMPILE=1` compiles whatever it takes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B")

#: The modules whose functions are compiled.
COMPILED_MODULES: Final = (
    "core", "timing", "propagation", "estimating", "insertion", "search", "heating", "live", "critical_path", "tabu",
    "unrelated", "tardiness", "bounds", "queue_bound", "independent", "settling",
)  # fmt: skip


def fingerprint() -> str:
    """Of everything the compiled code depends on: its sources, the compiler, the interpreter and the processor."""
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = "none"
    digest = hashlib.sha256(f"{numba} {sys.version} {platform.machine()}".encode())
    for name in (*COMPILED_MODULES, "jit", "problem"):
        path = Path(__file__).with_name(f"{name}.py")
        if path.exists():
            status = path.stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns};".encode())
    return digest.hexdigest()[:16]


def marker() -> Path:
    """The file that says: for these sources on this computer everything is compiled and cached."""
    beside = Path(__file__).parent / "__pycache__"
    folder = beside if os.access(Path(__file__).parent, os.W_OK) else Path.home() / ".cache" / "workshed"
    return folder / f"planner-{fingerprint()}.compiled"


def _wants_compiler() -> bool:
    """The first plan must not wait for a compiler: without a warm cache the plain core answers."""
    if os.environ.get("WORKSHED_PLAIN") == "1" or find_spec("numba") is None:
        return False
    return os.environ.get("WORKSHED_COMPILE") == "1" or marker().exists()


HAS_COMPILER: Final = _wants_compiler()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Machine code where there is a compiler, the function itself where there is none."""
    if not HAS_COMPILER:
        return function
    from numba import njit

    return njit(cache=True, nogil=True)(function)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, and copied into its callers' machine code: for functions called millions of times a second."""
    if not HAS_COMPILER:
        return function
    from numba import njit

    return njit(cache=True, nogil=True, forceinline=True)(function)


def _identity(bundle: B) -> B:
    """Plain Python counts references anyway."""
    return bundle


def _make_borrowed() -> Any:
    """An intrinsic: the same tuple of arrays without ownership; the caller keeps them alive.

    Counting references costs two atomic instructions an array and call, which is most of a small function's time.
    """
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def typed(_: Any, bundle: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (value,) = arguments
            for i, kind in enumerate(bundle.types):
                if isinstance(kind, types.Array):
                    array = context.make_array(kind)(context, builder, value=builder.extract_value(value, i))
                    null: Any = cgutils.get_null_value  # type: ignore[no-untyped-call, unused-ignore]
                    array.meminfo = null(array.meminfo.type)
                    array.parent = null(array.parent.type)
                    value = builder.insert_value(value, array._getvalue(), i)
            return value

        return bundle(bundle), generate

    return intrinsic(typed)


if TYPE_CHECKING:

    def borrowed(bundle: B) -> B:
        """The same tuple of arrays, not counted by the compiled core."""
        return bundle

elif HAS_COMPILER:
    borrowed = _make_borrowed()
else:
    borrowed = _identity
