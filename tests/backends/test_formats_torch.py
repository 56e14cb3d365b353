"""Files that torch itself wrote, and files that torch itself reads."""

from __future__ import annotations

import argparse
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from xfer.cli.main import main  # noqa: E402
from xfer.errors import WeightsError  # noqa: E402
from xfer.formats.files import read_weights, write_weights  # noqa: E402
from xfer.formats.pth import read_pth, write_pth  # noqa: E402
from xfer.nets.weights import init_weights  # noqa: E402

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
KINDS = [
    *("float64", "float32", "float16", "bfloat16", "bool"),
    *("int64", "int32", "int16", "int8", "uint8"),
]
PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3, 4, 5])


def saved(value: Any, path: Path, zipped: bool, protocol: int = 2) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def assert_equal(path: Path, wanted: dict[str, Any]) -> None:
    loaded = read_pth(path)
    assert list(loaded) == list(wanted)
    for name, tensor in wanted.items():
        tensor = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        assert loaded[name].dtype == tensor.numpy().dtype, name
        assert loaded[name].shape == tuple(tensor.shape), name
        np.testing.assert_array_equal(loaded[name], tensor.numpy(), err_msg=name)


def network() -> Any:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


def tensors() -> dict[str, Any]:
    base = torch.randn(4, 6)
    numbers = {kind: (torch.randn(2, 3) * 100).to(getattr(torch, kind)) for kind in KINDS}
    return {
        **numbers,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "whole": base,
        "transposed": base.t(),
        "rows": base[1:3],
        "columns": base[:, 1::2],
        "expanded": base[:1].expand(3, 6),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }


@FORMATS
@PROTOCOLS
def test_every_kind_of_tensor_is_read(zipped: bool, protocol: int, tmp_path: Path) -> None:
    wanted = tensors()
    assert_equal(saved(wanted, tmp_path / "a.pth", zipped, protocol), wanted)


@FORMATS
@PROTOCOLS
def test_a_state_dict_is_read(zipped: bool, protocol: int, tmp_path: Path) -> None:
    state = network().state_dict()
    assert isinstance(state, OrderedDict)
    assert state._metadata  # type: ignore[attr-defined]
    assert_equal(saved(state, tmp_path / "a.pth", zipped, protocol), state)


@FORMATS
def test_a_state_dict_is_read_out_of_a_training_checkpoint(zipped: bool, tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "best": 0.9,
        "name": "run",
        "shape": model[0].weight.shape,
        "optimizer": optimizer.state_dict(),
        "state_dict": model.state_dict(),
    }
    assert_equal(saved(checkpoint, tmp_path / "a.pth", zipped), model.state_dict())


class Options:
    """A class of the writer's own, which the reader could not even import."""

    def __init__(self) -> None:
        self.blocks, self.names = [1, 2], {"a": (1, 2)}


@FORMATS
@PROTOCOLS
def test_whatever_else_a_training_checkpoint_holds_is_passed_over(zipped: bool, protocol: int, tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    checkpoint = {
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), dtype=torch.float16, out=Path("x"), of={1, 2}),
        "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60]).state_dict(),  # with a Counter
        "history": defaultdict(list, {"loss": [1.0]}),
        "best": np.float64(0.5),
        "random": np.random.RandomState(0).get_state(),
        "options": Options(),
        "bytes": bytearray(b"abc"),
        "sparse": torch.eye(2).to_sparse(),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    assert_equal(saved(checkpoint, tmp_path / "a.pth", zipped, protocol), model.state_dict())


