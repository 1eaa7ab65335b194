"""Python's collector of garbage, kept short: while it looks through everything, no thread of the process runs."""

from __future__ import annotations

import gc


def settle() -> None:
    """Leave what a program is made of (modules, classes, routes) out of every later collection.

    Call it once, when a process is put together. A full collection goes through all objects that may be part of a cycle
    (docs.python.org/3/library/gc.html); of a scheduler's 200,000 nearly all are its modules', which live as long as it.
    """
    gc.collect()
    gc.freeze()
