"""Kernels that run as machine code on large files and as plain Python on small ones: one source for both.

A kernel module holds plain functions over flat sequences, each calling only functions of its own module, and a tuple
`KERNELS` of their names. `designs.toolpath.warm` compiles them ahead of time into one file; here that file is loaded by
llvmlite alone (importing numba would take 60 MB more). Without the file the plain ones do the work: nobody waits for a
compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from designs.toolpath import motions, planner, scanning

MACHINE_CODE_FROM_BYTES: Final = 300_000
"""Bytes of G-code from which machine code pays: loading it takes 0.2 s, plain kernels about 1 s a megabyte."""


class Passed(StrEnum):
    """How an argument reaches a compiled kernel."""

    BYTES = "bytes"
    FLOATS = "floats"
    INTEGERS = "integers"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel that Python calls: its module, name, arguments, and how many whole numbers it returns."""

    module: ModuleType
    name: str
    arguments: tuple[Passed, ...]
    results: int = 1

    @property
    def symbol(self) -> str:
        """Its name in the object code."""
        return f"workshed_{self.name}"


_B, _F, _I, _N = Passed.BYTES, Passed.FLOATS, Passed.INTEGERS, Passed.NUMBER
ENTRIES: Final = (
    Entry(scanning, "scan", (_B, _N, _N, _N, _B, _F, _I, _I, _I, _N), 3),
    Entry(motions, "run", (_B, _F, _I, _N, _F, _F, _I, _F)),
    Entry(planner, "advance", (_F, _N, _F, _F, _F, _F, _F, _I, _F)),
    Entry(planner, "drain", (_F, _F, _F, _I, _F, _N)),
)


def code_folders() -> tuple[Path, ...]:
    """Beside the sources, as Python's own compiled files; else in the cache of whoever runs this, if there is one."""
    beside = Path(__file__).parent / "__pycache__"
    cache_home = os.environ.get("XDG_CACHE_HOME")
    if not cache_home:
        try:
            cache_home = str(Path.home() / ".cache")
        except RuntimeError:
            return (beside,)
    return (beside, Path(cache_home) / "workshed")


def code_paths() -> tuple[Path, ...]:
    """Where the machine code of these very sources may lie, the first choice first."""
    digest = hashlib.sha256(platform.machine().encode())
    for source in (*sorted({str(entry.module.__file__) for entry in ENTRIES}), __file__):
        digest.update(Path(source).read_bytes())
    return tuple(folder / f"kernels-{digest.hexdigest()[:16]}.bin" for folder in code_folders())


def packed(facts: dict[str, str], objects: dict[str, bytes]) -> bytes:
    """One file of object code: a line of JSON (what it was made for, sizes, digest), then the objects."""
    body = b"".join(objects.values())
    sizes = {name: len(data) for name, data in objects.items()}
    head = {"for": facts, "sizes": sizes, "sha256": _digest(sizes, body)}
    return json.dumps(head).encode() + b"\n" + body


def _digest(sizes: dict[str, int], body: bytes) -> str:
    return hashlib.sha256(json.dumps(sizes).encode() + body).hexdigest()


def unpacked(data: bytes, facts: dict[str, str]) -> dict[str, bytes] | None:
    """The objects of such a file; None where it is damaged or was made for another processor or library."""
    first, _, body = data.partition(b"\n")
    try:
        head = json.loads(first)
        if head["for"] != facts or head["sha256"] != _digest(head["sizes"], body):
            return None
        at, objects = 0, {}
        for name, size in head["sizes"].items():
            objects[str(name)] = body[at : at + int(size)]
            at += int(size)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return objects


def processor_facts() -> dict[str, str]:
    """What object code depends on: processor, its features, llvmlite. Raises ImportError without llvmlite."""
    import llvmlite
    import llvmlite.binding as llvm

    features = hashlib.sha256(llvm.get_host_cpu_features().flatten().encode()).hexdigest()
    return {"cpu": llvm.get_host_cpu_name(), "features": features, "llvmlite": str(llvmlite.__version__)}


@cache
def machine_code() -> dict[str, SimpleNamespace] | None:
    """Compiled kernels by module name; None until `designs.toolpath.warm` has made them on this machine."""
    places = [path for path in code_paths() if path.is_file()]
    if not places:
        return None
    try:
        facts = processor_facts()
    except ImportError:
        return None
    for place in places:
        try:
            objects = unpacked(place.read_bytes(), facts)
        except OSError:
            continue
        if objects is not None and all(entry.symbol in objects for entry in ENTRIES):
            return _linked(objects)
    return None


def _linked(objects: dict[str, bytes]) -> dict[str, SimpleNamespace]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    for data in objects.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    kernels: dict[str, SimpleNamespace] = {}
    for entry in ENTRIES:
        room = kernels.setdefault(entry.module.__name__, SimpleNamespace(engine=engine))
        setattr(room, entry.name, _callable(engine.get_function_address(entry.symbol), entry))
    return kernels


def _callable(address: int, entry: Entry) -> Callable[..., Any]:
    """The C function as its plain twin is called: sequences are bytes or contiguous numpy arrays."""
    kinds = [ctypes.c_int64 if kind is Passed.NUMBER else ctypes.c_void_p for kind in entry.arguments]
    function = ctypes.CFUNCTYPE(None, *kinds, ctypes.c_void_p)(address)

    def call(*given: Any) -> Any:
        results = (ctypes.c_int64 * entry.results)()
        function(*(each.ctypes.data if hasattr(each, "ctypes") else each for each in given), results)
        return results[0] if entry.results == 1 else tuple(results)

    return call


def pick(module: ModuleType, fast: bool) -> Any:
    """The module's kernels: machine code where wanted and there, plain otherwise."""
    if fast:
        found = machine_code()
        if found is not None:
            return found[module.__name__]
    return module
