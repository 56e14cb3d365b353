"""docs/peers.md: each cell of its tables is a source, a run, or says that nothing was found."""

import re

import pytest

from tests.documents import ROOT

TEXT = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
TABLES = [block for block in TEXT.split("\n\n") if block.startswith("|  | xfer |")]
SOURCE = re.compile(
    r"\[[^\]]+\]\((?:https://(?:github\.com/[\w.-]+/[\w.-]+/(?:blob|tree)/[0-9a-f]{40}/|docs\.)|\w+\.md)"
)


def rows(table):
    head, _, *rest = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines())
    return head, rest


@pytest.mark.parametrize("table", TABLES, ids=["trainers", "others"])
def test_every_cell_has_a_source(table):
    head, rest = rows(table)
    assert head[1] == "xfer"
    assert len(rest) >= 20
    for row in rest:
        assert len(row) == len(head)
        for tool, cell in zip(head[1:], row[1:], strict=True):
            known = SOURCE.search(cell) or cell.startswith(("not found", "run, "))
            assert known, f"{row[0]}, {tool}: {cell}"


def test_the_tools_are_those_that_people_ask_for():
    tools = [tool for table in TABLES for tool in rows(table)[0][2:]]
    assert tools == ["timm", "fastai", "Lightning", "Keras", "Ultralytics",
                     "MindCV", "AutoGluon", "lightly-train", "vyntri"]  # fmt: skip
    assert "[msProbe](https://github.com/Ascend/msprobe/" in TEXT
