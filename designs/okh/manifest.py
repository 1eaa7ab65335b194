"""What an OKH manifest says, as values.

The words follow the Open Know-How manifest (iop-alliance/OpenKnowHow, `src/schema/okh.schema.json` and
`res/sample_data/okh-TEMPLATE.toml`). What OKH has no word for and an order needs (how many, how thick, bought items,
steps) stands in fields that begin with `x-`, which other readers ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from designs.processes.model import ProcessKind


class BadManifest(ValueError):
    """A manifest that cannot be used: `what` happened, `why`, `hint` what to do."""

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__(f"{what}: {why}." + (f" {hint}" if hint else ""))


class StepKind(StrEnum):
    """Who or what does a step: joining parts, or any other work by hand (sanding, oiling, checking)."""

    ASSEMBLY = "assembly"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class ManifestPart:
    """One thing to make. Lengths mm, mass g."""

    name: str
    process: ProcessKind | None
    """None: the manifest does not say, or says a process we do not know. Never guessed."""
    exports: tuple[str, ...] = ()
    """Files a machine can be fed from (STL, DXF, …), by path inside the design."""
    sources: tuple[str, ...] = ()
    material: str | None = None
    quantity: int = 1
    thickness_mm: float | None = None
    depth_mm: float | None = None
    colour: str = ""
    mass_g: float | None = None
    dimensions_mm: tuple[float, float, float] | None = None
    tsdc: tuple[str, ...] = ()
    printing_process: str | None = None


@dataclass(frozen=True, slots=True)
class BoughtItem:
    """Something that is bought or found, not made."""

    name: str
    quantity: float = 1.0
    unit: str = "piece"
    note: str = ""


@dataclass(frozen=True, slots=True)
class ManifestStep:
    """Work by a person. `needs` names parts, bought items and earlier steps."""

    name: str
    kind: StepKind = StepKind.ASSEMBLY
    needs: tuple[str, ...] = ()
    minutes: float = 10.0
    skill: str = ""
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Parent:
    """A design this one was made from: its content address, and what it was called."""

    design: str
    name: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Manifest:
    """A design's manifest, whatever spelling it came in."""

    name: str
    version: str
    licence: str | None
    """SPDX expression as written; None where nothing is said."""
    licensor: str
    function: str
    repo: str = ""
    okhv: str = "2.4"
    parts: tuple[ManifestPart, ...] = ()
    bought: tuple[BoughtItem, ...] = ()
    steps: tuple[ManifestStep, ...] = ()
    parents: tuple[Parent, ...] = ()
    fork_of: str = ""
    documentation_language: str = "en"
    instructions: tuple[str, ...] = ()
    """Files with making instructions."""
    bom: tuple[str, ...] = ()
    readme: str = ""
    image: str = ""
    tsdc: tuple[str, ...] = ()
    release: str = ""
    other: Mapping[str, str] = field(default_factory=dict)
    """Fields we have no use for but hand on, as text."""
    notes: tuple[str, ...] = ()
    """What was odd in the file and how it was read, in sentences."""

    def part(self, name: str) -> ManifestPart:
        """The part of that name. Raises BadManifest when there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        known = ", ".join(part.name for part in self.parts) or "none"
        raise BadManifest(f"{self.name} has no part {name!r}", f"its parts are: {known}")
