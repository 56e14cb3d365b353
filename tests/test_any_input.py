"""Whatever stands in a file or an archive, its reader answers, or says in one line what is wrong with it."""

import json
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from archive_files import make_tar, make_zip, tree
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import xfer
from xfer.comparison.compare import Comparison, compare
from xfer.data.archives import unpack
from xfer.errors import CheckpointError, XferError
from xfer.formats.files import read_weights, write_weights
from xfer.nets.specs import ModelSpec, with_graph
from xfer.nets.weights import init_weights
from xfer.pixels.augment import default_eval
from xfer.recipe.load import load_recipe, to_toml
from xfer.recipe.recipe import Recipe
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.studies.plan import read_plan
from xfer.system.kept import let_go
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

ROOT = Path(__file__).parents[1]
SPEC = ModelSpec("tiny", 2, (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
# The same examples each time: what a run of everything says is about the change, and not about chance.
quick = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def answered_or_refused(*names):
    """An error of xfer's, in one line that holds one of the names, is as good as an answer."""
    refusals = []
    try:
        yield refusals
    except XferError as error:
        refusals.append(str(error))
    assert [line for line in refusals if "\n" in line or not any(str(name) in line for name in names)] == []


@st.composite
def edited(draw, text):
    """A text, or bytes, with up to three pieces cut out, repeated, or overwritten with something else."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        replacement = draw(st.binary(max_size=8) if isinstance(text, bytes) else st.text(max_size=8))
        text = text[:start] + draw(st.sampled_from([text[:0], 2 * text[start:end], replacement])) + text[end:]
    return text


# --- recipes and studies


RECIPES = sorted((ROOT / "configs").rglob("*.toml"))


@quick
@given(st.data())
def test_any_text_is_a_recipe_or_refused(tmp_path, data):
    source = data.draw(st.sampled_from(RECIPES)).read_text(encoding="utf-8")
    text = data.draw(edited(source) | st.text())
    file = tmp_path / "r.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with answered_or_refused("r.toml"):
        recipe = load_recipe(file)
        file.write_text(to_toml(recipe), encoding="utf-8")
        assert load_recipe(file) == recipe


@quick
@given(st.data())
def test_any_text_is_a_study_or_refused(tmp_path, data):
    source = data.draw(st.sampled_from([file for file in RECIPES if file.parent.name == "studies"]))
    file = tmp_path / "studies" / "s.toml"
    if not file.exists():
        shutil.copytree(ROOT / "configs", tmp_path, dirs_exist_ok=True)
    file.write_bytes(data.draw(edited(source.read_text(encoding="utf-8"))).encode("utf-8", "surrogatepass"))
    with answered_or_refused("s.toml", ".toml: no such file", "of mode"):
        assert read_plan(file).runs


# --- weights and checkpoints


@pytest.fixture(scope="module")
def checkpoint():
    backend = NumpyBackend()
    shapes = with_graph(SPEC, backend).graph.weights
    return Checkpoint(init_weights(shapes, 0), SPEC, ("ants", "bees"), default_eval(32), {"epoch": "3"})


@quick
@given(data=st.data(), suffix=st.sampled_from([".safetensors", ".pth", ".ckpt"]))
def test_any_bytes_are_weights_or_refused(tmp_path, checkpoint, data, suffix):
    file = tmp_path / f"w{suffix}"
    write_weights(file, checkpoint.weights, {})
    file.write_bytes(data.draw(edited(file.read_bytes()) | st.binary()))
    with answered_or_refused(file):
        weights, _ = read_weights(file)
        assert all(array.dtype == np.float32 for array in weights.values())


@quick
@given(
    header=st.dictionaries(
        st.text(max_size=4),
        values | st.fixed_dictionaries({
            "dtype": st.sampled_from(["F32", "BF16", "I64", "BOOL", "F8_E4M3", "x"]) | values,
            "shape": st.lists(st.integers(0, 2**40), max_size=3) | values,
            "data_offsets": st.lists(st.integers(-1, 2**40), min_size=2, max_size=2) | values,
        }),
        max_size=3,
    ),
    metadata=st.none() | values | st.dictionaries(st.text(max_size=8), st.text(max_size=80)),
    content=st.binary(max_size=64),
)  # fmt: skip
def test_any_header_is_read_or_refused(tmp_path, header, metadata, content):
    text = json.dumps(header if metadata is None else header | {"__metadata__": metadata}).encode()
    file = tmp_path / "w.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + content)
    with answered_or_refused(file):
        read_weights(file)


@quick
@given(st.dictionaries(st.text(max_size=20).filter(lambda key: key != "xfer-seal"), st.text(max_size=200), max_size=4))
def test_any_metadata_comes_back(tmp_path, metadata):
    write_weights(tmp_path / "w.safetensors", {"a": np.ones(2, np.float32)}, metadata)
    assert read_weights(tmp_path / "w.safetensors")[1] == metadata


@quick
@given(st.data())
def test_any_metadata_make_a_checkpoint_or_are_refused(tmp_path, checkpoint, data):
    metadata = checkpoint.metadata()
    for key in data.draw(st.lists(st.sampled_from(sorted(metadata)), max_size=3)):
        metadata[key] = data.draw(values.map(json.dumps) | edited(metadata[key]) | st.text())
    file = tmp_path / "c.safetensors"
    write_weights(file, checkpoint.weights, metadata)
    with answered_or_refused(file):
        loaded = load_checkpoint(file)
        loaded.save(file)
        assert load_checkpoint(file).metadata() == loaded.metadata()


@settings(quick, max_examples=300)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans(), header=st.booleans())
def test_any_damage_to_a_checkpoint_is_found_and_named(tmp_path, checkpoint, where, bit, cut, header):
    file = tmp_path / "c.safetensors"
    checkpoint.save(file)
    assert np.array_equal(load_checkpoint(file).weights["fc.bias"], checkpoint.weights["fc.bias"])
    content = file.read_bytes()
    at = int(where * (8 + int.from_bytes(content[:8], "little") if header else len(content)))
    file.write_bytes(content[:at] if cut else content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
    with pytest.raises(CheckpointError, match=r"c\.safetensors: ") as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)


# --- run folders


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pictures = write_class_folders(folder / "pictures", counts=(4, 2))
    overrides = {"data": str(pictures), "arch": "tiny", "weights": "random", "size": 32, "train_from": "layer1"}
    return xfer.train(None, NumpyBackend(), output=folder / "run", epochs=2, **overrides).path


def rewritten(file, change):
    content = file.read_text(encoding="utf-8")
    file.write_bytes(change(content).encode("utf-8", "surrogatepass"))


@settings(quick, max_examples=150)
@given(data=st.data(), name=st.sampled_from(["result.json", "config.toml", "metrics.jsonl", "predictions.csv"]))
def test_any_run_folder_is_compared_or_refused(tmp_path, run, data, name):
    copy = tmp_path / "other"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    rewritten(copy / name, lambda text: data.draw(edited(text) | st.text()))
    with answered_or_refused(copy, run):
        loaded = xfer.Run.load(copy)
        assert isinstance(loaded.history, list)
        assert isinstance(loaded.recipe, Recipe)
        assert isinstance(compare([xfer.Run.load(run), loaded]), Comparison)


@quick
@given(data=st.data())
def test_any_value_in_a_result_is_compared_or_refused(tmp_path, run, data):
    copy = tmp_path / "other"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    result = json.loads((copy / "result.json").read_text(encoding="utf-8"))
    for key in data.draw(st.lists(st.sampled_from(sorted(result)), max_size=3)):
        result[key] = data.draw(values)
    (copy / "result.json").write_text(json.dumps(result), encoding="utf-8")
    with answered_or_refused(copy, run):
        assert isinstance(compare([xfer.Run.load(run), xfer.Run.load(copy)]), Comparison)


# --- archives


parts = st.sampled_from(["..", ".", "", "a", "b.png", "C:", "~", "/", "\\", "\0", "x" * 300, "蚂", "\udcff", " "])
names = st.lists(parts, min_size=1, max_size=4).map("/".join) | st.lists(parts, max_size=3).map("\\".join) | st.text()


@settings(quick, max_examples=300)
@given(st.lists(names, min_size=1, max_size=3), st.sampled_from([make_zip, make_tar]))
@example(["a", "a/b.png"], make_tar)
@example(["a/b.png", "a"], make_zip)
@example(["x/../../../out.png"], make_tar)
@example(["..\\out.png"], make_zip)
def test_names_in_an_archive_never_lead_outside(tmp_path, names, make):
    root = tmp_path / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    archive = root / ("x.zip" if make is make_zip else "x.tar")
    try:
        make(archive, {name: name.encode("utf-8", "surrogatepass") for name in names})
    except (UnicodeError, ValueError):  # names that the archivers themselves refuse
        return
    packed, target = archive.read_bytes(), root / "target"
    with answered_or_refused(root) as refusals:
        let_go(unpack(archive, target).parent)
    files = {name: content for name, content in tree(root).items() if not name.endswith("/made.json")}
    assert files.pop(archive.name) == packed
    assert all(PurePosixPath(name).is_relative_to("target") for name in files)
    assert not any(path.is_symlink() for path in root.rglob("*"))
    assert len(list(target.iterdir())) == (not refusals), "the whole of it or nothing"
    assert set(files.values()) <= {name.encode("utf-8", "surrogatepass") for name in names}
