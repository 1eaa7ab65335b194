"""Machine code and plain Python give the same figures, and nobody waits for a compiler or runs a damaged file."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.toolpath import Kinematics, compiled, estimate, scanning
from designs.toolpath.compiled import ENTRIES, code_paths, machine_code, packed, pick, processor_facts, unpacked
from designs.toolpath.parser import read_motions
from designs.toolpath.warm import warm
from tests.designs.toolpath.test_parser import junk

FACTS = {"cpu": "any", "features": "none", "llvmlite": "0"}


@pytest.fixture(scope="module", autouse=True)
def code() -> None:
    pytest.importorskip("numba")
    warm()
    assert machine_code() is not None


def _agree(data: bytes, dialect: str) -> None:
    limits = Kinematics(dialect=dialect)
    assert repr(estimate(data, limits, fast=False)) == repr(estimate(data, limits, fast=True))
    plain = list(read_motions(data, dialect, fast=False))
    quick = list(read_motions(data, dialect, fast=True))
    assert [(b.oddities, b.next_line, b.rows) for b in plain] == [(b.oddities, b.next_line, b.rows) for b in quick]
    for a, b in zip(plain, quick, strict=True):
        np.testing.assert_array_equal(a.table(), b.table())


@settings(max_examples=60)
@given(junk, st.sampled_from(["grbl", "marlin"]))
def test_any_bytes_give_the_same(data: bytes, dialect: str) -> None:
    _agree(data, dialect)


@pytest.mark.parametrize("dialect", ["grbl", "marlin"])
def test_a_long_program_gives_the_same_across_windows(dialect: str) -> None:
    chance = random.Random(3)
    lines = ["G28" if dialect == "marlin" else "M3 S500", "M109 S200", "G90", "M83", "F3000"]
    for k in range(6000):
        x, y = chance.uniform(0, 200), chance.uniform(0, 200)
        lines.append(
            f"G{chance.choice('0123')} X{x:.3f} Y{y:.3f} I{chance.uniform(-9, 9):.3f} J{chance.uniform(-9, 9):.3f} "
            f"E{chance.uniform(-1, 1):.4f} ; {k}"
        )
        if k % 500 == 0:
            lines += ["M204 P800", "G4 P0.1", "M104 S210", "$X é"]
    data = "\n".join(lines).encode()
    assert len(data) > 200_000
    _agree(data, dialect)


def test_any_bytes_of_a_code_file_are_its_objects_or_nothing() -> None:
    objects = {"a": b"\x7fELF", "b": b"\n\n"}
    whole = packed(FACTS, objects)
    assert unpacked(whole, FACTS) == objects
    assert unpacked(whole, FACTS | {"cpu": "another"}) is None
    for at in range(len(whole)):
        assert unpacked(whole[:at], FACTS) is None
        flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        assert unpacked(flipped, FACTS) != objects or flipped == whole


@given(st.binary(max_size=200))
def test_junk_is_no_code_file(data: bytes) -> None:
    assert unpacked(data, FACTS) is None


@pytest.mark.parametrize("kind", ["none", "truncated", "other processor", "no entry"])
def test_without_a_whole_code_file_the_plain_kernels_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = next(path for path in code_paths() if path.is_file()).read_bytes()
    written = {
        "none": None,
        "truncated": good[:-100],
        "other processor": packed(FACTS, {entry.symbol: b"" for entry in ENTRIES}),
        "no entry": packed(processor_facts(), {}),
    }[kind]
    place = tmp_path / "kernels.bin"
    if written is not None:
        place.write_bytes(written)
    monkeypatch.setattr(compiled, "code_paths", lambda: (place,))
    machine_code.cache_clear()
    try:
        assert pick(scanning, True) is scanning
        assert estimate(b"G21 G90\nG1 X100 F6000\n", Kinematics(), fast=True).duration_s > 1.0
    finally:
        monkeypatch.undo()
        machine_code.cache_clear()
    assert pick(scanning, True) is not scanning


def test_a_user_without_a_home_reads_programs_too() -> None:
    """As a container under a user number of its own: no HOME, no entry in the password file."""
    script = (
        "import pathlib\n"
        "def nowhere(*_): raise RuntimeError('Could not determine home directory.')\n"
        "pathlib.Path.home = nowhere\n"
        "from designs.toolpath import Kinematics, estimate\n"
        "from designs.toolpath.compiled import code_paths\n"
        "print(len(code_paths()), round(estimate(b'G1 X10 F600\\n', Kinematics()).duration_s))\n"
    )
    env = {key: value for key, value in os.environ.items() if key not in {"HOME", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120, env=env
    )
    assert done.stdout.split() == ["1", "1"]


def test_reading_imports_no_compiler() -> None:
    """A large program in a fresh process: machine code where it is there, and numba (16 s, 60 MB) never."""
    script = (
        "import sys\nfrom designs.toolpath import Kinematics, estimate\n"
        "table = estimate(b'G1 X10 F600\\nX0\\n' * 30_000, Kinematics())\n"
        "print(round(table.duration_s), 'numba' in sys.modules, 'llvmlite' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    seconds, numba, llvmlite = done.stdout.split()
    assert math.isclose(float(seconds), 60_000, rel_tol=0.1)
    assert (numba, llvmlite) == ("False", "True")
