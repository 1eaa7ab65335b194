"""A scene per test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.den import Den
from tests.agents.scene import Scene


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a place: for tests of order and not of the disk."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


@pytest.fixture
def den(memory_path: Path) -> Iterator[Den]:
    made = Den(memory_path)
    yield made
    made.die()


@pytest.fixture
def heard(memory_path: Path) -> Iterator[Den]:
    """With a scheduler, that has answered once."""
    made = Den(memory_path, scheduler=True)
    made.acknowledge()
    yield made
    made.die()
