"""What can be set, with its bounds, checked where it is read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from scheduler.dispatch.limits import Limits
from scheduler.mqtt import Broker


class BadSetting(ValueError):
    """A setting that cannot be used; the text says which, why, and what would do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a scheduler is started with."""

    data: Path
    """Folder of the database, the blobs and the first token."""
    http_host: str = "127.0.0.1"
    http_port: int = 8600
    broker: Broker | None = field(default_factory=lambda: Broker("127.0.0.1", 1883))
    """None: no broker at all (tests, maintenance)."""
    scheduler: str = "main"
    """The name that agents know: the same for all processes that serve one database."""
    instance: str = field(default_factory=lambda: os.environ.get("WORKSHED_INSTANCE", "1"))
    """Which of those processes this is: one dispatches, the others stand by. A process that starts under the instance
    that holds the term is taken for its next run, and takes over at once."""
    database: str = ""
    """SQLAlchemy URL; empty means SQLite in `data`."""
    public_url: str = ""
    """How agents reach this HTTP server; empty means http://host:port."""
    slicers: int = 1
    """Toolpaths made at the same time."""
    plan_budget_s: float = 0.5
    limits: Limits = field(default_factory=Limits)

    @property
    def url(self) -> str:
        """Base URL for others."""
        return (self.public_url or f"http://{self.http_host}:{self.http_port}").rstrip("/")

    @property
    def database_url(self) -> str:
        """Where the state is."""
        return self.database or f"sqlite:///{(self.data / 'workshed.db').resolve()}"

    def checked(self) -> Settings:
        """The settings, if they can be used. Raises BadSetting."""
        if not 1 <= self.http_port <= 65535:
            raise BadSetting(f"the HTTP port {self.http_port} does not exist: give one from 1 to 65535")
        if not 1 <= self.slicers <= 64:
            raise BadSetting(f"{self.slicers} toolpaths at a time is out of bounds: give 1 to 64")
        if not 0 <= self.plan_budget_s <= 60:
            raise BadSetting(f"a planning budget of {self.plan_budget_s} s is out of bounds: give 0 to 60")
        return replace(self, data=self.data.expanduser())


def address(text: str, *, default_port: int) -> tuple[str, int]:
    """`host:port`, `[v6]:port` or `host`. Raises BadSetting."""
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not text.startswith("[")):
        host, port = text, str(default_port)
    if not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise BadSetting(f"{text!r} is no address: write it as host:port")
    return host.strip("[]"), int(port)


def password_from(path: Path | None) -> str:
    """The first line of a password file. Raises BadSetting."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadSetting(f"the password file {path} cannot be read: {error.strerror}") from error
