"""Pictures of parts show what is there, and the gallery has every part with its toolpath."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from designs.catalogue import entries
from designs.gallery import build_gallery
from designs.geometry import part_file
from designs.part_pictures import mesh_picture, part_picture
from designs.processes.model import CannotMake
from designs.toolpath import preview
from designs.toolpath.preview_page import preview_page

PAPER = np.array([250, 249, 246])


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def inked(png: bytes) -> np.ndarray:
    return np.abs(pixels(png) - PAPER).sum(axis=2) > 30


def test_a_mesh_fills_its_picture_and_shows_three_sides() -> None:
    png = mesh_picture(trimesh.creation.box((10, 10, 10)), width_px=200, height_px=160)
    ink = inked(png)
    assert ink.shape == (160, 200)
    assert 0.3 < ink.mean() < 0.8
    colours, counts = np.unique(pixels(png)[ink].reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours[counts > 300]) == 3


def test_what_is_behind_is_hidden() -> None:
    """A long plank in front of a post: seen from the front right, the plank's colours alone are at its middle."""
    plank = trimesh.creation.box((60, 4, 30)).apply_translation((0, -20, 15))
    post = trimesh.creation.box((6, 6, 10)).apply_translation((0, -10, 5))
    alone, both = pixels(mesh_picture(plank)), pixels(mesh_picture(trimesh.util.concatenate([plank, post])))
    assert (np.abs(alone - both).sum(axis=2) > 40).mean() < 0.01


def test_a_hole_in_a_drawing_shows_paper() -> None:
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" width="40mm" height="40mm" viewBox="0 0 40 40"><g fill="none" '
        b'stroke="#ff0000"><rect x="0" y="0" width="40" height="40"/><circle cx="20" cy="20" r="10"/></g></svg>'
    )
    ink = inked(part_picture(part_file("ring.svg", svg), width_px=200, height_px=200))
    assert not ink[90:110, 90:110].any()
    assert ink[40:50, 90:110].all()


def test_what_has_no_picture_says_so() -> None:
    with pytest.raises(CannotMake, match="not drawn"):
        part_picture(part_file("a.gcode", b"G28\n"))


def test_the_gallery_shows_every_part_with_its_toolpath(tmp_path: Path) -> None:
    chosen = [entry for entry in entries() if entry.name in {"lamp", "shelf_bracket"}]
    shown = build_gallery(tmp_path, chosen)
    assert [(each.part.name, each.failed) for each in shown] == [
        ("base", False),
        ("panel", False),
        ("lid", False),
        ("bracket", False),
    ]
    page = (tmp_path / "index.html").read_text()
    for each in shown:
        assert each.toolpath_picture is not None
        assert f'src="{each.picture}"' in page
        assert f'src="{each.toolpath_picture}"' in page
        for name in (each.picture, each.toolpath_picture):
            assert inked((tmp_path / name).read_bytes()).mean() > 0.002
        solid = each.toolpath_picture.replace(".png", ".html")
        assert f'href="{solid}"' in page
        assert '"runs":[{"kind":' in (tmp_path / solid).read_text()
    assert "Put the lamp together" in page


def test_a_program_is_seen_in_three_dimensions(real_part: Callable[[str], Path], tmp_path: Path) -> None:
    """In a real browser: the page draws a tower from the side, taller than wide, and needs nothing from elsewhere."""
    browser = real_part("chromium")
    layers = "".join(f"G1 Z{2 * k} F600\nG1 X20 S500\nY20\nX0\nY0\n" for k in range(30))
    program = f"G90 G21\nM3 S500\nG1 F600\n{layers}M5\n".encode()
    page = tmp_path / "tower.html"
    page.write_bytes(preview_page(preview(program), "tower </script>"))
    assert b"http" not in page.read_bytes()
    shot = tmp_path / "shot.png"
    command = [str(browser), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,500", f"--screenshot={shot}",
               page.as_uri()]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    ink = np.asarray(Image.open(shot).convert("L"))[:420] < 140
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert ink.mean() > 0.01
    assert np.ptp(rows) > 1.2 * np.ptp(columns)