def wrapped(model: Any) -> dict[str, tuple[str, Any]]:
    """Name of a file, and what the field writes into it."""
    average = torch.optim.swa_utils.AveragedModel(model)
    for tensor in average.state_dict().values():
        tensor.add_(1)
    state = model.state_dict()
    return {
        "compiled": ("a.pth", {f"_orig_mod.{name}": tensor for name, tensor in state.items()}),
        "parallel and compiled": ("a.pt", {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}),
        "Lightning": ("a.ckpt", {"epoch": 1, "state_dict": {f"model.{name}": t for name, t in state.items()}}),
        "tar": ("checkpoint.pth.tar", {"state_dict": torch.nn.DataParallel(model).state_dict(), "arch": "resnet18"}),
        "bin": ("pytorch_model.bin", {f"net.{name}": tensor for name, tensor in state.items()}),
        "averaged": ("a.pth", average.state_dict()),
        "beside": ("a.pth", {"model": state, "model_ema": average.state_dict()}),
    }


@pytest.mark.parametrize("case", wrapped(network()))
@FORMATS
def test_checkpoints_as_the_field_writes_them_have_canonical_names(case: str, zipped: bool, tmp_path: Path) -> None:
    model = network()
    name, content = wrapped(model)[case]
    weights, metadata = read_weights(saved(content, tmp_path / name, zipped))
    wanted = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert set(weights) == set(wanted)
    shift = 1 if case in ("averaged", "beside") else 0
    for name, tensor in wanted.items():
        np.testing.assert_allclose(weights[name], tensor.numpy() + shift, rtol=1e-6, err_msg=name)
    assert metadata == ({"taken_from": "model_ema, not model"} if case == "beside" else {})


def test_the_user_hears_which_of_two_sets_was_taken(tmp_path: Path) -> None:
    model = network()
    saved({"state_dict": model.state_dict(), "state_dict_ema": model.state_dict()}, tmp_path / "a.pth", zipped=True)
    for target in ("b.safetensors", "b.ckpt"):
        outcome = CliRunner().invoke(main, ["convert", str(tmp_path / "a.pth"), str(tmp_path / target)])
        assert outcome.output.splitlines()[:2] == [
            "weights taken from state_dict_ema, not state_dict",
            str(tmp_path / target),
        ]


def test_a_torchscript_program_is_refused_for_what_it_is(tmp_path: Path) -> None:
    torch.jit.script(network()).save(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a\.pt: .*TorchScript program.*Cure: torch\.save\(torch\.jit\.load"):
        read_weights(tmp_path / "a.pt")
    state = torch.jit.load(tmp_path / "a.pt").state_dict()  # the cure
    torch.save(state, tmp_path / "weights.pth")
    assert set(read_pth(tmp_path / "weights.pth")) == set(state) == set(network().state_dict())


@FORMATS
def test_a_whole_module_is_refused_by_name(zipped: bool, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.pth: .*torch\.nn\.modules.*Cure: save model\.state_dict\(\)"):
        read_pth(saved(network(), tmp_path / "a.pth", zipped))


def test_torch_reads_what_is_written(tmp_path: Path) -> None:
    arrays = {name: t.detach().numpy() for name, t in tensors().items() if t.dtype != torch.bfloat16}
    write_pth(tmp_path / "a.pth", arrays)
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)
        assert list(loaded) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name].numpy(), array, err_msg=name)
            assert loaded[name].numpy().dtype == array.dtype


def test_a_module_loads_what_is_written(tmp_path: Path) -> None:
    model = network()
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    weights = init_weights(shapes, 0)
    write_weights(tmp_path / "a.pth", weights, {})
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert model.load_state_dict(loaded, strict=False).unexpected_keys == []
    saved(torch.nn.DataParallel(model).state_dict(), tmp_path / "b.pth", zipped=True)
    arrays, _ = read_weights(tmp_path / "b.pth")
    assert set(arrays) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_torchvisions_first_values_have_the_same_spread() -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    state = models.resnet18().state_dict()
    shapes = {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}
    for name, array in init_weights(shapes, 0).items():
        theirs = state[name].numpy()
        if array.size > 1000:
            assert array.std() == pytest.approx(theirs.std(), rel=5 / np.sqrt(array.size)), name
        elif not name.startswith("fc"):
            np.testing.assert_array_equal(array, theirs, err_msg=name)
