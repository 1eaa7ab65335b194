"""Toolpaths' files that nothing needs any more are taken off the disk; their records, and all designs, stay.

A toolpath is needed while a job that could be made by it is open, or changed its state or was offered it within `KEPT`.
That covers waiting jobs and their marks on the board, offers, leases and what agents fetch for them, and orders placed
again soon. Kept plans are made again from their snapshots, which hold no programs. Any other job that wants a forgotten
one has it made again from design and recipe.

First the database says that a file is forgotten and lets go of the recipes that led to it; only after that is committed
does the file go. Killed between the two, the next turn goes on. Both are done in writes, one after the other with those
of whoever makes a toolpath, and a file that was written or wanted again within `_YOUNG` is left where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from agents.contract.vocabulary import CLOSED_STATES, JobState
from scheduler.store import tables as t
from scheduler.store.blobs import Blobs, Removal
from scheduler.store.dispatch_tables import forgotten_toolpaths as forgotten

_log: Final = logging.getLogger(__name__)
#: How long a toolpath is kept after the last thing that had to do with it.
KEPT: Final = timedelta(days=90)
#: Records looked at, and files taken away, in one transaction.
LOOKED_AT_ONCE: Final = 250
FREED_AT_ONCE: Final = 25
#: A file younger than this by the disk's clock stays: a clock may be an hour off, a slicer may take long.
_YOUNG: Final = timedelta(days=1)
#: Nothing will be made by these without being asked for anew; then it is made again.
_OVER: Final = CLOSED_STATES | {JobState.FINISHED, JobState.FAILED}
_OPEN: Final = sorted(state.value for state in set(JobState) - _OVER)


class ToolpathFiles:
    """Walks through the records of toolpaths, round after round, a few each time it is asked."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._after = ""
        """The hash at which the walk stands; a new process begins anew."""

    def look(self, c: sa.Connection, now: datetime) -> bool:
        """Forget what nothing needs among the next records (inside a write). Whether the walk goes on at once."""
        batch = (
            sa.select(t.toolpaths.c.sha256)
            .where(t.toolpaths.c.sha256 > self._after, ~_is_forgotten())
            .order_by(t.toolpaths.c.sha256)
            .limit(LOOKED_AT_ONCE)
        )
        seen = list(c.execute(batch).scalars())
        gone = sorted(set(seen) - _needed(c, seen, now - KEPT))
        _forget(c, gone, now)
        if gone:
            _log.info("%d toolpaths are forgotten: nothing needed them for %d days", len(gone), KEPT.days)
        more = len(seen) == LOOKED_AT_ONCE
        self._after = seen[-1] if more else ""
        return more

    def free(self, c: sa.Connection, now: datetime) -> bool:
        """Take some forgotten files away (inside a write). Whether there are more that can go."""
        rows = sa.select(forgotten.c.sha256).where(forgotten.c.freed_at.is_(None)).order_by(forgotten.c.forgotten_at)
        names = list(c.execute(rows.limit(FREED_AT_ONCE)).scalars())
        designs = _of_designs(c, names)
        freed = [
            name for name in names if name in designs or self._blobs.remove(name, older_than=_YOUNG) is Removal.GONE
        ]
        if freed:
            c.execute(sa.update(forgotten).where(forgotten.c.sha256.in_(freed)).values(freed_at=now))
        return len(freed) == FREED_AT_ONCE

    def mend(self, c: sa.Connection, now: datetime) -> int:
        """Forget toolpaths of open jobs whose files are not here (inside a write): they are made again.

        An old copy of the database was put back, from before their files were taken away. Returns how many.
        """
        wanted = sa.select(t.recipes.c.sha256).where(
            t.recipes.c.sha256.is_not(None), t.recipes.c.file_key.in_(_open_files())
        )
        lost = sorted({name for name in c.execute(wanted).scalars() if not self._blobs.holds(name)})
        for at in range(0, len(lost), LOOKED_AT_ONCE):
            _forget(c, lost[at : at + LOOKED_AT_ONCE], now)
        if lost:
            _log.warning("%d toolpaths of open jobs have lost their files, and are made again", len(lost))
        return len(lost)


def forgotten_at(c: sa.Connection, sha256: str) -> datetime | None:
    """Since when a toolpath's file is not kept any more; None where it is, or where there is no such toolpath."""
    found: datetime | None = c.execute(sa.select(forgotten.c.forgotten_at).where(forgotten.c.sha256 == sha256)).scalar()
    return found


def remember(c: sa.Connection, sha256: str) -> None:
    """It was made again, and its file is here (inside a write)."""
    c.execute(sa.delete(forgotten).where(forgotten.c.sha256 == sha256))


def _forget(c: sa.Connection, names: Sequence[str], now: datetime) -> None:
    if names:
        c.execute(sa.delete(t.recipes).where(t.recipes.c.sha256.in_(names)))
        c.execute(sa.delete(forgotten).where(forgotten.c.sha256.in_(names)))
        c.execute(sa.insert(forgotten), [{"sha256": name, "forgotten_at": now, "freed_at": None} for name in names])


def _needed(c: sa.Connection, names: Sequence[str], before: datetime) -> set[str]:
    """Those of `names` that something needs, or needed later than `before`."""
    jobs, recipes, offers = t.jobs.c, t.recipes.c, t.offers.c
    lately = sa.exists().where(jobs.file_key == recipes.file_key, jobs.since >= before)
    wanted = sa.or_(recipes.asked_at >= before, recipes.done_at >= before, recipes.file_key.in_(_open_files()), lately)
    needed = set(c.execute(sa.select(recipes.sha256).where(recipes.sha256.in_(names), wanted)).scalars())
    needed |= set(
        c.execute(
            sa.select(t.toolpaths.c.sha256).where(t.toolpaths.c.sha256.in_(names), t.toolpaths.c.created_at >= before)
        ).scalars()
    )
    # A plate may have been laid anew since it was offered, so that no recipe leads from the job to what it was offered.
    given = (
        sa.select(offers.sha256)
        .join(t.jobs, jobs.id == offers.job)
        .where(
            offers.sha256.in_(sorted(set(names) - needed)),
            sa.or_(offers.closed_at.is_(None), offers.made_at >= before, jobs.since >= before, jobs.state.in_(_OPEN)),
        )
    )
    return needed | set(c.execute(given).scalars())


def _open_files() -> sa.Select[tuple[str]]:
    return sa.select(t.jobs.c.file_key).where(t.jobs.c.state.in_(_OPEN))


def _is_forgotten() -> sa.ColumnElement[bool]:
    return sa.exists().where(forgotten.c.sha256 == t.toolpaths.c.sha256)


def _of_designs(c: sa.Connection, names: Sequence[str]) -> set[str]:
    """Those that are a design's own files too."""
    files, manifests = t.design_files.c.sha256, t.designs.c.manifest_sha256
    own = sa.union(sa.select(files).where(files.in_(names)), sa.select(manifests).where(manifests.in_(names)))
    return set(c.execute(own).scalars())
