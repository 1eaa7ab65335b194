"""What every route starts from: the scheduler, and who asks."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Header, Request

from scheduler.api.tokens import Caller, Role, allowed, caller
from scheduler.app import Scheduler


def the_scheduler(request: Request) -> Scheduler:
    """The scheduler this app serves."""
    return cast("Scheduler", request.app.state.scheduler)


Serving = Annotated[Scheduler, Depends(the_scheduler)]


def whoever(serving: Serving, authorization: Annotated[str | None, Header()] = None) -> Caller | None:
    """Who asks, if they say so."""
    with serving.store.read() as c:
        return caller(c, authorization)


Anyone = Annotated[Caller | None, Depends(whoever)]


def _requester(who: Anyone) -> Caller:
    return allowed(who, Role.REQUESTER)


def _operator(who: Anyone) -> Caller:
    return allowed(who, Role.OPERATOR)


def _admin(who: Anyone) -> Caller:
    return allowed(who, Role.ADMIN)


MayQueue = Annotated[Caller, Depends(_requester)]
MayOperate = Annotated[Caller, Depends(_operator)]
MayAdminister = Annotated[Caller, Depends(_admin)]
