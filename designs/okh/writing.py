"""OKH manifests out: TOML in one fixed order, so that the same manifest is the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from designs.okh.manifest import BoughtItem, Manifest, ManifestPart, ManifestStep, Parent

Value = str | int | float | Sequence[str] | None


def write_manifest(manifest: Manifest) -> bytes:
    """The manifest as `okh.toml` (UTF-8). Reading it back gives an equal manifest, but for notes."""
    lines = _fields(
        ("okhv", manifest.okhv),
        ("name", manifest.name),
        ("version", manifest.version),
        ("repo", manifest.repo),
        ("license", manifest.licence),
        ("licensor", manifest.licensor),
        ("function", manifest.function),
        ("documentation-language", manifest.documentation_language),
        ("tsdc", manifest.tsdc),
        ("readme", manifest.readme),
        ("image", manifest.image),
        ("bom", manifest.bom),
        ("manufacturing-instructions", manifest.instructions),
        ("release", manifest.release),
        ("fork-of", manifest.fork_of),
        *sorted(manifest.other.items()),
    )
    blocks = ["\n".join(lines)]
    blocks += [_part(part) for part in manifest.parts]
    blocks += [_bought(item) for item in manifest.bought]
    blocks += [_step(step) for step in manifest.steps]
    blocks += [_parent(parent) for parent in manifest.parents]
    return ("\n\n".join(blocks) + "\n").encode()


def _fields(*pairs: tuple[str, Value]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in pairs if value is not None and value not in ("", ())]


def _toml(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10g}" if value != int(value) else f"{int(value)}.0"
    return "[" + ", ".join(_quoted(item) for item in value or ()) + "]"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's, but for DEL (TOML 1.0 wants it escaped)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _part(part: ManifestPart) -> str:
    lines = _fields(
        ("name", part.name),
        ("tsdc", part.tsdc),
        ("printing-process", part.printing_process),
        ("material", part.material),
        ("source", part.sources),
        ("export", part.exports),
        ("mass", part.mass_g),
        ("x-quantity", part.quantity),
        ("x-thickness", part.thickness_mm),
        ("x-depth", part.depth_mm),
        ("x-colour", part.colour),
    )
    if part.dimensions_mm is not None:
        width, depth, height = part.dimensions_mm
        lines += ["", "[part.outer-dimensions]", *_fields(("width", width), ("depth", depth), ("height", height))]
    return "\n".join(["[[part]]", *lines])


def _bought(item: BoughtItem) -> str:
    fields = _fields(("name", item.name), ("quantity", float(item.quantity)), ("unit", item.unit), ("note", item.note))
    return "\n".join(["[[x-bought]]", *fields])


def _step(step: ManifestStep) -> str:
    fields = _fields(
        ("name", step.name),
        ("kind", step.kind.value),
        ("needs", step.needs),
        ("minutes", float(step.minutes)),
        ("skill", step.skill),
        ("instructions", step.instructions),
    )
    return "\n".join(["[[x-step]]", *fields])


def _parent(parent: Parent) -> str:
    fields = _fields(("design", parent.design), ("name", parent.name), ("license", parent.licence))
    return "\n".join(["[[x-parent]]", *fields])
