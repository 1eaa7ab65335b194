"""Every error as application/problem+json (RFC 9457): what happened, why, what to do."""

from __future__ import annotations

import logging
from typing import Any, Final

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from scheduler.orders.refusal import Refused
from scheduler.store import SteppedDown, UnknownBlob

_log: Final = logging.getLogger(__name__)
_TYPE: Final = "https://workshed.invalid/problems/"


class Problem(BaseModel):
    """RFC 9457 problem details, with a stable code and what to do."""

    type: str = Field(examples=[_TYPE + "bad_quantity"])
    title: str = Field(examples=["The order was refused"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The order was refused: the quantity is 0. Ask for 1 to 1000."])
    code: str = Field(examples=["bad_quantity"])
    hint: str = Field(default="", examples=["Ask for 1 to 1000."])
    errors: list[dict[str, Any]] | None = None


def problem(
    status: int, code: str, title: str, detail: str, hint: str = "", errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    """A problem document."""
    body = Problem(
        type=_TYPE + code, title=title, status=status, detail=detail, code=code, hint=hint, errors=errors
    ).model_dump(exclude_none=True)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}.get(status)
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=headers)


#: For the OpenAPI document: what every route may answer.
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    code: {"description": text, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for code, text in ((401, "No valid token"), (403, "Not allowed"), (404, "Not there"), (422, "Cannot be done"))
}


def install(app: FastAPI) -> None:
    """Turn every error of the app into a problem document."""

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> JSONResponse:
        return problem(error.status, error.code, error.what, str(error), error.hint)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"where": ".".join(str(step) for step in item["loc"]), "why": item["msg"]} for item in error.errors()]
        detail = "; ".join(f"{item['where']}: {item['why']}" for item in errors)
        hint = "See /docs for the fields and their bounds."
        return problem(422, "invalid_request", "The request was not understood", detail, hint, errors)

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, f"http_{error.status_code}", str(error.detail), str(error.detail))

    @app.exception_handler(UnknownBlob)
    def unknown(_: Request, error: UnknownBlob) -> JSONResponse:
        return problem(404, "unknown_file", "There is no such file", str(error))

    @app.exception_handler(SteppedDown)
    def stands_by(_: Request, error: SteppedDown) -> JSONResponse:
        hint = f"Nothing was changed. Ask {error.url}" if error.url else "Nothing was changed. Try again in a moment."
        return problem(503, "stands_by", "This scheduler stands by", str(error), hint)

    @app.exception_handler(sa.exc.OperationalError)
    def database(_: Request, error: sa.exc.OperationalError) -> JSONResponse:
        _log.error("the database does not answer: %s", error.orig)
        hint = "Nothing was changed. Try again; if it stays so, look at the scheduler's disk and database."
        return problem(503, "database", "The scheduler cannot keep anything now", str(error.orig), hint)

    @app.exception_handler(OSError)
    def disk(_: Request, error: OSError) -> JSONResponse:
        _log.error("the disk does not answer: %s", error)
        hint = "Nothing was changed. Look at the scheduler's disk."
        return problem(507, "disk", "The scheduler cannot keep the file", str(error.strerror or error), hint)
