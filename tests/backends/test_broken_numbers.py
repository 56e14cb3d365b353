"""Numbers that are not finite on the frameworks, where a ReLU or a pooling may swallow them; and states by hand."""

import numpy as np
import pytest

import xfer
from xfer.errors import CheckpointError, XferError
from xfer.recipe.load import as_recipe
from xfer.results.read import STATE
from xfer.system.interrupts import Interrupted
from xfer.testing.fixtures import require, targets
from xfer.testing.pictures import write_class_folders
from xfer.training.run import fit, prepare
from xfer.training.state import read_state, write_state

TARGETS = [target for target in targets() if target.backend != "numpy" and target.kind == "cpu"]


@pytest.fixture(params=TARGETS, ids=str)
def target(request):
    return require(request.param.backend, request.param.kind)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", counts=(4, 2))


@pytest.fixture
def recipe(data):
    usual = {"data": str(data), "arch": "convnet", "weights": "random", "size": 32, "epochs": 2, "batch_size": 4}
    return as_recipe(None, usual | {"train_from": "head"})


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("lr", [1e10, 1e15])
def test_a_rate_far_too_high_is_named_and_no_run_ends_with_it(target, recipe, tmp_path, optimizer, lr):
    backend, device = target
    high = as_recipe(
        recipe, {"optimizer.lr": lr, "optimizer.head_lr_mult": 1e15, "optimizer.kind": optimizer, "train_from": "stem"}
    )
    with pytest.raises(XferError, match=r"at a learning rate of \S+.*Cure: a smaller optimizer\.lr") as caught:
        xfer.train(high, backend, device=device, output=tmp_path / "run", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_broken_weight_is_found_though_every_loss_is_finite(target, recipe):
    backend, device = target
    prepared = prepare(as_recipe(recipe, {"train_from": "stem"}), backend, device)
    load, name = prepared.net.backend.make_predict_step, "conv1.bias"

    def breaking(model, start, stop):
        """A pass over the validation pictures, before which the bias goes: a ReLU behind it makes 0 of that."""
        predict = load(model, start, stop)

        def broken(inputs):
            weights = prepared.net.export()
            weights[name][0] = -np.inf
            prepared.net.load(weights)
            return predict(inputs)

        return broken

    object.__setattr__(prepared.net.backend, "make_predict_step", breaking)
    with pytest.raises(XferError, match=rf"after epoch 1, .*{name} holds values that are not finite"):
        list(fit(prepared))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_state_fits_its_run_and_one_by_hand_is_named(target, recipe, tmp_path, kind):
    backend, device = target
    path = tmp_path / "run"

    def stop(what, done, total):
        if what == "epoch 2":
            raise Interrupted(2, between=True)

    with pytest.raises(Interrupted):
        xfer.train(as_recipe(recipe, {"optimizer.kind": kind}), backend, device=device, output=path, progress=stop)
    file = path / STATE
    content = file.read_bytes()
    state, identity = read_state(file)
    slot = next(key for key in state.optimizer if key != "step")
    state.optimizer[slot] = state.optimizer[slot][..., :1]
    write_state(file, state, identity)
    with pytest.raises(CheckpointError, match=rf"optimizer/{slot} is float32 .*, expected float32 .*Cure"):
        xfer.train(None, backend, device=device, resume=path, progress=False)
    file.write_bytes(content)
    assert np.isfinite(xfer.train(None, backend, device=device, resume=path, progress=False).result["val_loss"])
