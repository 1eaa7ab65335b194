"""Open Know-How manifests: in, out, licence gate, lineage, and the tree an order becomes.

Lives here: the manifest's words and everything read from them. Touches nothing but the bytes it is given. In: okh.toml,
okh.yml, bills of materials; out: values, verdicts and trees, or BadManifest with a sentence.
"""

from designs.okh.licences import LicenceVerdict, licence_verdict
from designs.okh.lineage import Ancestor, design_address, design_index, fork, label, lineage, verify_design
from designs.okh.manifest import BadManifest, BoughtItem, Manifest, ManifestPart, ManifestStep, Parent, StepKind
from designs.okh.reading import read_manifest
from designs.okh.tree import BoughtNode, OrderTree, PartNode, StepNode, order_tree, read_bom
from designs.okh.writing import write_manifest


def licence_gate(manifest: Manifest) -> LicenceVerdict:
    """Whether the design may go to the shared pool (open licence), or is for its bringer's own use only, and why."""
    return licence_verdict(manifest.licence)


__all__ = [
    "Ancestor",
    "BadManifest",
    "BoughtItem",
    "BoughtNode",
    "LicenceVerdict",
    "Manifest",
    "ManifestPart",
    "ManifestStep",
    "OrderTree",
    "Parent",
    "PartNode",
    "StepKind",
    "StepNode",
    "design_address",
    "design_index",
    "fork",
    "label",
    "licence_gate",
    "licence_verdict",
    "lineage",
    "order_tree",
    "read_bom",
    "read_manifest",
    "verify_design",
    "write_manifest",
]
