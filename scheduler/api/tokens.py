"""Bearer tokens: kept as hashes, with a role. Whoever may queue work may not therefore operate machines."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from scheduler.orders.refusal import Refused
from scheduler.store import tables as t

_PREFIX: Final = "wks_"


class Role(StrEnum):
    """What a token may do; each includes the ones before it."""

    REQUESTER = "requester"
    """Bring designs, place orders, accept and cancel its own."""
    OPERATOR = "operator"
    """Everything about jobs and machines, and everybody's orders."""
    ADMIN = "admin"
    """Tokens."""

    def includes(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(other) <= order.index(self)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    role: Role


def _hash(token: str) -> str:
    # A token has 256 random bits: a plain hash cannot be searched, a slow one would only cost time.
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(c: sa.Connection, name: str, role: Role, now: datetime) -> str:
    """Make a token; it is shown once and kept only as a hash."""
    token = _PREFIX + secrets.token_urlsafe(32)
    c.execute(sa.insert(t.tokens).values(sha256=_hash(token), name=name, role=role.value, created_at=now))
    return token


def first_token(c: sa.Connection, file: Path, now: datetime) -> None:
    """On the first start: an admin token in a file that only its owner reads."""
    if c.execute(sa.select(sa.func.count()).select_from(t.tokens)).scalar():
        return
    token = new_token(c, "admin", Role.ADMIN, now)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(token + "\n")
        out.flush()
        os.fsync(out.fileno())


def caller(c: sa.Connection, header: str | None) -> Caller | None:
    """Who an Authorization header speaks for; None without one. Raises Refused (401) for a wrong one."""
    if not header:
        return None
    kind, _, token = header.partition(" ")
    query = sa.select(t.tokens.c.name, t.tokens.c.role).where(
        t.tokens.c.sha256 == _hash(token.strip()), t.tokens.c.revoked_at.is_(None)
    )
    found = c.execute(query).first() if kind.lower() == "bearer" else None
    if found is None:
        raise Refused("bad_token", "Nothing was done", "the token is not known here", _HINT, status=401)
    return Caller(found.name, Role(found.role))


_HINT: Final = "Send Authorization: Bearer TOKEN; the first token is in the file admin.token of the data folder."


def allowed(who: Caller | None, role: Role) -> Caller:
    """The caller, if it may do what `role` may. Raises Refused (401, 403)."""
    if who is None:
        raise Refused("no_token", "Nothing was done", "this needs a token", _HINT, status=401)
    if not who.role.includes(role):
        why = f"a {who.role} may not do this; it takes the role {role}"
        raise Refused("not_allowed", "Nothing was done", why, "Ask an operator.", status=403)
    return who
