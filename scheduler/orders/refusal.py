"""What cannot be done, said so that a person can do something about it."""

from __future__ import annotations


class Refused(ValueError):
    """A request that changed nothing. `code` is stable and for programs; the rest is for people."""

    def __init__(self, code: str, what: str, why: str, hint: str = "", *, status: int = 422) -> None:
        self.code, self.what, self.why, self.hint, self.status = code, what, why, hint, status
        super().__init__(f"{what}: {why}." + (f" {hint}" if hint else ""))
