"""The scheduler's public HTTP API as a requester uses it: designs in, orders in, and looking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx

_TIMEOUT_S: Final = 30.0


class Refusal(RuntimeError):
    """The API said no; the text is its own explanation."""


class Network:
    """One requester's view of a scheduler."""

    def __init__(self, base: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._base = base
        self._http = httpx.Client(base_url=f"{base}/api/v1/", headers=headers, timeout=_TIMEOUT_S)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether it answers at all."""
        try:
            return self._http.get(f"{self._base}/health").is_success
        except httpx.HTTPError:
            return False

    def bring_files(self, files: Mapping[str, bytes], said: Mapping[str, str]) -> str:
        """A design from files, with what its bringer says of it; its id."""
        parts = [("files", (name, data, "application/octet-stream")) for name, data in files.items()]
        answer = self._checked(self._http.post("designs", files=parts, data=dict(said)))
        return str(answer["design"])

    def bring_catalogue(self, name: str) -> str:
        """A design from the catalogue that the scheduler ships; its id."""
        return str(self._checked(self._http.post("designs", json={"catalogue": name}))["design"])

    def order(self, design: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Place an order; the order with its jobs."""
        return self._checked(self._http.post("orders", json={"design": design, **wanted}))

    def orders(self) -> list[dict[str, Any]]:
        """Every order with its parts, steps and jobs."""
        return list(self._answer(self._http.get("orders")))

    def job(self, job: str) -> dict[str, Any]:
        """One job with its history and toolpath."""
        return self._checked(self._http.get(f"jobs/{job}"))

    def why(self, job: str) -> dict[str, Any]:
        """Why a job is where it is."""
        return self._checked(self._http.get(f"jobs/{job}/why"))

    def machines(self) -> list[dict[str, Any]]:
        """Every machine as last reported."""
        return list(self._answer(self._http.get("machines")))

    def step_done(self, order: str, step: str) -> None:
        """An assembly step was done."""
        self._checked(self._http.post(f"orders/{order}/steps/{step}/done"))

    def hand_over(self, order: str) -> None:
        """The finished thing is with whoever asked for it."""
        self._checked(self._http.post(f"orders/{order}/hand-over"))

    def toolpath(self, sha256: str) -> bytes:
        """A toolpath's bytes."""
        answer = self._http.get(f"toolpaths/{sha256}")
        if not answer.is_success:
            raise Refusal(f"toolpath {sha256[:12]}: {answer.status_code}")
        return answer.content

    def _checked(self, answer: httpx.Response) -> dict[str, Any]:
        said = self._answer(answer)
        return said if isinstance(said, dict) else {}

    def _answer(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return answer.json() if answer.content else {}
        try:
            detail = answer.json().get("detail", answer.text)
        except ValueError:
            detail = answer.text
        raise Refusal(f"{answer.request.method} {answer.request.url.path}: {answer.status_code}: {detail}")


def token_of(data: Path) -> str:
    """The first-run token that `workshed serve` wrote."""
    return (data / "admin.token").read_text(encoding="utf-8").strip()
