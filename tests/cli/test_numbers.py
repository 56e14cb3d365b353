"""Numbers that multiply to more than a machine has, and flags with any number: a line before anything is made."""

import math
import time

import pytest
from bad_input.shared import class_folders, train
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xfer
import xfer.studies.plan
from xfer.cli.main import main
from xfer.errors import ConfigError
from xfer.nets.size import refuse_too_large
from xfer.nets.specs import ModelSpec, with_graph
from xfer.results.checkpoint import load_checkpoint
from xfer.system.memory import peak_memory
from xfer.testing.numpy_backend import NumpyBackend

SECONDS, BYTES = 2, 1 << 28  # of processor time: others may share the machine

pytestmark = pytest.mark.usefixtures("undrawn_module")

FREE = 1 << 30  # of a small machine


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: FREE)
    monkeypatch.setattr("xfer.studies.plan.declared", xfer.backends.declared)  # whoever imported it first
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def refused(words):
    began, before = time.process_time(), peak_memory() or 0
    result = CliRunner().invoke(main, words)
    assert time.process_time() - began < SECONDS
    assert (peak_memory() or 0) - before < BYTES
    assert not isinstance(result.exception, Exception), result.exception
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


PRODUCTS = {
    "a batch of large pictures": (
        ["--batch-size", "1000000", "--size", "5000", "--set", "data.workers=1"],
        "batches of 8 pictures of 5000 x 5000 pixels: needs about 4.1 GiB of memory, this machine has 1.0 GiB free. "
        "Cure: a smaller train.batch_size, or smaller pictures",
    ),
    "pictures that are large on the way": (
        ["--set", 'augment.train=[{op="Resize",size=[20000,20000]},{op="CenterCrop",size=32}]', "--batch-size", "1"],
        "batches of 1 pictures of 32 x 32 pixels: needs about 3.0 GiB",
    ),
    "a crop far inside of its padding": (
        ["--set", 'augment.train=[{op="RandomCrop",size=32,padding=10000}]', "--batch-size", "1"],
        "batches of 1 pictures of 32 x 32 pixels: needs about 3.0 GiB",
    ),
    "hidden layers": (
        ["--set", "model.extra=[100000, 100000]"],
        "tiny for 2 classes, 10,002,001,106 weights in 3 copies: needs about 112 GiB",
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_held_against_memory_before_a_run(name, tmp_path):
    words, message = PRODUCTS[name]
    class_folders()
    assert message in refused([*train("set"), *words])
    assert not (tmp_path / "out").exists()


def test_blocks_and_whole_maps_count(monkeypatch):
    def spec(arch, size=(224, 224), **changes):
        return with_graph(ModelSpec(arch, 1000, size, (0.5,) * 3, (0.5,) * 3, **changes), NumpyBackend())

    refuse_too_large(spec("resnet152"))
    with pytest.raises(ConfigError, match=r"Cure: fewer model\.layers, fewer classes"):
        refuse_too_large(spec("resnet18", layers=(256, 256, 256, 256)))
    with pytest.raises(ConfigError, match="Cure: fewer classes, smaller pictures"):
        refuse_too_large(spec("convnet", (4000, 4000)))


def test_features_of_all_views_are_held_against_memory(monkeypatch):
    class_folders()
    words = [*train("set"), "--views", "100000", "--epochs", "100000"]
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: 40_000_000)
    message = (
        "features of train, 100,000 views of 8 pictures: needs about 49 MiB of memory, this machine has 38 MiB free"
    )
    assert f"{message}. Cure: fewer train.views, or features.cache = false" in refused(words)


def test_a_phase_sees_a_number_of_views_whatever_its_epochs():
    class_folders()
    run = xfer.train(None, NumpyBackend(), data="set", arch="tiny", weights="random", size=32, views=3, epochs=7)
    digests = [row["batches_digest"] for row in run.history]
    assert len(set(digests)) == 7


def test_a_checkpoint_of_large_pictures_is_refused_before_a_batch_is_read(monkeypatch):
    class_folders()
    xfer.train(None, NumpyBackend(), data="set", arch="tiny", weights="random", size=300, epochs=1, output="run")
    assert load_checkpoint("run").spec.image_size == (300, 300)
    monkeypatch.setattr("xfer.system.memory.free_memory", lambda: 1 << 20)
    assert "batches of 6 pictures of 300 x 300 pixels: needs about" in refused(["evaluate", "run", "-q"])
    assert "batches of 14 pictures of 300 x 300 pixels: needs about" in refused(["predict", "run", "set", "-q"])


# Flags with any number

HUGE = ("1" + "0" * 20, "9" * 5000, "-1", "1e400", "nan", "inf")
FLAGS = {
    "train": (train("none")[:3], ["--epochs", "--batch-size", "--lr", "--views", "--size", "--seed"]),
    "parity": (["parity", "--arch", "tiny", "--weights", "random", "--backends", "numpy,numpy"],
               ["--size", "--classes", "--batch-size", "--steps", "--seed", "--tolerance"]),
    "study": (["study", "s.toml"], ["--seeds", "--jobs", "--margin"]),
}  # fmt: skip


@pytest.mark.parametrize("value", HUGE, ids=lambda text: text[:20])
@pytest.mark.parametrize(("command", "flag"), [(name, flag) for name, (_, flags) in FLAGS.items() for flag in flags])
def test_a_flag_beyond_all_bounds_is_a_line(command, flag, value, tmp_path):
    class_folders()
    (tmp_path / "r.toml").write_text("")
    (tmp_path / "s.toml").write_text('[modes.a]\nrecipe = "r.toml"\nbackends = ["numpy"]\n')
    line = refused([*FLAGS[command][0], flag, value])
    assert flag[2:].replace("-", "_") in line.replace("-", "_")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1000000"])
def test_minutes_between_checkpoints_are_bounded(value):
    class_folders()
    assert "checkpoint" in refused([*train("set"), "--checkpoint-every", value])


@pytest.mark.parametrize("value", ["9" * 400, "9" * 400 + "TB", "2000000TiB", "-1", "nan", "1e9"])
def test_sizes_of_the_cache_are_bounded(value, monkeypatch):
    assert "--to = " in refused(["cache", "prune", "--to", value])
    monkeypatch.setenv("XFER_CACHE_LIMIT", value)
    assert "XFER_CACHE_LIMIT = " in refused(["cache", "ls"])


def test_more_runs_than_a_study_may_have_are_counted_and_not_made(tmp_path):
    (tmp_path / "r.toml").write_text("")
    (tmp_path / "s.toml").write_text(
        'backends = ["numpy"]\n' + "".join(f'[modes.m{i}]\nrecipe = "r.toml"\nseeds = 10000\n' for i in range(100))
    )
    assert "s.toml: 1,000,000 runs, expected at most 10,000. Cure: fewer seeds" in refused(["study", "s.toml"])


def test_jobs_are_held_against_memory_and_are_no_more_than_runs(tmp_path, monkeypatch):
    (tmp_path / "r.toml").write_text("")
    (tmp_path / "s.toml").write_text('[modes.a]\nrecipe = "r.toml"\nbackends = ["numpy"]\nseeds = 100\n')
    line = refused(["study", "s.toml", "--jobs", "200"])
    assert "100 processes that train: needs about 25 GiB of memory, this machine has 1.0 GiB free" in line


quick = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numbers = (
    st.integers() | st.floats() | st.integers(5, 400).map(lambda n: 10**n) | st.integers(-400, 400).map("1e{}".format)
)


@quick
@given(st.sampled_from([(name, flag) for name, (_, flags) in FLAGS.items() for flag in flags]), numbers)
def test_any_number_in_any_flag_is_answered_at_once(tmp_path, which, number):
    (tmp_path / "r.toml").write_text("")
    (tmp_path / "s.toml").write_text('[modes.a]\nrecipe = "r.toml"\nbackends = ["nowhere"]\n')
    command, flag = which
    words = FLAGS[command][0] + (["--weights", "none.pth"] if command == "parity" else [])
    refused([*words, f"{flag}={number}"])  # by its bound, or else as there are no such pictures, weights or backend


@pytest.mark.parametrize("keyword", ["epochs", "batch_size", "size", "seed", "views", "lr"])
@pytest.mark.parametrize("number", [10**20, 10**400, math.nan, -(10**12)])
def test_keywords_of_python_are_bounded_too(keyword, number):
    class_folders()
    with pytest.raises(ConfigError, match=keyword):
        xfer.train(None, NumpyBackend(), data="set", arch="tiny", progress=False, **{keyword: number})
