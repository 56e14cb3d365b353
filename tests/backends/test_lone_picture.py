"""One picture left for the last batch: refused where its maps have one pixel; else the weights stay what they were."""

import numpy as np
import pytest

from xfer.errors import ConfigError
from xfer.formats.files import digest
from xfer.recipe.load import as_recipe
from xfer.testing.fixtures import require, targets
from xfer.testing.pictures import write_class_folders
from xfer.training.run import fit, prepare

TARGETS = [target for target in targets() if target.backend != "numpy" and target.kind == "cpu"]


@pytest.fixture(params=TARGETS, ids=str)
def target(request):
    return require(request.param.backend, request.param.kind)


@pytest.fixture
def recipe(tmp_path):
    root = write_class_folders(tmp_path / "pictures", counts=(3, 1))
    (root / "train/ants/0.png").unlink()  # 5 are left
    usual = {"data": str(root), "arch": "resnet18", "weights": "random", "epochs": 1, "train_from": "layer4"}
    return as_recipe(None, usual | {"batch_size": 4})


def test_maps_of_one_pixel_are_refused_before_the_first_step(recipe, target):
    backend, device = target
    with pytest.raises(ConfigError, match=r"of 5 training pictures one .*Cure: train\.batch_size = 3, "):
        prepare(as_recipe(recipe, {"size": 32}), backend, device)


def test_larger_maps_are_trained_from_the_same_weights(recipe, target):
    backend, device = target
    prepared = prepare(as_recipe(recipe, {"size": 64}), backend, device)
    assert digest(prepared.net.export()) == prepared.source_digest
    (epoch,) = fit(prepared)
    assert np.isfinite(epoch.epoch.train_loss)
