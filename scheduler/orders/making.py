"""Toolpaths are made in other processes, a few at a time: slicing never holds up an order, an offer or a page."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from designs.processes.model import CannotMake, MadeToolpath, PartFile, Piece, Severity
from scheduler.clock import Clock
from scheduler.orders.recipes import Recipe
from scheduler.store import Blobs, Store, queries
from scheduler.store import tables as t
from scheduler.store.record import record
from scheduler.store.toolpath_files import remember

_log: Final = logging.getLogger(__name__)
_MOST_CRASHES: Final = 2


@dataclass(frozen=True, slots=True)
class Impossible:
    """It cannot be made so; the sentence says why and what to do."""

    why: str


Maker = Callable[[Recipe, str], MadeToolpath | Impossible]


def make(recipe: Recipe, blobs_folder: str) -> MadeToolpath | Impossible:
    """Make and lint one toolpath. Runs in a process of its own; takes and gives plain values."""
    from designs.processes import make_toolpath
    from designs.toolpath import MachineLimits, lint

    blobs = Blobs(Path(blobs_folder))
    pieces = [
        Piece(PartFile(spec.name, spec.kind, blobs.get(spec.sha256)), spec.quantity, spec.depth_mm)
        for spec in recipe.pieces
    ]
    try:
        made: MadeToolpath = make_toolpath(pieces, recipe.profile, recipe.stock)
    except CannotMake as error:
        return Impossible(str(error))
    findings = tuple(lint(made.gcode, MachineLimits.of(recipe.profile)))
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        return Impossible(f"the toolpath that {made.made_by} made is not safe here: {errors[0].text}")
    return replace(made, findings=(*made.findings, *findings))


def begin_worker() -> None:
    """What a worker does first: give way to the others, and end with the process that asked, however that ends."""
    os.nice(5)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class ToolpathRoom:
    """Makes what is asked for once, keeps it by hash, and says so in the database."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        *,
        workers: int,
        done: Callable[[], None],
        maker: Maker = make,
        executor: Executor | None = None,
    ) -> None:
        self._say_done = done
        self._store, self._blobs, self._clock, self._workers, self._maker = store, blobs, clock, workers, maker
        self._pool: Executor | None = executor
        self._going: dict[str, Future[MadeToolpath | Impossible]] = {}
        self._crashes: dict[str, int] = {}
        self._closed = False

    def want(self, c: sa.Connection, recipe: Recipe, file_key: str, now: datetime) -> None:
        """Write down that this toolpath is wanted (inside a write)."""
        row = {"file_key": file_key, "model": recipe.profile.model, "status": "making", "why": "", "asked_at": now}
        c.execute(sa.insert(t.recipes).values(key=recipe.key, **row))

    def begin(self, recipes: dict[str, Recipe]) -> None:
        """Start making those that are not being made yet."""
        for key, recipe in recipes.items():
            if key not in self._going and not self._closed:
                self._submit(key, recipe)

    @property
    def busy(self) -> int:
        """How many are being made or queued for it."""
        return len(self._going)

    def close(self) -> None:
        """Stop; what was being made is made again after the next start."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process in self._workers_seen():
                process.terminate()

    def _workers_seen(self) -> list[object]:
        return list((getattr(self._pool, "_processes", None) or {}).values())

    def _submit(self, key: str, recipe: Recipe) -> None:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=begin_worker)
        future = self._pool.submit(self._maker, recipe, str(self._blobs.folder))
        self._going[key] = future
        future.add_done_callback(lambda done: self._done(key, recipe, done))

    def _done(self, key: str, recipe: Recipe, future: Future[MadeToolpath | Impossible]) -> None:
        self._going.pop(key, None)
        if self._closed or future.cancelled():
            return
        try:
            result = future.result()
        except BrokenProcessPool:
            self._pool = None
            self._crashes[key] = self._crashes.get(key, 0) + 1
            if self._crashes[key] <= _MOST_CRASHES:
                self._submit(key, recipe)
                return
            result = Impossible("the program that makes the toolpath died on it, more than once")
        except Exception as error:  # noqa: BLE001 (whatever a slicer's wrapper raises ends this recipe, not the service)
            _log.exception("making a toolpath failed")
            result = Impossible(f"making the toolpath failed: {error}")
        self._keep(key, result)

    def _keep(self, key: str, result: MadeToolpath | Impossible) -> None:
        now = self._clock.now()
        values: dict[str, Any] = {"done_at": now}
        if isinstance(result, Impossible):
            values |= {"status": "impossible", "why": result.why}
        else:
            self._blobs.put(result.gcode)
            values |= {"status": "made", "sha256": result.sha256}
        with self._store.write() as c:
            if not isinstance(result, Impossible):
                if not self._blobs.holds(result.sha256):  # forgotten between the two
                    self._blobs.put(result.gcode)
                if queries.toolpath(c, result.sha256) is None:
                    c.execute(sa.insert(t.toolpaths).values(**toolpath_values(result, now)))
                remember(c, result.sha256)
            c.execute(sa.update(t.recipes).where(t.recipes.c.key == key).values(**values))
            record(c, f"toolpath_{values['status']}", now, body={"recipe": key, "why": values.get("why", "")})
        self._say_done()


def toolpath_values(made: MadeToolpath, now: datetime) -> dict[str, Any]:
    """A toolpath's row."""
    return {
        "sha256": made.sha256,
        "size_bytes": len(made.gcode),
        "dialect": made.dialect,
        "made_by": made.made_by,
        "settings": made.settings,
        "duration_s": made.duration_s,
        "lines": made.lines,
        "bounds_mm": list(made.bounds_mm),
        "material_g": made.material_g,
        "stock_used_mm": None if made.stock_used_mm is None else list(made.stock_used_mm),
        "work_card": made.work_card,
        "findings": [msgspec.to_builtins(finding) for finding in made.findings],
        "layout": None if made.layout is None else msgspec.to_builtins(made.layout),
        "created_at": now,
    }
