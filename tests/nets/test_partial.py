"""Partial loading: a layer is taken whole or not at all, and every tensor is accounted for."""

import math

import numpy as np
import pytest
from archs import ARCHS
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer.cli.loading import loading_table
from xfer.errors import WeightsError
from xfer.nets.catalogue import graph_named
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.partial import FATES, as_record, counts, frozen_fresh, partial_merge, total, warning
from xfer.nets.specs import ModelSpec, with_graph
from xfer.nets.weights import init_weights, merge
from xfer.testing.numpy_backend import NumpyBackend

HEAD = ("fc.weight", "fc.bias")
NORM = ("weight", "bias", "running_mean", "running_var")
ARCH = ARCHS["resnet18"]


def network(width=4, blocks=("layer1.0", "layer2.0"), classes=3):
    """Names and shapes as of a small ResNet."""
    shapes = {"conv1.weight": (width, 3, 3, 3), **{f"bn1.{leaf}": (width,) for leaf in NORM}}
    for block in blocks:
        shapes |= {f"{block}.conv1.weight": (width, width, 3, 3), **{f"{block}.bn1.{leaf}": (width,) for leaf in NORM}}
    return shapes | {"fc.weight": (classes, width), "fc.bias": (classes,)}


def layer(name):
    return name.rpartition(".")[0]


def same(a, b):
    return a.shape == b.shape and np.array_equal(a, b)


leaves = st.sampled_from(["weight", "bias", "running_mean", "running_var"])
layers = st.sampled_from(["a", "b", "layer1.0.bn1", "layer1.0", "c.d"])
names = st.builds("{}.{}".format, layers, leaves)
tables = st.dictionaries(names, st.sampled_from([(), (1,), (2,), (2, 1), (1, 2)]), max_size=12)
pairs = st.builds(
    lambda shapes, gone, changed: (shapes, {n: s for n, s in shapes.items() if n not in gone} | changed),
    tables,
    st.sets(names, max_size=2),
    st.dictionaries(names, st.sampled_from([(2,), (1, 2)]), max_size=2),
)  # of a network, and of a file that is much like it
heads = st.sampled_from([("a.weight", "a.bias"), ("fc.weight", "fc.bias")])


def filled(shapes, value):
    return {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}


@settings(deadline=None)  # of the first that nothing fits, the whole catalogue is read
@given(pair=pairs, head=heads)
def test_a_layer_is_taken_where_both_have_it_alike_and_fresh_otherwise(pair, head):
    shapes, files = pair
    init, loaded = filled(shapes, 0), filled(files, 1)
    alike = {
        name
        for name in shapes
        if name not in head
        and {n: s for n, s in shapes.items() if layer(n) == layer(name)}
        == {n: s for n, s in files.items() if layer(n) == layer(name)}
    }
    if not alike:
        with pytest.raises(WeightsError, match=r"^no layer of the file fits the network\. .*Cure: ") as caught:
            partial_merge(shapes, loaded, head, init)
        assert "\n" not in str(caught.value)
        return
    merged, report = partial_merge(shapes, loaded, head, init)
    assert list(merged) == list(shapes)
    assert all(same(merged[name], (loaded if name in alike else init)[name]) for name in shapes)
    assert set(report.names("loaded")) == alike


@given(pair=pairs, head=heads)
def test_every_tensor_is_accounted_for_once_and_says_why(pair, head):
    shapes, files = ({**table, "kept.weight": (2,)} for table in pair)
    _, report = partial_merge(shapes, filled(files, 1), head, filled(shapes, 0))
    assert sorted(t.name for t in report.tensors) == sorted({*shapes, *files})
    for t in report.tensors:
        assert (t.network, t.file) == (shapes.get(t.name), files.get(t.name))
        assert (t.fate == "unused") == (t.network is None)
        assert (t.fate == "head") == (t.name in shapes and t.name in head)
        if t.fate in ("loaded", "incomplete"):
            assert t.network == t.file
        if t.fate == "resized":
            assert t.network != t.file
            assert t.file is not None
        assert t.fate != "random" or t.file is None
    assert sum(c.tensors for c in total(report).values()) == len(report.tensors)
    in_network = sum(c.values for fate, c in total(report).items() if fate != "unused")
    assert in_network == sum(math.prod(shape) for shape in shapes.values())


def test_where_everything_fits_it_is_strict_loading_bit_for_bit():
    shapes = network()
    loaded, init = init_weights(shapes, 1), init_weights(shapes, 2)
    merged, report = partial_merge(shapes, loaded, HEAD, init)
    strict = merge(shapes, loaded, HEAD, init, "file")
    assert list(merged) == list(strict)
    assert all(same(merged[name], strict[name]) for name in shapes)
    assert set(total(report)) == {"loaded", "head"}
    assert report.names("head") == HEAD


@pytest.mark.parametrize("lost", NORM)
@pytest.mark.parametrize("how", ["absent", "of another shape"])
def test_half_a_norm_layer_is_not_taken(lost, how):
    shapes, name = network(), f"layer1.0.bn1.{lost}"
    loaded, init = init_weights(shapes, 1) | filled({name: (4,)}, 7), init_weights(shapes, 2)
    loaded |= filled({f"layer1.0.bn1.{leaf}": (4,) for leaf in NORM}, 7)
    if how == "absent":
        del loaded[name]
    else:
        loaded[name] = np.full(5, 7, np.float32)
    merged, report = partial_merge(shapes, loaded, HEAD, init)
    half = [f"layer1.0.bn1.{leaf}" for leaf in NORM]
    assert all(same(merged[n], init[n]) for n in half)
    assert set(report.names("incomplete")) == set(half) - {name}
    assert report.names("random" if how == "absent" else "resized") == (name,)
    assert same(merged["layer1.0.conv1.weight"], loaded["layer1.0.conv1.weight"])


