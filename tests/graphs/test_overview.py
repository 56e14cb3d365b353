"""What is said of every boundary of a network."""

import json

import pytest
from click.testing import CliRunner
from small_graphs import GRAPHS, residual

from xfer.cli.main import main
from xfer.graphs.overview import CutFacts, cuts_of, facts_of_graph


def test_every_boundary_of_a_small_network():
    head = 8 * 3
    layer2 = 8 * 6 * 9 * 4**2 + 8 * 8 + 8 * 6 * 4**2
    layer1 = 6 * 4 * 9 * 8**2 + 6 * 4 * 8**2
    conv1 = 4 * 3 * 9 * 16**2
    assert cuts_of(residual()) == (
        CutFacts("stem", "stem", (3, 32, 32), 4 * 3072, conv1 + layer1 + layer2 + head, 983),
        CutFacts("stem", "bn1", (4, 16, 16), 4 * 1024, layer1 + layer2 + head, 875),
        CutFacts("layer1", "layer1", (4, 16, 16), 4 * 1024, layer1 + layer2 + head, 867),
        CutFacts("layer2", "layer2", (6, 8, 8), 4 * 384, layer2 + head, 603),
        CutFacts("head", "head", (8,), 32, head, 27),
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_the_first_boundary_has_everything_behind_it(name):
    facts, (first, *_, last) = facts_of_graph(name, GRAPHS[name]), cuts_of(GRAPHS[name])
    assert (first.work, first.parameters) == (facts.work, facts.parameters)
    assert last.parameters == facts.stages[-1].parameters


def xfer(*words):
    return CliRunner().invoke(main, words)


def test_the_command_lists_the_cuts_of_a_network():
    lines = xfer("models", "alexnet", "--cuts").stdout.splitlines()
    (conv5,) = [line.split() for line in lines if "features.10" in line]
    assert [word for word in conv5 if word.strip("│")] == (
        ["features.10", "256", "x", "13", "x", "13", "173.1", "0.158", "59,221,224"]
    )


def test_the_cuts_as_json():
    cuts = json.loads(xfer("models", "vgg11_bn", "--cuts", "--json").stdout)
    assert [cut["name"] for cut in cuts[-3:]] == ["hidden", "classifier.3", "head"]
    assert cuts[-1] == {
        "stage": "head", "name": "head", "takes": [4096], "size": 16384, "work": 4_096_000, "parameters": 4_097_000,
    }  # fmt: skip


def test_cuts_are_those_of_one_network():
    result = xfer("models", "vgg", "--cuts")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --cuts: expected one network, not 8. Cure: xfer models vgg11 --cuts\n"


def test_cuts_and_backends_are_asked_for_one_at_a_time():
    result = xfer("models", "resnet18", "--cuts", "--backends")
    assert (result.exit_code, result.stderr.splitlines()[0][:22]) == (2, "error: --cuts and --ba")


LISTED = {"relu", "conv", "batch_norm", "linear", "add", "max_pool", "adaptive_avg_pool", "flatten", "image"}
RECORDS = [
    {"name": "few", "works": True, "kinds": sorted(LISTED)},
    {"name": "lost", "works": False, "problem": "needs a package. Cure: pip install it"},
]


@pytest.fixture
def surveyed(monkeypatch):
    monkeypatch.setattr("xfer.doctor.survey", lambda: RECORDS)


@pytest.mark.usefixtures("surveyed")
def test_backends_that_build_a_network_and_what_they_lack():
    assert xfer("models", "resnet18", "--backends").stdout.splitlines()[-2:] == [
        "few: yes",
        "lost: not usable here: needs a package. Cure: pip install it",
    ]
    assert xfer("models", "mobilenet_v2", "--backends").stdout.splitlines()[-2] == "few: no, it has no dropout, relu6"


@pytest.mark.usefixtures("surveyed")
def test_a_list_has_a_column_for_each_backend():
    *table, last = xfer("models", "resnet", "--backends").stdout.splitlines()
    assert [line.split()[-2] for line in table if "resnet" in line and line[0] == "│"] == ["yes"] * 7
    assert last.startswith("lost: not usable here: ")


@pytest.mark.usefixtures("surveyed")
def test_backends_as_json():
    (record,) = json.loads(xfer("models", "mobilenet_v2", "--backends", "--json").stdout)
    assert set(record["kinds"]) - LISTED == {"relu6", "dropout"}
    assert record["backends"]["few"] == {"builds": False, "lacks": ["dropout", "relu6"], "problem": ""}
    assert record["backends"]["lost"]["problem"] == RECORDS[1]["problem"]


def test_without_being_asked_no_backend_is_looked_at(monkeypatch):
    monkeypatch.setattr("xfer.doctor.survey", lambda: pytest.fail("a framework would be imported"))
    for words in (("models",), ("models", "resnet18"), ("models", "resnet18", "--json")):
        result = xfer(*words)
        assert (result.exit_code, "yes" in result.stdout) == (0, False)
