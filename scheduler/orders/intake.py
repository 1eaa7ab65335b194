"""Designs in: licence, parts and geometry are checked before anything is kept. CPU only: keep it off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from designs.geometry import GeometryReport, inspect, kind_of
from designs.okh import (
    BadManifest,
    LicenceVerdict,
    Manifest,
    ManifestPart,
    design_address,
    licence_verdict,
    read_manifest,
    write_manifest,
)
from designs.processes.footprints import footprint_of
from designs.processes.model import CannotMake, GeometryKind, PartFile, ProcessKind, Severity
from scheduler.orders.refusal import Refused
from scheduler.store import Blobs
from scheduler.store import tables as t

MANIFEST_NAMES: Final = ("okh.toml", "okh.yml", "okh.yaml")
#: What a bare file is made by, unless its bringer says otherwise.
PROCESS_OF_KIND: Final[dict[GeometryKind, ProcessKind]] = {
    GeometryKind.STL: ProcessKind.FDM,
    GeometryKind.THREE_MF: ProcessKind.FDM,
    GeometryKind.OBJ: ProcessKind.FDM,
    GeometryKind.STEP: ProcessKind.FDM,
    GeometryKind.SVG: ProcessKind.LASER,
    GeometryKind.IMAGE: ProcessKind.LASER,
    GeometryKind.DXF: ProcessKind.LASER,
}

#: Technology codes of Open Know-How (OKH-LOSH schema, `tsdc`).
TSDC_OF_PROCESS: Final[dict[ProcessKind, tuple[str, ...]]] = {
    ProcessKind.FDM: ("3DP",),
    ProcessKind.LASER: ("LAS",),
    ProcessKind.CNC: ("CNC",),
}

Inspect = Callable[[PartFile], GeometryReport]


@dataclass(frozen=True, slots=True)
class BareFile:
    """What the bringer of a file without a manifest says of it."""

    licence: str | None = None
    process: ProcessKind | None = None
    material: str | None = None
    thickness_mm: float | None = None
    depth_mm: float | None = None
    colour: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file that parts are made from, with what was measured."""

    name: str
    kind: GeometryKind
    sha256: str
    size_bytes: int
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CheckedDesign:
    """A design that may be kept."""

    address: str
    manifest: Manifest
    manifest_bytes: bytes
    verdict: LicenceVerdict
    files: tuple[CheckedFile, ...]
    content: Mapping[str, bytes]


def check_design(
    files: Mapping[str, bytes], bare: BareFile | None = None, *, examine: Inspect = inspect
) -> CheckedDesign:
    """Read, measure and judge a design. Raises Refused; nothing was kept.

    `files` maps paths inside the design to bytes; one of them may be its manifest. Without one, `bare` speaks for the
    only file there is.
    """
    manifest_name = next((name for name in MANIFEST_NAMES if name in files), None)
    try:
        if manifest_name is None:
            manifest = _manifest_for(files, bare or BareFile())
            manifest_bytes = write_manifest(manifest)
            content = {**files, "okh.toml": manifest_bytes}
        else:
            manifest_bytes = files[manifest_name]
            manifest, content = read_manifest(manifest_bytes), dict(files)
        address = design_address(content)
    except BadManifest as error:
        raise Refused("bad_manifest", *_said(error)) from error
    checked = tuple(_check_file(name, content, examine) for part in manifest.parts for name in part.exports)
    unique = tuple({file.name: file for file in checked}.values())
    return CheckedDesign(address, manifest, manifest_bytes, licence_verdict(manifest.licence), unique, content)


def _manifest_for(files: Mapping[str, bytes], bare: BareFile) -> Manifest:
    if len(files) != 1:
        why = f"{len(files)} files came and no okh.toml says how they belong together"
        raise Refused("no_manifest", "The design was refused", why, "Add an OKH manifest, or send one file.")
    (name,) = files
    try:
        kind = kind_of(name)
    except CannotMake as error:
        raise Refused("unknown_format", *_said(error)) from error
    if kind is GeometryKind.GCODE:
        why = "G-code is made for one machine; a design is made for any"
        raise Refused("gcode_is_no_design", "The file was refused", why, "Send the model or drawing it was made from.")
    stem = bare.name or name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    process = bare.process or PROCESS_OF_KIND.get(kind)
    part = ManifestPart(
        name=stem,
        process=process,
        tsdc=() if process is None else TSDC_OF_PROCESS.get(process, ()),
        exports=(name,),
        material=bare.material,
        thickness_mm=bare.thickness_mm,
        depth_mm=bare.depth_mm,
        colour=bare.colour,
    )
    return Manifest(
        name=stem,
        version="1",
        licence=bare.licence,
        licensor="not stated",
        function="not stated",
        repo="https://workshed.invalid/",
        parts=(part,),
    )


def _check_file(name: str, content: Mapping[str, bytes], examine: Inspect) -> CheckedFile:
    data = content.get(name)
    if data is None:
        why = f"its manifest names {name}, which did not come with it"
        raise Refused("file_missing", "The design was refused", why, "Send all files that the manifest exports.")
    try:
        part_file = PartFile(name, kind_of(name), data)
        report = examine(part_file)
    except CannotMake as error:
        raise Refused("bad_geometry", *_said(error)) from error
    for finding in report.findings:
        if finding.severity is Severity.ERROR:
            raise Refused(
                "bad_geometry", f"{name} was refused", finding.text.rstrip("."), "Repair it and send it again."
            )
    measured = {**msgspec.to_builtins(report), **_taken(part_file)}
    return CheckedFile(name, part_file.kind, part_file.sha256, len(data), measured)


def _taken(file: PartFile) -> dict[str, Any]:
    """What a piece takes of plate or sheet, for composing them; nothing where it cannot be told."""
    try:
        found = footprint_of(file)
    except CannotMake:
        return {}
    if found is None:
        return {}
    return {"outline_mm": [list(point) for point in found.outline_mm], "piece_s": round(found.machine_s, 1)}


def _said(error: CannotMake | BadManifest) -> tuple[str, str, str]:
    what, why, hint = (getattr(error, field, "") for field in ("what", "why", "hint"))
    return (str(what), str(why), str(hint)) if what else ("The design was refused", str(error).rstrip("."), "")


def keep_design(c: sa.Connection, blobs: Blobs, design: CheckedDesign, now: datetime) -> bool:
    """Keep a checked design. Returns False if it was there already. Raises OSError when the disk is full."""
    if c.execute(sa.select(t.designs.c.id).where(t.designs.c.id == design.address)).first() is not None:
        return False
    for data in design.content.values():
        blobs.put(data)
    c.execute(
        sa.insert(t.designs).values(
            id=design.address,
            name=design.manifest.name,
            licence=design.verdict.spdx,
            licence_open=design.verdict.open,
            licence_why=design.verdict.why,
            manifest_sha256=blobs.put(design.manifest_bytes),
            body={"function": design.manifest.function, "licensor": design.manifest.licensor},
            created_at=now,
        )
    )
    for file in design.files:
        c.execute(
            sa.insert(t.design_files).values(
                design=design.address,
                name=file.name,
                kind=file.kind.value,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                report=file.report,
            )
        )
    return True
