import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xfer.system.tables import csv_text, read_csv

CELLS = st.text(st.sampled_from("'=+-@\t\r\n1.e,a\"|\u8682"), max_size=8)


def cells(text):
    """As any other program reads them."""
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "cell", ["=1+1", "+x", "-x", "@x", "\t=1", "\rx", "\n", "'=1", "''@", "-", "-1-1", "+1+cmd|' /C'!A0"]
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(cell):
    assert cells(csv_text(["a"], [[cell]]))[1] == [f"'{cell}"]
    assert cells(csv_text(["a"], [[cell]], raw=True))[1] == [cell]


@pytest.mark.parametrize("cell", ["ants", "a=b", "'tis", "-1", "+2.5e-3", "-.5", "1-1", "", "\u8682", " =x"])
def test_other_names_and_numbers_stay_as_they_are(cell):
    assert cells(csv_text(["a"], [[cell, -0.25, None, -3]]))[1] == [cell, "-0.25", "", "-3"]


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_every_cell_is_read_again_as_it_was(rows):
    columns, found = read_csv(io.StringIO(csv_text(["a", "b"], rows), newline=""))
    assert columns == ["a", "b"]
    assert [(row["a"], row["b"]) for row in found] == rows
