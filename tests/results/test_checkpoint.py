import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from xfer.errors import CheckpointError, WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.formats.safetensors import read_safetensors
from xfer.formats.sealed import PIECE
from xfer.nets.specs import ModelSpec, with_graph
from xfer.nets.weights import init_weights
from xfer.pixels.augment import default_eval
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.testing.numpy_backend import NumpyBackend

SPEC = ModelSpec("tiny", 2, (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture
def checkpoint():
    backend = NumpyBackend()
    shapes = with_graph(SPEC, backend).graph.weights
    return Checkpoint(init_weights(shapes, 0), SPEC, ("蚂蚁", "a,b\n"), default_eval(32), {"epoch": "3"})


def test_everything_survives_the_file(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "c.safetensors")
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert (loaded.spec, loaded.classes, loaded.transforms) == (SPEC, checkpoint.classes, checkpoint.transforms)
    assert loaded.record == {"epoch": "3"}
    assert set(loaded.weights) == set(checkpoint.weights)
    assert all(np.array_equal(loaded.weights[n], w) for n, w in checkpoint.weights.items())


def test_a_model_gets_every_weight(checkpoint):
    backend = NumpyBackend()
    exported = checkpoint.net(backend, "cpu").export()
    assert all(np.array_equal(exported[n], w) for n, w in checkpoint.weights.items())


def test_weights_of_another_network_are_refused(checkpoint):
    del checkpoint.weights["fc.bias"]
    with pytest.raises(WeightsError, match=r"fc\.bias"):
        checkpoint.net(NumpyBackend(), "cpu")


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(tmp_path / "none.safetensors")
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="not the classes and preprocessing"):
        load_checkpoint(tmp_path / "w.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", "not json"),
        ("classes", "3"),
        ("image_size", "[1]"),
        ("image_size", '["a", "b"]'),
        ("mean", "[0.1]"),
        ("std", "null"),
        ("transforms", '[{"op": "Blur"}]'),
        ("transforms", "[" * 100_000),
        ("arch", None),
    ],
)
def test_damaged_metadata_is_named_in_one_line(checkpoint, tmp_path, key, value):
    metadata = checkpoint.metadata() | {key: value}
    write_weights(tmp_path / "c.safetensors", checkpoint.weights, {k: v for k, v in metadata.items() if v is not None})
    with pytest.raises(CheckpointError, match="metadata is damaged") as caught:
        load_checkpoint(tmp_path / "c.safetensors")
    assert "\n" not in str(caught.value)


def test_another_program_that_changes_a_checkpoint_is_noticed(checkpoint, tmp_path):
    """It keeps the seal, or leaves it out; either way the file is no longer the one that was written."""
    file = tmp_path / "c.safetensors"
    checkpoint.save(file)
    weights, metadata = read_safetensors(file)
    for header in (metadata, checkpoint.metadata()):
        save_file({**weights, "fc.bias": weights["fc.bias"] + 1}, file, header)
        with pytest.raises(CheckpointError, match=r"c\.safetensors: is damaged, or was changed by another program"):
            load_checkpoint(file)
        with pytest.raises(WeightsError, match="changed by another program"):
            read_weights(file)


def test_weights_of_others_have_no_seal_and_are_read(checkpoint, tmp_path):
    save_file(checkpoint.weights, tmp_path / "c.safetensors", {"format": "pt"})
    assert read_weights(tmp_path / "c.safetensors")[1] == {"format": "pt"}


def test_metadata_is_plain_text_that_others_can_read(checkpoint):
    metadata = checkpoint.metadata()
    assert all(isinstance(v, str) for v in metadata.values())
    assert json.loads(metadata["classes"]) == ["蚂蚁", "a,b\n"]
    assert json.loads(metadata["image_size"]) == [32, 32]


def test_who_wrote_it_is_known_or_asked_for(checkpoint):
    with pytest.raises(CheckpointError, match="--backend"):
        _ = checkpoint.backend
    assert replace(checkpoint, record={"backend": "numpy"}).backend == "numpy"


@pytest.mark.parametrize("place", [0.4, 0.75, 1.0])
def test_a_flipped_bit_far_inside_a_large_file_is_found(tmp_path, place):
    """The digest is made piece by piece: all of the pieces count."""
    file = tmp_path / "w.safetensors"
    write_weights(file, {"w": np.zeros(3 * PIECE // 4, np.float32)}, {})
    content = bytearray(file.read_bytes())
    assert len(content) > 2 * PIECE
    content[int(place * (len(content) - 1))] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="is damaged"):
        read_weights(file)
