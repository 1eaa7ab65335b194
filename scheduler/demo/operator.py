"""The stand-in person of a shop: looks at the agent's page as a person would, and does what it asks a person to do.

It uses the agent's public API with the shop's own token, nothing else. `decide` is pure: what the page shows → acts.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from scheduler.demo.shops import ShopFiles, TwinShop

_log = logging.getLogger(__name__)

#: An act that has not shown its effect yet is not repeated before this.
REPEAT_AFTER_S: Final = 2.0
PRESENCE_S: Final = 30.0
PRESENCE_EVERY_S: Final = 5.0
_TIMEOUT_S: Final = 5.0
_BLOCKED: Final = frozenset({"alarm", "disarmed", "fault"})
#: The machine moves, or is about to, for a job in one of these.
_AT_WORK: Final = frozenset({"intended", "starting", "running", "held"})
_SPOOL_G: Final = 1000.0
#: A sheet or board as a shop has them on the shelf, where the job names no size.
_SHEET_MM: Final = 400.0


@dataclass(frozen=True, slots=True)
class Act:
    """One request: `name` for the tally, `path` and `body` for the API."""

    name: str
    path: str
    body: Mapping[str, Any]


def decide(page: Mapping[str, Any]) -> tuple[Act, ...]:
    """What a diligent person does about what the agent's page shows."""
    return tuple(act for machine in page["machines"] for act in _at_machine(machine))


def _at_machine(machine: Mapping[str, Any]) -> Sequence[Act]:
    name, jobs = machine["machine"], machine.get("jobs", [])
    finished = [job for job in jobs if job["state"] == "finished"]
    if finished:
        return [_inspection(job) for job in finished]
    at_work = [job for job in jobs if job["state"] in _AT_WORK]
    acts: list[Act] = []
    if not at_work and not machine["bed_clear"]:
        acts.append(Act("bed cleared", f"machines/{name}/bed-clear", {}))
    if not at_work and (machine.get("disarmed") or machine["bridge_state"] in _BLOCKED):
        acts.append(Act("re-armed", f"machines/{name}/rearm", {}))
    waiting = [job for job in jobs if job["state"] not in _AT_WORK]
    for gate in machine.get("gates", []):
        if not gate.get("open", False):
            acts += _lift(gate["gate"], name, machine, waiting)
    return acts


def _lift(gate: str, name: str, machine: Mapping[str, Any], waiting: Sequence[Mapping[str, Any]]) -> Sequence[Act]:
    """What opens one shut gate; nothing for those that open by themselves or must stay shut."""
    if gate == "homed" and machine["bridge_state"] == "idle":
        return [Act("homed", f"machines/{name}/home", {})]
    unconfirmed = [job for job in waiting if not job.get("card_confirmed", False)]
    if gate == "work_card" and unconfirmed:
        return [Act("work card followed", f"jobs/{unconfirmed[0]['job']}/work-card-confirmed", {})]
    if gate == "material" and waiting:
        loaded = [stock_for(waiting[0]["material"])]
        return [Act("material loaded", f"machines/{name}/material", {"materials": loaded})]
    return []


def _inspection(job: Mapping[str, Any]) -> Act:
    body = {"good": job["pieces"], "rejected": 0, "note": "looked at by the demo's stand-in operator"}
    return Act("inspected", f"jobs/{job['job']}/inspect", body)


def stock_for(need: Mapping[str, Any]) -> dict[str, Any]:
    """A spool, sheet or board from the shelf that satisfies `need`."""
    stock = {key: need[key] for key in ("material", "colour", "thickness_mm") if need.get(key) not in (None, "")}
    if need.get("amount_g") is not None:
        stock["remaining_g"] = max(_SPOOL_G, 2.0 * float(need["amount_g"]))
    for side in ("width_mm", "height_mm"):
        if need.get(side) is not None or need.get("thickness_mm") is not None:
            stock[side] = max(_SHEET_MM, float(need.get(side) or 0.0))
    return stock


class Operator:
    """One shop's person. `step` looks and acts once; call it often."""

    def __init__(self, shop: TwinShop, files: ShopFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self.shop = shop
        self.tally: Counter[str] = Counter()
        self.refusals: list[str] = []
        self.page: Mapping[str, Any] | None = None
        """What the agent's page showed last; None while it does not answer."""
        self._clock = clock
        self._done: dict[str, float] = {}
        headers = {"Authorization": f"Bearer {files.token}"}
        self._http = httpx.Client(base_url=f"{files.url}/api/", headers=headers, timeout=_TIMEOUT_S)

    def close(self) -> None:
        """Put the phone away."""
        self._http.close()

    def step(self) -> None:
        """Look at the page, then do what it asks for. An agent that does not answer is tried again next time."""
        try:
            answer = self._http.get("state")
            answer.raise_for_status()
            self.page = answer.json()
            if self._due("present", PRESENCE_EVERY_S):
                body = {"person": self.shop.person, "for_s": PRESENCE_S}
                self._http.post("presence", json=body).raise_for_status()
            for act in decide(self.page):
                self._do(act)
        except httpx.HTTPError as error:
            self.page = None
            _log.debug("%s does not answer: %s", self.shop.shop, error)

    def _do(self, act: Act) -> None:
        if not self._due(act.path, REPEAT_AFTER_S):
            return
        answer = self._http.post(act.path, json=dict(act.body))
        if answer.is_success:
            self.tally[act.name] += 1
        else:
            self.refusals.append(f"{act.path}: {answer.status_code} {answer.text[:200]}")
            _log.info("%s: %s was refused: %s", self.shop.shop, act.path, answer.text[:200])

    def _due(self, key: str, every_s: float) -> bool:
        now = self._clock()
        if now - self._done.get(key, -every_s) < every_s:
            return False
        self._done[key] = now
        return True
