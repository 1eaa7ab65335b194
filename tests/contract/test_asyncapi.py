"""The document and the code are the same, whole, and sound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from agents.contract import asyncapi, messages
from agents.contract.topics import TOPICS

ROOT = Path(__file__).resolve().parents[2]


def test_the_kept_document_is_the_one_that_the_code_makes() -> None:
    kept = (ROOT / "docs" / "asyncapi.json").read_text(encoding="utf-8")
    assert kept == asyncapi.text(), "run: python -m agents.contract.asyncapi > docs/asyncapi.json"


def test_it_prints_the_same_from_a_fresh_process() -> None:
    """Nothing in it depends on the order of a set or the run."""
    printed = subprocess.run(
        [sys.executable, "-m", "agents.contract.asyncapi"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert printed.stdout == asyncapi.text()


def test_every_message_stands_on_a_topic_and_in_the_document() -> None:
    everything = set(get_args(messages.AnyMessage))
    assert everything == {kind for topic in TOPICS for kind in topic.carries}
    assert {kind.__name__ for kind in everything} == set(asyncapi.document()["components"]["messages"])


def test_every_struct_of_the_contract_is_told_apart_by_its_tag() -> None:
    tags = [kind.__struct_config__.tag for kind in get_args(messages.AnyMessage)]
    assert len(tags) == len(set(tags))


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [ref for item in value.values() for ref in _references(item)]
    if isinstance(value, list):
        return [ref for item in value for ref in _references(item)]
    return []


def test_every_reference_leads_somewhere() -> None:
    document = json.loads(asyncapi.text())
    references = _references(document)
    assert references
    for reference in references:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_its_channel_with_parameters_and_direction(topic: Any) -> None:
    document = asyncapi.document()
    channel = document["channels"][topic.name]
    assert channel["address"] == f"workshed/v1/{topic.pattern}"
    assert set(channel["parameters"]) == set(topic.parameters)
    operations = [o for o in document["operations"].values() if o["channel"]["$ref"].endswith(f"/{topic.name}")]
    assert [o["bindings"]["mqtt"]["qos"] for o in operations] == [topic.qos]


def test_there_is_no_message_that_starts_jogs_or_heats() -> None:
    to_agents = {kind.__name__ for topic in TOPICS if topic.name in {"inbox", "grants"} for kind in topic.carries}
    assert to_agents == {
        *("Offer", "Grant", "Withdrawal", "PauseRequest", "CancelRequest", "JournalAck", "ReconcileRequest"),
        "BookRequest",
    }
