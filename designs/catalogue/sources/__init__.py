"""One module a design: parameters in, manifest, drawings and solids out.

Lives here: the parametric sources, each with a `make()`. Touches nothing. In: the figures at the top of each module;
out: a Source, which `designs.catalogue.building` writes to the shelf.
"""
