"""The AsyncAPI 3 document of the contract, made from `TOPICS` and the message structs, so that it cannot drift.

`python -m agents.contract.asyncapi` prints it; `docs/asyncapi.json` is kept equal by a test. Source of the format:
https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agents.contract.envelope import SCHEMA_VERSION, Envelope
from agents.contract.messages import Message
from agents.contract.topics import PREFIX, TOPICS, Topic, Writer

_REF: Final = "#/components/schemas/{name}"
_PARAMETERS: Final = {
    "shop": "The shop's name",
    "agent": "The agent's name within the shop",
    "to_shop": "The shop of the agent that is spoken to",
    "to_agent": "Its name within that shop",
    "machine": "The machine's name within the shop",
    "ring": "How far away the job may go: household, block, neighbourhood, city, federation",
    "process": "fdm, laser, cnc or manual",
    "job": "The job's name",
    "scheduler": "The scheduler's name",
}


def document() -> dict[str, Any]:
    """The whole document as plain data."""
    kinds = sorted({kind for topic in TOPICS for kind in topic.carries}, key=lambda kind: kind.__name__)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Workshed",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": (
                "How a scheduler and the agents of shops speak over MQTT (3.1.1 or 5, QoS 1, JSON). Offers, not "
                "commands: no message starts, jogs or heats a machine. Every payload is an envelope; unknown fields "
                "are ignored, unknown versions refused."
            ),
            "license": {"name": "AGPL-3.0-or-later", "url": "https://www.gnu.org/licenses/agpl-3.0.html"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": dict(_operations()),
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in kinds},
            "schemas": _schemas(kinds),
        },
    }


def text() -> str:
    """The document as it is printed and kept in docs/."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": f"{PREFIX}/{topic.pattern}",
        "summary": topic.summary,
        "description": f"Written by: {topic.writer}.",
        "parameters": {name: {"description": _PARAMETERS[name]} for name in topic.parameters},
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in topic.carries},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """The document is the agent's: what it sends, and what it receives."""
    for topic in TOPICS:
        sends = topic.writer is Writer.AGENT
        yield (
            f"{'send' if sends else 'receive'}_{topic.name}",
            {
                "action": "send" if sends else "receive",
                "channel": {"$ref": f"#/channels/{topic.name}"},
                "summary": topic.summary,
                "bindings": {"mqtt": {"qos": topic.qos, "retain": topic.retained, "bindingVersion": "0.2.0"}},
            },
        )


def _message(kind: type[Message]) -> dict[str, Any]:
    return {
        "name": _tag(kind),
        "title": kind.__name__,
        "summary": inspect.cleandoc(kind.__doc__ or ""),
        "payload": {
            "allOf": [
                {"$ref": _REF.format(name="Envelope")},
                {"properties": {"body": {"$ref": _REF.format(name=kind.__name__)}}},
            ]
        },
    }


def _tag(kind: type[Message]) -> str:
    return str(kind.__struct_config__.tag)


def _schemas(kinds: list[type[Message]]) -> dict[str, Any]:
    """JSON Schema of every message, everything they refer to, and the envelope."""
    _, schemas = msgspec.json.schema_components([*kinds, Envelope], ref_template=_REF)
    return {name: schemas[name] for name in sorted(schemas)}


if __name__ == "__main__":
    sys.stdout.write(text())
