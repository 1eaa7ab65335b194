"""OKH manifests in: TOML and YAML, OKH-LOSH (`okhv = "OKH-LOSHv1.0"` or `"2.4"`) and OKH v1 (`okh-manifest-version`).

Traps this reader knows, each turned into a note: the schema's const and the official template disagree about `okhv`;
`part.tsdc` comes as a string or a list; older files say `organisation` and `spdx-license`; keys come kebab or snake;
YAML would read version 1.10 as the number 1.1, so scalars stay text; YAML aliases can be bombs, so they are refused.
OKH v1 (Open Know-How Manifest Specification 1.0) has `title`, `license: {hardware: …}`, `design-files` and no parts.
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from designs.okh.manifest import BadManifest, BoughtItem, Manifest, ManifestPart, ManifestStep, Parent, StepKind
from designs.processes.model import ProcessKind

LIMIT_BYTES: Final = 1 << 20
_MOST_ROWS: Final = 2000

PROCESS_OF_TSDC: Final[dict[str, ProcessKind | None]] = {
    "3DP": ProcessKind.FDM,
    "LAS": ProcessKind.LASER,
    "CNC": ProcessKind.CNC,
    "ASM": ProcessKind.MANUAL,
    "MEC": None,
    "CIR": None,
    "PCB": None,
    "WEL": None,
}
"""OKH's technology-specific documentation criteria → our processes; None: a process we do not make."""
_OTHER_PRINTING: Final = {"SLA", "SLS", "MJF", "DMLS"}

Table = dict[str, Any]


