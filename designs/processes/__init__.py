"""One module a process: pieces and a class of machines in, a toolpath out.

Lives here: slicing (fdm), laser and router CAM. Touches slicers as subprocesses, nothing else. In: pieces, a machine
profile, stock; out: a checked toolpath with its time, bounds and work card, or CannotMake.
"""

from __future__ import annotations

from collections.abc import Sequence

from designs.processes.model import CannotMake, GeometryKind, MachineProfile, MadeToolpath, Piece, ProcessKind, Stock

__all__ = ["brought_toolpath", "make_toolpath"]


def make_toolpath(pieces: Sequence[Piece], profile: MachineProfile, stock: Stock) -> MadeToolpath:
    """One job's program: all pieces on one plate, sheet or board for this class of machines.

    A piece that is G-code already (somebody brings their own) is checked, measured and passed through. Deterministic:
    the same pieces, profile and stock give the same bytes with the same slicer. Raises CannotMake (BadGeometry and
    BadDrawing are kinds of it) with what happened, why, and what to do.
    """
    if not pieces:
        raise CannotMake("There is nothing to make", "the job has no pieces", "Add at least one part.")
    if any(piece.quantity < 1 for piece in pieces):
        raise CannotMake("There is nothing to make", "a quantity is below 1", "Ask for 1 or more.")
    # imported here: each process brings heavy libraries that a caller of another need not load
    if any(piece.file.kind is GeometryKind.GCODE for piece in pieces):
        from designs.processes.brought import brought_toolpath

        if len(pieces) > 1 or pieces[0].quantity != 1:
            raise CannotMake(
                "The program cannot be combined", "a finished program is one job by itself", "Order it alone, once."
            )
        return brought_toolpath(pieces[0].file, profile, stock)
    if profile.process is ProcessKind.FDM:
        from designs.processes import fdm

        return fdm.make(pieces, profile, stock)
    if profile.process is ProcessKind.LASER:
        from designs.processes import laser

        return laser.make(pieces, profile, stock)
    if profile.process is ProcessKind.CNC:
        from designs.processes import cnc

        return cnc.make(pieces, profile, stock)
    raise CannotMake(
        "No program can be made",
        f"{profile.model} is worked by hand",
        "A person makes this part; see its instructions.",
    )
