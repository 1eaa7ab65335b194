"""Finding a scheduler on the local network: real multicast on loopback, one process announcing and one looking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.config import MqttSettings, load
from agents.contract.discovery import SERVICE, FoundScheduler, instance_name, read_txt, txt
from agents.discovery import choose, find_in_child, remember, remembered
from agents.section import ConfigError
from agents.serve import located
from scheduler.announce import Announcement, CannotAnnounce
from tests.agents.scene import shop_config

MAIN = FoundScheduler("main", "127.0.0.1", 1884, tls=False, http="http://127.0.0.1:8600")
LOOPBACK = ["127.0.0.1"]


def test_who_announces_is_found_and_who_left_is_not() -> None:
    announcement = Announcement(MAIN, interfaces=LOOPBACK)
    with announcement:
        assert find_in_child(LOOPBACK) == (MAIN,)
    assert find_in_child(LOOPBACK) == ()


def test_loopback_is_not_announced_to_others() -> None:
    with pytest.raises(CannotAnnounce, match="no other computer reaches"):
        Announcement(MAIN)


def test_a_record_says_what_was_announced() -> None:
    pairs = {key.encode(): value.encode() for key, value in txt(MAIN).items()}
    assert read_txt(instance_name("main"), MAIN.host, MAIN.port, dict(pairs)) == MAIN


@pytest.mark.parametrize(
    ("name", "port", "pairs"),
    [
        ("printer._octoprint._tcp.local.", 80, {b"txtvers": b"1"}),
        (SERVICE, 80, {b"txtvers": b"1"}),
        (instance_name("main"), 0, {b"txtvers": b"1"}),
        (instance_name("main"), 1883, {b"txtvers": b"2"}),
        (instance_name("main"), 1883, {b"txtvers": None, b"\xff": b"\xff"}),
    ],
)
def test_other_records_are_nobody(name: str, port: int, pairs: dict[bytes, bytes | None]) -> None:
    assert read_txt(name, "192.0.2.1", port, pairs) is None


def test_only_web_addresses_are_taken_for_http() -> None:
    found = read_txt(instance_name("main"), "192.0.2.1", 1883, {b"txtvers": b"1", b"http": b"file:///etc/passwd"})
    assert found is not None
    assert found.http == ""


def test_the_one_that_was_wished_for_or_the_only_one() -> None:
    other = replace(MAIN, scheduler="other")
    assert choose([MAIN], ()) == MAIN
    assert choose([MAIN, other], ()) is None, "nobody guesses between two"
    assert choose([MAIN, other], ("gone", "other")) == other
    assert choose([MAIN], ("gone",)) is None


def test_found_now_or_found_last_or_alone(tmp_path: Path) -> None:
    config = shop_config(tmp_path / "data", mqtt=MqttSettings(host="mdns"))
    assert located(config, lambda: ()).mqtt.host == "", "alone: no scheduler was ever found"
    assert located(config, lambda: (MAIN,)).mqtt.port == 1884
    assert located(config, lambda: ()).mqtt.host == MAIN.host, "where it was last"
    named = shop_config(tmp_path, mqtt=MqttSettings(host="broker.example"))
    assert located(named, lambda: (MAIN,)) == named, "a named broker is not looked for"


def test_tls_once_wished_for_is_not_announced_away(tmp_path: Path) -> None:
    config = shop_config(tmp_path, mqtt=MqttSettings(host="mdns", tls=True))
    assert located(config, lambda: (MAIN,)).mqtt.tls


def test_a_broken_note_is_no_note(tmp_path: Path) -> None:
    note = tmp_path / "scheduler.json"
    assert remembered(note) is None
    note.write_bytes(b"{")
    assert remembered(note) is None
    remember(note, MAIN)
    assert remembered(note) == MAIN


def test_a_password_goes_to_no_stranger(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    machine = '[[machine]]\nid = "m1"\nprocess = "fdm"\ndialect = "marlin"\nmodel = "x"\nport = "/dev/null"\n'
    machine += "envelope_mm = [200, 200, 180]\n"
    head = 'shop = "alder"\nagent = "pi1"\n[mqtt]\nhost = "mdns"\n'
    file.write_text(head + 'password = "secret"\n' + machine, encoding="utf-8")
    with pytest.raises(ConfigError, match="no stranger"):
        load(file)
    file.write_text(head + 'password = "secret"\ntls = true\n' + machine, encoding="utf-8")
    assert load(file).mqtt.tls
