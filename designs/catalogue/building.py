"""Sources → shelf: every file generated again, and what differs from what is shipped."""

from __future__ import annotations

import base64
import hashlib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from designs.catalogue import MANIFEST, SHELF, sources
from designs.catalogue.source import Source
from designs.okh import write_manifest
from designs.okh.lineage import design_index


def content_uri(files: Mapping[str, bytes]) -> str:
    """Where a design is found that has no home on the web: the name of its content (RFC 6920, `ni:///sha-256;…`).

    OKH demands `repo`, and a shelf that is copied from shed to shed has no one address. `files`: all but the manifest.
    """
    digest = hashlib.sha256(design_index(files)).digest()
    return "ni:///sha-256;" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def generated(home: str = "") -> dict[str, dict[str, bytes]]:
    """Every design's files by folder name and file name, made from the sources.

    `home`: the URL under which you publish the shelf, one folder a design; empty: designs are named by their content.
    """
    found: dict[str, dict[str, bytes]] = {}
    for module in sorted(pkgutil.iter_modules(sources.__path__), key=lambda each: each.name):
        made: Source = importlib.import_module(f"{sources.__name__}.{module.name}").make()
        files = {"making.md": made.instructions.encode(), **made.files}
        repo = f"{home.rstrip('/')}/{module.name}" if home else content_uri(files)
        found[module.name] = {MANIFEST: write_manifest(replace(made.manifest, repo=repo)), **files}
    return found


def differences(shelf: Path = SHELF, home: str = "") -> list[str]:
    """Files on the shelf that are missing, left over, or not what the sources generate; empty when all is well."""
    wanted = {f"{folder}/{name}": data for folder, files in generated(home).items() for name, data in files.items()}
    shipped = {path.relative_to(shelf).as_posix(): path for path in shelf.rglob("*") if path.is_file()}
    changed = [name for name, data in wanted.items() if name in shipped and shipped[name].read_bytes() != data]
    return sorted(changed + list(wanted.keys() ^ shipped.keys()))


def build(shelf: Path = SHELF, home: str = "") -> list[str]:
    """Write what differs and remove what no source makes; returns the names of the files touched."""
    touched = differences(shelf, home)
    wanted = generated(home)
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
