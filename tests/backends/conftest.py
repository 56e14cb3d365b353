"""Tests of frameworks: what their runs would draw is no matter of theirs."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def nothing_is_drawn(undrawn_module):
    pass
