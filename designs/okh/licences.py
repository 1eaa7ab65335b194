"""The licence gate: an open licence lets a design into the shared pool; a closed or missing one is for own use only.

Reads SPDX licence expressions (SPDX specification 2.3, annex D: identifiers, `+`, WITH, AND, OR, brackets; identifiers
compare without case). Open means: anybody may make, change and hand on, also for money (the Open Source Hardware
Definition 1.0, points 4 to 8). So `NC` and `ND` licences are closed, however often they are called open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FAMILIES: Final = """
    CC0-1.0 CC-PDDC CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-1.0 CC-BY-SA-2.0 CC-BY-SA-2.5
    CC-BY-SA-3.0 CC-BY-SA-4.0 CERN-OHL-1.1 CERN-OHL-1.2 CERN-OHL-P-2.0 CERN-OHL-W-2.0 CERN-OHL-S-2.0
    TAPR-OHL-1.0 SHL-0.5 SHL-0.51 SHL-2.0 SHL-2.1 MIT MIT-0 ISC 0BSD Zlib BSL-1.0 BSD-2-Clause BSD-3-Clause
    Apache-2.0 MPL-2.0 EUPL-1.1 EUPL-1.2 EPL-2.0 GPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0-only
    GPL-3.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only LGPL-3.0-or-later AGPL-3.0
    AGPL-3.0-only AGPL-3.0-or-later GFDL-1.3-no-invariants-only GFDL-1.3-no-invariants-or-later LAL-1.3
    OFL-1.1 ODbL-1.0 ODC-By-1.0 PDDL-1.0 Unlicense BlueOak-1.0.0 UPL-1.0 WTFPL Artistic-2.0 AFL-3.0 MS-PL
    CDLA-Permissive-2.0
"""
OPEN_LICENCES: Final[dict[str, str]] = {name.lower(): name for name in _FAMILIES.split()}
"""Identifier in lower case → as SPDX spells it."""

_TOKEN: Final = re.compile(r"\s*(\(|\)|[A-Za-z0-9][A-Za-z0-9.\-:]*\+?)")
_LONGEST: Final = 1000


@dataclass(frozen=True, slots=True)
class LicenceVerdict:
    """Whether a design may go to the shared pool; `spdx` as understood, `why` a sentence for the person."""

    open: bool
    spdx: str
    why: str


@dataclass(frozen=True, slots=True)
class _Term:
    open: bool
    text: str
    why: str


class _Unreadable(ValueError):
    pass


class _Expression:
    """Recursive descent over `a OR b AND c WITH d`, in SPDX's order of binding: `+`, WITH, AND, OR."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None:
                raise _Unreadable(f"{text[at:].strip()[:20]!r} is not part of an SPDX expression")
            self._tokens.append(found.group(1))
            at = found.end()

    def whole(self) -> _Term:
        term = self._any_of(0)
        if self._tokens:
            raise _Unreadable(f"{self._tokens[0]!r} was not expected there")
        return term

    def _is_next(self, word: str) -> bool:
        if self._tokens and self._tokens[0].upper() == word:
            self._tokens.pop(0)
            return True
        return False

    def _any_of(self, depth: int) -> _Term:
        terms = [self._all_of(depth)]
        while self._is_next("OR"):
            terms.append(self._all_of(depth))
        if len(terms) == 1:
            return terms[0]
        chosen = next((term for term in terms if term.open), None)
        text = " OR ".join(term.text for term in terms)
        if chosen is not None:
            return _Term(True, text, f"one of the licences offered is open: {chosen.text}")
        return _Term(False, text, "; ".join(term.why for term in terms))

    def _all_of(self, depth: int) -> _Term:
        terms = [self._single(depth)]
        while self._is_next("AND"):
            terms.append(self._single(depth))
        if len(terms) == 1:
            return terms[0]
        closed = [term.why for term in terms if not term.open]
        return _Term(not closed, " AND ".join(term.text for term in terms), "; ".join(closed) or "all of them are open")

    def _single(self, depth: int) -> _Term:
        if not self._tokens:
            raise _Unreadable("it ends where a licence was expected")
        token = self._tokens.pop(0)
        if token == "(":
            if depth > 20:
                raise _Unreadable("its brackets are nested too deep")
            inner = self._any_of(depth + 1)
            if not self._tokens or self._tokens.pop(0) != ")":
                raise _Unreadable("a bracket is not closed")
            return _Term(inner.open, f"({inner.text})", inner.why)
        if token == ")" or token.upper() in {"AND", "OR", "WITH"}:
            raise _Unreadable(f"{token!r} stands where a licence was expected")
        term = _identifier(token)
        if self._is_next("WITH"):
            if not self._tokens:
                raise _Unreadable("no exception follows WITH")
            return _Term(term.open, f"{term.text} WITH {self._tokens.pop(0)}", term.why)
        return term


def _identifier(token: str) -> _Term:
    plus = token.endswith("+")
    known = OPEN_LICENCES.get(token.removesuffix("+").lower())
    if known is not None:
        return _Term(True, known + ("+" if plus else ""), f"{known} is an open licence")
    upper = token.upper()
    if upper in {"NONE", "NOASSERTION", "LICENSEREF-NONE", "LICENSEREF-NOASSERTION", "UNLICENSED"}:
        return _Term(False, token, f"{token} gives nobody the right to make it")
    if "-NC" in upper:
        return _Term(False, token, f"{token} forbids commercial making, so it is not open hardware")
    if "-ND" in upper:
        return _Term(False, token, f"{token} forbids changes, so it is not open hardware")
    if upper.startswith(("LICENSEREF-", "DOCUMENTREF-")):
        return _Term(False, token, f"{token} is a licence of its own that nobody here has read")
    return _Term(False, token, f"{token} is not a licence known to be open")


def licence_verdict(expression: str | None) -> LicenceVerdict:
    """Judge an SPDX expression. Never raises: what cannot be read is closed, with the reason."""
    text = (expression or "").strip()
    if not text:
        return LicenceVerdict(
            False,
            "",
            "No licence is given, so it can be made for your own use only. Ask its author for an open licence.",
        )
    try:
        if len(text) > _LONGEST:
            raise _Unreadable("it is too long")
        term = _Expression(text).whole()
    except _Unreadable as error:
        return LicenceVerdict(
            False,
            text[:_LONGEST],
            f"The licence {text[:80]!r} is not an SPDX expression ({error}): own use only.{_near(text)}",
        )
    if term.open:
        return LicenceVerdict(True, term.text, f"Open for the shared pool: {term.why}.")
    return LicenceVerdict(False, term.text, f"For your own use only: {term.why}.{_near(text)}")


def _near(text: str) -> str:
    """A hint when only the spelling is off: `CC BY-SA 4.0`, `GPLv3`."""

    def key(name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower()).replace("license", "").replace("version", "").replace("v", "")

    wanted = key(text)
    for low, name in OPEN_LICENCES.items():
        if wanted and key(low) in {wanted, wanted + "0", wanted + "only"} and low != text.lower():
            return f" Did you mean {name}?"
    return ""
