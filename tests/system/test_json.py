"""JSON that every program reads: what is written has no NaN in it, and who tries is told where it was."""

import json
import math

import pytest

from xfer.cli import console
from xfer.errors import XferError
from xfer.system.files import json_text, write_json


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("content", "place"),
    [
        (lambda value: {"rows": [{"loss": 1.0}, {"loss": value}]}, "rows.1.loss"),
        (lambda value: [0, (1, value)], "1.1"),
        (lambda value: value, "a number"),
    ],
)
def test_a_number_that_json_has_not_is_refused_with_its_place(tmp_path, content, place, value):
    for write in (json_text, console.as_json, lambda c: write_json(tmp_path / "x.json", c)):
        with pytest.raises(XferError, match=f"^{place} = {value}: is not finite"):
            write(content(value))
    assert list(tmp_path.iterdir()) == [], "nothing half written is left"


def test_what_json_has_is_written_as_ever(tmp_path):
    content = {"a": [1, 2.5, None, True, "蚂"], "b": {"c": 1e300}}
    write_json(tmp_path / "x.json", content)
    assert (tmp_path / "x.json").read_text("utf-8") == json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    assert json_text(content) == json.dumps(content)
