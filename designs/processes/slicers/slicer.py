"""The one small interface every slicer is behind: placed meshes and settings in, the moves of a plate out."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import trimesh

from designs.processes.model import CannotMake
from designs.processes.profiles import PrintSettings

TIME_LIMIT_S: Final = 240.0
"""Longest a slicer may work on one plate."""


@dataclass(frozen=True)
class Plate:
    """What lies on the bed. Meshes stand on z = 0 with their lower left corner at 0, 0; copies say where it goes."""

    meshes: tuple[trimesh.Trimesh, ...]
    copies: tuple[tuple[int, float, float], ...]
    """(index of mesh, x, y)."""
    names: tuple[str, ...]
    all_watertight: bool = True

    @property
    def height_mm(self) -> float:
        """Height of the tallest piece."""
        return max(float(mesh.bounds[1][2]) for mesh in self.meshes)


@dataclass(frozen=True)
class SlicedPlate:
    """The whole program of a plate, with start and end in place."""

    gcode: bytes
    made_by: str


class Slicer(Protocol):
    """A program that turns meshes into moves."""

    name: str

    def version(self) -> str | None:
        """Its version, or None where it is not installed."""
        ...

    def slice(self, plate: Plate, settings: PrintSettings, start: Sequence[str], end: Sequence[str]) -> SlicedPlate:
        """Slice a plate. Raises CannotMake when the slicer refuses, fails or takes too long."""
        ...


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder of its own for one run of a slicer."""
    return tempfile.TemporaryDirectory(prefix="workshed-slice-")


def run_slicer(
    command: Sequence[str],
    folder: Path,
    name: str,
    *,
    env: Mapping[str, str] | None = None,
    limit_s: float = TIME_LIMIT_S,
) -> str:
    """Run a slicer to its end and return what it printed. Raises CannotMake when it fails or is too slow."""
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotMake(
            "It could not be sliced",
            f"{name} was stopped after {limit_s:.0f} s",
            "Use a mesh with fewer triangles or fewer pieces a plate.",
        ) from error
    except OSError as error:
        raise CannotMake("It could not be sliced", f"{name} could not be started ({error})") from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = " ".join(said.split())[-300:] or f"exit code {done.returncode}"
        raise CannotMake("It could not be sliced", f"{name} failed: {last}", "Check the model for errors.")
    return said


def one_mesh(plate: Plate) -> trimesh.Trimesh:
    """All copies where they lie, as one mesh."""
    vertices, faces, count = [], [], 0
    for index, x, y in plate.copies:
        mesh = plate.meshes[index]
        vertices.append(np.asarray(mesh.vertices) + np.array([x, y, 0.0]))
        faces.append(np.asarray(mesh.faces) + count)
        count += len(mesh.vertices)
    return trimesh.Trimesh(np.vstack(vertices), np.vstack(faces), process=False)
