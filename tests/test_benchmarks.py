"""What the measurements tell their cases. None is run here."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks import finetune
from benchmarks.common import Options
from xfer.formats.files import write_weights
from xfer.graphs import packaged
from xfer.system.download import file_hash

WEIGHTS = {"conv1.weight": np.arange(4, dtype=np.float32).reshape(2, 2)}


@pytest.fixture
def cases(monkeypatch):
    """The weights that each case of fine-tuning is given, as its process would read them."""
    given = {}

    def in_turns(cases, rounds):
        given.update({name: load_file(arguments[2]) for name, arguments in cases.items()})
        return {name: {"seconds": 1.0} for name in cases}

    monkeypatch.setattr(finetune, "in_turns", in_turns)
    monkeypatch.setattr(finetune, "child", lambda module: {"overhead": 0.0})
    return given


@pytest.mark.parametrize("name", ["imagenet", "resnet18.pth", "resnet18.ckpt"])
def test_every_peer_of_fine_tuning_reads_the_weights_asked_for(tmp_path, monkeypatch, cases, name):
    file = tmp_path / "weights" / ("small.pth" if name == "imagenet" else name)
    write_weights(file, WEIGHTS, {})
    monkeypatch.setenv("XFER_CACHE", str(tmp_path))
    small = replace(packaged.published("resnet18")[0], url="http://127.0.0.1:9/small.pth", sha256=file_hash(file))
    monkeypatch.setattr(packaged, "published", lambda name: (replace(small, size=None),))
    finetune.measure(Options(tmp_path, name if name == "imagenet" else str(file), 1))
    assert cases.keys() == finetune.PEERS.keys()
    for weights in cases.values():
        np.testing.assert_array_equal(weights["conv1.weight"], WEIGHTS["conv1.weight"])


@pytest.mark.parametrize("source", ["nowhere.pth", "random"])
def test_weights_that_are_not_there_are_a_row_that_says_so(tmp_path, cases, source):
    figures = finetune.measure(Options(tmp_path, source, 1))
    assert not cases
    assert all(source in figures[name]["missing"] for name in finetune.PEERS)
    table, _ = finetune.report(json.loads(json.dumps(figures)))
    assert table.count(source) == len(finetune.PEERS)
