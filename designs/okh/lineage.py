"""Content addresses of designs, and who was made from whom.

A design's address is the SHA-256 of its index: one line a file, `<sha256 of the file>  <path>`, sorted by path. So one
changed byte in any file is another design, and every file can be checked alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from designs.okh.manifest import BadManifest, Manifest, Parent

_DEEPEST: Final = 1000


def design_index(files: Mapping[str, bytes]) -> bytes:
    """The index that names a design's files by content. Raises BadManifest for a path that leaves the design."""
    for path in files:
        if path.startswith("/") or ".." in path.split("/") or "\n" in path or not path:
            raise BadManifest("The design was refused", f"it holds a file named {path!r}")
    return "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files)).encode()


def design_address(files: Mapping[str, bytes]) -> str:
    """Content address of a design: lower-case hex of the SHA-256 of its index."""
    return hashlib.sha256(design_index(files)).hexdigest()


def verify_design(address: str, files: Mapping[str, bytes]) -> None:
    """Raises BadManifest when the files are not the design of that address: one corrupt byte is enough."""
    found = design_address(files)
    if found != address:
        raise BadManifest(
            "The design was refused",
            f"its files have the address {found[:12]}…, not {address[:12]}…, so a file was changed or damaged",
            "Fetch it again.",
        )


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One design in a chain of forks; `manifest` is None where only its address is known."""

    design: str
    manifest: Manifest | None
    generation: int
    """1 for a parent, 2 for a grandparent, …"""

    name: str = ""
    licence: str = ""


def lineage(manifest: Manifest, lookup: Callable[[str], Manifest | None]) -> tuple[Ancestor, ...]:
    """Every ancestor, nearest first, each once. `lookup` finds a manifest by content address, or None.

    Circles cannot be built honestly (an address contains its parents'), and are cut where they are met.
    """
    found: list[Ancestor] = []
    seen: set[str] = set()
    row: list[Parent] = list(manifest.parents)
    generation = 1
    while row and generation <= _DEEPEST:
        following: list[Parent] = []
        for parent in row:
            if parent.design in seen:
                continue
            seen.add(parent.design)
            known = lookup(parent.design)
            name = known.name if known else parent.name
            licence = (known.licence if known else parent.licence) or ""
            found.append(Ancestor(parent.design, known, generation, name, licence))
            following.extend(known.parents if known else ())
        row = following
        generation += 1
    return tuple(found)


def fork(manifest: Manifest, design: str, *, name: str, version: str, licensor: str) -> Manifest:
    """A new manifest made from the design at that address: same files and licence, the old one as its parent."""
    parent = Parent(design, manifest.name, manifest.licence or "")
    return replace(manifest, name=name, version=version, licensor=licensor, parents=(parent,), notes=())


def label(manifest: Manifest, ancestors: tuple[Ancestor, ...] = ()) -> str:
    """The line for the box: what it is, whose, under which licence, and what it came from."""
    licence = manifest.licence or "no licence given"
    line = f"{manifest.name} {manifest.version}, {manifest.licensor}, {licence}"
    if manifest.repo:
        line += f", {manifest.repo}"
    came_from = [f"{each.name or each.design[:12]} ({each.licence or 'licence not known'})" for each in ancestors]
    return line + (f"; made from {', '.join(came_from)}" if came_from else "")
