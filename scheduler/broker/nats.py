"""nats-server's one file, speaking MQTT 3.1.1 over JetStream on disk.

Sources: the NATS documentation's "MQTT configuration" and "Authorization" pages; topics become subjects by `/` → `.`.
Passwords stand in the file as they are (bcrypt is not in Python's library), so it is readable by its owner only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agents.contract.envelope import MAX_PAYLOAD_BYTES
from scheduler.broker.access import Principal

#: Unacknowledged messages come again after this; NATS does not send them anew just because the client reconnected.
_ACK_WAIT: Final = "5s"
_MAX_ACK_PENDING: Final = 5_000
#: QoS 1 and retained messages reach a client on subjects under this one.
_DELIVERY: Final = "$MQTT.sub.>"


def configuration(folder: Path, port: int, principals: Sequence[Principal], passwords: Mapping[str, str]) -> str:
    """The whole configuration; JSON strings are valid NATS strings."""
    users = ",\n    ".join(_user(principal, passwords[principal.username]) for principal in principals)
    return f"""server_name: workshed
host: "127.0.0.1"
port: -1
max_payload: {2 * MAX_PAYLOAD_BYTES}
jetstream {{
  store_dir: {json.dumps(str(folder / "store"))}
  sync_interval: "5s"
}}
mqtt {{
  host: "127.0.0.1"
  port: {port}
  ack_wait: "{_ACK_WAIT}"
  max_ack_pending: {_MAX_ACK_PENDING}
}}
authorization {{
  users: [
    {users}
  ]
}}
"""


def subjects(topic_filter: str) -> tuple[str, ...]:
    """The subjects of an MQTT filter: `+` is `*`; `a/#` is both `a` and `a.>`. Raises ValueError for a bare `#`."""
    parts = topic_filter.split("/")
    if parts[-1] != "#":
        return (".".join("*" if part == "+" else part for part in parts),)
    if len(parts) == 1:
        raise ValueError("a right to every topic is never given")
    head = ".".join("*" if part == "+" else part for part in parts[:-1])
    return head, f"{head}.>"


def _user(principal: Principal, password: str) -> str:
    publish = [subject for topic in principal.publish for subject in subjects(topic)]
    read = [_DELIVERY, *(subject for topic in principal.read for subject in subjects(topic))]
    return (
        f"{{ user: {json.dumps(principal.username)}, password: {json.dumps(password)}, permissions: {{"
        f" publish: {{ allow: {json.dumps(publish)} }}, subscribe: {{ allow: {json.dumps(read)} }} }} }}"
    )
