"""A run of a study whose network or first weights were another file's content then is not done."""

from dataclasses import replace

import numpy as np
import pytest

import xfer
from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.errors import CheckpointError
from xfer.formats.files import write_weights
from xfer.nets.network_file import write_network
from xfer.pixels.colour import Normalize
from xfer.recipe.load import as_recipe
from xfer.studies.files import changed_files
from xfer.studies.plan import Planned
from xfer.studies.processes import is_done
from xfer.testing.kit import random_weights
from xfer.testing.numpy_backend import NETWORK, NumpyBackend
from xfer.testing.pictures import write_class_folders

USUAL = Normalize(mean=IMAGENET_MEAN, std=IMAGENET_STD)
STEEPER = replace(
    NETWORK,
    nodes=tuple(
        replace(n, attributes={"eps": 1e-3, "momentum": 0.1}) if n.kind == "batch_norm" else n for n in NETWORK.nodes
    ),
)


def port(file, graph=NETWORK, seed=0, normalize=USUAL):
    write_network(file, graph, random_weights(graph.weights, seed), normalize, {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of a network, the recipe that trains it, and the folder of the run."""
    folder = tmp_path_factory.mktemp("ported")
    data = write_class_folders(folder / "pictures", counts=(4, 4))
    port(file := folder / "net.safetensors")
    recipe = as_recipe(None, {"data": str(data), "arch": str(file), "size": 32, "epochs": 1, "batch_size": 4})
    xfer.train(recipe, NumpyBackend(), output=folder / "run")
    return file, recipe, folder / "run"


CHANGES = {
    "another network": ({"graph": STEEPER}, "model.arch"),
    "other weights": ({"seed": 1}, "weights.source"),
    "another mean": ({"normalize": Normalize(mean=(0.5,) * 3, std=IMAGENET_STD)}, "net.safetensors had another mean"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_of_a_file_that_was_ported_anew_is_not_done(trained, change):
    file, recipe, run = trained
    planned, (given, said) = Planned("mode", "numpy", recipe.seed, recipe), CHANGES[change]
    port(file)
    assert is_done(planned, run, "auto")
    port(file, **given)
    with pytest.raises(CheckpointError, match=rf"{said}.*then\). Cure: another --output, or --overwrite"):
        is_done(planned, run, "auto")
    assert not is_done(planned, run, "auto", overwrite=True)


def test_only_what_the_recipe_takes_from_a_file_counts(trained):
    file, recipe, run = trained
    port(file, seed=1, normalize=Normalize(mean=(0.5,) * 3, std=IMAGENET_STD))
    said = changed_files(recipe, run)
    assert len(said) == 2
    fresh = recipe.model_copy(update={"weights": recipe.weights.model_copy(update={"source": "random"})})
    assert [reason for reason in changed_files(fresh, run) if "weights" in reason] == []


def test_a_file_that_is_gone_or_damaged_says_nothing(trained):
    file, recipe, run = trained
    file.write_bytes(b"torn")
    assert changed_files(recipe, run) == ()
    file.unlink()
    assert changed_files(recipe, run) == ()


def test_a_network_of_the_catalogue_has_no_file(trained):
    _, recipe, run = trained
    named = recipe.model_copy(update={"model": recipe.model.model_copy(update={"arch": "resnet18"})})
    assert changed_files(named, run) == ()


def test_the_weights_of_another_network_are_other_weights(trained):
    """What is compared is what training would load, whatever it is stored under."""
    file, recipe, run = trained
    port(file)
    assert changed_files(recipe, run) == ()
    weights = random_weights(NETWORK.weights, 0)
    wrapped = {f"module.{name}": array for name, array in weights.items()}
    write_weights(file.with_name("wrapped.safetensors"), wrapped, {})
    source = recipe.weights.model_copy(update={"source": str(file.with_name("wrapped.safetensors"))})
    assert changed_files(recipe.model_copy(update={"weights": source}), run) == ()
    wrapped["module.stem.bias"] = wrapped["module.stem.bias"] + np.float32(1)
    write_weights(file.with_name("wrapped.safetensors"), wrapped, {})
    assert len(changed_files(recipe.model_copy(update={"weights": source}), run)) == 1
