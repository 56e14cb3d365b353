"""A network under a prefix, beside what else a file holds."""

import numpy as np
import pytest

from xfer.errors import WeightsError
from xfer.formats.files import write_weights
from xfer.nets.weights import init_weights
from xfer.nets.wrapped import unwrapped
from xfer.recipe.load import as_recipe
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training.run import prepare

SHAPES = {"stem.weight": (2, 3), "layer1.weight": (4, 2), "fc.weight": (5, 4), "fc.bias": (5,)}
HEAD = ("fc.weight", "fc.bias")
WEIGHTS = init_weights(SHAPES, 0)
LOSS = {"criterion.weight": np.ones(5, np.float32)}


def under(prefix, weights=WEIGHTS):
    return {f"{prefix}{name}": array for name, array in weights.items()}


@pytest.mark.parametrize("prefix", ["model.", "model._orig_mod.", "backbone.", "encoder.resnet."])
def test_a_network_beside_its_loss_is_taken_from_under_its_prefix(prefix):
    weights, note = unwrapped(under(prefix) | LOSS, SHAPES, HEAD)
    assert list(weights) == list(WEIGHTS)
    assert all(weights[name] is WEIGHTS[name] for name in WEIGHTS)
    assert note == f"weights taken from under {prefix!r}; passed over: 1 tensors, such as criterion.weight"


body = {name: array for name, array in WEIGHTS.items() if name not in HEAD}


@pytest.mark.parametrize(
    "loaded",
    [
        WEIGHTS | LOSS,  # it fits, or would: what is left over is for strict loading to refuse
        under("student.") | under("teacher."),
        {name: array for name, array in under("model.").items() if "layer1" not in name},
        {name.replace(".", "_"): array for name, array in WEIGHTS.items()},
    ],
)
def test_what_is_not_certain_stays_as_it_is(loaded):
    weights, note = unwrapped(loaded, SHAPES, HEAD)
    assert list(weights) == list(loaded)
    assert note == ""


def test_the_head_may_be_absent():
    assert list(unwrapped(under("backbone.", body) | LOSS, SHAPES, HEAD)[0]) == list(body)


def test_training_starts_from_there_and_says_so(tmp_path):
    data = write_class_folders(tmp_path / "data")
    recipe = as_recipe(None, {"data": str(data), "arch": "tiny", "weights": "random", "size": 32})
    ours = prepare(recipe, NumpyBackend()).net.export()
    write_weights(tmp_path / "w.pth", under("model.", ours) | LOSS, {})
    write_weights(tmp_path / "two.pth", under("student.", ours) | under("teacher.", ours), {})
    prepared = prepare(as_recipe(recipe, {"weights": str(tmp_path / "w.pth"), "seed": 5}), NumpyBackend())
    assert prepared.notes == ("weights taken from under 'model.'; passed over: 1 tensors, such as criterion.weight",)
    taken = prepared.net.export()
    assert all(np.array_equal(taken[name], ours[name]) for name in ours if name not in HEAD)
    with pytest.raises(WeightsError, match=r"two\.pth does not fit the network.*unexpected: student\."):
        prepare(as_recipe(recipe, {"weights": str(tmp_path / "two.pth")}), NumpyBackend())
