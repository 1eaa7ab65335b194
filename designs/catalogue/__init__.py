"""The designs we ship: real, open, each with an OKH manifest, instructions and every file a machine is fed from.

Lives here: parametric sources (`sources/`), what they generate (`shelf/<name>/`), and the reader. Touches only these
folders. In: nothing; out: entries, and `python -m designs.catalogue build` makes every file again, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from designs.okh import Manifest, read_manifest

SHELF: Final = Path(__file__).parent / "shelf"
MANIFEST: Final = "okh.toml"


@dataclass(frozen=True)
class CatalogueEntry:
    """One design: its folder, its manifest, and its files by path inside the folder (the manifest among them)."""

    folder: Path
    manifest: Manifest
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name, by which it is ordered: `wall_hook`."""
        return self.folder.name

    def read(self, file: str) -> bytes:
        """One file's content. Raises KeyError when the entry has no such file."""
        if file not in self.files:
            raise KeyError(file)
        return (self.folder / file).read_bytes()


def entries(shelf: Path = SHELF) -> tuple[CatalogueEntry, ...]:
    """All designs on the shelf, by name. Raises BadManifest when one of ours is broken."""
    folders = sorted(path.parent for path in shelf.glob(f"*/{MANIFEST}"))
    return tuple(
        CatalogueEntry(
            folder,
            read_manifest(folder / MANIFEST),
            tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())),
        )
        for folder in folders
    )
