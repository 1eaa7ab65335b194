"""Toolpaths on their way out: bounded for one address and in all, and every place given back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scheduler.api.application import create_app
from scheduler.api.transfers import BoundedFile, Busy, Transfers
from tests.scheduler.line import Agent, Line


def slow_file(path: Path, transfers: Transfers, address: str) -> tuple[Any, asyncio.Event]:
    """A transfer under way until the event is set."""
    go_on = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await go_on.wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "headers": [], "extensions": {}}
    answer = BoundedFile(path, transfers, address, media_type="text/x.gcode", headers={})
    return answer(scope, receive, send), go_on


def test_so_many_for_one_address_and_so_many_in_all(tmp_path: Path) -> None:
    path = tmp_path / "a.gcode"
    path.write_bytes(b"G0 X1\n" * 1000)
    transfers = Transfers(in_all=3, for_one=2)

    async def crowd() -> None:
        under_way = []
        for address in ("a", "a", "b"):
            sending, go_on = slow_file(path, transfers, address)
            under_way.append((asyncio.create_task(sending), go_on))
            await asyncio.sleep(0)
        assert transfers.under_way == 3
        for address, why in (("a", "to a already"), ("c", "3 files are on their way already")):
            with pytest.raises(Busy, match=why):
                await slow_file(path, transfers, address)[0]
        for task, go_on in under_way[:1]:
            go_on.set()
            await task
        under_way[1][0].cancel()
        await asyncio.gather(under_way[1][0], return_exceptions=True)
        sending, go_on = slow_file(path, transfers, "a")
        go_on.set()
        await sending
        under_way[2][1].set()
        await under_way[2][0]

    asyncio.run(crowd())
    assert transfers.under_way == 0


def test_whoever_finds_no_place_is_told_when_to_come_again(tmp_path: Path) -> None:
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)))
    line.arrive()
    line.order()
    line.plan()
    line.plan()
    offer = line.job(line.jobs()[0].id)
    app = create_app(line.settings, scheduler=line.scheduler)
    with TestClient(app) as client:
        sha256 = client.get(f"/api/v1/jobs/{offer.id}").json()["toolpath"]["sha256"]
        path = f"/api/v1/toolpaths/{sha256}"
        assert client.get(path).status_code == 200
        app.state.transfers = Transfers(for_one=0)
        refused = client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (503, "transfers_busy")
        assert refused.headers["Retry-After"] == "2"
    line.close()
