"""The example files in docs/agent.md are read by the agent as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.config import ON_LOCAL_NETWORK, OnOpen, load
from agents.install import cannot_serve
from agents.policy import read_policy
from agents.section import ConfigError
from firmware_bridges.detect import Answer, Finding, configuration

PAGE = Path(__file__).parents[2] / "docs" / "agent.md"


@pytest.fixture(scope="module")
def examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_first_file_on_a_pi_is_one_that_the_service_comes_up_with(examples: list[str], tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(examples[0], encoding="utf-8")
    state, program = Path("/var/lib/workshed-agent"), Path("/usr/local/bin/workshed-agent")
    assert cannot_serve(load(path), path, user="workshed", state=state, program=program) == ()
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    path.write_text(examples[0].replace("[[machine]]", examples[1] + "\n[[machine]]"), encoding="utf-8")
    assert load(path).mqtt.username == "agent.garage.pi"


def test_what_detect_prints_needs_its_envelope_measured_and_nothing_else(tmp_path: Path) -> None:
    for answer in (Answer("marlin", "2.1", 'Ender-3 "S1"', "fdm"), Answer("grbl", "1.1h")):
        text = configuration(Finding("/dev/ttyUSB0", "/dev/ttyUSB0", 115200, answer), 1)
        path = tmp_path / "shop.toml"
        path.write_text('shop = "garage"\nagent = "pi"\n' + text, encoding="utf-8")
        with pytest.raises(ConfigError, match="envelope_mm"):
            load(path)
        path.write_text(path.read_text().replace("[0, 0, 0]", "[220, 220, 250]"), encoding="utf-8")
        assert load(path).machine("m1").description.model


def test_the_shops_file(examples: list[str], tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(examples[2], encoding="utf-8")
    config = load(tmp_path / "shop.toml")
    assert (config.shop, config.mqtt.host, config.telemetry_every_s) == ("garage", ON_LOCAL_NETWORK, 0.0)
    laser = config.machine("l1")
    assert laser.description.attended
    assert laser.interlocks[0].on_open is OnOpen.STOP
    assert [item.material for item in laser.description.loadable] == ["acrylic"]
    assert laser.description.circuit_limit_w == 3000.0


def test_the_owners_rules(examples: list[str], tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(examples[3], encoding="utf-8")
    policy = read_policy(tmp_path / "policy.toml")
    assert policy.queue_at_most == 3
    assert len(policy.windows) == 1
    assert len(policy.quiet) == 1
