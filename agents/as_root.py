"""Started as root over the folder of the user that the service runs as: why not, and how instead.

What root makes there (the spool, a toolpath, a token) that user cannot open, and the service does not come up.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable
from pathlib import Path

_ROOT = 0


def owner_of(place: Path) -> int | None:
    """The user id of who owns a file or folder; None where it is not there."""
    try:
        return place.stat().st_uid
    except OSError:
        return None


def name_of(user: int) -> str:
    """The name of a user id. Raises KeyError for one without."""
    return pwd.getpwuid(user).pw_name


def why_not_as_root(
    folder: Path,
    command: str,
    user: int | None = None,
    owner_of: Callable[[Path], int | None] = owner_of,
    name_of: Callable[[int], str] = name_of,
) -> str:
    """Why `workshed-agent COMMAND` must not use this data folder as `user` (who runs this process); empty if it may."""
    if (os.geteuid() if user is None else user) != _ROOT:
        return ""
    for place in (folder, folder / "agent.sqlite"):
        owner = owner_of(place)
        if owner is None or owner == _ROOT:
            continue
        name = f"'#{owner}'"  # as sudo(8) takes a number
        with contextlib.suppress(KeyError):
            name = name_of(owner)
        return (
            f"{place} belongs to {name}, and this runs as root: what root makes there would keep the service from"
            f" starting as {name}. Run it as that user: sudo -u {name} workshed-agent {command} …"
        )
    return ""
