"""Pictures of parts show what is there, and the gallery has every part with its toolpath."""

from __future__ import annotations

import io
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
    assert "Put the lamp together" in page
