"""Which toolpath a job needs on a machine: named by content, so that equal work is made once.

A recipe is pieces × machine class × stock. Machines of one model with the same stock share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from agents.contract.messages import LoadedMaterial, MachineDescription
from designs.processes.materials import canonical
from designs.processes.model import GeometryKind, MachineProfile, ProcessKind, Stock, ToolSpec


@dataclass(frozen=True, slots=True)
class PieceSpec:
    """One file of a job and how many of it, by content."""

    name: str
    kind: GeometryKind
    sha256: str
    quantity: int = 1
    depth_mm: float | None = None


@dataclass(frozen=True, slots=True)
class JobBody:
    """What a job carries beside its state: written when it is born, never changed."""

    title: str
    pieces: tuple[PieceSpec, ...]
    material: str
    colour: str = ""
    thickness_mm: float | None = None
    dims_mm: tuple[float, float, float] | None = None
    """Size of one piece."""
    licence: str = ""
    own_shop: str | None = None
    """Closed designs are made only in the shop of whoever brought them."""
    outline_mm: tuple[tuple[float, float], ...] | None = None
    """What one piece covers of plate or sheet; None: its box."""
    piece_s: float | None = None
    """About how long a machine works on one piece: enough to compare plates, never shown or promised."""
    alone: str = ""
    """Why it shares no plate or sheet; empty where it may."""

    @property
    def file_key(self) -> str:
        """The same files, whatever the quantity: what is quarantined when it fails on two machines."""
        return digest(sorted(piece.sha256 for piece in self.pieces))


def read_body(stored: Mapping[str, Any]) -> JobBody:
    """A stored body as its type."""
    return msgspec.convert(stored, JobBody)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a toolpath depends on."""

    pieces: tuple[PieceSpec, ...]
    profile: MachineProfile
    stock: Stock

    @property
    def key(self) -> str:
        """Content address of the recipe."""
        return digest(msgspec.to_builtins(self))


def recipe_for(body: JobBody, pieces: int, machine: MachineDescription, stock: Stock | None = None) -> Recipe:
    """The recipe of a job of so many pieces on a machine as described; `stock`: an offcut to make it from."""
    alone = len(body.pieces) == 1
    specs = (replace(body.pieces[0], quantity=pieces),) if alone else body.pieces
    return Recipe(specs, profile_of(machine), stock or stock_for(body, machine))


def profile_of(machine: MachineDescription) -> MachineProfile:
    """The class of machine a toolpath is made for."""
    return MachineProfile(
        model=machine.model,
        process=ProcessKind(machine.process.value),
        dialect=machine.dialect,
        envelope_mm=machine.envelope_mm,
        tools=tuple(
            ToolSpec(tool.number, tool.kind, tool.diameter_mm, tool.flutes, tool.angle_deg) for tool in machine.tools
        ),
        max_feed_mm_min=machine.max_feed_mm_min,
        accel_mm_s2=machine.accel_mm_s2,
        spindle_max_rpm=machine.spindle_max_rpm,
        laser_power_w=machine.laser_power_w,
        power_s_max=_full_power(machine.limits),
        limits=machine.limits,
    )


def _full_power(limits: Sequence[tuple[str, str]]) -> float:
    """GRBL's `$30`: a program for another scale would burn at the wrong power."""
    try:
        told = float(dict(limits).get("$30", ""))
    except ValueError:
        told = 0.0
    return told if told > 0 else _USUAL_FULL_POWER


def matching_material(body: JobBody, machine: MachineDescription) -> LoadedMaterial | None:
    """What the job can be made from: on the machine, else beside it in the shop; None where there is nothing."""
    for loaded in (*machine.materials, *machine.loadable):
        same_kind = canonical(loaded.material) == canonical(body.material)
        colour = not body.colour or not loaded.colour or loaded.colour.lower() == body.colour.lower()
        if same_kind and colour and thick_enough(body.thickness_mm, loaded.thickness_mm):
            return loaded
    return None


_THICKNESS_TOLERANCE_MM: Final = 0.3
#: GRBL's own default of `$30` (grbl/defaults.h).
_USUAL_FULL_POWER: Final = 1000.0


def thick_enough(wanted: float | None, there: float | None) -> bool:
    """Whether a sheet is as thick as asked for, as sheets go; unknown is taken for right."""
    return wanted is None or there is None or abs(wanted - there) <= _THICKNESS_TOLERANCE_MM


def stock_for(body: JobBody, machine: MachineDescription) -> Stock:
    """The stock to make it from: what is loaded, else what the job asks for in the machine's full size."""
    loaded = matching_material(body, machine)
    if loaded is None:
        return Stock(body.material, body.colour, body.thickness_mm)
    return Stock(
        body.material,
        body.colour or loaded.colour,
        body.thickness_mm if body.thickness_mm is not None else loaded.thickness_mm,
        loaded.width_mm,
        loaded.height_mm,
    )


def fits(dims_mm: Sequence[float] | None, envelope_mm: Sequence[float], process: str) -> bool:
    """Whether one piece can lie on the bed at all, turned by 90° or not; height counts for printers only."""
    if dims_mm is None:
        return True
    x, y, z = dims_mm
    width, depth, height = envelope_mm
    flat = (x <= width and y <= depth) or (y <= width and x <= depth)
    return flat and (process != ProcessKind.FDM or z <= height)


def digest(value: Any) -> str:
    """Content address of plain values, lower-case hex."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
