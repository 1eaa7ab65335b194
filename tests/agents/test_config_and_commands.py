"""The shop's file, the commands, what is installed, and the words to the service manager."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents import cli, install
from agents.agent import Agent
from agents.as_root import name_of, why_not_as_root
from agents.config import OnOpen, load
from agents.contract.vocabulary import Process
from agents.reports import described
from agents.sd_notify import notify, watchdog_s
from agents.section import ConfigError
from agents.serve import only
from firmware_bridges import bridge as b
from tests.agents.scene import ScriptedBridge, machine_settings

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
shop = "alder"
agent = "pi1"
ring = "block"
data_dir = "data"
[mqtt]
host = "broker.lan"
username = "alder-pi1"
password_file = "secret"
[http]
listen = "0.0.0.0:8701"
[interlocks]
adapter = "file"
path = "inputs"
[[machine]]
id = "l1"
name = "Big laser"
process = "laser"
port = "/dev/workshed/by-path/x"
dialect = "grbl"
model = "k40"
envelope_mm = [300, 200, 0]
options = { home_on_connect = false, rx_bytes = 128 }
materials = [{ material = "plywood", thickness_mm = 3.0 }]
tools = [{ number = 1, kind = "beam", diameter_mm = 0.1 }]
interlocks = [{ name = "door" }, { name = "flame", on_open = "stop" }]
[[machine]]
id = "p1"
process = "fdm"
port = "/dev/p1"
dialect = "marlin"
model = "mk3"
envelope_mm = [250, 210, 200]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "shop.toml"
    path.write_text(text)
    (folder / "secret").write_text("hush\n")
    (folder / "secret").chmod(0o600)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    laser, printer = config.machines
    assert config.mqtt.password == "hush"
    assert "hush" not in repr(config), "secrets stay out of logs"
    assert laser.description.attended
    assert laser.requires_homing
    assert laser.bridge.option("home_on_connect") == "false"
    assert laser.bridge.option("rx_bytes") == "128"
    assert [item.on_open for item in laser.interlocks] == [OnOpen.HOLD, OnOpen.STOP]
    assert not printer.description.attended
    assert config.data_dir == tmp_path / "data"


@pytest.mark.parametrize(
    ("was", "becomes", "word"),
    [
        ('shop = "alder"', "", "`shop` is missing"),
        ('shop = "alder"', 'shop = "al der"', "letters, digits"),
        ('ring = "block"', 'ring = "planet"', "household"),
        ('process = "laser"', 'process = "magic"', "one of fdm"),
        ('name = "Big laser"', "attended = false", "beside a trained person"),
        ("envelope_mm = [300, 200, 0]", "envelope_mm = [300, 200]", "three numbers"),
        ("envelope_mm = [300, 200, 0]", "envelope_mm = [0, 200, 0]", "above 0"),
        ('id = "p1"', 'id = "l1"', "two machines"),
        ('port = "/dev/p1"', 'port = "/dev/workshed/by-path/x"', "a port has one machine"),
        ('port = "/dev/p1"', 'port = "/dev/workshed/../workshed/by-path/x"', "a port has one machine"),
        ("envelope_mm = [300, 200, 0]", "envelope_mm = [nan, 200, 0]", "three numbers"),
        ("envelope_mm = [300, 200, 0]", "envelope_mm = [inf, 200, 0]", "three numbers"),
        ("thickness_mm = 3.0", "thickness_mm = nan", "a number"),
        ('listen = "0.0.0.0:8701"', 'listen = "8701"', "host:port"),
        ('adapter = "file"', 'adapter = "none"', "declare interlocks"),
        ('adapter = "file"', 'adapter = "wires"', "none, file, gpio"),
        ('path = "inputs"', "", "needs a `path`"),
        ('host = "broker.lan"', "hots = 1", "unknown key `hots`"),
        ("thickness_mm = 3.0", "thickness_mm = -1", "at least 0"),
        ('on_open = "stop"', 'on_open = "sing"', "hold, stop"),
        ('model = "mk3"', "model = 3", "a string"),
        ('model = "mk3"', 'model = "mk3"\nbaud = 9.6', "whole number"),
        ('model = "mk3"', 'model = "mk3"\nrequires_homing = 1', "true or false"),
    ],
)
def test_a_wrong_file_names_the_key_and_what_is_allowed(tmp_path: Path, was: str, becomes: str, word: str) -> None:
    assert was in GOOD
    with pytest.raises(ConfigError, match=r"shop\.toml") as caught:
        load(written(tmp_path, GOOD.replace(was, becomes, 1)))
    assert word in str(caught.value)


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(path)


def test_no_machine_is_no_agent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        load(written(tmp_path, 'shop = "a"\nagent = "b"\n'))


def test_check_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD)
    assert cli.main(["check-config", "--config", str(path)]) == 0
    assert "all well" in capsys.readouterr().out
    assert cli.main(["check-config", "--json", "--config", str(path)]) == 0
    assert '"process": "laser"' in capsys.readouterr().out
    assert cli.main(["check-config", "--config", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "policy.toml").write_text("accept = 3")
    written(tmp_path, 'policy = "policy.toml"\n' + GOOD)
    assert cli.main(["check-config", "--config", str(path)]) == 2
    assert "auto, ask" in capsys.readouterr().err
    (tmp_path / "policy.toml").write_text('closed_machines = ["p2"]')
    assert cli.main(["check-config", "--config", str(path)]) == 2
    assert "only machines of this shop (l1, p1)" in capsys.readouterr().err


def test_a_file_run_alone_is_run_under_rules_that_name_the_other_machines_too(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('closed_machines = ["l1"]')
    config = only(load(written(tmp_path, 'policy = "policy.toml"\n' + GOOD)), "p1")
    assert [machine.name for machine in config.machines] == ["p1"]
    agent = Agent(config, lambda _: ScriptedBridge())
    assert agent.policy().closed_machines == {"l1"}
    agent.spool.close()


AS_ROOT, WORKSHED = 0, 997


def owners(*owned: tuple[Path, int]) -> Callable[[Path], int | None]:
    """Whose these places are; others do not exist."""
    return dict(owned).get


def test_root_leaves_another_users_folder_alone(tmp_path: Path) -> None:
    """What it makes there, the service could not open any more."""
    spool = tmp_path / "agent.sqlite"

    def why(user: int, *owned: tuple[Path, int]) -> str:
        return why_not_as_root(tmp_path, "run", user, owners(*owned), {WORKSHED: "workshed"}.__getitem__)

    said = why(AS_ROOT, (tmp_path, WORKSHED), (spool, WORKSHED))
    assert f"{tmp_path} belongs to workshed" in said
    assert "sudo -u workshed workshed-agent run" in said
    assert why(AS_ROOT, (tmp_path, AS_ROOT), (spool, WORKSHED)), "its files count, too"
    assert why(AS_ROOT, (tmp_path, AS_ROOT), (spool, AS_ROOT)) == ""
    assert why(AS_ROOT) == "", "nothing is there yet"
    assert why(WORKSHED, (tmp_path, WORKSHED)) == ""
    assert why(WORKSHED, (tmp_path, AS_ROOT)) == "", "the system says no by itself"


def test_neither_run_nor_serve_begins_as_root_over_the_services_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root can give a folder away; whoever else runs this owns it, and is taken for root by the command."""
    path = written(tmp_path, GOOD)
    (tmp_path / "p.gcode").write_text("G28\n")
    (tmp_path / "data").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "data", 4711, 4711)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    owner = (tmp_path / "data").stat().st_uid
    try:
        name = name_of(owner)
    except KeyError:
        name = f"'#{owner}'"
    assert cli.main(["run", str(tmp_path / "p.gcode"), "--machine", "p1", "--config", str(path)]) == 2
    assert f"sudo -u {name} workshed-agent run" in capsys.readouterr().err
    assert cli.main(["serve", "--config", str(path)]) == 2
    assert f"sudo -u {name} workshed-agent serve" in capsys.readouterr().err
    assert list((tmp_path / "data").iterdir()) == []


