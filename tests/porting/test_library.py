"""Networks by the name of a library's: traced once into a file, and networks in a file from then on. Needs no timm."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from stand_in import Own

import xfer.nets.library as library
from xfer.backend import NetworkSpec
from xfer.capabilities import LibraryModule, Traced
from xfer.cli.main import main
from xfer.errors import AbsentError, BackendError, ConfigError, WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.nets.library_process import write_traced
from xfer.nets.pretrained import resolve_source
from xfer.nets.specs import arch_named, known_arch
from xfer.recipe.load import as_recipe, load_recipe, make_recipe, to_toml
from xfer.recipe.recipe import Recipe
from xfer.system.processes import Answer
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import NETWORK, NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training.record import begin, go_on

NAME = "timm/small.tag"
GRAPH = dataclasses.replace(NETWORK, size=(20, 20))


class Module(Own):
    """The graph, as a backend in NumPy computes it: what a library would have written by hand."""

    def predict(self, images):
        backend = NumpyBackend()
        network = backend.build(NetworkSpec(self.graph, MEAN, STD), "cpu")
        backend.import_weights(network, {name: self.weights[name] for name in self.graph.weights})
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))
        pixels = np.round((images * std + mean) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        return backend.make_predict_step(network, "stem", "logits")(pixels)


MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)


class Offering(Delegate):
    """In torch's place: it has a library with one network, and traces that to `graph`."""

    def __init__(self, graph=GRAPH):
        super().__init__(NumpyBackend())
        self.graph = graph

    def library_module(self, name, pretrained):
        if name != "small.tag":
            raise ConfigError(f"arch = 'timm/{name}': no such network")
        module = Module(GRAPH)
        if pretrained:
            module.weights = {name: array + np.float32(0.01) for name, array in module.weights.items()}
        return LibraryModule(module, (20, 20), MEAN, STD, 0.8, "bicubic", False, {"hf_hub_id": "timm/small.tag"})

    def own_module(self, value):
        return value

    def trace(self, module, size):
        return Traced(self.graph, "a look")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def asked(here, monkeypatch):
    """What the other process was asked for; it is this one here."""
    questions = []

    def ask(module, name, file, pretrained):
        assert module == "xfer.nets.library_process"
        questions.append((name, pretrained))
        try:
            write_traced(Offering(), name, here / file, bool(pretrained))
        except ConfigError as error:
            return Answer({"kind": "ConfigError", "message": str(error)}, 0, "")
        return Answer(None, 0, "")

    monkeypatch.setattr(library, "ask", ask)
    monkeypatch.setattr(library, "_installed", lambda: "1.0")
    return questions


def test_without_the_library_the_cure_is_its_extra(here, monkeypatch):
    monkeypatch.setattr(library, "_installed", lambda: None)
    result = CliRunner().invoke(main, ["train", ".", "--arch", "timm/resnet18"])
    assert result.exit_code == 2
    line = "error: timm/resnet18: timm is not installed. Cure: pip install 'xfer-vision[timm]'"
    assert result.stderr.splitlines()[-1] == line
    with pytest.raises(AbsentError):
        known_arch(NumpyBackend(), "timm/resnet18")


def test_what_was_traced_needs_no_library(asked, monkeypatch):
    assert arch_named(NAME).mean == MEAN
    monkeypatch.setattr(library, "_installed", lambda: None)
    assert arch_named(NAME).std == STD
    assert asked == [("small.tag", "")]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["timm/", "timm/a/b", "timm/../x", "timm/hf-hub:a", "timm/a.b.c", "timm/a b"])
def test_no_other_names_reach_the_library(name):
    with pytest.raises(ConfigError, match=r"expected timm/NAME or timm/NAME[.]TAG"):
        known_arch(NumpyBackend(), name)


def test_what_the_other_process_complains_of_is_raised_here(asked):
    with pytest.raises(ConfigError, match="arch = 'timm/other': no such network"):
        known_arch(NumpyBackend(), "timm/other")
    assert asked == [("other", "")]


def test_a_network_with_other_logits_does_not_come_in(here):
    idle = {"kind": "dropout", "attributes": {"p": 0.5}}
    nodes = tuple(dataclasses.replace(n, **idle) if n.kind == "relu" else n for n in GRAPH.nodes)
    other = Offering(dataclasses.replace(GRAPH, nodes=nodes))
    with pytest.raises(BackendError, match=r"timm/small.tag: what was traced differs from the module by [0-9.]+e"):
        write_traced(other, "small.tag", here / "net.safetensors", True)
    assert not (here / "net.safetensors").exists()


def test_a_network_that_cannot_be_traced_is_named(here, monkeypatch):
    def refuse(self, module, size):
        raise BackendError("erf in act (Act): the function erf")

    monkeypatch.setattr(Offering, "trace", refuse)
    with pytest.raises(BackendError, match=r"timm/small.tag: erf in act [(]Act[)]: the function erf"):
        write_traced(Offering(), "small.tag", here / "net.safetensors", False)


