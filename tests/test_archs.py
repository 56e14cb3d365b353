"""Changed networks, as the core sees them."""

import pytest
from archs import ARCHS
from hypothesis import given
from hypothesis import strategies as st
from small_graphs import Builder

from xfer.errors import ConfigError
from xfer.graphs.stages import arch_of
from xfer.nets.catalogue import names
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.specs import ModelSpec, with_graph
from xfer.testing.numpy_backend import NumpyBackend

BUILT = [
    name for name in names() if name.startswith(("resnet1", "resnet3", "resnet50", "convnet", "efficientnet_lite"))
]
RESNETS = [name for name in BUILT if name.startswith("resnet")]
counts = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)
widths = st.lists(st.integers(1, 2048), max_size=3).map(tuple)


def changed(name, layers=None, extra=()):
    asked = ModelSpec(name, 3, (224, 224), (0.5,) * 3, (0.5,) * 3, layers, extra)
    return with_graph(asked, NumpyBackend()).described


@pytest.mark.parametrize("name", BUILT)
def test_no_change_is_the_network_itself(name):
    assert changed(name) == changed(name, ARCHS[name].layers) == ARCHS[name]


@given(name=st.sampled_from(RESNETS), layers=counts, extra=widths)
def test_stages_and_the_width_of_the_head_follow(name, layers, extra):
    arch = changed(name, layers, extra)
    numbered = [f"layer{i + 1}" for i in range(len(layers))]
    assert arch.stage_names == ("stem", *numbered, *(["extra"] if extra else []), "head")
    pooled = ARCHS[name].features * 2 ** len(layers) // 16
    assert arch.features == (extra[-1] if extra else pooled)
    assert (arch.name, arch.head_names, arch.mean) == (name, ARCHS[name].head_names, ARCHS[name].mean)


@pytest.mark.parametrize("name", BUILT)
def test_hidden_layers_are_a_stage_of_any_network(name):
    arch = changed(name, extra=(8, 6))
    names = ["extra.0.weight", "extra.0.bias", "extra.1.weight", "extra.1.bias", *arch.head_names]
    assert [arch.stage_of(n) for n in names] == ["extra"] * 4 + ["head"] * 2
    assert arch.dropout == ARCHS[name].dropout  # of what enters the head, as before
    groups = resolve(FreezePolicy("extra", head_lr_mult=10), arch, names)
    assert {g.lr_mult: g.names for g in groups.trainable} == {1.0: tuple(names[:4]), 10.0: tuple(names[4:])}
    assert arch.first_stage(groups.moving) == "extra"
    assert resolve(FreezePolicy("head"), arch, names).frozen == set(names[:4])


def test_a_dropped_stage_is_no_longer_known():
    arch = changed("resnet18", (2, 2, 2))
    with pytest.raises(ConfigError, match="belongs to no stage"):
        arch.stage_of("layer4.0.conv1.weight")
    with pytest.raises(ConfigError, match="Did you mean 'layer3'"):
        resolve(FreezePolicy("layer4"), arch, [])


def test_a_name_that_begins_as_another_one_does_is_of_its_own_stage():
    """A network of one's own may call its weights `scale` and `scale2`."""
    b = Builder()
    b.conv("conv1", 4, 3, stride=2)
    b.add("mul1", "mul", "conv1", b.table("scale", 1, 4, 1, 1))
    b.conv("conv2", 4, 4, "mul1", stride=2)
    b.add("mul2", "mul", "conv2", b.table("scale2", 1, 4, 1, 1))
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 4)
    arch = arch_of("mine", b.graph("fc"))
    assert [arch.stage_of(name) for name in ("scale", "scale2")] == ["stem", "layer1"]
    groups = resolve(FreezePolicy("layer1"), arch, list(b.weights))
    assert groups.trainable_names == ("conv2.weight", "scale2", "fc.weight", "fc.bias")
    with pytest.raises(ConfigError, match="belongs to no stage"):
        arch.stage_of("scale23")


@pytest.mark.parametrize(
    ("name", "layers", "extra", "message"),
    [
        ("convnet", (2, 2), (), "convnet is no ResNet"),
        ("efficientnet_lite0", (2, 2), (), "efficientnet_lite0 is no ResNet"),
        ("resnet18", (), (), "expected 1 to 4 numbers"),
        ("resnet18", (2, 2, 2, 2, 2), (), "expected 1 to 4 numbers"),
        ("resnet18", (2, 0), (), "each 1 to 256"),
        ("resnet18", (2, 257), (), "each 1 to 256"),
        ("resnet18", None, (8, 0), "widths of 1 to 100,000"),
        ("resnet18", None, (8, 10**12), "widths of 1 to 100,000"),
        ("resnet18", None, (8,) * 33, "32 of them at most"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name, layers, extra, message):
    with pytest.raises(ConfigError, match=message) as caught:
        changed(name, layers, extra)
    assert "\n" not in str(caught.value)
