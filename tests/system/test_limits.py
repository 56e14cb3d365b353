"""The table of limits is the one that people read, and each can be changed."""

from pathlib import Path

import pytest

from xfer.errors import ConfigError
from xfer.system.limits import LIMITS, limit, variable_of

DOCS = Path(__file__).parents[2] / "docs" / "limits.md"


def test_the_page_has_every_limit_with_its_default_and_its_reason():
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `XFER_LIMIT_")]
    assert rows == [
        f"| `{variable_of(name)}` | {known.default} {known.unit} | {known.of} | {known.why} |"
        for name, known in LIMITS.items()
    ]


@pytest.mark.parametrize("name", LIMITS)
def test_the_environment_changes_it(name, monkeypatch):
    monkeypatch.delenv(variable_of(name), raising=False)
    assert limit(name) == LIMITS[name].default
    monkeypatch.setenv(variable_of(name), "3kB")
    assert limit(name) == 3000
    monkeypatch.setenv(variable_of(name), "much")
    with pytest.raises(ConfigError, match=rf"{variable_of(name)} = 'much': expected a number"):
        limit(name)
