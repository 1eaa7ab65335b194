"""Sources → shelf: every file generated again, and what differs from what is shipped."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from designs.catalogue import MANIFEST, SHELF, sources
from designs.catalogue.source import Source
from designs.okh import write_manifest


def generated() -> dict[str, dict[str, bytes]]:
    """Every design's files by folder name and file name, made from the sources."""
    found: dict[str, dict[str, bytes]] = {}
    for module in sorted(pkgutil.iter_modules(sources.__path__), key=lambda each: each.name):
        made: Source = importlib.import_module(f"{sources.__name__}.{module.name}").make()
        found[module.name] = {
            MANIFEST: write_manifest(made.manifest),
            "making.md": made.instructions.encode(),
            **made.files,
        }
    return found


def differences(shelf: Path = SHELF) -> list[str]:
    """Files on the shelf that are missing, left over, or not what the sources generate; empty when all is well."""
    wanted = {f"{folder}/{name}": data for folder, files in generated().items() for name, data in files.items()}
    shipped = {path.relative_to(shelf).as_posix(): path for path in shelf.rglob("*") if path.is_file()}
    changed = [name for name, data in wanted.items() if name in shipped and shipped[name].read_bytes() != data]
    return sorted(changed + list(wanted.keys() ^ shipped.keys()))


def build(shelf: Path = SHELF) -> list[str]:
    """Write what differs and remove what no source makes; returns the names of the files touched."""
    touched = differences(shelf)
    wanted = generated()
    for name in touched:
        folder, _, file = name.partition("/")
        target = shelf / name
        data = wanted.get(folder, {}).get(file)
        if data is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    return touched
