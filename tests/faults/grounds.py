"""What every life begins with: a folder in memory, a migrated database, and ids that follow from its seed."""

from __future__ import annotations

import contextlib
import random
import secrets
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest import mock

from tests.faults.shop import back_up
from tests.scheduler.line import Line

MEMORY: Final = "/dev/shm"


def memory_folder() -> Path:
    """A fresh folder, in memory where there is such a place: what is tested is not the disk."""
    return Path(tempfile.mkdtemp(prefix="life", dir=MEMORY if Path(MEMORY).is_dir() else None))


@contextlib.contextmanager
def same_ids(chance: random.Random) -> Iterator[None]:
    """Message ids and names of orders follow from the seed."""

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=chance.getrandbits(128), version=4)

    def token_hex(size: int = 16) -> str:
        return chance.randbytes(size).hex()

    with mock.patch.object(uuid, "uuid4", uuid4), mock.patch.object(secrets, "token_hex", token_hex):
        yield


def template_database() -> Path:
    """An empty, migrated database to start lives from: migrating is tested elsewhere and takes most of a life."""
    folder = memory_folder()
    Line(folder).close()
    copy = folder / "template.db"
    back_up(folder / "workshed.db", copy)
    return copy
