"""`run.model()`: the best checkpoint as a module of the framework, which predicts what the run does."""

import copy
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

import xfer
from xfer.data.find import find_images
from xfer.data.loader import read_now
from xfer.data.split import Split
from xfer.errors import BackendError
from xfer.metrics import probabilities
from xfer.testing.fixtures import require, targets
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

DECLARED = [target for target in targets() if target.backend in ("torch", "mindspore")]
NETWORKS = {
    "resnet18": {"lr": 0.001},
    "changed": {"arch": "resnet18", "model.layers": [1, 1], "model.extra": [8]},
    "convnet": {"model.dropout": 0.5},
    "efficientnet_lite0": {},
}
DEEP = ("efficientnet_lite0",)
NORMALIZE = {"op": "Normalize", "mean": [0.3, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
EVAL = [{"op": "Resize", "size": [32, 40]}]
EXACT = SimpleNamespace(precision="float32", fast=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (6, 3), (40, 48))


def trained(backend, device, data, output, network="resnet18"):
    recipe = {"arch": network, "weights": "random", "epochs": 1, "batch_size": 6, "train_from": "stem"}
    recipe |= {"augment.train": EVAL, "augment.eval": [*EVAL, NORMALIZE], "lr": 0.05} | NETWORKS[network]
    return xfer.train(None, backend, device=device, output=output, data=str(data), **recipe)


def normalised(run, data):
    """The validation pictures as the docstring of `Run.model` says, (N, 3, H, W) float32, and their files."""
    files, spec = find_images([str(data / "val")]), run.checkpoint.spec
    split = Split(files, np.zeros(len(files), np.int64))
    pixels = read_now(split, run.checkpoint.transforms, np.arange(len(files)))
    x = (pixels / 255 - np.array(spec.mean)) / np.array(spec.std)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2).astype(np.float32)), files


def logits(name, module, images):
    if name == "torch":
        torch = import_module("torch")
        exact = import_module("xfer_torch.settings").on_gpu(EXACT, training=False)  # it goes by the program's own
        with torch.no_grad(), exact:
            return module(torch.from_numpy(images).to(next(module.parameters()).device)).cpu().numpy()
    return module(import_module("mindspore").Tensor(images)).asnumpy()


@pytest.fixture(scope="module")
def run_of(data, tmp_path_factory):
    """A run of a network on a backend: trained once, and shared by the tests, which change nothing of it."""
    runs = {}

    def of(backend, device, network="resnet18"):
        key = (backend.name, device, network)
        if key not in runs:
            runs[key] = trained(backend, device, data, tmp_path_factory.mktemp("runs") / "run", network)
        return runs[key]

    return of


@pytest.mark.parametrize(
    "network", [pytest.param(name, marks=pytest.mark.long if name in DEEP else ()) for name in NETWORKS]
)
@pytest.mark.parametrize("target", DECLARED, ids=str)
def test_its_softmax_is_what_the_run_predicts(target, network, data, run_of):
    backend, device = require(target.backend, target.kind)
    run = run_of(backend, device, network)
    images, files = normalised(run, data)
    wanted = run.predict(files, backend=backend, device=device)
    module = run.model(backend=backend, device=device)
    assert images.shape == (6, 3, 32, 40)
    assert run.checkpoint.spec.mean == (0.3, 0.5, 0.6)
    assert np.ptp(wanted.probabilities[:, 0]) > 1e-3, "this test needs pictures that are told apart"
    assert np.abs(probabilities(logits(target.backend, module, images)) - wanted.probabilities).max() < 1e-5


@pytest.mark.parametrize("target", DECLARED, ids=str)
def test_its_weights_are_the_callers_and_bear_the_names_of_the_checkpoint(target, data, run_of):
    backend, device = require(target.backend, target.kind)
    run = run_of(backend, device)
    images, _ = normalised(run, data)
    first, second = (run.model(backend=backend, device=device) for _ in range(2))
    before = logits(target.backend, second, images)
    names = first.state_dict() if target.backend == "torch" else first.parameters_dict()
    assert {name for name in names if not name.endswith("num_batches_tracked")} == set(run.checkpoint.weights)
    if target.backend == "torch":
        first.get_parameter("fc.bias").data += 1
    else:
        names["fc.bias"].set_data(names["fc.bias"] + 1)
    assert np.allclose(logits(target.backend, first, images), before + 1, atol=1e-4)
    assert np.array_equal(logits(target.backend, second, images), before)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_module_of_torch_is_one_that_can_be_copied_saved_and_trained(network, data, run_of, tmp_path):
    backend, device = require("torch")
    torch = import_module("torch")
    run = run_of(backend, device, network)
    images, _ = normalised(run, data)
    module = run.model(backend=backend, device=device)
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    before = logits("torch", module, images)
    torch.save(module, tmp_path / "module.pt")
    copies = [copy.deepcopy(module), torch.load(tmp_path / "module.pt", weights_only=False)]
    module(torch.from_numpy(images)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert np.abs(logits("torch", module, images)).max() == 0
    for twin in copies:
        assert np.array_equal(logits("torch", twin, images), before)
        twin.load_state_dict(module.state_dict())
        assert np.abs(logits("torch", twin, images)).max() == 0


def test_a_backend_without_modules_says_so(data, tmp_path):
    run = xfer.train(
        None, NumpyBackend(), output=tmp_path / "r", data=str(data), arch="tiny", weights="random", epochs=1, size=32
    )
    with pytest.raises(BackendError, match="backend 'numpy' gives no module of its own"):
        run.model(backend=NumpyBackend())
