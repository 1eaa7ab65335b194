"""The HTTP application around one scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from scheduler.api import designs, jobs, network, orders, plans, problems, reservations, sheets
from scheduler.api.tokens import first_token
from scheduler.api.transfers import Transfers
from scheduler.app import Parts, Scheduler
from scheduler.config import Settings

_ABOUT: Final = """Pool the idle time of garage shops' machines. Reading needs no account; changing needs a token.
Errors are problem+json: what happened, why, what to do."""


def create_app(settings: Settings, parts: Parts | None = None, *, scheduler: Scheduler | None = None) -> FastAPI:
    """An application that starts its scheduler with itself and stops it with itself.

    A `scheduler` that is given is served, and neither started nor stopped.
    """
    serving = scheduler or Scheduler(settings, parts)
    if serving.leadership.held:
        with serving.store.write() as c:
            first_token(c, settings.data / "admin.token", serving.clock.now())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if scheduler is None:
            await run_in_threadpool(serving.start)
        try:
            yield
        finally:
            if scheduler is None:
                await run_in_threadpool(serving.stop)

    app = FastAPI(title="Workshed", version=_version(), description=_ABOUT, lifespan=lifespan)
    app.state.scheduler = serving
    app.state.transfers = Transfers()
    problems.install(app)
    for room in (orders, designs, jobs, network, plans, sheets, reservations):
        app.include_router(room.router)
    return app


def _version() -> str:
    try:
        return version("workshed")
    except PackageNotFoundError:
        return "0"
