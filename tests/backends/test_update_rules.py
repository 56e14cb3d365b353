"""RMSprop, Lion and LAMB over many steps against formulas in NumPy, and runs that move between frameworks with them."""

import numpy as np
import pytest

from xfer.backend import Batch, NetworkSpec, OptimizerSpec, ParamGroup, ParamGroups
from xfer.capabilities import capability
from xfer.errors import BackendError, ConfigError
from xfer.recipe.load import as_recipe
from xfer.testing.delegate import Delegate
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NETWORK, NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.resuming import assert_same_end, ended
from xfer.training.run import prepare

NAMES = ["numpy", "torch", "mindspore"]
# With an eps much smaller than gradients, what they are rounded by would show in weights whose gradient is nearly 0.
RULES = {
    "rmsprop": OptimizerSpec("rmsprop", alpha=0.9, eps=1e-2),
    "rmsprop with momentum": OptimizerSpec("rmsprop", momentum=0.8, alpha=0.95, eps=1e-2),
    "lion": OptimizerSpec("lion", betas=(0.9, 0.99)),
    "lamb": OptimizerSpec("lamb", betas=(0.9, 0.99), eps=1e-6),
}
DECAY, STEPS = 0.1, 30


def by_formula(spec, w, gradients, lr):
    """A weight after all steps, in float64, each rule as its paper or torch has it."""
    m = v = buffer = np.zeros_like(w)
    (b1, b2), a = spec.betas, spec.alpha
    for t, gradient in enumerate(gradients, start=1):
        if spec.kind == "rmsprop":
            g = gradient + DECAY * w
            v = a * v + (1 - a) * g**2
            buffer = spec.momentum * buffer + g / (v**0.5 + spec.eps)
            w = w - lr * buffer
        elif spec.kind == "lion":
            w = w - lr * (np.sign(b1 * m + (1 - b1) * gradient) + DECAY * w)
            m = b2 * m + (1 - b2) * gradient
        else:
            m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
            u = m / (1 - b1**t) / ((v / (1 - b2**t)) ** 0.5 + spec.eps) + DECAY * w
            norms = np.linalg.norm(w), np.linalg.norm(u)
            w = w - lr * (norms[0] / norms[1] if norms[0] and norms[1] else 1) * u
    return w


def stepped(backend, spec, weights, inputs, targets, lr):
    """The head's weights after each of the batches. The targets of a sigmoid loss make gradients whatever they are."""
    graph = NETWORK
    names = ("fc.weight", "fc.bias")
    model = backend.build(NetworkSpec(graph, (0.5,) * 3, (0.25,) * 3), "cpu")
    backend.import_weights(model, weights)
    rest = frozenset(weights) - {*names}
    groups = ParamGroups((ParamGroup(names, 1.0, DECAY),), rest, frozenset())
    step = backend.make_train_step(model, spec, "sigmoid", groups, "head", "head")
    gradients, path = [], []
    for x, t in zip(inputs, targets, strict=True):
        path.append({name: backend.export_weights(model)[name].astype(np.float64) for name in names})
        z = x @ path[-1]["fc.weight"].T + path[-1]["fc.bias"]
        d = (1 / (1 + np.exp(-z)) - t) / len(x)
        gradients.append({"fc.weight": d.T @ x, "fc.bias": d.sum(axis=0)})
        step([Batch(x.astype(np.float32), t, np.full(len(x), 1 / len(x), np.float32))], (lr,))()
    path.append({name: backend.export_weights(model)[name].astype(np.float64) for name in names})
    return path, gradients, step.export_state()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", RULES)
