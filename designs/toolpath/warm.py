"""Compile the readers of programs ahead of time: `python -m designs.toolpath.warm`, once after installing.

About ten seconds. Afterwards every process reads 30 MB of G-code a second and more; without it the same kernels run as
plain Python, a megabyte a second, with the same results.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from designs.toolpath.compiled import ENTRIES, Entry, Passed, code_paths, machine_code, packed, processor_facts

_NEVER_CALLED = re.compile(r"^declare (\S+ )@((?:numba_|NRT_)\w+)\(([^)]*)\)[^\n]*$", re.MULTILINE)
"""Numba's ways out for exceptions. Kernels raise none, so what numba would link there is replaced by a trap."""


def warm() -> float:
    """Make the machine code unless it is there. Returns seconds spent, 0.0 where nothing was to do or no numba is."""
    if machine_code() is not None:
        return 0.0
    began = time.perf_counter()
    try:
        data = packed(processor_facts(), _objects())
    except ImportError:
        return 0.0
    _keep(data, code_paths())
    machine_code.cache_clear()
    return time.perf_counter() - began


def _objects() -> dict[str, bytes]:
    """Object code of each entry, with all that it calls. Raises ImportError without numba."""
    import llvmlite.binding as llvm
    import numba

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, codemodel="jitdefault"
    )
    copies: dict[str, ModuleType] = {}
    objects = {}
    for entry in ENTRIES:
        name = entry.module.__name__
        if name not in copies:
            copies[name] = _jitted_copy(entry.module, numba)
        assembly = _assembly(entry, getattr(copies[name], entry.name), numba)
        objects[entry.symbol] = target.emit_object(llvm.parse_assembly(assembly))
    return objects


def _jitted_copy(module: ModuleType, numba: Any) -> ModuleType:
    """A second copy of a kernel module with every kernel compiled, so that calls between kernels are compiled too."""
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_compiled", str(module.__file__))
    if spec is None or spec.loader is None:
        raise ImportError(f"{module.__name__} has no source to compile")
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    for name in copy.KERNELS:
        setattr(copy, name, numba.njit(nogil=True, error_model="numpy")(getattr(copy, name)))
    return copy


def _assembly(entry: Entry, kernel: Any, numba: Any) -> str:
    """LLVM assembly of a C function around a kernel: its arguments, then a pointer for the results."""
    types = numba.types
    kinds = {
        Passed.BYTES: types.CPointer(types.uint8),
        Passed.FLOATS: types.CPointer(types.float64),
        Passed.INTEGERS: types.CPointer(types.int64),
        Passed.NUMBER: types.int64,
    }
    signature = types.void(*(kinds[kind] for kind in entry.arguments), kinds[Passed.INTEGERS])
    made = numba.cfunc(signature)(_AROUND[entry.name](kernel))
    text = str(made.inspect_llvm()).replace(made.native_name, entry.symbol)
    return _NEVER_CALLED.sub(_trap, text) + "\ndeclare void @llvm.trap()\n"


def _around_scan(kernel: Any) -> Any:
    def entry(
        data: Any, size: Any, line: Any, limit: Any, letters: Any, values: Any, lines: Any, odd_kinds: Any,
        odd_lines: Any, most: Any, results: Any,
    ) -> None:  # fmt: skip
        found = kernel(data, size, line, limit, letters, values, lines, odd_kinds, odd_lines, most)
        results[0], results[1], results[2] = found

    return entry


def _around_run(kernel: Any) -> Any:
    def entry(
        letters: Any, values: Any, lines: Any, words: Any, state: Any, given: Any, codes: Any, out: Any, results: Any
    ) -> None:
        results[0] = kernel(letters, values, lines, words, state, given, codes, out)

    return entry


def _around_advance(kernel: Any) -> Any:
    def entry(
        row: Any, rows: Any, plan: Any, limits: Any, queue: Any, unit: Any, to: Any, lines: Any, times: Any,
        results: Any,
    ) -> None:  # fmt: skip
        results[0] = kernel(row, rows, plan, limits, queue, unit, to, lines, times)

    return entry


def _around_drain(kernel: Any) -> Any:
    def entry(plan: Any, limits: Any, queue: Any, lines: Any, times: Any, points: Any, results: Any) -> None:
        results[0] = kernel(plan, limits, queue, lines, times, points)

    return entry


_AROUND = {"scan": _around_scan, "run": _around_run, "advance": _around_advance, "drain": _around_drain}


def _trap(found: re.Match[str]) -> str:
    return f"define internal {found[1]}@{found[2]}({found[3]}) {{\n  call void @llvm.trap()\n  unreachable\n}}"


def _keep(data: bytes, paths: tuple[Path, ...]) -> None:
    """Write the file whole or not at all, to the first folder that can be written. Raises OSError where none can."""
    for last, path in zip((False,) * (len(paths) - 1) + (True,), paths, strict=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(data)
            Path(file.name).chmod(0o644)  # a service may run as somebody else than who installed it
            Path(file.name).replace(path)
            _forget_older(path)
        except OSError:
            if last:
                raise
        else:
            return


def _forget_older(path: Path) -> None:
    """Code of earlier versions of these sources; not in a user's cache, which several installations share."""
    if path.parent.name == "__pycache__":
        for other in path.parent.glob("kernels-*.bin"):
            if other != path:
                other.unlink(missing_ok=True)


def main() -> int:
    """Exit code 0 when the machine code is there."""
    seconds = warm()
    if machine_code() is None:
        print("numba is not installed: programs are read by plain Python, a megabyte a second", file=sys.stderr)
        return 1
    print(f"compiled in {seconds:.1f} s" if seconds else "already compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
