"""The licence gate over SPDX expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.okh import licence_verdict


@pytest.mark.parametrize(
    ("expression", "is_open"),
    [
        ("CERN-OHL-S-2.0", True),
        ("cern-ohl-s-2.0", True),
        ("CC-BY-SA-4.0", True),
        ("GPL-3.0+", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("MIT OR LicenseRef-Mine", True),
        ("MIT AND LicenseRef-Mine", False),
        ("MIT AND (CC-BY-NC-4.0 OR CC0-1.0)", True),
        ("MIT AND CC-BY-NC-4.0 OR CC0-1.0", True),
        ("MIT AND CC-BY-NC-4.0", False),
        ("CC-BY-NC-SA-4.0", False),
        ("CC-BY-ND-4.0", False),
        ("LicenseRef-NONE", False),
        ("NOASSERTION", False),
        ("", False),
        (None, False),
        ("All rights reserved", False),
        ("(MIT", False),
        ("MIT)", False),
        ("MIT OR", False),
        ("OR MIT", False),
        ("MIT WITH", False),
        ("(" * 500 + "MIT" + ")" * 500, False),
        ("MIT; rm -rf", False),
    ],
)
def test_the_gate(expression: str | None, is_open: bool) -> None:
    verdict = licence_verdict(expression)
    assert verdict.open is is_open
    assert verdict.why.endswith((".", "?"))
    assert ("own use" in verdict.why) is not is_open


def test_reasons_name_what_closes_it() -> None:
    assert "forbids commercial" in licence_verdict("CC-BY-NC-4.0").why
    assert "forbids changes" in licence_verdict("CC-BY-ND-4.0").why
    assert "No licence is given" in licence_verdict(None).why


@pytest.mark.parametrize(("written", "meant"), [("CC BY-SA 4.0", "CC-BY-SA-4.0"), ("GPLv3", "GPL-3.0"), ("CC0", "CC0")])
def test_a_near_miss_is_closed_but_helped(written: str, meant: str) -> None:
    verdict = licence_verdict(written)
    assert not verdict.open
    assert ("Did you mean " + meant in verdict.why) is (written != "CC0")


@given(st.text(max_size=60))
def test_no_text_breaks_the_gate(text: str) -> None:
    assert licence_verdict(text).why


@given(st.lists(st.sampled_from(["MIT", "CC-BY-NC-4.0", "CC0-1.0"]), min_size=1, max_size=5))
def test_and_needs_all_and_or_needs_one(names: list[str]) -> None:
    good = [name != "CC-BY-NC-4.0" for name in names]
    assert licence_verdict(" AND ".join(names)).open is all(good)
    assert licence_verdict(" OR ".join(names)).open is any(good)
