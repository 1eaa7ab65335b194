"""Reading files from strangers: XML without entity bombs, archives without path tricks or zip bombs, sizes with an end.

Every reader in `designs` goes through here before it trusts a length, a name or an entity that a file declares about
itself. Nothing is ever unpacked to disk. Known attacks: billion laughs and external entities (CWE-776, CWE-611), zip
bombs (CWE-409), path traversal in archives (CWE-22), sizes that are only claimed (CWE-789).
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Final
from xml.etree import ElementTree
from xml.parsers import expat

from designs.processes.model import CannotMake

FILE_LIMIT_BYTES: Final = 256 * 1024 * 1024
"""Largest file taken at all: a 5-million-triangle binary STL is 250 MB."""
ARCHIVE_LIMIT_BYTES: Final = 512 * 1024 * 1024
"""Largest sum of unpacked members."""
ARCHIVE_MEMBERS: Final = 4096
RATIO_LIMIT: Final = 250
"""Most an archive member may grow; model XML shrinks by 10 to 60, deflate's worst case is 1032."""
_RATIO_FREE_BYTES: Final = 4 * 1024 * 1024
XML_DEPTH: Final = 128
XML_ELEMENTS: Final = 8_000_000
_ENTITIES: Final = 64
_ENTITY_CHARS: Final = 256
_READ_STEP: Final = 1 << 20


class BadGeometry(CannotMake):
    """A file that cannot be made from: `what` happened, `why`, and `hint` what to do. `str()` says the three."""


def check_size(data: bytes, name: str, limit_bytes: int = FILE_LIMIT_BYTES) -> None:
    """Refuse empty and oversized files. Raises BadGeometry."""
    if not data:
        raise BadGeometry(f"{name} is empty", "it has 0 bytes", "Export it again and check that the upload finished.")
    if len(data) > limit_bytes:
        raise BadGeometry(
            f"{name} is too large",
            f"it has {len(data) / 1e6:.0f} MB and at most {limit_bytes / 1e6:.0f} MB are read",
            "Export it with fewer triangles or points.",
        )


class _Guard:
    """Counts what an XML document does to us while it is read."""

    def __init__(self, name: str) -> None:
        self.name, self.depth, self.elements, self.entities = name, 0, 0, 0

    def start(self) -> None:
        self.depth += 1
        self.elements += 1
        if self.depth > XML_DEPTH:
            raise BadGeometry(f"{self.name} was refused", f"its XML is nested more than {XML_DEPTH} deep")
        if self.elements > XML_ELEMENTS:
            raise BadGeometry(f"{self.name} was refused", f"it has more than {XML_ELEMENTS} XML elements")

    def entity(self, value: str | None, system_id: str | None) -> None:
        """Illustrator writes short name-space entities; anything nested, external or long is an attack."""
        self.entities += 1
        harmless = value is not None and system_id is None and "&" not in value and "%" not in value
        if not harmless or len(value or "") > _ENTITY_CHARS or self.entities > _ENTITIES:
            raise BadGeometry(
                f"{self.name} was refused",
                "it declares XML entities that refer to others, to other files, or are very long",
                "Save it as plain SVG or export it again.",
            )


def parse_xml(data: bytes, name: str, limit_bytes: int = FILE_LIMIT_BYTES) -> ElementTree.Element:
    """The root element of an XML document from a stranger.

    Entities that nest or point outside are refused before they are expanded; nothing outside the file is read.
    Raises BadGeometry when it is not well-formed XML or is built to harm.
    """
    check_size(data, name, limit_bytes)
    guard = _Guard(name)
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def qualified(tag: str) -> str:
        return "{" + tag if "}" in tag else tag

    def start(tag: str, attributes: dict[str, str]) -> None:
        guard.start()
        builder.start(qualified(tag), {qualified(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        guard.depth -= 1
        builder.end(qualified(tag))

    def entity(
        _name: str, _parameter: int, value: str | None, _base: str | None, system_id: str | None, *_more: str | None
    ) -> None:
        guard.entity(value, system_id)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = entity
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, BadGeometry):
            raise
        raise BadGeometry(
            f"{name} cannot be read", f"it is not well-formed XML ({error})", "It may be cut short: export it again."
        ) from error


class SafeZip:
    """The members of a zip archive from a stranger, read into memory within limits."""

    def __init__(self, data: bytes, name: str) -> None:
        """Check every declared name, size and ratio before anything is unpacked. Raises BadGeometry."""
        check_size(data, name)
        self._name = name
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            members = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise BadGeometry(
                f"{name} cannot be opened",
                f"it is not a whole zip archive ({error})",
                "It may be cut short: export it again.",
            ) from error
        if len(members) > ARCHIVE_MEMBERS:
            raise BadGeometry(f"{name} was refused", f"it holds more than {ARCHIVE_MEMBERS} files")
        for member in members:
            self._check(member)
        if sum(member.file_size for member in members) > ARCHIVE_LIMIT_BYTES:
            raise BadGeometry(f"{name} was refused", f"unpacked it would be over {ARCHIVE_LIMIT_BYTES // 2**20} MB")
        self.names: tuple[str, ...] = tuple(member.filename for member in members if not member.is_dir())

    def _check(self, member: zipfile.ZipInfo) -> None:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise BadGeometry(
                f"{self._name} was refused",
                f"it holds a file named {member.filename!r}, outside the archive",
                "No honest program writes such names: get the file from its maker again.",
            )
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise BadGeometry(f"{self._name} was refused", f"{member.filename!r} in it is a link, not a file")
        if member.flag_bits & 0x1:
            raise BadGeometry(f"{self._name} cannot be read", "it is locked with a password", "Save it without one.")
        allowed = max(_RATIO_FREE_BYTES, RATIO_LIMIT * max(member.compress_size, 1))
        if member.file_size > min(allowed, FILE_LIMIT_BYTES):
            raise BadGeometry(
                f"{self._name} was refused",
                f"{member.filename!r} claims to unpack from {member.compress_size} to {member.file_size} bytes",
                "That is how a zip bomb looks; export the model again.",
            )

    def read(self, member_name: str) -> bytes:
        """One member, unpacked. Raises BadGeometry when it is absent, damaged, or larger than it declared."""
        try:
            info = self._zip.getinfo(member_name)
            with self._zip.open(info) as stream:
                parts: list[bytes] = []
                total = 0
                while step := stream.read(_READ_STEP):
                    total += len(step)
                    if total > info.file_size:
                        raise BadGeometry(f"{self._name} was refused", f"{member_name!r} is larger than it declares")
                    parts.append(step)
        except KeyError as error:
            raise BadGeometry(f"{self._name} cannot be read", f"{member_name!r} is not in the archive") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise BadGeometry(
                f"{self._name} cannot be read",
                f"{member_name!r} in it is damaged ({error})",
                "Export it again or upload it again.",
            ) from error
        return b"".join(parts)
