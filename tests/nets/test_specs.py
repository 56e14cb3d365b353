"""What a backend is asked to build, and what is refused before it is."""

import pytest
from small_graphs import Builder, transformer

from xfer.errors import BackendError, ConfigError
from xfer.graphs import packaged
from xfer.nets.specs import ModelSpec, arch_named, known_arch, with_graph
from xfer.testing.numpy_backend import NumpyBackend

BACKEND = NumpyBackend()
MEAN, STD = (0.5,) * 3, (0.25,) * 3


def spec(arch, size=(64, 64), **changes):
    return ModelSpec(arch, 5, size, MEAN, STD, **changes)


def test_a_network_of_the_catalogue_comes_with_the_classes_and_hidden_layers_asked_for():
    graph = with_graph(spec("mobilenet_v2", extra=(7,)), BACKEND).graph
    assert graph.classes == 5
    assert graph.weights["extra.0.weight"] == (7, 1280)
    assert graph.weights["classifier.1.weight"] == (5, 7)
    assert packaged.load("mobilenet_v2").classes == 1000


def test_dropout_stays_right_before_the_head():
    graph = with_graph(spec("mobilenet_v2", extra=(7, 6)), BACKEND).graph
    before = graph[graph[graph.head].inputs[0]]
    assert (before.kind, before.inputs) == ("dropout", ("extra.1.relu",))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (
            spec("vit_b_16"),
            r"pictures of 64 x 64 pixels: vit_b_16 takes none but those of 224 x 224\. Cure: --size 224",
        ),
        (spec("alexnet", (8, 8)), r"8 x 8 pixels are too small for features\.\S+ .*Cure: larger pictures"),
        (spec("vgg11", layers=(1, 1)), r"model\.layers = \[1, 1\]: vgg11 is no ResNet"),
        (spec("vgg11", padding="same"), r"model\.padding = 'same': vgg11 is no ResNet"),
        (spec("squeezenet1_1", extra=(8,)), r"the head of this network takes maps"),
        (spec("mine", (32, 33), graph=transformer()), r"mine takes none but those of 32 x 32"),
    ],
)
def test_what_a_network_cannot_have_is_refused(wanted, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        with_graph(wanted, BACKEND)
    assert "\n" not in str(caught.value)


def test_a_graph_that_asks_for_more_memory_than_there_is_is_refused_before_anything_is_made(monkeypatch):
    b = Builder()
    name = b.conv("stem", 4, 3)
    for number in range(18):  # twice as many channels each time
        name = b.add(f"double{number}", "cat", name, name, axis=1)
    b.add("pool", "mean", name, axes=[2, 3], keep=False)
    b.linear("head", 5, 4 * 2**18)
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: 2**30)
    with pytest.raises(ConfigError, match=r"a picture of 32 x 32 pixels in mine: needs about 8\.0 GiB"):
        with_graph(spec("mine", (32, 32), graph=b.graph("head")), BACKEND)


def test_a_name_of_nothing_is_refused_with_the_nearest():
    with pytest.raises(BackendError, match=r"arch = 'tinny': expected one of the \d+ that .*Did you mean 'tiny'\?"):
        known_arch(BACKEND, "tinny")


def test_a_kind_that_a_backend_lacks_is_named():
    backend = NumpyBackend()
    backend.kinds = frozenset({"image", "conv", "linear", "relu"})
    with pytest.raises(BackendError, match=r"cannot build mobilenet_v2: it has no .*batch_norm.*relu6"):
        known_arch(backend, "mobilenet_v2")
    with pytest.raises(BackendError, match=r"Did you mean 'mobilenet_v2'\?"):
        known_arch(backend, "mobilnet_v2")


def test_names_of_all_networks():
    assert arch_named("resnet18").head == "fc"
    assert arch_named("alexnet").head == "classifier.6"
    assert arch_named("nothing of this name") is None
