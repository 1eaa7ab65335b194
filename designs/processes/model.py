"""The words between a design and a toolpath: what is to be made, on which class of machine, from what stock.

All lengths are millimetres, masses grams, durations seconds, feeds millimetres a minute.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import PurePath

Ring = tuple[tuple[float, float], ...]
"""Points of a closed outline, the last joined to the first."""


class GeometryKind(StrEnum):
    """File formats a part may come in."""

    STL = "stl"
    THREE_MF = "3mf"
    OBJ = "obj"
    STEP = "step"
    SVG = "svg"
    DXF = "dxf"
    IMAGE = "image"
    GCODE = "gcode"


class ProcessKind(StrEnum):
    """How a part is made; the values are those of the wire contract."""

    FDM = "fdm"
    LASER = "laser"
    CNC = "cnc"
    MANUAL = "manual"


class Severity(StrEnum):
    """What a finding means: a note to read, a warning to weigh, an error that stops the job."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in a file. `line` counts from 1 where the file has lines."""

    severity: Severity
    code: str
    text: str
    line: int | None = None


class CannotMake(ValueError):
    """It cannot be made so: `what` happened, `why`, and `hint` what to do. `str()` is one sentence of the three."""

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__(f"{what}: {why}." + (f" {hint}" if hint else ""))


@dataclass(frozen=True)
class PartFile:
    """One file of a part, by content."""

    name: str
    kind: GeometryKind
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """Content address, lower-case hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def stem(self) -> str:
        """The file's name without folder and ending, for labels."""
        return PurePath(self.name).stem


@dataclass(frozen=True, slots=True)
class Piece:
    """A part to make and how many of it on this plate, sheet or stock."""

    file: PartFile
    quantity: int = 1
    depth_mm: float | None = None
    """Routed parts from drawings: depth of pockets without one of their own; None means through the stock."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A nozzle, bit or beam in the machine."""

    number: int
    kind: str
    """`nozzle`, `flat_end_mill`, `ball_end_mill`, `v_bit`, `drill`, `beam`."""
    diameter_mm: float
    flutes: int = 2
    angle_deg: float | None = None


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """A class of machines, as far as a toolpath depends on it. Work origin: lower left of the bed or stock.

    Printers: z = 0 is the bed. Routers: z = 0 is the top of the stock. Lasers: z stays where the operator focused.
    """

    model: str
    process: ProcessKind
    dialect: str
    envelope_mm: tuple[float, float, float]
    tools: tuple[ToolSpec, ...] = ()
    max_feed_mm_min: float | None = None
    accel_mm_s2: float | None = None
    spindle_max_rpm: float | None = None
    laser_power_w: float | None = None
    power_s_max: float = 1000.0
    """S word for full beam power or spindle speed (GRBL `$30`)."""
    limits: tuple[tuple[str, str], ...] = ()
    """Speeds and accelerations as the firmware told them, (word, values); empty: the usual figures of its class."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What it is made from: filament, a sheet, a board. Sizes are None where they do not apply (filament)."""

    material: str
    colour: str = ""
    thickness_mm: float | None = None
    width_mm: float | None = None
    height_mm: float | None = None
    outline_mm: tuple[Ring, ...] = ()
    """An offcut's shape, the outer ring first, in a box of width × height from 0, 0; empty: the whole rectangle."""
    label: str = ""
    """What is written on an offcut, so that a person finds it."""


@dataclass(frozen=True, slots=True)
class PlacedPiece:
    """Copy `copy` of piece `piece` (its index among the job's pieces) and the outline it takes where it lies."""

    piece: int
    copy: int
    name: str
    outline_mm: Ring


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """A frozen plate or sheet: where each piece lies, and what is left worth keeping."""

    sheet_mm: tuple[Ring, ...]
    placed: tuple[PlacedPiece, ...]
    parts_mm2: float
    """Area of the pieces themselves, holes left out."""
    offcuts_mm: tuple[tuple[Ring, ...], ...] = ()
    """Each in its own box from 0, 0; empty where the size of the sheet is not known."""
    sheet_label: str = ""
    """The offcut it is made from; empty for a whole sheet."""


@dataclass(frozen=True)
class MadeToolpath:
    """A program for one job on one class of machine, with all that dispatch and the person at the machine must know."""

    gcode: bytes
    dialect: str
    made_by: str
    """Program, version: `PrusaSlicer 2.5.0`, `mandoline 0.8.3`, `Workshed laser 1`."""
    settings: str
    """The profile used, by name, with what was changed."""
    duration_s: float
    lines: int
    bounds_mm: tuple[float, float, float, float, float, float]
    """xmin, ymin, zmin, xmax, ymax, zmax of all motion in work coordinates."""
    material_g: float | None = None
    stock_used_mm: tuple[float, float] | None = None
    """Width and height of sheet or board that the pieces take."""
    pieces: int = 1
    work_card: str = ""
    findings: tuple[Finding, ...] = ()
    layout: SheetLayout | None = None

    @cached_property
    def sha256(self) -> str:
        """Content address, lower-case hex."""
        return hashlib.sha256(self.gcode).hexdigest()
