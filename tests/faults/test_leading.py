"""Two leaders never both write, whoever sleeps and wakes when; and without the guard they would."""

from __future__ import annotations

import pytest

from scheduler.dispatch.leadership import Leadership
from tests.faults.leading import explore
from tests.faults.worlds import Broken


def test_nobody_writes_under_an_old_term_in_any_order() -> None:
    assert explore(2, 2) > 500


def test_without_the_guard_two_leaders_both_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leadership, "guard", lambda self, c: None)
    with pytest.raises(Broken, match="writes under term"):
        explore(2, 2)
