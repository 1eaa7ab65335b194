"""The agent must run on a Pi with 512 MB: what it imports is checked in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = (
    *("ortools", "trimesh", "numpy", "scipy", "pydantic", "sqlalchemy", "fastapi", "starlette", "uvicorn", "nicegui"),
    *("aiohttp", "flask", "django", "httpx", "requests", "typer", "rich", "shapely", "ezdxf", "PIL", "pandas"),
    *("scheduler", "designs", "hypothesis", "pytest"),
)
SCRIPT = """
import json, sys
import agents.cli, agents.serve, agents.install
from firmware_bridges.registry import DIALECTS
import importlib
for module, _ in DIALECTS.values():
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_nothing_heavy_is_imported_by_the_whole_agent_with_every_bridge() -> None:
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    loaded = set(json.loads(printed.stdout))
    assert {"agents", "firmware_bridges", "paho", "prometheus_client", "dateutil", "msgspec"} <= loaded
    assert loaded & set(HEAVY) == set()


def test_the_contract_alone_needs_only_msgspec() -> None:
    script = "import sys, json, agents.contract.asyncapi, agents.contract.logs; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(printed.stdout)}
    assert loaded & {"paho", "serial", "prometheus_client", "dateutil", "firmware_bridges", *HEAVY} == set()
