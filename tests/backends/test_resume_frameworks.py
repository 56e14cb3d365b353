"""Resuming on the frameworks: killed, stopped, or moved from one to the other, a run ends as it would have."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from archs import ARCHS

from xfer.recipe.load import as_recipe, to_toml
from xfer.results.read import STATE
from xfer.testing.fixtures import require, targets
from xfer.testing.pictures import write_class_folders
from xfer.testing.resuming import assert_same_end, assert_same_folders, ended, resumptions

TARGETS = [target for target in targets() if target.backend != "numpy" and target.kind in ("cpu", "cuda")]
CHILD = """
import sys
import xfer.training.gallery
xfer.training.gallery.draw = lambda *args: None
import xfer.api, xfer.training.record
from xfer.backends import load_backend
xfer.training.record.STATE_EVERY = 0.0
xfer.training.record.STATE_SHARE = float("inf")
backend, device, config, *paths = sys.argv[1:]
load_backend(backend)
ready = []
def progress(what, done, total):
    if what.startswith("epoch") and not ready:
        ready.append(print("training", flush=True))
for path in paths:
    xfer.api.train(config, backend, device=device, output=path, resume="auto", checkpoint_every=1e-9, progress=progress)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (9, 4), (36, 40))


@pytest.fixture(params=TARGETS, ids=str)
def target(request):
    return require(request.param.backend, request.param.kind)


def recipe_of(data, **overrides):
    if overrides["arch"] == "resnet18":
        overrides |= {"model.layers": [1, 1]}  # with norm layers, and quick
    usual = {"data": str(data), "weights": "random", "size": 32, "epochs": 3, "batch_size": 6, "views": 2}
    return as_recipe(None, usual | {"optimizer.lr": 0.01, "model.dropout": 0.2} | overrides)


RULES = {
    "momentum": {"optimizer.kind": "sgd", "optimizer.momentum": 0.9},
    "Nesterov": {"optimizer.kind": "sgd", "optimizer.momentum": 0.9, "optimizer.nesterov": True},
    "adam": {"optimizer.kind": "adam", "optimizer.lr": 0.001},
    "adamw": {"optimizer.kind": "adamw", "optimizer.lr": 0.001, "optimizer.weight_decay": 0.05},
}
TOGETHER = {  # all that a run remembers of its past, and mixed pictures
    **RULES["adam"],
    "train.ema": 0.9,
    "mix.mixup": 0.4,
    "mix.cutmix": 1.0,
    "schedule.kind": "plateau",
    "schedule.plateau_patience": 0,
}
RULES["together"] = TOGETHER | {"train.patience": 1}


@pytest.mark.parametrize(
    ("arch", "train_from", "rule"),
    [
        ("resnet18", "head", "momentum"),
        ("resnet18", "head", "adam"),
        ("convnet", None, "Nesterov"),
        ("convnet", None, "adamw"),
        ("resnet18", "layer2", "adam"),
        ("resnet18", "layer2", "together"),
    ],
)
def test_stopped_at_boundaries_of_chance_it_ends_the_same(data, tmp_path, target, arch, train_from, rule):
    backend, device = target
    first = train_from or ARCHS[arch].stage_names[0]
    recipe = recipe_of(data, arch=arch, train_from=first, **RULES[rule])
    chance = random.Random(f"{arch} {first} {rule}")
    stops = [chance.randint(1, 6), chance.randint(1, 4)]  # a boundary for each of 3 steps, and one for the epoch
    whole = ended(recipe, [backend], [], tmp_path, device)
    assert_same_end(whole, ended(recipe, [backend], stops, tmp_path, device))


def start(backend, device, config, *paths):
    words = [sys.executable, "-c", CHILD, backend.name, device, str(config), *map(str, paths)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("most", [1, pytest.param(5, marks=pytest.mark.long)])
def test_sigkill_at_moments_of_chance_loses_nothing(data, tmp_path, target, most):
    """So many kills, each in a part of the run in which training has begun; then the rest."""
    backend, device = target
    content = recipe_of(data, arch="convnet", train_from="stem", epochs=20, **TOGETHER, **{"train.patience": 12})
    (tmp_path / "recipe.toml").write_text(to_toml(content))
    kills, chance = 0, random.Random(11)
    while kills < most:
        process = start(backend, device, tmp_path / "recipe.toml", tmp_path / "run")
        assert process.stdout.readline() == "training\n"
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
        kills += process.returncode == -9
        assert process.returncode == -9, "it should last longer"
    process = start(backend, device, tmp_path / "recipe.toml", tmp_path / "run", tmp_path / "whole")
    process.communicate()
    assert process.returncode == 0
    assert not (tmp_path / "run" / STATE).exists()
    assert 1 <= len(resumptions(tmp_path / "run")) <= most
    assert_same_folders(tmp_path / "whole", tmp_path / "run")


MOVES = [("torch", "mindspore"), ("mindspore", "torch")]


@pytest.mark.parametrize(("first", "second"), MOVES, ids=["to mindspore", "to torch"])
def test_a_frozen_run_moves_to_the_other_framework(data, tmp_path, first, second):
    """After epoch 3 of 6: predictions as of either run that stayed, losses within 1e-4 of theirs."""
    backends = [require(name, "cpu")[0] for name in (first, second)]
    recipe = recipe_of(data, arch="resnet18", epochs=6, **RULES["momentum"])
    stayed = [ended(recipe, [backend], [], tmp_path, "cpu")[1] for backend in backends]
    _, moved, _ = ended(recipe, backends, [3 * 4], tmp_path, "cpu")
    assert [epoch.epoch for epoch in moved.state().history] == [1, 2, 3, 4, 5, 6]
    for run in stayed:
        assert np.array_equal(run.best.predictions, moved.best.predictions)
        assert run.epoch.batches_digest == moved.epoch.batches_digest
        for a, b in zip(run.state().history, moved.state().history, strict=True):
            assert (a.train_loss, a.val_loss) == pytest.approx((b.train_loss, b.val_loss), abs=1e-4)