def test_run_needs_a_machine_of_the_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD)
    (tmp_path / "p.gcode").write_text("G28\n")
    assert cli.main(["run", str(tmp_path / "p.gcode"), "--machine", "zz", "--config", str(path)]) == 2
    assert "known are l1, p1" in capsys.readouterr().err


def test_install_writes_the_unit_and_the_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD)
    base = ["install", "--config", str(path), "--state", str(tmp_path)]
    assert cli.main(base) == 0
    assert "WatchdogSec" in capsys.readouterr().out
    assert cli.main([*base, "--write", "--root", str(tmp_path / "root")]) == 0
    assert "u workshed" in (tmp_path / "root/etc/sysusers.d/workshed-agent.conf").read_text()
    unit = (tmp_path / "root/etc/systemd/system/workshed-agent.service").read_text()
    assert f"--config {path}" in unit
    assert "Type=notify" in unit
    assert "SYMLINK" in (tmp_path / "root/etc/udev/rules.d/60-workshed.rules").read_text()


def test_install_refuses_what_would_not_come_up_and_says_how_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, GOOD)
    assert cli.main(["install", "--config", str(path), "--write", "--root", str(tmp_path / "root")]) == 2
    said = capsys.readouterr().err
    assert 'set data_dir = "/var/lib/workshed-agent"' in said
    assert "below [http]" in said
    assert not (tmp_path / "root").exists()
    config, state = load(path), tmp_path
    at_home = {"program": Path("/home/pi/workshed/bin/workshed-agent"), "state": state}
    wrong = install.cannot_serve(config, Path("/home/pi/shop.toml"), user="workshed", **at_home)
    assert [("/etc/workshed" in why, "/opt/workshed" in why) for why in wrong] == [(True, False), (False, True)]
    assert install.cannot_serve(config, Path("/home/pi/shop.toml"), user="pi", **at_home) == ()


