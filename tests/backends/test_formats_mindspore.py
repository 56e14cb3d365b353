"""Files that MindSpore itself wrote, and files that MindSpore itself reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

mindspore = pytest.importorskip("mindspore")

from xfer.errors import WeightsError  # noqa: E402
from xfer.formats.ckpt import read_ckpt, write_ckpt  # noqa: E402
from xfer.formats.files import read_weights, write_weights  # noqa: E402
from xfer.nets.weights import init_weights  # noqa: E402

DTYPES = [
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
]
SHAPES = {
    "conv.weight": (4, 3, 3, 3),
    "bn.weight": (4,),
    "bn.bias": (4,),
    "bn.running_mean": (4,),
    "bn.running_var": (4,),
    "fc.weight": (2, 4),
    "fc.bias": (2,),
}


class Net(mindspore.nn.Cell):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = mindspore.nn.Conv2d(3, 4, 3)
        self.bn = mindspore.nn.BatchNorm2d(4)
        self.fc = mindspore.nn.Dense(4, 2)

    def construct(self, x: Any) -> Any:
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


def parameters(arrays: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "data": mindspore.Tensor(array)} for name, array in arrays.items()]


@pytest.mark.parametrize("crc_check", [False, True])
def test_every_kind_of_tensor_is_read(crc_check: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {dtype: (rng.standard_normal((2, 3)) * 100).astype(dtype) for dtype in DTYPES}
    arrays |= {"scalar": np.array(2.5, np.float32), "one": np.ones(1, np.float32)}
    path = str(tmp_path / "a.ckpt")
    mindspore.save_checkpoint(parameters(arrays), path, crc_check=crc_check, append_dict={"epoch": 3, "note": "best"})
    loaded = read_ckpt(Path(path))
    assert set(arrays) <= set(loaded)
    assert "note" not in loaded
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(loaded[name], array)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    tensor = mindspore.Tensor([1.0, -2.5], mindspore.bfloat16)
    mindspore.save_checkpoint([{"name": "w", "data": tensor}], str(tmp_path / "a.ckpt"))
    np.testing.assert_array_equal(read_ckpt(tmp_path / "a.ckpt")["w"], np.array([1, -2.5], np.float32))


def test_a_tensor_in_slices_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindspore.train.serialization.SLICE_SIZE", 1)  # KiB; 512 MiB otherwise
    array = np.arange(1000, dtype=np.float32)
    mindspore.save_checkpoint(parameters({"w": array, "v": array}), str(tmp_path / "a.ckpt"))
    assert (tmp_path / "a.ckpt").read_bytes().count(b"Float32") == 8
    for name in ("w", "v"):
        np.testing.assert_array_equal(read_ckpt(tmp_path / "a.ckpt")[name], array)


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(100, np.float32)}
    mindspore.save_checkpoint(parameters(arrays), str(tmp_path / "a.ckpt"), enc_key=b"0123456789ABCDEF")
    with pytest.raises(WeightsError, match=r"a\.ckpt: not a MindSpore checkpoint .*unencrypted"):
        read_ckpt(tmp_path / "a.ckpt")


def test_mindspore_reads_what_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {dtype: (rng.standard_normal((2, 3)) * 100).astype(dtype) for dtype in DTYPES}
    arrays |= {"scalar": np.array(2.5, np.float32), "long": np.arange(300, dtype=np.float32)}
    write_ckpt(tmp_path / "a.ckpt", arrays)
    loaded = mindspore.load_checkpoint(str(tmp_path / "a.ckpt"))
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert (loaded[name].asnumpy().dtype, loaded[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(loaded[name].asnumpy(), array)


def test_a_net_and_the_core_exchange_weights_by_canonical_names(tmp_path: Path) -> None:
    weights, net = init_weights(SHAPES, 0), Net()
    write_weights(tmp_path / "a.ckpt", weights, {})
    missing, unused = mindspore.load_param_into_net(net, mindspore.load_checkpoint(str(tmp_path / "a.ckpt")))
    assert (missing, unused) == ([], [])
    mindspore.save_checkpoint(net, str(tmp_path / "b.ckpt"))
    loaded, _ = read_weights(tmp_path / "b.ckpt")
    assert set(loaded) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)


@pytest.mark.parametrize("rule", ["SGD", "Momentum", "Adam", "RMSProp", "Adagrad"])
def test_a_training_checkpoint_gives_the_weights_alone(rule: str, tmp_path: Path) -> None:
    net = Net()
    options = {"momentum": 0.9} if rule in ("SGD", "Momentum") else {}
    optimizer = getattr(mindspore.nn, rule)(net.trainable_params(), learning_rate=0.1, **options)
    training = mindspore.nn.TrainOneStepCell(mindspore.nn.WithLossCell(net, mindspore.nn.MSELoss()), optimizer)
    mindspore.save_checkpoint(training, str(tmp_path / "a.ckpt"), append_dict={"epoch_num": 1, "step_num": 5})
    assert len(read_ckpt(tmp_path / "a.ckpt")) > len(SHAPES)
    assert set(read_weights(tmp_path / "a.ckpt")[0]) == set(SHAPES)


def test_a_safetensors_file_of_mindspore_is_read_by_canonical_names(tmp_path: Path) -> None:
    mindspore.save_checkpoint(Net(), str(tmp_path / "a.safetensors"), format="safetensors")
    assert set(read_weights(tmp_path / "a.safetensors")[0]) == set(SHAPES)