class _TextLoader(yaml.BaseLoader):  # type: ignore[misc]  # pyyaml ships no types
    """YAML with every scalar left as text and no aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read, because they can be made to explode")
        return super().compose_node(parent, index)


def read_manifest(source: bytes | str | Path) -> Manifest:
    """Read a manifest from bytes, text or a file; TOML and YAML are told apart by content.

    Raises BadManifest with a sentence when it is no manifest or a required field is missing (OKH requires name,
    version, licensor and function; a missing licence is not an error here but a verdict of the licence gate).
    """
    if isinstance(source, Path):
        source = source.read_bytes()
    data = source.encode() if isinstance(source, str) else source
    if len(data) > LIMIT_BYTES:
        raise BadManifest("The manifest was refused", f"it is larger than {LIMIT_BYTES // 1024} kB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifest("The manifest cannot be read", f"it is not UTF-8 text (byte {error.start})") from error
    table = _kebab(_parse(text))
    reader = _Reader(table)
    return reader.okh_v1() if "okh-manifest-version" in table or "title" in table else reader.losh()


def _parse(text: str) -> Table:
    try:
        return tomllib.loads(text, parse_float=str)
    except (tomllib.TOMLDecodeError, RecursionError) as toml_error:
        try:
            table = yaml.load(text, Loader=_TextLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as yaml_error:
            shown = re.sub(r"\s+", " ", str(yaml_error))[:160]
            raise BadManifest(
                "The manifest cannot be read", f"it is neither TOML ({toml_error}) nor YAML ({shown})"
            ) from yaml_error
    if not isinstance(table, dict):
        raise BadManifest("The manifest cannot be read", "it holds no named fields")
    return table


def _kebab(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key).strip().lower().replace("_", "-"): _kebab(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_kebab(item) for item in value]
    return value


class _Reader:
    """One pass over one table; takes fields out as it understands them, so that the rest can be handed on."""

    def __init__(self, table: Table) -> None:
        self._table = dict(table)
        self._notes: list[str] = []

    # -- fields ------------------------------------------------------------------------------------------------

    def _text(self, table: Table, *keys: str) -> str:
        for key in keys:
            value = table.pop(key, None)
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, dict):
                value = value.get("name") or value.get("path") or value.get("location") or value.get("hardware")
            if value is not None and not isinstance(value, list | dict) and str(value).strip():
                return str(value).strip()
        return ""

    def _texts(self, table: Table, key: str) -> tuple[str, ...]:
        value = table.pop(key, None)
        items = value if isinstance(value, list) else [] if value is None else [value]
        texts = (
            item.get("path") or item.get("location") or item.get("name") if isinstance(item, dict) else item
            for item in items
        )
        return tuple(str(text).strip() for text in texts if text is not None and str(text).strip())

    def _number(self, table: Table, key: str, label: str) -> float | None:
        value = table.pop(key, None)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise BadManifest("The manifest cannot be used", f"{label} is {value!r}, not a number") from error
        if not math.isfinite(number) or number < 0:
            raise BadManifest("The manifest cannot be used", f"{label} is {value!r}; it must be 0 or more")
        return number

    def _rows(self, table: Table, key: str) -> list[Table]:
        value = table.pop(key, None)
        rows = value if isinstance(value, list) else [] if value is None else [value]
        if len(rows) > _MOST_ROWS:
            raise BadManifest("The manifest was refused", f"it lists more than {_MOST_ROWS} entries under {key!r}")
        return [dict(row) if isinstance(row, dict) else {"name": row} for row in rows]

    def _required(self, value: str, field: str) -> str:
        if not value:
            raise BadManifest(
                "The manifest is not complete", f"it has no {field!r}", f'Add a line like {field} = "…" at its top.'
            )
        return value

    def _files(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            pure = PurePosixPath(path.replace("\\", "/"))
            if "://" not in path and (pure.is_absolute() or ".." in pure.parts):
                raise BadManifest("The manifest was refused", f"it names the file {path!r}, outside the design")
        return paths

    # -- OKH-LOSH ----------------------------------------------------------------------------------------------

    def losh(self) -> Manifest:
        table = self._table
        okhv = self._text(table, "okhv")
        if not okhv:
            self._notes.append("No okhv field: read as OKH-LOSH.")
        elif okhv.upper() != "OKH-LOSHV1.0" and not re.fullmatch(r"v?2\.\d+", okhv):
            self._notes.append(f"okhv is {okhv!r}, which this reader does not know; read as OKH-LOSH 2.4.")
        licence = self._text(table, "license", "licence", "spdx-license", "spdxlicense")
        return self._finish(
            name=self._required(self._text(table, "name"), "name"),
            version=self._required(self._text(table, "version"), "version"),
            licence=licence or None,
            licensor=self._required(self._text(table, "licensor", "organisation", "organization"), "licensor"),
            function=self._required(self._text(table, "function"), "function"),
            repo=self._text(table, "repo"),
            okhv=okhv or "2.4",
            parts=tuple(self._part(row) for row in self._rows(table, "part")),
            instructions=self._files(self._texts(table, "manufacturing-instructions")),
        )

    def _part(self, row: Table) -> ManifestPart:
        name = self._required(self._text(row, "name"), "part.name")
        raw_tsdc = row.get("tsdc")
        tsdc = tuple(code.upper() for code in self._texts(row, "tsdc"))
        if isinstance(raw_tsdc, str):
            self._notes.append(f"Part {name}: tsdc is one string, as in the official template; read as a list.")
        printing = self._text(row, "printing-process").upper() or None
        quantity = self._number(row, "x-quantity", f"x-quantity of {name}")
        if quantity is None:
            quantity = self._number(row, "quantity", f"quantity of {name}")
        count = 1 if quantity is None else int(quantity)
        if quantity is not None and (quantity != count or count < 1):
            raise BadManifest(
                "The manifest cannot be used", f"the quantity of {name} is {quantity:g}; it must be 1 or more, whole"
            )
        return ManifestPart(
            name=name,
            process=self._process(name, tsdc, printing),
            exports=self._files(self._texts(row, "export")),
            sources=self._files(self._texts(row, "source")),
            material=self._text(row, "material") or None,
            quantity=count,
            thickness_mm=self._number(row, "x-thickness", f"x-thickness of {name}"),
            depth_mm=self._number(row, "x-depth", f"x-depth of {name}"),
            colour=self._text(row, "x-colour"),
            mass_g=self._number(row, "mass", f"mass of {name}"),
            dimensions_mm=self._dimensions(row, name),
            tsdc=tsdc,
            printing_process=printing,
        )

    def _process(self, name: str, tsdc: tuple[str, ...], printing: str | None) -> ProcessKind | None:
        known = {PROCESS_OF_TSDC[code] for code in tsdc if PROCESS_OF_TSDC.get(code) is not None}
        if printing in _OTHER_PRINTING:
            self._notes.append(f"Part {name}: {printing} printing is not done here.")
            known.discard(ProcessKind.FDM)
        if len(known) == 1:
            return next(iter(known))
        if tsdc:
            self._notes.append(f"Part {name}: tsdc {', '.join(tsdc)} does not name one process done here.")
        return None

    def _dimensions(self, row: Table, name: str) -> tuple[float, float, float] | None:
        table = row.pop("outer-dimensions", None)
        if not isinstance(table, dict):
            return None
        table = dict(table)
        sides = [self._number(table, key, f"{key} of {name}") for key in ("width", "depth", "height")]
        if None in sides:
            self._notes.append(f"Part {name}: outer-dimensions lack one of width, depth, height; left out.")
            return None
        return (sides[0] or 0.0, sides[1] or 0.0, sides[2] or 0.0)

    # -- OKH v1 ------------------------------------------------------------------------------------------------

    def okh_v1(self) -> Manifest:
        table = self._table
        version = self._text(table, "okh-manifest-version", "okhv") or "1.0.0"
        self._notes.append(f"An OKH {version} manifest: it lists design files, not parts; processes are not stated.")
        table.pop("description", None) if "intended-use" in table else None
        files = self._files(self._texts(table, "design-files"))
        makeable = tuple(path for path in files if PurePosixPath(path).suffix.lower() in _MAKEABLE)
        return self._finish(
            name=self._required(self._text(table, "title", "name"), "title"),
            version=self._text(table, "version") or "0",
            licence=self._text(table, "license", "licence") or None,
            licensor=self._text(table, "licensor", "manifest-author") or "unknown",
            function=self._text(table, "function", "intended-use", "description") or "not stated",
            repo=self._text(table, "project-link", "documentation-home"),
            okhv=version,
            parts=tuple(ManifestPart(PurePosixPath(path).stem, None, exports=(path,)) for path in makeable),
            instructions=self._files(self._texts(table, "making-instructions")),
        )

    # -- both --------------------------------------------------------------------------------------------------

    def _finish(self, **known: Any) -> Manifest:
        table = self._table
        names = [part.name for part in known["parts"]]
        if len(set(names)) != len(names):
            raise BadManifest("The manifest cannot be used", "two parts have the same name", "Give each its own name.")
        rest: dict[str, Any] = {
            "bought": tuple(self._bought(row) for row in self._rows(table, "x-bought")),
            "steps": tuple(self._step(row) for row in self._rows(table, "x-step")),
            "parents": tuple(self._parent(row) for row in self._rows(table, "x-parent")),
            "fork_of": self._text(table, "fork-of", "derivative-of"),
            "documentation_language": self._text(table, "documentation-language") or "en",
            "bom": self._files(self._texts(table, "bom")),
            "readme": self._text(table, "readme"),
            "image": self._text(table, "image"),
            "tsdc": tuple(code.upper() for code in self._texts(table, "tsdc")),
            "release": self._text(table, "release"),
        }
        other = {key: str(value) for key, value in sorted(table.items()) if not isinstance(value, dict | list)}
        left_out = sorted(set(table) - set(other))
        if left_out:
            self._notes.append(f"Not read: {', '.join(left_out)}.")
        return Manifest(**known, **rest, other=other, notes=tuple(self._notes))

    def _bought(self, row: Table) -> BoughtItem:
        name = self._required(self._text(row, "name"), "x-bought.name")
        amount = self._number(row, "quantity", f"quantity of {name}")
        return BoughtItem(
            name, 1.0 if amount is None else amount, self._text(row, "unit") or "piece", self._text(row, "note")
        )

    def _step(self, row: Table) -> ManifestStep:
        name = self._required(self._text(row, "name"), "x-step.name")
        kind = self._text(row, "kind") or StepKind.ASSEMBLY.value
        if kind not in set(StepKind):
            raise BadManifest("The manifest cannot be used", f"step {name} has kind {kind!r}, not assembly or human")
        minutes = self._number(row, "minutes", f"minutes of {name}")
        return ManifestStep(
            name,
            StepKind(kind),
            self._texts(row, "needs"),
            10.0 if minutes is None else minutes,
            self._text(row, "skill"),
            self._text(row, "instructions"),
        )

    def _parent(self, row: Table) -> Parent:
        design = self._required(self._text(row, "design", "name"), "x-parent.design").removeprefix("sha256:")
        if not re.fullmatch(r"[0-9a-f]{64}", design):
            raise BadManifest(
                "The manifest cannot be used", f"the parent {design!r} is not a content address (64 hex digits)"
            )
        return Parent(design, self._text(row, "name"), self._text(row, "license", "licence"))


_MAKEABLE: Final = {".stl", ".3mf", ".obj", ".step", ".stp", ".svg", ".dxf", ".gcode"}
