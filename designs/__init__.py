"""What to make: open designs, their geometry, and the toolpaths that make them.

Lives here: OKH manifests, meshes and drawings, slicing and CAM, nesting, the catalogue. Pure: no network, no clock, no
database. In: a design's files and a machine's profile; out: checked, timed toolpaths, or a sentence that says why not.
"""
