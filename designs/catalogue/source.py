"""What a parametric source hands to the shelf, and the words that all our manifests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from designs.okh import Manifest, ManifestPart
from designs.processes.model import ProcessKind

LICENSOR: Final = "The Workshed founders"
HARDWARE_LICENCE: Final = "CERN-OHL-S-2.0"
VERSION: Final = "1.0.0"


@dataclass(frozen=True)
class Source:
    """A design on its way to the shelf: files by name, instructions as Markdown."""

    manifest: Manifest
    files: Mapping[str, bytes]
    instructions: str


def manifest(name: str, function: str, parts: tuple[ManifestPart, ...], **more: object) -> Manifest:
    """A manifest with what all of ours have in common, but for `repo`, which building adds."""
    fields: dict[str, object] = {
        "licence": HARDWARE_LICENCE,
        "licensor": LICENSOR,
        "instructions": ("making.md",),
        "tsdc": tuple(sorted({code for part in parts for code in part.tsdc})),
        **more,
    }
    return Manifest(name=name, version=VERSION, function=function, parts=parts, **fields)  # type: ignore[arg-type]


def printed(
    name: str, file: str, size_mm: tuple[float, float, float], *, quantity: int = 1, material: str = "PLA"
) -> ManifestPart:
    """A part for a 3D printer."""
    return ManifestPart(
        name=name,
        process=ProcessKind.FDM,
        exports=(file,),
        material=material,
        quantity=quantity,
        dimensions_mm=size_mm,
        tsdc=("3DP",),
        printing_process="FDM",
    )


def flat(
    name: str, file: str, process: ProcessKind, material: str, thickness_mm: float, *, quantity: int = 1
) -> ManifestPart:
    """A part cut from a sheet by a laser, or from a board by a router."""
    code = {ProcessKind.LASER: "LAS", ProcessKind.CNC: "CNC"}[process]
    return ManifestPart(
        name=name,
        process=process,
        exports=(file,),
        material=material,
        quantity=quantity,
        thickness_mm=thickness_mm,
        tsdc=(code,),
    )