def test_install_refuses_a_policy_that_the_service_would_end_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that ends at its start is started again without end, and its shop offers nothing."""
    (tmp_path / "policy.toml").write_text('closed_machines = ["p2"]')
    path = written(tmp_path, 'policy = "policy.toml"\n' + GOOD)
    base = ["install", "--config", str(path), "--state", str(tmp_path), "--write", "--root", str(tmp_path / "root")]
    assert cli.main(base) == 2
    assert "p2" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()
    config = replace(load(path), policy=Path("/home/ada/policy.toml"))
    (why,) = install.cannot_serve(config, path, user="workshed", state=tmp_path, program=Path("/opt/workshed/agent"))
    assert why.startswith("the owner's policy is /home/ada/policy.toml")
    config = replace(config, policy=Path("/var/tmp/policy.toml"))
    (why,) = install.cannot_serve(config, path, user="workshed", state=tmp_path, program=Path("/opt/workshed/agent"))
    assert why.startswith("policy is /var/tmp/policy.toml")


def test_install_refuses_what_the_service_would_not_see(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("/dev/p1", "/tmp/printer"))
    found = install.cannot_serve(load(path), Path("/etc/workshed/shop.toml"), user="workshed", state=tmp_path)
    assert any(why.startswith("port of p1 is /tmp/printer") for why in found), found


def test_a_folder_elsewhere_is_made_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD)
    base = ["install", "--config", str(path), "--state", str(tmp_path), "--write", "--root", str(tmp_path / "root")]
    assert cli.main(base) == 0
    folder = (tmp_path / "root/etc/tmpfiles.d/workshed-agent.conf").read_text()
    assert f"d {tmp_path} 0750 workshed workshed" in folder
    assert "systemd-tmpfiles --create workshed-agent.conf" in capsys.readouterr().out


def test_the_unit_reaches_machines_whose_driver_is_not_loaded_yet() -> None:
    (unit, *_) = install.files(Path("/etc/workshed/shop.toml"), user="workshed", state=Path("/var/lib/workshed-agent"))
    allowed = {line.partition("=")[2] for line in unit.text.splitlines() if line.startswith("DeviceAllow=")}
    usb = {"char-166 rw", "char-188 rw"}  # ttyACM, ttyUSB: a name is looked up once, in what is loaded at the start
    assert usb <= allowed
    assert not any("ttyUSB" in one or "ttyACM" in one for one in allowed)


def test_inputs_on_gpio_lines_are_opened_to_the_agents_user() -> None:
    places = install.files(
        Path("/x.toml"), user="workshed", state=Path("/var/lib/workshed-agent"), interlock_adapter="gpio"
    )
    assert [("gpio" in place.text) for place in places[1:]] == [True, True]
    assert "m workshed gpio" in places[2].text


def test_the_packaged_files_are_what_install_writes() -> None:
    unit, rule, user = install.files(
        Path("/etc/workshed/shop.toml"),
        user="workshed",
        state=Path("/var/lib/workshed-agent"),
        program=Path("/opt/workshed/bin/workshed-agent"),
    )
    assert (ROOT / "docker/systemd/workshed-agent.service").read_text() == unit.text
    assert (ROOT / "docker/systemd/60-workshed.rules").read_text() == rule.text
    assert (ROOT / "docker/systemd/workshed-agent.conf").read_text() == user.text
    assert "StateDirectory=workshed-agent\n" in unit.text, "systemd makes the folder and gives it to the user"


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: no systemd on this computer")
    (unit,) = [
        p for p in install.files(tmp_path / "shop.toml", user="root", state=tmp_path) if p.path.suffix == ".service"
    ]
    text = "\n".join(
        "ExecStart=/bin/true" if line.startswith("ExecStart=") else line for line in unit.text.splitlines()
    )
    path = tmp_path / "workshed-agent.service"
    path.write_text(text + "\n")
    done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "workshed-agent.service" in line]
    assert complaints == []


def test_the_agents_user_is_one_that_systemd_makes(tmp_path: Path) -> None:
    sysusers = shutil.which("systemd-sysusers")
    if sysusers is None:
        pytest.skip("systemd-sysusers is not installed: no systemd on this computer")
    for group in ("etc/passwd", "etc/group"):
        (tmp_path / group).parent.mkdir(exist_ok=True)
        (tmp_path / group).write_text("")
    conf = tmp_path / "etc/sysusers.d/workshed-agent.conf"
    conf.parent.mkdir()
    conf.write_text(install.SYSTEM_USER.format(user="workshed", state="/var/lib/workshed-agent"))
    subprocess.run([sysusers, f"--root={tmp_path}"], check=True, capture_output=True)
    assert "workshed:" in (tmp_path / "etc/passwd").read_text()
    assert "workshed" in next(
        line for line in (tmp_path / "etc/group").read_text().splitlines() if line.startswith("dialout")
    )


def test_the_words_to_the_service_manager(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        assert notify("READY=1", {"NOTIFY_SOCKET": str(path)})
        assert listener.recv(100) == b"READY=1"
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert watchdog_s({"WATCHDOG_USEC": "60000000"}) == 30
    assert watchdog_s({}) is None
    assert watchdog_s({"WATCHDOG_USEC": "soon"}) is None


def test_every_process_but_the_unattended_ones_needs_a_person() -> None:
    from agents.config import ATTENDED_PROCESSES

    assert {Process.LASER, Process.CNC} == ATTENDED_PROCESSES


def test_the_report_says_what_the_firmware_told_of_its_limits() -> None:
    machine = machine_settings("l1", Process.LASER)
    told = (("$110", "6000"), ("$120", "500"), ("$30", "255"), ("$32", "1"), ("$100", "250"))
    identity = b.Identity("grbl", "Grbl", "1.1h", "f", frozenset(), told)
    said = described(machine, (), b.Status(b.BridgeState.IDLE, identity=identity))
    assert said.limits == told[:3], "steps a millimetre and laser mode say nothing of time or power"
    assert described(machine, (), b.Status(b.BridgeState.OFFLINE)).limits == ()
