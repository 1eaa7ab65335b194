"""Tests of planning: worlds made by hand or drawn at random, and what plans of them must be."""

import pytest

# Its assertions say what differs, as those of test modules do.
pytest.register_assert_rewrite("tests.scheduler.planning.compiled_anew")
