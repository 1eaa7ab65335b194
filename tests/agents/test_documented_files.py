"""The example files in docs/agent.md are read by the agent as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.config import ON_LOCAL_NETWORK, OnOpen, load
from agents.policy import read_policy

PAGE = Path(__file__).parents[2] / "docs" / "agent.md"


@pytest.fixture(scope="module")
def examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_shops_file(examples: list[str], tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(examples[0], encoding="utf-8")
    config = load(tmp_path / "shop.toml")
    assert (config.shop, config.mqtt.host, config.telemetry_every_s) == ("garage", ON_LOCAL_NETWORK, 0.0)
    laser = config.machine("l1")
    assert laser.description.attended
    assert laser.interlocks[0].on_open is OnOpen.STOP
    assert [item.material for item in laser.description.loadable] == ["acrylic"]
    assert laser.description.circuit_limit_w == 3000.0


def test_the_owners_rules(examples: list[str], tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(examples[1], encoding="utf-8")
    policy = read_policy(tmp_path / "policy.toml")
    assert policy.queue_at_most == 3
    assert len(policy.windows) == 1
    assert len(policy.quiet) == 1