def test_many_steps_follow_the_formula(name, rule):
    """With gradients at the weights that the backend had; of a bias that begins at 0, where LAMB's trust is 1."""
    backend, _ = require(name)
    rng, spec, lr = np.random.default_rng(3), RULES[rule], 0.01
    weights = {key: rng.normal(0, 0.3, shape).astype(np.float32) for key, shape in NETWORK.weights.items()}
    weights["norm1.running_var"] = np.ones(16, np.float32)
    weights["fc.bias"] = np.zeros(1000, np.float32)
    inputs = rng.normal(size=(STEPS, 6, 16)).astype(np.float32)
    targets = rng.random((STEPS, 6, 1000)).astype(np.float32)
    path, gradients, state = stepped(backend, spec, weights, inputs, targets, lr)
    for key in ("fc.weight", "fc.bias"):
        of_key = [gradient[key] for gradient in gradients]
        for steps in (1, STEPS):
            wanted = by_formula(spec, path[0][key], of_key[:steps], lr)
            off = np.abs(path[steps][key] - wanted)
            # A sign within rounding of 0 may be the other one: of 16,000 weights in 30 steps, a few.
            within = off <= 1e-6 + 2e-5 * np.abs(wanted - path[0][key]).max()
            assert within.mean() >= (0.999 if spec.kind == "lion" else 1), (key, steps, off.max())
            assert np.abs(path[steps][key] - path[0][key]).max() > 0.2 * lr
    assert set(state) == {"step", *(f"{slot}:fc.{part}" for slot in spec.slots for part in ("weight", "bias"))}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (7, 3), (32, 32))


def recipe_of(data, kind, arch="convnet", **more):
    usual = {"data": str(data), "arch": arch, "weights": "random", "size": 32, "epochs": 2, "batch_size": 5}
    rule = {"optimizer.kind": kind, "optimizer.lr": 0.001, "optimizer.weight_decay": 0.05, "optimizer.eps": 1e-6}
    return as_recipe(None, usual | rule | {"model.dropout": 0.2} | more)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["rmsprop", "lion", "lamb"])
def test_a_run_stopped_within_its_epochs_ends_the_same(data, tmp_path, name, kind):
    backend, device = require(name)
    recipe = recipe_of(data, kind, "tiny" if name == "numpy" else "convnet", train_from="head")
    whole = ended(recipe, [backend], [], tmp_path, device)
    assert_same_end(whole, ended(recipe, [backend], [2, 3], tmp_path, device))


@pytest.mark.parametrize("kind", ["rmsprop", "lion", "lamb"])
def test_a_run_moves_to_the_other_framework_and_back(data, tmp_path, kind):
    """Frozen body, three parts on two frameworks: losses within 1e-4 of those of a run that stayed."""
    ours, other = (require(name)[0] for name in ("torch", "mindspore"))
    recipe = recipe_of(data, kind, train_from="head")
    stayed = ended(recipe, [ours], [], tmp_path, "cpu")[1]
    moved = ended(recipe, [ours, other, ours], [2, 3], tmp_path, "cpu")[1]
    assert moved.epoch.val_loss == pytest.approx(stayed.epoch.val_loss, abs=1e-4)
    assert moved.epoch.train_loss == pytest.approx(stayed.epoch.train_loss, abs=1e-4)


def test_a_backend_that_names_no_rules_has_those_of_before(data):
    class Older(Delegate):
        def __getattr__(self, member):
            if member == "update_rules":
                raise AttributeError(member)
            return super().__getattr__(member)

    older = Older(NumpyBackend())
    assert capability(older, "update_rules") == ("sgd", "adam", "adamw")
    prepare(recipe_of(data, "adamw", "tiny"), older)
    with pytest.raises(BackendError, match=r"^optimizer.kind = 'lion': backend 'numpy' has sgd, adam, adamw\. Cure: "):
        prepare(recipe_of(data, "lion", "tiny"), older)


@pytest.mark.parametrize("change", [{"optimizer.alpha": 1.0}, {"optimizer.alpha": -0.1}, {"optimizer.kind": "Lion"}])
def test_numbers_and_names_that_are_none(data, change):
    with pytest.raises(ConfigError, match=r"optimizer\.(alpha|kind)"):
        recipe_of(data, "rmsprop", **change)
