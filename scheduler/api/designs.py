"""Designs: brought as files or taken from the catalogue; free to read, without an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from designs.processes.model import ProcessKind
from scheduler.api.access import MayQueue, Serving
from scheduler.api.problems import RESPONSES
from scheduler.app import Scheduler
from scheduler.orders.intake import BareFile, check_design, keep_design
from scheduler.orders.refusal import Refused
from scheduler.store import tables as t

router: Final = APIRouter(prefix="/api/v1/designs", tags=["designs"], responses=RESPONSES)
_MOST_BYTES: Final = 200 * 1024 * 1024
_MOST_FILES: Final = 200


@dataclass(frozen=True, slots=True)
class DesignFileView:
    """One file that a part is made from."""

    name: str
    kind: str
    sha256: str
    size_bytes: int
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DesignView:
    """One design by content address."""

    design: str
    name: str
    licence: str
    licence_open: bool
    licence_why: str
    created_at: datetime
    files: tuple[DesignFileView, ...]


class FromCatalogue(BaseModel):
    """A design that Workshed ships."""

    catalogue: str = Field(min_length=1, max_length=100, examples=["lamp"])


class BareFields(BaseModel):
    """What may be said of a single file that comes without a manifest."""

    licence: str | None = Field(default=None, max_length=200, examples=["CERN-OHL-S-2.0"])
    process: ProcessKind | None = None
    material: str | None = Field(default=None, max_length=100, examples=["PLA"])
    thickness_mm: float | None = Field(default=None, gt=0, le=500)
    depth_mm: float | None = Field(default=None, gt=0, le=500)
    colour: str = Field(default="", max_length=60)
    name: str = Field(default="", max_length=120)


_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": FromCatalogue.model_json_schema(), "example": {"catalogue": "lamp"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "okh": {"type": "string", "format": "binary", "description": "okh.toml, optional"},
                        **BareFields.model_json_schema()["properties"],
                    },
                    "required": ["files"],
                }
            },
        },
    }
}


@router.post("", status_code=201, openapi_extra=_BODY)
async def bring_design(request: Request, response: Response, serving: Serving, who: MayQueue) -> DesignView:
    """Bring a design: files with an OKH manifest, one bare file, or a name from the catalogue."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=_MOST_FILES) as form:
            files, bare = await _read_form(form)
    else:
        files, bare = await _from_catalogue(request), None
    view, fresh = await run_in_threadpool(_keep, serving, files, bare)
    response.status_code = 201 if fresh else 200
    response.headers["Location"] = f"/api/v1/designs/{view.design}"
    return view


async def _read_form(form: FormData) -> tuple[dict[str, bytes], BareFile]:
    files: dict[str, bytes] = {}
    fields: dict[str, Any] = {}
    size = 0
    for key, value in form.multi_items():
        if isinstance(value, UploadFile):
            name = "okh.toml" if key == "okh" else (value.filename or key).replace("\\", "/")
            data = await value.read(_MOST_BYTES + 1)
            size += len(data)
            if size > _MOST_BYTES:
                why = f"it is larger than {_MOST_BYTES // 2**20} MB"
                raise Refused("too_big", "The design was refused", why, status=413)
            files[name] = data
        elif value != "":
            fields[key] = value
    if not files:
        raise Refused("no_files", "The design was refused", "no file came with it", "Send the files as form fields.")
    try:
        said = BareFields.model_validate(fields)
    except ValidationError as error:
        why = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise Refused("invalid_request", "The request was not understood", why) from error
    return files, BareFile(**said.model_dump())


async def _from_catalogue(request: Request) -> dict[str, bytes]:
    try:
        wanted = FromCatalogue.model_validate_json(await request.body())
    except ValidationError as error:
        hint = 'Send files as multipart/form-data, or JSON like {"catalogue": "lamp"}.'
        raise Refused("invalid_request", "The request was not understood", "the body is neither", hint) from error
    return await run_in_threadpool(catalogue_files, wanted.catalogue)


def catalogue_files(name: str) -> dict[str, bytes]:
    """All files of a design that Workshed ships. Raises Refused (404)."""
    from designs.catalogue import entries  # here, because its parametric sources are heavy

    known = {entry.folder.name: entry for entry in entries()}
    if name not in known:
        why = f"the catalogue has no {name[:100]!r}"
        raise Refused("unknown_design", "Nothing was done", why, "It has: " + ", ".join(sorted(known)), status=404)
    folder = known[name].folder
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }


def _keep(serving: Scheduler, files: Mapping[str, bytes], bare: BareFile | None) -> tuple[DesignView, bool]:
    checked = check_design(files, bare)
    with serving.store.write() as c:
        fresh = keep_design(c, serving.blobs, checked, serving.clock.now())
        return _view(c, checked.address), fresh


@router.get("")
def list_designs(serving: Serving) -> list[DesignView]:
    """Every design kept here, newest first."""
    with serving.store.read() as c:
        ids = [row[0] for row in c.execute(sa.select(t.designs.c.id).order_by(t.designs.c.created_at.desc()))]
        return [_view(c, design) for design in ids]


@router.get("/{design}")
def read_design(design: Annotated[str, Field(max_length=64)], serving: Serving) -> DesignView:
    """One design."""
    with serving.store.read() as c:
        return _view(c, design)


def _view(c: sa.Connection, design: str) -> DesignView:
    row = c.execute(sa.select(t.designs).where(t.designs.c.id == design)).mappings().first()
    if row is None:
        raise Refused("unknown_design", "Nothing was found", f"no design {design[:64]} is kept here", status=404)
    files = c.execute(sa.select(t.design_files).where(t.design_files.c.design == design)).mappings()
    return DesignView(
        design=row["id"],
        name=row["name"],
        licence=row["licence"],
        licence_open=row["licence_open"],
        licence_why=row["licence_why"],
        created_at=row["created_at"],
        files=tuple(
            DesignFileView(file["name"], file["kind"], file["sha256"], file["size_bytes"], file["report"] or {})
            for file in files
        ),
    )
