"""STEP in, where the optional library is there: cascadio (OpenCascade in a wheel), in a process of its own.

A CAD kernel is a large program written in C++ that reads strangers' files, so it gets a process with limits on time and
memory: when it crashes, only it crashes. It writes glTF, whose unit is the metre (glTF 2.0, §3.4); STEP's own unit has
been applied by then. Usage of the worker: python -m designs.step_files MODEL.step MESH.npz
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from designs.processes.model import PartFile
from designs.safe_files import BadGeometry

TIME_LIMIT_S: Final = 120.0
DEFLECTION_MM: Final = 0.02
"""How far a triangle may lie from the true surface: below what a 0.4 mm nozzle can show."""
_ANGLE_RAD: Final = 0.3
_MEMORY_BYTES: Final = 6 << 30
_MM: Final = 1000.0

Vertices = npt.NDArray[np.float64]
Faces = npt.NDArray[np.int64]


def can_read_step() -> bool:
    """Whether the optional library is installed (`pip install workshed[step]`)."""
    return importlib.util.find_spec("cascadio") is not None


def read_step(file: PartFile) -> tuple[Vertices, Faces]:
    """All solids of the file as one mesh in mm. Raises BadGeometry."""
    if not can_read_step():
        raise BadGeometry(
            f"{file.name} cannot be read",
            "STEP files need a CAD kernel, which is not part of this installation",
            "Export it as STL or 3MF, or install it: pip install workshed[step].",
        )
    with tempfile.TemporaryDirectory(prefix="workshed-step-") as name:
        folder = Path(name)
        (folder / "model.step").write_bytes(file.data)
        root = str(Path(__file__).resolve().parents[1])
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        command = [sys.executable, "-m", "designs.step_files", "model.step", "mesh.npz"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BadGeometry(
                f"{file.name} is too complicated", f"reading it took over {TIME_LIMIT_S:.0f} s"
            ) from error
        if done.returncode != 0 or not (folder / "mesh.npz").exists():
            raise BadGeometry(
                f"{file.name} cannot be read", "it is no whole STEP file", "Export it again as STEP AP214, or as STL."
            )
        with np.load(folder / "mesh.npz") as found:
            return found["vertices"].astype(np.float64), found["faces"].astype(np.int64)


def main(argv: list[str]) -> int:
    """The worker: exit code 0 when the mesh was written."""
    import cascadio
    import trimesh

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    model, answer = argv
    if cascadio.step_to_glb(model, "model.glb", DEFLECTION_MM, _ANGLE_RAD) != 0:
        return 1
    mesh = trimesh.load_scene("model.glb").to_mesh()
    np.savez(answer, vertices=np.asarray(mesh.vertices) * _MM, faces=np.asarray(mesh.faces))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