def test_published_weights_come_with_their_normalisation(asked):
    weights, metadata = resolve_source("imagenet", NAME)
    assert weights.keys() == GRAPH.weights.keys()
    assert np.array_equal(weights["stem.weight"], Own(GRAPH).weights["stem.weight"] + np.float32(0.01))
    assert json.loads(metadata["mean"]) == list(MEAN)
    assert asked == [("small.tag", "pretrained")]
    assert resolve_source("random", NAME) is None


def sizes(transforms):
    return [(t.op, getattr(t, "size", None), getattr(t, "interpolation", None)) for t in transforms]


def test_a_recipe_sees_pictures_as_the_network_does(asked):
    recipe = load_recipe(None, {"arch": NAME})
    assert sizes(recipe.augment.eval_transforms) == [("Resize", 25, "bicubic"), ("CenterCrop", 20, None)]
    assert sizes(recipe.augment.train_transforms) == [
        ("RandomResizedCrop", 20, "bicubic"),
        ("HorizontalFlip", None, None),
    ]
    larger = load_recipe(None, {"arch": NAME, "size": 33})
    assert sizes(larger.augment.eval_transforms) == [("Resize", 41, "bicubic"), ("CenterCrop", 33, None)]
    assert as_recipe(Recipe(), {"arch": NAME}) == recipe
    own = [{"op": "Resize", "size": [24, 24]}]
    asks = make_recipe({"model": {"arch": NAME}, "augment": {"train": own, "eval": own}}, {})
    assert sizes(asks.augment.eval_transforms) == [("Resize", (24, 24), "bilinear")]
    assert asked == [("small.tag", "")]


def test_a_recipe_that_says_all_asks_nobody(asked, here, monkeypatch):
    recipe = load_recipe(None, {"arch": NAME})
    (here / "config.toml").write_text(to_toml(recipe))
    monkeypatch.setattr(library, "_file", None)
    assert load_recipe(here / "config.toml") == recipe
    assert load_recipe(None, {"arch": "resnet18"}).augment.eval is None


def test_a_run_carries_its_network(asked, here, monkeypatch):
    write_class_folders(here / "pictures", counts=(4, 2))
    recipe = load_recipe(None, {"arch": NAME, "data": "pictures", "epochs": 1, "train_from": "head"})
    *_, run = begin(recipe, NumpyBackend(), output=here / "run")
    assert asked == [("small.tag", ""), ("small.tag", "pretrained")]
    weights, metadata = read_weights(here / "run" / "best.safetensors")
    assert metadata["arch"] == NAME
    assert json.loads(metadata["mean"]) == list(MEAN)
    body = [name for name in weights if not name.startswith("fc.")]
    assert all(np.array_equal(weights[name], Own(GRAPH).weights[name] + np.float32(0.01)) for name in body)

    def gone(*anything):
        raise AbsentError("there is no library any more")

    monkeypatch.setattr(library, "_file", gone)
    assert len(run.predict("pictures/val/*/*", backend=NumpyBackend()).labels) == 4
    longer = load_recipe(here / "run" / "config.toml", {"epochs": 2})
    *_, further = go_on(here / "run", longer, NumpyBackend(), output=here / "longer")
    assert further.result["parent"]["head"] == "kept"


def test_weights_of_a_file_are_those_of_the_library(asked, here):
    write_class_folders(here / "pictures", counts=(4, 2))
    own = Own(GRAPH).weights
    write_weights(here / "own.pth", {f"module.{name}": own[name] for name in GRAPH.weights}, {})
    recipe = load_recipe(None, {"arch": NAME, "data": "pictures", "epochs": 1, "weights": "own.pth"})
    begun = begin(recipe, NumpyBackend(), output=here / "run")
    net = next(begun).net
    begun.close()
    assert asked == [("small.tag", "")]
    assert np.array_equal(net.export()["stem.weight"], own["stem.weight"])
    assert net.spec.mean == MEAN
    write_weights(here / "less.pth", {"stem.weight": own["stem.weight"]}, {})
    with pytest.raises(WeightsError, match="missing"):
        next(begin(load_recipe(None, {"arch": NAME, "data": "pictures", "weights": "less.pth"}), NumpyBackend()))


def test_models_shows_it(asked):
    result = CliRunner().invoke(main, ["models", NAME, "--json"])
    assert result.exit_code == 0, result.output
    (facts,) = json.loads(result.stdout)
    assert (facts["name"], facts["size"], facts["weights"]) == (NAME, [20, 20], ["timm/small.tag"])
    assert CliRunner().invoke(main, ["models", NAME, "--cuts"]).exit_code == 0
