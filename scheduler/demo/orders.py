"""What the demo orders, all of it from the catalogue: single files as a stranger would bring them, and one product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from designs.catalogue import CatalogueEntry, entries
from scheduler.demo.network import Network


@dataclass(frozen=True, slots=True)
class Wanted:
    """One order. With `file`: that one file of the entry is brought as a design of its own; else the whole entry."""

    entry: str
    quantity: int
    need: str
    file: str = ""
    said: Mapping[str, str] = field(default_factory=dict)
    """What the bringer of a single file says of it: licence, process, material, thickness_mm, depth_mm."""


def place(network: Network, wanted: Wanted) -> dict[str, Any]:
    """Bring the design and order it, accepted at once. Raises Refusal with the API's own words."""
    entry = _entry(wanted.entry)
    if wanted.file:
        name = wanted.file.rpartition("/")[2]
        said = {"licence": entry.manifest.licence or "", "name": entry.manifest.name, **wanted.said}
        design = network.bring_files({name: entry.read(wanted.file)}, said)
    else:
        design = network.bring_catalogue(wanted.entry)
    asked = {"quantity": wanted.quantity, "need_class": wanted.need, "ring": "city", "accept": True}
    return network.order(design, asked)


def _entry(name: str) -> CatalogueEntry:
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise KeyError(f"the catalogue has no {name!r}; it has {', '.join(known)}")
    return known[name]


#: Three single files as a stranger would bring them, a routed board, and a product of printed and cut parts.
ORDERS: Final = (
    Wanted("cable_clip", 3, "commons", "clip.stl", {"material": "PLA", "process": "fdm"}),
    Wanted("ruler", 1, "commons", "ruler.svg", {"material": "plywood", "process": "laser", "thickness_mm": "3"}),
    Wanted(
        "drawer_divider", 1, "personal", "long.dxf", {"material": "plywood", "process": "laser", "thickness_mm": "3"}
    ),
    Wanted(
        "shelf_bracket", 1, "outside", "bracket.dxf", {"material": "plywood", "process": "cnc", "thickness_mm": "12"}
    ),
    Wanted("lamp", 1, "personal"),
)
