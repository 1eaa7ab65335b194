"""What a layer name or a colour in a drawing means, said once, for readers and for writers of drawings.

DXF: the layer decides. SVG: a group's or element's label (`inkscape:label`, else `id`) decides when it is one of the
layer names below, else the stroke colour, else the fill colour. Lengths are millimetres.

| layer (any case)   | SVG colour        | meaning                                                          |
|--------------------|-------------------|------------------------------------------------------------------|
| `CUT`              | red `#ff0000`     | through the material; closed contours: outer outside, holes inside |
| `ENGRAVE`          | blue `#0000ff`    | an area (closed) or line burnt or carved into the surface        |
| `MARK`             | black `#000000`   | a thin line drawn on the surface, lightest power                 |
| `POCKET_<depth>`   | (by label only)   | area cleared to that depth: `POCKET_6`, `POCKET_2.5`, `POCKET_2_5` |
| `DRILL`            | green `#00ff00`   | a circle is a hole at its centre, through; `DRILL_<depth>` blind  |
| `IGNORE`           | grey `#808080`    | for people only: notes, dimensions, the sheet's edge              |

A drawing that uses none of these names and colours is read by `DEFAULT_OPERATION`, and the reader says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Operation(StrEnum):
    """What is done along or inside a contour."""

    CUT = "cut"
    ENGRAVE = "engrave"
    MARK = "mark"
    POCKET = "pocket"
    DRILL = "drill"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Meaning:
    """An operation, and its depth in millimetres from the surface (None: through the material)."""

    operation: Operation
    depth_mm: float | None = None


DEFAULT_OPERATION: Final = Operation.CUT

DXF_COLOURS: Final[dict[Operation, int]] = {
    Operation.CUT: 1,
    Operation.DRILL: 3,
    Operation.ENGRAVE: 5,
    Operation.POCKET: 6,
    Operation.MARK: 7,
    Operation.IGNORE: 8,
}
"""AutoCAD colour index we write for each layer, so that viewers show the same colours as the SVG."""

SVG_COLOURS: Final[dict[str, Operation]] = {
    "#ff0000": Operation.CUT,
    "#0000ff": Operation.ENGRAVE,
    "#000000": Operation.MARK,
    "#00ff00": Operation.DRILL,
    "#808080": Operation.IGNORE,
}

_WITHOUT_DEPTH: Final[dict[str, Operation]] = {
    "CUT": Operation.CUT,
    "ENGRAVE": Operation.ENGRAVE,
    "MARK": Operation.MARK,
    "DRILL": Operation.DRILL,
    "IGNORE": Operation.IGNORE,
}
_WITH_DEPTH: Final = re.compile(r"^(POCKET|DRILL)_(\d{1,3}(?:[._]\d{1,3})?)(?:MM)?$")
_DEEPEST_MM: Final = 200.0


def meaning_of_layer(name: str) -> Meaning | None:
    """The meaning of a layer or label name; None when it is none of ours.

    `0` and `DEFPOINTS` are what DXF programs call their standard and dimension layers: `DEFPOINTS` is ignored
    (AutoCAD never plots it), `0` has no meaning of its own.
    """
    key = name.strip().upper()
    if key == "DEFPOINTS":
        return Meaning(Operation.IGNORE)
    if key in _WITHOUT_DEPTH:
        return Meaning(_WITHOUT_DEPTH[key])
    found = _WITH_DEPTH.match(key)
    if found is None:
        return None
    depth = float(found.group(2).replace("_", "."))
    if not 0.0 < depth <= _DEEPEST_MM:
        return None
    return Meaning(Operation(found.group(1).lower()), depth)


def meaning_of_colour(colour: str) -> Meaning | None:
    """The meaning of an SVG colour written `#rrggbb` (any case); None when it is none of ours."""
    operation = SVG_COLOURS.get(colour.strip().lower())
    return None if operation is None else Meaning(operation)


def layer_name(meaning: Meaning) -> str:
    """The layer name that says this meaning: `CUT`, `POCKET_2.5`."""
    if meaning.depth_mm is None:
        return meaning.operation.value.upper()
    return f"{meaning.operation.value.upper()}_{meaning.depth_mm:g}"
