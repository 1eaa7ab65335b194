"""`python -m designs.gallery [FOLDER]`: all catalogue parts and toolpaths, as pictures on a page in build/gallery."""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from designs.catalogue import CatalogueEntry, entries
from designs.geometry import part_file
from designs.okh import ManifestPart, licence_gate, order_tree
from designs.part_pictures import part_picture
from designs.processes import make_toolpath
from designs.processes.model import CannotMake, MachineProfile, MadeToolpath, Piece, ProcessKind, Stock, ToolSpec
from designs.toolpath.picture import picture
from designs.toolpath.preview import preview
from designs.toolpath.preview_page import preview_page

SHOWN_ON: Final[dict[ProcessKind, MachineProfile]] = {
    ProcessKind.FDM: MachineProfile(
        "Prusa MK3S", ProcessKind.FDM, "marlin", (250.0, 210.0, 210.0), (ToolSpec(0, "nozzle", 0.4),)
    ),
    ProcessKind.LASER: MachineProfile(
        "40 W laser", ProcessKind.LASER, "grbl", (300.0, 200.0, 50.0), max_feed_mm_min=12000.0, laser_power_w=40.0
    ),
    ProcessKind.CNC: MachineProfile(
        "Desk router",
        ProcessKind.CNC,
        "grbl",
        (400.0, 400.0, 80.0),
        (ToolSpec(1, "flat_end_mill", 3.175),),
        max_feed_mm_min=3000.0,
        spindle_max_rpm=24000.0,
    ),
}
"""The machines whose toolpaths are shown."""

_PREVIEW_POINTS: Final = 30_000
_FIRST_LAYER: Final = (b"\n;LAYER:0\n", b"\n;LAYER_CHANGE\n")
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222;
       background: #faf9f6; }
article { border-top: 1px solid #ddd; padding: 1rem 0; }
.parts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); }
figure { margin: 0; background: #fff; border: 1px solid #e5e2da; border-radius: .5rem; padding: .75rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; } .failed { color: #a11; }
"""


@dataclass(frozen=True)
class Shown:
    """One part on the page: picture files, and what is said under them."""

    part: ManifestPart
    picture: str
    toolpath_picture: str | None
    """Beside it lies a page that shows the program in three dimensions: `.html` for `.png`."""
    said: str
    failed: bool


def build_gallery(folder: Path, chosen: Sequence[CatalogueEntry] | None = None) -> tuple[Shown, ...]:
    """Write index.html and the pictures of these entries (all of them); returns what is shown, and what failed."""
    folder.mkdir(parents=True, exist_ok=True)
    articles: list[str] = []
    everything: list[Shown] = []
    for entry in entries() if chosen is None else chosen:
        shown = [_shown(folder, entry, part) for part in entry.manifest.parts]
        everything += shown
        articles.append(_article(entry, shown))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Workshed catalogue</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Workshed catalogue</h1>"
        f"<p>{len(articles)} open designs, {len(everything)} parts. Each part, and the program that makes it.</p>"
        + "".join(articles)
        + "</body></html>\n"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    return tuple(everything)


def _shown(folder: Path, entry: CatalogueEntry, part: ManifestPart) -> Shown:
    file = part_file(part.exports[0], entry.read(part.exports[0]))
    name = f"{entry.name}-{file.stem}"
    (folder / f"{name}.png").write_bytes(part_picture(file))
    if part.process not in SHOWN_ON:
        return Shown(part, f"{name}.png", None, "Made by hand.", False)
    profile = SHOWN_ON[part.process]
    stock = Stock(part.material or "", thickness_mm=part.thickness_mm)
    try:
        made = make_toolpath([Piece(file, part.quantity)], profile, stock)
    except CannotMake as refused:
        return Shown(part, f"{name}.png", None, str(refused), True)
    program = _without_priming(made.gcode)
    (folder / f"{name}-toolpath.png").write_bytes(picture(program, made.dialect))
    shape = preview(program, made.dialect, most_points=_PREVIEW_POINTS)
    (folder / f"{name}-toolpath.html").write_bytes(preview_page(shape, f"{entry.name}: {part.name}"))
    return Shown(part, f"{name}.png", f"{name}-toolpath.png", _facts(made, profile), False)


def _facts(made: MadeToolpath, profile: MachineProfile) -> str:
    grams = f", {made.material_g:.0f} g" if made.material_g else ""
    minutes = f"{made.duration_s / 60:.0f} min, {made.lines} lines{grams}"
    return f"{made.made_by} for {profile.model}: {minutes}. {made.settings}"


def _without_priming(gcode: bytes) -> bytes:
    """A print from its first layer on: the primed line at the edge would make the part small in the picture."""
    first = min((at for at in (gcode.find(mark) for mark in _FIRST_LAYER) if at > 0), default=0)
    return b"G90\nM83\n" + gcode[first:] if first else gcode


def _article(entry: CatalogueEntry, shown: list[Shown]) -> str:
    manifest = entry.manifest
    figures = "".join(_figure(each) for each in shown)
    steps = "".join(f"<li>{html.escape(step.name)}</li>" for step in order_tree(manifest).steps)
    return (
        f'<article id="{html.escape(entry.name)}"><h2>{html.escape(manifest.name)}</h2>'
        f"<p>{html.escape(manifest.function)}. <small>{html.escape(licence_gate(manifest).spdx)}</small></p>"
        f'<div class="parts">{figures}</div>' + (f"<ol>{steps}</ol>" if steps else "") + "</article>"
    )


def _figure(shown: Shown) -> str:
    name = html.escape(f"{shown.part.name} × {shown.part.quantity}")
    pictures = f'<img src="{shown.picture}" alt="{name}">'
    if shown.toolpath_picture:
        page = PurePath(shown.toolpath_picture).with_suffix(".html")
        image = f'<img src="{shown.toolpath_picture}" alt="toolpath of {name}, in three dimensions on its own page">'
        pictures += f'<a href="{page}">{image}</a>'
    kind = ' class="failed"' if shown.failed else ""
    return f"<figure>{pictures}<figcaption{kind}><b>{name}</b><br>{html.escape(shown.said)}</figcaption></figure>"


def main(argv: list[str]) -> int:
    """Exit code 0 when every part has its toolpath."""
    folder = Path(argv[0]) if argv else Path("build/gallery")
    shown = build_gallery(folder)
    failed = [each for each in shown if each.failed]
    for each in failed:
        print(f"{each.part.name}: {each.said}", file=sys.stderr)
    print(f"{folder / 'index.html'}: {len(shown)} parts, {len(failed)} without a toolpath")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
