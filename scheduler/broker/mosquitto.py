"""Mosquitto's three files: configuration, passwords, access list.

Sources: mosquitto.conf(5) and mosquitto `src/password_mosq.c` (hash type 7: PBKDF2 with SHA-512).
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agents.contract.envelope import MAX_PAYLOAD_BYTES
from scheduler.broker.access import Principal

#: Mosquitto's own default. The passwords are 256 random bits: stretching adds nothing to them.
_ITERATIONS: Final = 101
_SALT_BYTES: Final = 12
_HASH_BYTES: Final = 64
#: More than any agent that was away for a week has waiting; past it Mosquitto drops, and journals are sent again.
_MAX_QUEUED: Final = 100_000


def configuration(folder: Path, port: int) -> str:
    """Loopback only, no anonymous client, everything on disk at once (a kill -9 loses neither queue nor retained)."""
    return "\n".join(
        [
            "per_listener_settings false",
            f"listener {port} 127.0.0.1",
            f"user {getpass.getuser()}",
            "allow_anonymous false",
            "set_tcp_nodelay true",
            f"password_file {folder / 'passwords'}",
            f"acl_file {folder / 'access'}",
            "persistence true",
            f"persistence_location {folder / 'store'}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "persistent_client_expiration 14d",
            f"max_queued_messages {_MAX_QUEUED}",
            f"message_size_limit {2 * MAX_PAYLOAD_BYTES}",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "connection_messages false",
            "",
        ]
    )


def access_list(principals: Sequence[Principal]) -> str:
    """One block a user; what is not listed is denied."""
    lines: list[str] = []
    for principal in principals:
        lines.append(f"user {principal.username}")
        lines += [f"topic write {topic}" for topic in principal.publish]
        lines += [f"topic read {topic}" for topic in principal.read]
        lines.append("")
    return "\n".join(lines)


def password_file(passwords: Mapping[str, str]) -> str:
    """`user:$7$iterations$salt$hash`, one a line."""
    return "".join(f"{user}:{password_hash(password)}\n" for user, password in passwords.items())


def password_hash(password: str, salt: bytes | None = None) -> str:
    """The hash as `mosquitto_passwd` writes it."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS, _HASH_BYTES)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
