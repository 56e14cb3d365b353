"""Weights by canonical name: files, first values, strict loading, identity."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from xfer.arrays import Weights
from xfer.errors import WeightsError
from xfer.formats.ckpt import read_ckpt, write_ckpt
from xfer.formats.files import NAMED_AS, digest, read_weights, write_weights
from xfer.formats.pth import write_pth
from xfer.graphs import packaged
from xfer.nets.catalogue import graph_named
from xfer.nets.guess import guess_arch
from xfer.nets.weights import init_weights, merge

SHAPES = {
    "conv1.weight": (64, 3, 7, 7),
    "bn1.weight": (64,),
    "bn1.bias": (64,),
    "bn1.running_mean": (64,),
    "bn1.running_var": (64,),
    "depthwise.weight": (512, 1, 5, 5),
    "biased.weight": (32, 16, 3, 3),
    "biased.bias": (32,),
    "fc.weight": (1000, 512),
    "fc.bias": (1000,),
}
ONES = np.ones(3, np.float32)
HEAD = ("fc.weight", "fc.bias")
SUFFIXES = [".safetensors", ".pth", ".pt", ".ckpt"]


def assert_equal(actual: Weights, wanted: Weights) -> None:
    assert set(actual) == set(wanted)
    for name, array in wanted.items():
        assert actual[name].dtype == np.float32
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


# Files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_gives_back_what_was_written(suffix: str, tmp_path: Path) -> None:
    path, weights = tmp_path / f"w{suffix}", init_weights(SHAPES, 0) | {"scale": np.array(2, np.float32)}
    write_weights(path, weights, {"arch": "resnet18", "classes": '["蚂蚁", "bee"]'})
    loaded, metadata = read_weights(path)
    assert_equal(loaded, weights)
    assert metadata == ({"arch": "resnet18", "classes": '["蚂蚁", "bee"]'} if suffix == ".safetensors" else {})
    assert list(tmp_path.iterdir()) == [path]


def test_strided_arrays_are_written_right(tmp_path: Path) -> None:
    weights = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    for suffix in SUFFIXES:
        write_weights(tmp_path / f"w{suffix}", weights, {})
        assert_equal(read_weights(tmp_path / f"w{suffix}")[0], weights)


def test_a_ckpt_holds_the_names_of_mindspore(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.ckpt", init_weights(SHAPES, 0), {})
    assert list(read_ckpt(tmp_path / "w.ckpt"))[:5] == [
        *("conv1.weight", "bn1.gamma", "bn1.beta", "bn1.moving_mean", "bn1.moving_variance")
    ]


def test_attention_in_windows_begins_as_torchvisions() -> None:
    graph = packaged.load("swin_v2_t")
    names = [name for name in graph.weights if name.startswith("features.1.1.attn.")]
    first = init_weights({name: graph.weights[name] for name in names}, 0, graph)
    for name, weight in first.items():
        if name.endswith("bias"):
            assert not weight.any()
        elif name.endswith("logit_scale"):
            np.testing.assert_allclose(weight, np.log(10), rtol=1e-6)
        else:
            assert 0.018 < weight.std() < 0.022
    table = "features.1.1.attn.relative_position_bias_table"
    graph = packaged.load("swin_t")
    assert 0.018 < init_weights({table: graph.weights[table]}, 0, graph)[table].std() < 0.022


def test_numbers_become_float32_and_counters_go(tmp_path: Path) -> None:
    half, double = np.array([1, 2], np.float16), np.array([1e300, 0.1], np.float64)
    arrays = {"a": half, "bn.num_batches_tracked": np.array(3), "b": double}
    arrays |= {"attn.relative_position_index": np.arange(4), "attn.relative_coords_table": np.ones((1, 3, 3, 2))}
    save_file(arrays, tmp_path / "w.safetensors")
    write_pth(tmp_path / "w.pth", arrays)
    for name in ("w.safetensors", "w.pth"):
        assert_equal(read_weights(tmp_path / name)[0], {"a": half, "b": np.array([np.inf, 0.1], np.float32)})


def test_bfloat16_is_read_from_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    content = struct.pack("<Q", len(header)) + header + np.array([0x3F80, 0xC000], "<u2").tobytes()
    (tmp_path / "w.safetensors").write_bytes(content)
    assert_equal(read_weights(tmp_path / "w.safetensors")[0], {"a": np.array([1, -2], np.float32)})


def test_the_prefix_of_data_parallel_goes_where_every_name_has_it(tmp_path: Path) -> None:
    a, b = np.zeros(1, np.float32), np.ones(1, np.float32)
    write_pth(tmp_path / "all.pth", {"module.a": a, "module.b": b})
    write_pth(tmp_path / "some.pth", {"module.a": a, "b": b})
    assert_equal(read_weights(tmp_path / "all.pth")[0], {"a": a, "b": b})
    assert_equal(read_weights(tmp_path / "some.pth")[0], {"module.a": a, "b": b})


def test_prefixes_go_from_safetensors_but_not_from_a_checkpoint_of_xfer(tmp_path: Path) -> None:
    a, b = np.zeros(1, np.float32), np.ones(1, np.float32)
    save_file({"model.net.a": a, "model.net.b": b}, tmp_path / "w.safetensors")
    assert_equal(read_weights(tmp_path / "w.safetensors")[0], {"a": a, "b": b})
    write_weights(tmp_path / "own.safetensors", {"net.a": a}, {"format": "xfer-1"})
    assert_equal(read_weights(tmp_path / "own.safetensors")[0], {"net.a": a})


def test_optimizer_state_in_a_ckpt_is_left_out(tmp_path: Path) -> None:
    weights = {"conv1.weight": np.ones((1, 1), np.float32)}
    state = {"moments.conv1.weight": np.ones((1, 1), np.float32), "global_step": np.array([3], np.int32)}
    write_ckpt(tmp_path / "w.ckpt", weights | state)
    assert_equal(read_weights(tmp_path / "w.ckpt")[0], weights)


def test_rates_for_each_step_and_an_optimizers_own_attribute_are_left_out(tmp_path: Path) -> None:
    weights = {"conv1.weight": np.ones((1, 1), np.float32)}
    state = dict.fromkeys(["learning_rate", "learning_rate_group_1", "opt.moments.conv1.weight", "optimizer.m"], ONES)
    write_ckpt(tmp_path / "w.ckpt", weights | state)
    save_file(weights | state | {"moments.conv1.weight": weights["conv1.weight"]}, tmp_path / "w.safetensors")
    for name in ("w.ckpt", "w.safetensors"):
        assert_equal(read_weights(tmp_path / name)[0], weights)


MINDCV = {
    "conv1.weight": "conv1.weight",
    "bn1.gamma": "bn1.weight",
    "bn1.moving_mean": "bn1.running_mean",
    "bn1.moving_variance": "bn1.running_var",
    "layer1.0.conv1.weight": "layer1.0.conv1.weight",
    "layer2.0.down_sample.0.weight": "layer2.0.downsample.0.weight",
    "layer2.0.down_sample.1.gamma": "layer2.0.downsample.1.weight",
    "layer2.0.down_sample.1.beta": "layer2.0.downsample.1.bias",
    "layer2.0.down_sample.1.moving_mean": "layer2.0.downsample.1.running_mean",
    "classifier.weight": "fc.weight",
    "classifier.bias": "fc.bias",
}
TUTORIAL = {
    "conv1.weight": "conv1.weight",
    "norm.gamma": "bn1.weight",
    "norm.moving_mean": "bn1.running_mean",
    "layer1.0.conv1.weight": "layer1.0.conv1.weight",
    "layer1.0.norm1.moving_mean": "layer1.0.bn1.running_mean",
    "layer3.5.norm3.moving_mean": "layer3.5.bn3.running_mean",
    "layer3.5.norm3.beta": "layer3.5.bn3.bias",
    "layer4.0.down_sample.0.weight": "layer4.0.downsample.0.weight",
    "fc.bias": "fc.bias",
}


@pytest.mark.parametrize("names", [MINDCV, TUTORIAL], ids=["MindCV", "tutorial"])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_resnets_of_mindcv_and_the_tutorial_get_torchvisions_names(
    names: dict[str, str], suffix: str, tmp_path: Path
) -> None:
    theirs = {name: np.full(2, number, np.float32) for number, name in enumerate(names)}
    state = {"moments.conv1.weight": theirs["conv1.weight"], "learning_rate": ONES}
    write_ckpt(tmp_path / "w.ckpt", theirs | state)
    save_file(theirs | state, tmp_path / "w.safetensors")
    loaded, metadata = read_weights(tmp_path / f"w{suffix}")
    assert_equal(loaded, {names[name]: array for name, array in theirs.items()})
    assert metadata[NAMED_AS] == "MindCV or a MindSpore tutorial"


def test_names_like_mindcvs_in_another_network_stay(tmp_path: Path) -> None:
    weights = {"features.0.weight": ONES, "classifier.weight": ONES, "norm.weight": ONES}
    write_pth(tmp_path / "w.pth", weights)
    assert_equal(read_weights(tmp_path / "w.pth")[0], weights)
    assert NAMED_AS not in read_weights(tmp_path / "w.pth")[1]


def test_two_names_for_one_tensor_are_refused(tmp_path: Path) -> None:
    tensor = np.zeros(1, np.float32)
    write_ckpt(tmp_path / "w.ckpt", {"bn.moving_mean": tensor, "bn.gamma": tensor, "bn.weight": tensor})
    with pytest.raises(WeightsError, match=r"w\.ckpt: two tensors are both 'bn\.weight'.*Cure: "):
        read_weights(tmp_path / "w.ckpt")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"<html>404</html>"])
def test_damage_names_the_file_and_the_cure(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.\w+: not a.*Cure: ") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


def test_a_safetensors_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, init_weights(SHAPES, 0), {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"not a safetensors file"):
        read_weights(path)


def test_a_missing_file_and_an_unknown_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.pth: no such file\. Cure: "):
        read_weights(tmp_path / "a.pth")
    for act in (lambda path: read_weights(path), lambda path: write_weights(path, {}, {})):
        with pytest.raises(WeightsError, match=r"a\.h5: expected a file ending in \.safetensors, .*Cure: "):
            act(tmp_path / "a.h5")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.mkdir()
    with pytest.raises(WeightsError, match="cannot be written"):
        write_weights(path, init_weights(SHAPES, 0), {})
    assert list(tmp_path.iterdir()) == [path]


# First values


def test_first_values_have_their_shapes_and_depend_on_seed_and_name_only() -> None:
    weights = init_weights(SHAPES, 3)
    assert {name: array.shape for name, array in weights.items()} == SHAPES
    assert all(array.dtype == np.float32 for array in weights.values())
    assert_equal(init_weights({name: SHAPES[name] for name in HEAD}, 3), {name: weights[name] for name in HEAD})
    reseeded = init_weights(SHAPES, 4)
    assert not np.array_equal(reseeded["fc.weight"], weights["fc.weight"])
    assert not np.array_equal(reseeded["conv1.weight"], weights["conv1.weight"])


def test_layers_of_one_shape_differ() -> None:
    weights = init_weights({"a.weight": (8, 8), "b.weight": (8, 8)}, 0)
    assert not np.array_equal(weights["a.weight"], weights["b.weight"])


@pytest.mark.parametrize(
    ("name", "fan_out"), [("conv1.weight", 64 * 49), ("depthwise.weight", 25), ("biased.weight", 32 * 9)]
)
def test_convolutions_are_kaiming_normal(name: str, fan_out: int) -> None:
    values = init_weights(SHAPES, 0)[name]
    std = math.sqrt(2 / fan_out)
    few = 5 / math.sqrt(values.size)  # five standard errors
    assert abs(values.mean()) < few * std
    assert abs(values.std() / std - 1) < few
    assert abs((np.abs(values) > 2 * std).mean() - 0.0455) < few  # a uniform of this std has none


@pytest.mark.parametrize(("name", "fan_in"), [("fc.weight", 512), ("fc.bias", 512), ("biased.bias", 16 * 9)])
def test_linear_weights_and_biases_are_uniform(name: str, fan_in: int) -> None:
    values = init_weights(SHAPES, 0)[name]
    bound = 1 / math.sqrt(fan_in)
    few = 5 / math.sqrt(values.size)
    assert np.abs(values).max() <= np.float32(bound)
    assert abs(values.mean()) < few * bound
    assert abs(values.std() * math.sqrt(3) / bound - 1) < few


def test_norm_layers_start_as_the_identity() -> None:
    weights = init_weights(SHAPES, 0)
    ones = {name for name, array in weights.items() if (array == 1).all()}
    zeros = {name for name, array in weights.items() if (array == 0).all()}
    assert (ones, zeros) == ({"bn1.weight", "bn1.running_var"}, {"bn1.bias", "bn1.running_mean"})


@pytest.mark.parametrize("shapes", [{"scale": (3,)}, {"norm.weight": (3,)}, {"fc.bias": (3,)}])
def test_a_weight_without_a_rule_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(WeightsError, match=f"no rule for first values of {next(iter(shapes))}"):
        init_weights(shapes, 0)


# Strict loading


def test_only_the_head_is_replaced() -> None:
    loaded, init = init_weights(SHAPES, 1), init_weights(SHAPES, 2)
    expected = {name: (init if name in HEAD else loaded)[name] for name in SHAPES}
    assert_equal(merge(SHAPES, loaded, HEAD, init, "file"), expected)
    assert_equal(merge(SHAPES, loaded, HEAD, {}, "file", keep_head=True), loaded)


def test_a_head_that_is_absent_or_of_other_classes_is_replaced() -> None:
    loaded, init = init_weights(SHAPES, 1), init_weights(SHAPES, 2)
    body = {name: loaded[name] for name in SHAPES if name not in HEAD}
    for head in ({}, {"fc.weight": np.zeros((2, 512), np.float32), "fc.bias": np.zeros(2, np.float32)}):
        assert_equal(merge(SHAPES, body | head, HEAD, init, "file"), body | {name: init[name] for name in HEAD})
        with pytest.raises(WeightsError, match=r"fc\.weight"):
            merge(SHAPES, body | head, HEAD, init, "file", keep_head=True)


def test_every_misfit_is_named() -> None:
    loaded = init_weights(SHAPES, 1)
    loaded["conv1.weight"] = np.zeros((64, 3, 1, 1), np.float32)
    loaded["layer9.weight"] = np.zeros(1, np.float32)
    for name in ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "biased.bias"):
        del loaded[name]
    with pytest.raises(WeightsError) as error:
        merge(SHAPES, loaded, HEAD, init_weights(SHAPES, 2), "w.pth")
    message = str(error.value)
    assert "w.pth does not fit" in message
    assert "5 missing: bn1.weight, bn1.bias, bn1.running_mean and 2 more" in message
    assert "1 unexpected: layer9.weight" in message
    assert "1 of another shape: conv1.weight is (64, 3, 1, 1), expected (64, 3, 7, 7)" in message
    assert "Cure: " in message


@pytest.mark.parametrize(
    "arch", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "efficientnet_lite0", "convnet", "vgg16_bn"]
)
def test_networks_are_told_apart_by_their_weights(arch: str) -> None:
    of_classes = graph_named(arch).with_classes(7).weights
    assert guess_arch(of_classes) == arch
    assert guess_arch({f"module.{name}": shape for name, shape in of_classes.items()}) is None


def test_weights_of_no_network_look_like_none() -> None:
    assert guess_arch({"encoder.weight": (3, 4)}) is None
    assert guess_arch({}) is None


def test_weights_of_another_network_are_recognised() -> None:
    shapes, held = graph_named("resnet18").weights, graph_named("resnext50_32x4d").weights
    loaded = {name: np.zeros(shape, np.float32) for name, shape in held.items()}
    with pytest.raises(WeightsError, match=r"The file looks like resnext50_32x4d\. Cure: "):
        merge(shapes, loaded, HEAD, {}, "w.pth")


# Identity


def test_the_digest_follows_names_shapes_and_bits_only() -> None:
    weights = init_weights(SHAPES, 0)
    same = {name: np.asfortranarray(weights[name]).astype(">f4") for name in reversed(SHAPES)}
    assert digest(same) == digest(weights)
    body = {name: array for name, array in weights.items() if name != "fc.bias"}
    bias = weights["fc.bias"]
    nudged = bias.copy()
    nudged[7] = np.nextafter(nudged[7], np.float32(1))
    changed = [body, body | {"fc.bias2": bias}, body | {"fc.bias": bias[:, None]}, body | {"fc.bias": nudged}]
    assert len({digest(weights), *map(digest, changed)}) == 5
