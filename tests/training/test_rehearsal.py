"""An epoch whose last batch is one picture is refused before its first step, where norm layers cannot bear it."""

import pytest

from xfer.errors import ConfigError
from xfer.recipe.load import as_recipe, make_recipe
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training.run import fit, prepare


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = write_class_folders(tmp_path_factory.mktemp("data") / "pictures", counts=(5, 2))
    (root / "train/ants/0.png").unlink()  # 9 are left
    usual = {"data": str(root), "arch": "tiny", "weights": "random", "size": 32, "epochs": 1, "train_from": "layer1"}
    return as_recipe(None, usual)


def prepared(recipe, **changes):
    return prepare(as_recipe(recipe, changes), NumpyBackend())


@pytest.mark.parametrize(("size", "cure"), [(1, 3), (2, 3), (4, 3), (8, 7)])
def test_a_lone_picture_is_refused_and_the_cures_work(recipe, size, cure):
    message = rf"train\.batch_size = {size}: of 9 training pictures one .*Cure: train\.batch_size = {cure}, "
    with pytest.raises(ConfigError, match=message):
        prepared(recipe, batch_size=size)
    assert len(list(fit(prepared(recipe, batch_size=cure)))) == 1
    assert len(list(fit(prepared(recipe, batch_size=size, **{"train.norm_stats": "freeze"})))) == 1


def test_a_later_phase_is_tried_before_the_first_as_well(recipe):
    phases = [{"epochs": 1, "train_from": "head"}, {"epochs": 1, "train_from": "layer1"}]
    content = recipe.model_dump(mode="json", exclude_none=True) | {"phases": phases}
    with pytest.raises(ConfigError, match="trained in phase 2 have one value"):
        prepare(make_recipe(content, {"batch_size": 4}), NumpyBackend())
