"""SVG to shapes in millimetres, y up: units and viewBox honoured, transforms applied, curves flattened to 0.01 mm.

svgelements applies SVG 1.1 §7 (units, viewBox, transforms; 96 px an inch as CSS). Before it sees the file, entities are
refused and what `use` expands to is counted.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import svgelements

from designs.drawing_conventions import Meaning, meaning_of_colour, meaning_of_layer
from designs.drawings import MOST_POINTS, MOST_SHAPES, BadDrawing, RawDrawing, Shape
from designs.processes.model import Finding, PartFile, Severity

_MM_PER_PX = 25.4 / 96.0
_FLATTEN_MM = 0.01
_LABEL = "{http://www.inkscape.org/namespaces/inkscape}label"
_HREF = "{http://www.w3.org/1999/xlink}href"
_DEEPEST = 100


def read_svg(file: PartFile) -> RawDrawing:
    """All lines of the drawing. Raises BadDrawing for what is no SVG, is cut short, or expands without end."""
    root = _tree(file)
    findings: list[Finding] = []
    _note_units(root, findings)
    try:
        document = svgelements.SVG.parse(io.BytesIO(file.data), reify=True, ppi=96.0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as why:
        raise BadDrawing(
            f"{file.name} cannot be read as SVG", f"a shape in it is damaged ({why})", "Save it as plain SVG."
        ) from why
    except RecursionError as why:
        raise BadDrawing(
            f"{file.name} cannot be read as SVG", "it nests too deep", "Ungroup it and save again."
        ) from why
    if not isinstance(document, svgelements.SVG):
        raise BadDrawing(
            f"{file.name} is no SVG", "its root element is not in the SVG namespace", "Save it as plain SVG."
        )
    height = float(document.height or 0.0) if isinstance(document.height, int | float) else 0.0
    shapes: list[Shape] = []
    left_out = {"text": 0, "image": 0, "damaged": 0}
    points = 0
    for element, meaning, layer in _elements(document, None, "", 0):
        for shape in _shapes(element, meaning, layer, height, left_out):
            points += len(shape.points)
            if points > MOST_POINTS:
                raise BadDrawing(
                    f"{file.name} is too detailed", "its curves have over two million points", "Simplify it."
                )
            shapes.append(shape)
    _note_left_out(left_out, findings)
    if not shapes:
        raise BadDrawing(
            f"{file.name} has no lines",
            "it holds no paths or shapes" + "".join(f"; {count} {kind}" for kind, count in left_out.items() if count),
            "Convert text and objects to paths.",
        )
    return RawDrawing(tuple(shapes), tuple(findings))


def _tree(file: PartFile) -> ElementTree.Element:
    head = file.data.lower()
    if b"<!entity" in head or "<!entity".encode("utf-16-le") in head or "<!entity".encode("utf-16-be") in head:
        raise BadDrawing(
            f"{file.name} is refused", "it declares XML entities, which can expand without end", "Save it as plain SVG."
        )
    try:
        root = ElementTree.fromstring(file.data)
    except (ElementTree.ParseError, ValueError, LookupError) as why:
        raise BadDrawing(
            f"{file.name} cannot be read as SVG", f"its XML is damaged or cut short ({why})", "Save it again."
        ) from why
    if root.tag.rsplit("}", 1)[-1] != "svg":
        raise BadDrawing(f"{file.name} is no SVG", f"its root element is <{root.tag}>", "Save it as plain SVG.")
    _refuse_bombs(file.name, root)
    return root


def _refuse_bombs(name: str, root: ElementTree.Element) -> None:
    """Count what `use` elements expand to without expanding them; refuse loops and great depth."""
    named: dict[str, ElementTree.Element] = {}
    stack = [(root, 0)]
    while stack:
        element, depth = stack.pop()
        if depth > _DEEPEST:
            raise BadDrawing(f"{name} is refused", f"it nests deeper than {_DEEPEST} groups", "Ungroup it.")
        if "id" in element.attrib:
            named[element.attrib["id"]] = element
        stack.extend((child, depth + 1) for child in element)
    counts: dict[str, int] = {}

    def expanded(element: ElementTree.Element, trail: frozenset[str]) -> int:
        found = 1
        target = element.attrib.get("href", element.attrib.get(_HREF, "")).removeprefix("#")
        if element.tag.rsplit("}", 1)[-1] == "use" and target in named:
            if target in trail or len(trail) > _DEEPEST:
                raise BadDrawing(f"{name} is refused", f"#{target} uses itself", "Unlink the clones.")
            if target not in counts:
                counts[target] = expanded(named[target], trail | {target})
            found += counts[target]
        for child in element:
            found += expanded(child, trail)
            if found > MOST_SHAPES:
                raise BadDrawing(
                    f"{name} is too large", f"it expands to over {MOST_SHAPES} shapes", "Send one part a file."
                )
        return found

    expanded(root, frozenset(filter(None, [root.attrib.get("id")])))


def _note_units(root: ElementTree.Element, findings: list[Finding]) -> None:
    width = root.attrib.get("width", "").strip()
    if not width or width.endswith("%"):
        findings.append(
            Finding(Severity.WARNING, "no_units", "The drawing has no width in a unit: 96 pixels are an inch.")
        )
    elif width.endswith("px") or width[-1:].isdigit():
        findings.append(Finding(Severity.NOTE, "no_units", "The drawing's size is in pixels: 96 are an inch."))


def _note_left_out(left_out: dict[str, int], findings: list[Finding]) -> None:
    if left_out["text"]:
        findings.append(
            Finding(Severity.WARNING, "text", f"{left_out['text']} texts are left out: convert text to paths.")
        )
    if left_out["image"]:
        findings.append(
            Finding(Severity.WARNING, "image", f"{left_out['image']} embedded pictures are left out: send them as PNG.")
        )
    if left_out["damaged"]:
        text = f"{left_out['damaged']} shapes are damaged and cannot be made: the part would lack them."
        findings.append(Finding(Severity.ERROR, "damaged_shapes", text))


def _elements(group: Any, meaning: Meaning | None, layer: str, depth: int) -> Iterator[tuple[Any, Meaning | None, str]]:
    """Shapes with the meaning of the nearest label that has one."""
    for element in group:
        own = getattr(element, "values", None) or {}
        attributes = own.get("attributes") or {}
        label = str(attributes.get(_LABEL) or attributes.get("id") or "")
        here = meaning_of_layer(label) if label else None
        if str(own.get("display", "")) == "none" or str(own.get("visibility", "")) == "hidden":
            continue
        if isinstance(element, svgelements.Group) and depth < 2 * _DEEPEST:
            yield from _elements(element, here or meaning, label if here else layer, depth + 1)
        else:
            yield element, here or meaning, label if here else layer


def _colour(value: Any) -> str:
    """`#rrggbb`, or empty for none."""
    if value is None or getattr(value, "value", None) is None:
        return ""
    return f"#{value.red:02x}{value.green:02x}{value.blue:02x}"


def _shapes(
    element: Any, meaning: Meaning | None, layer: str, height: float, left_out: dict[str, int]
) -> Iterator[Shape]:
    if isinstance(element, svgelements.Text):
        left_out["text"] += 1
        return
    if isinstance(element, svgelements.Image):
        left_out["image"] += 1
        return
    if not isinstance(element, svgelements.Shape):
        return
    colour = _colour(element.stroke) or _colour(element.fill)
    if meaning is None and colour:
        meaning = meaning_of_colour(colour)
    try:
        path = element if isinstance(element, svgelements.Path) else svgelements.Path(element)
        runs = [_flat(sub) for sub in path.as_subpaths()]
    except (ValueError, TypeError, ZeroDivisionError, OverflowError, AttributeError, IndexError):
        left_out["damaged"] += 1
        return
    for points, closed in runs:
        flat = tuple((x * _MM_PER_PX, (height - y) * _MM_PER_PX) for x, y in points)
        if len(flat) < 2:
            continue
        if all(math.isfinite(x) and math.isfinite(y) and abs(x) + abs(y) < 1e7 for x, y in flat):
            yield Shape(flat, closed, layer or colour, meaning)
        else:
            left_out["damaged"] += 1


def _flat(subpath: Any) -> tuple[list[tuple[float, float]], bool]:
    """(points in pixels, closed) of one run of a path."""
    points: list[tuple[float, float]] = []
    closed = False
    for segment in subpath:
        if isinstance(segment, svgelements.Move):
            if segment.end is not None:
                points.append((segment.end.x, segment.end.y))
            continue
        if isinstance(segment, svgelements.Close):
            closed = True
            continue
        count = _chords(segment)
        for k in range(1, count + 1):
            at = segment.end if k == count else segment.point(k / count)
            points.append((float(at.x), float(at.y)))
    return points, closed


def _chords(segment: Any) -> int:
    """Chords that keep the curve within the flattening tolerance: |second derivative| / (8 n²) ≤ tolerance."""
    tolerance = _FLATTEN_MM / _MM_PER_PX
    if isinstance(segment, svgelements.CubicBezier):
        p = [segment.start, segment.control1, segment.control2, segment.end]
        bend = 6.0 * max(abs(complex(p[k]) - 2 * complex(p[k + 1]) + complex(p[k + 2])) for k in (0, 1))
    elif isinstance(segment, svgelements.QuadraticBezier):
        bend = 2.0 * abs(complex(segment.start) - 2 * complex(segment.control) + complex(segment.end))
    elif isinstance(segment, svgelements.Arc):
        bend = max(segment.rx, segment.ry) * float(segment.sweep) ** 2
    else:
        return 1
    if not math.isfinite(bend):
        raise ValueError("a curve without an end")
    return max(1, min(2000, math.ceil(math.sqrt(bend / (8.0 * tolerance)))))
