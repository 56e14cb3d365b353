"""Cross-validation on the frameworks: the folds of the core, features kept once, and the figures of all pictures."""

import pytest

import xfer
from xfer.features.store import entries, open_store
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn")
PLAIN = {"model.dropout": 0.0}  # masks are in the digest of batches, and networks have their own


@pytest.mark.parametrize("name", ["torch", "mindspore"])
def test_folds_of_both_frameworks_are_those_of_the_core(tmp_path, monkeypatch, name):
    backend, device = require(name)
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XFER_CACHE_LIMIT", "1GB")
    data = write_class_folders(tmp_path / "pictures", counts=(6, 1), size=(32, 32))
    usual = {"data": data, "weights": "random", "size": 32, "epochs": 1, "batch_size": 4, "views": 1, "progress": False}
    own = {"arch": "convnet", "train_from": "layer2", "folds": 2, "device": device}
    result = xfer.cross_validate(None, backend, output=tmp_path / "cv", **usual, **own, set=PLAIN)
    assert result.metrics.n == 12
    assert [fold.n_val for fold in result.folds] == [6, 6]
    assert sorted(kept.about["split"] for kept in entries(open_store())) == ["train of all folds", "val of all folds"]
    digests = [xfer.Run.load(tmp_path / "cv" / fold.folder).result["batches_digest"] for fold in result.folds]
    numpy, _ = require("numpy")
    for fold, digest in enumerate(digests, start=1):
        keys = PLAIN | {"data.folds": 2, "data.fold": fold}
        run = xfer.train(None, numpy, arch="tiny", output=tmp_path / f"numpy-{fold}", set=keys, **usual)
        assert run.result["batches_digest"] == digest
