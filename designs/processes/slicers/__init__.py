"""Slicers behind one small interface: PrusaSlicer, CuraEngine, and mandoline, which pip alone brings.

Touches other programs, as subprocesses with a time limit. In: meshes on a plate and settings; out: layers of G-code.
"""
