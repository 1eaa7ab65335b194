"""Run a scheduler as a program: its broker (or somebody else's), its database, its HTTP, until it is told to end."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import uvicorn

from scheduler.announce import CannotAnnounce, announced
from scheduler.api.application import create_app
from scheduler.broker import BrokerFailed, BrokerMissing, StandingBroker
from scheduler.collector import settle
from scheduler.config import BadSetting, Settings, address, password_from
from scheduler.mqtt import Broker
from scheduler.store import StoreTooNew
from scheduler.web import mount

_log: Final = logging.getLogger(__name__)
_GRACE_S: Final = 3


class CannotServe(RuntimeError):
    """It cannot be started, or did not start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What `workshed serve` was asked for, as given."""

    data: Path
    http: str
    mqtt: str
    """The broker's address; empty: one is started in `data`."""
    admit: tuple[str, ...]
    mqtt_user: str
    mqtt_password_file: Path | None
    mqtt_ca: str
    database: str
    public_url: str
    name: str
    instance: str
    slicers: int
    announce: bool


def serve(asked: Asked, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        with contextlib.ExitStack() as stack:
            host, port = address(asked.http, default_port=8600)
            settings = Settings(
                data=asked.data,
                http_host=host,
                http_port=port,
                broker=_broker(asked, stack, say),
                scheduler=asked.name,
                instance=asked.instance,
                database=asked.database,
                public_url=asked.public_url,
                slicers=asked.slicers,
            )
            application = create_app(settings)
            mount(application, application.state.scheduler)
            if asked.announce:
                stack.enter_context(announced(settings))
            # The log's shape is ours; uvicorn's access lines would drown what happens to jobs.
            config = uvicorn.Config(
                application, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S
            )
            server = uvicorn.Server(config)
            settle()
            server.run()
            if not server.started:
                raise CannotServe("it did not start; the log above says why")
    except (BadSetting, StoreTooNew, CannotAnnounce, BrokerMissing, BrokerFailed, ValueError, OSError) as error:
        raise CannotServe(str(error)) from error


def _end(_number: int, _frame: object) -> NoReturn:
    """Uvicorn raises the signal again once it has shut down: what was begun around it must still be ended."""
    raise SystemExit(0)


def _broker(asked: Asked, stack: contextlib.ExitStack, say: Callable[[str], None]) -> Broker:
    if asked.mqtt:
        if asked.admit:
            raise BadSetting("--admit lets agents in at the broker started here: your own broker has its own list")
        host, port = address(asked.mqtt, default_port=1883)
        return Broker(host, port, asked.mqtt_user, password_from(asked.mqtt_password_file), asked.mqtt_ca)
    standing = StandingBroker(asked.data.resolve() / "broker", asked.name, asked.admit)
    stack.enter_context(standing)
    host, port = standing.address
    say(f"broker at {host}:{port} ({standing.broker.setup.program.kind.value})")
    for agent in standing.agents:
        say(f"agent {agent}: password in {standing.credential_file(agent)}")
    if not standing.agents:
        say("no agent may connect yet: name each with --admit SHOP/AGENT")
    return Broker(host, port, standing.username, standing.password)