def test_a_weight_whose_bias_the_network_lacks_is_not_taken():
    shapes = network()
    loaded = init_weights(shapes, 1) | {"layer1.0.conv1.bias": np.ones(4, np.float32)}
    merged, report = partial_merge(shapes, loaded, HEAD, init := init_weights(shapes, 2))
    assert same(merged["layer1.0.conv1.weight"], init["layer1.0.conv1.weight"])
    assert report.names("incomplete") == ("layer1.0.conv1.weight",)
    assert report.names("unused") == ("layer1.0.conv1.bias",)


@pytest.mark.parametrize(
    ("loaded", "cause"),
    [
        (graph_named("convnet").weights, "looks like convnet"),
        (network(width=8), r"has 15 of the 15 names, in other shapes"),
        ({f"backbone.{name}": shape for name, shape in network().items()}, r"begin with 'backbone\.'"),
        ({"fc.weight": (3, 4), "fc.bias": (3,)}, "holds a head"),
        ({"encoder.weight": (3,)}, r"like 'encoder\.weight', the network's like 'bn1\.bias'"),
        ({}, "like ''"),
    ],
)
def test_where_nothing_fits_the_likely_cause_is_named(loaded, cause):
    shapes, arrays = network(), {n: np.zeros(s or (1,), np.float32) for n, s in loaded.items()}
    with pytest.raises(WeightsError, match=cause) as caught:
        partial_merge(shapes, arrays, HEAD, init_weights(shapes, 0))
    assert "Cure: " in str(caught.value)


def partly(arch, shapes, file):
    return partial_merge(shapes, init_weights(file, 1), arch.head_names, init_weights(shapes, 2))[1]


@pytest.fixture
def grown():
    """A network with another stage and hidden layers, loaded from one with a stage that was dropped."""
    asked = ModelSpec("resnet18", 3, (224, 224), (0.5,) * 3, (0.5,) * 3, (1, 1, 1), (5,))
    arch = with_graph(asked, NumpyBackend()).described
    shapes = network(blocks=("layer1.0", "layer2.0", "layer3.0"))
    shapes |= {"extra.0.weight": (5, 4), "extra.0.bias": (5,), "fc.weight": (3, 5)}
    return arch, shapes, partly(arch, shapes, network(blocks=("layer1.0", "layer2.0", "layer4.0")))


def groups(arch, shapes, *stages, norm_stats="follow"):
    return [resolve(FreezePolicy(stage, norm_stats), arch, list(shapes)) for stage in stages]


def test_counts_by_stage_follow_the_computation(grown):
    arch, _, report = grown
    table = counts(report, arch)
    assert list(table) == ["stem", "layer1", "layer2", "layer3", "extra", "head", "layer4"]
    assert {stage: set(fates) for stage, fates in table.items()} == {
        **{stage: {"loaded"} for stage in ("stem", "layer1", "layer2")},
        **{stage: {"random"} for stage in ("layer3", "extra")},
        "head": {"head"},
        "layer4": {"unused"},
    }
    assert table["extra"]["random"].tensors == 2
    assert table["extra"]["random"].values == 5 * 4 + 5
    assert table["layer4"]["unused"].values == 4 * 4 * 9 + 4 * 4
    for fate in FATES:
        column = [fates[fate] for fates in table.values() if fate in fates]
        assert sum(c.values for c in column) == (total(report)[fate].values if column else 0)


@pytest.mark.parametrize(
    ("stages", "cure"),
    [
        (("head",), "train_from = 'layer3'"),
        (("extra",), "train_from = 'layer3'"),
        (("layer3",), ""),
        (("head", "layer3"), ""),
        (("head", "extra"), "train_from = 'layer3'"),
    ],
)
def test_what_no_phase_moves_and_no_file_gave_is_warned_of(grown, stages, cure):
    arch, shapes, report = grown
    phases = groups(arch, shapes, *stages)
    line = warning(report, phases, arch)
    assert bool(line) == bool(cure)
    assert line.endswith(cure)
    for name in frozen_fresh(report, phases):
        assert name.startswith(("layer3.", "extra."))
        assert all(name in g.frozen for g in phases)


def test_statistics_at_rest_under_trained_weights_have_another_cure(grown):
    arch, shapes, report = grown
    line = warning(report, groups(arch, shapes, "stem", norm_stats="freeze"), arch)
    assert line.startswith("frozen at random values: layer3.0.bn1.running_mean, layer3.0.bn1.running_var.")
    assert line.endswith("Cure: norm_stats = 'follow'")


def test_what_was_loaded_may_well_be_frozen():
    shapes = network()
    assert warning(partly(ARCH, shapes, shapes), groups(ARCH, shapes, "head"), ARCH) == ""


def test_the_record_has_every_name_and_the_table_every_stage(grown):
    arch, shapes, report = grown
    record = as_record(report, groups(arch, shapes, "head"), arch, "w.pth")
    assert {row["name"]: row["fate"] for row in record["tensors"]} == {t.name: t.fate for t in report.tensors}
    assert record["total"]["random"]["tensors"] == 7
    assert "extra.0.weight" in record["frozen_at_random_values"]
    table = loading_table("w.pth", report, arch)
    assert [str(c.header) for c in table.columns] == ["weights of", "loaded", "left at random", "fresh head", "unused"]
    assert list(table.columns[0].cells) == [*arch.stage_names, "layer4 (in the file only)", "total"]
    assert list(table.columns[2].cells) == ["", "", "", "5 (160)", "2 (25)", "", "", "7 (185)"]
