"""The house keeps its own rules: rooms say what they are, documents point at things that exist."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("scheduler", "agents", "firmware_bridges", "designs")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def _sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_every_room_says_what_lives_there() -> None:
    silent = []
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            text = ast.get_docstring(ast.parse(init.read_text())) or ""
            if len(text) < 60:
                silent.append(str(init.relative_to(ROOT)))
    assert silent == [], "these rooms do not say what lives there, what they may touch, what goes in and out"


def test_no_module_is_called_a_drawer() -> None:
    drawers = {"utils", "helpers", "common", "manager", "base", "misc", "util", "helper"}
    found = [str(path.relative_to(ROOT)) for path in _sources() if drawers & {path.stem, *path.relative_to(ROOT).parts}]
    assert found == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text())
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


def test_the_walk_names_things_that_exist() -> None:
    walk = (ROOT / "docs" / "walkthrough.md").read_text()
    named = re.findall(r"`((?:scheduler|agents|firmware_bridges|designs)(?:\.\w+)*:[\w.]+)`", walk)
    assert len(named) >= 20, "the walk should pass through the whole house"
    for name in named:
        module, _, path = name.partition(":")
        thing: object = importlib.import_module(module)
        for attribute in path.split("."):
            assert hasattr(thing, attribute), f"the walk names {name}, and {attribute} does not exist"
            thing = getattr(thing, attribute)


def test_the_lock_names_versions_and_no_addresses() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line or "://" in line or "@" in line] == []


def test_the_lock_covers_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower().replace("_", "-") for one in declared} - {"workshed"}
    locked = {
        line.split("==")[0].split("[")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert names - locked == set()


def test_the_agent_extra_is_light() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in extras["agent"]}
    assert names <= {"paho-mqtt", "prometheus-client", "pyserial", "python-dateutil", "msgspec"}
