"""What a run computes in: how `auto` is settled, what is written down, what is refused, and what older runs mean."""

import json
import tomllib
from dataclasses import replace

import pytest
import tomli_w
from stopped_runs import recipe_of, stopped_in

import xfer
from xfer.cli import run_text
from xfer.errors import BackendError, CheckpointError, ConfigError
from xfer.formats.sealed import read_sealed, write_sealed
from xfer.porting.subject import subject_of
from xfer.porting.task import Task
from xfer.recipe.load import as_recipe
from xfer.recipe.meaning import from_random, small_from_random
from xfer.results.read import ENV, STATE
from xfer.studies.plan import Planned
from xfer.studies.processes import is_done
from xfer.testing.kit import random_batch
from xfer.testing.numpy_backend import NumpyBackend
from xfer.training.pursue import pursue
from xfer.training.run import prepare


class Rough(NumpyBackend):
    """Says that it has these precisions, computes in float32 all the same, and remembers what it was asked for."""

    def __init__(self, *precisions):
        self.usable, self.asked = ("float32", *precisions), []

    def precisions(self, device):
        return self.usable

    def build(self, spec, device):
        self.asked.append((spec.precision, spec.fast))
        return super().build(replace(spec, precision="float32"), device)


def with_precision(recipe, precision):
    return as_recipe(recipe, {"train.precision": precision})


@pytest.mark.parametrize(
    ("asked", "backend", "used"),
    [
        ("auto", NumpyBackend(), "float32"),  # which says nothing of precisions
        ("auto", Rough("bfloat16"), "float32"),
        ("auto", Rough("tf32", "bfloat16"), "tf32"),
        ("float32", Rough("tf32"), "float32"),
        ("bfloat16", Rough("tf32", "bfloat16"), "bfloat16"),
    ],
)
def test_auto_is_tf32_where_the_device_has_it(recipe, asked, backend, used):
    assert recipe.train.precision == "auto"
    assert prepare(with_precision(recipe, asked), backend).net.spec.network.precision == used


def test_what_a_device_lacks_is_refused_with_what_it_has(recipe):
    words = r"train.precision = 'tf32': backend 'numpy' has float32, bfloat16 on cpu\. Cure: one of these, or 'auto'$"
    with pytest.raises(BackendError, match=words):
        prepare(with_precision(recipe, "tf32"), Rough("bfloat16"))
    with pytest.raises(ConfigError, match=r"train\.precision = 'half': Input should be 'auto', 'float32', 'tf32'"):
        with_precision(recipe, "half")


def test_a_run_writes_down_what_it_used_and_compare_shows_it(recipe, tmp_path):
    runs = [
        xfer.train(recipe, backend, output=tmp_path / name, progress=False)
        for name, backend in {"exact": NumpyBackend(), "rough": Rough("tf32")}.items()
    ]
    assert [json.loads((run.path / ENV).read_text())["precision"] for run in runs] == ["float32", "tf32"]
    comparison = xfer.compare(runs)
    assert [summary.precision for summary in comparison.runs] == ["float32", "tf32"]
    assert ("train.precision", ("float32", "tf32")) in [(s.key, s.values) for s in comparison.settings]


def test_fast_is_passed_on_and_is_not_the_default(recipe, tmp_path):
    for asked in (False, True):
        backend = Rough()
        run = xfer.train(recipe, backend, output=tmp_path / str(asked), progress=False, fast=asked)
        assert set(backend.asked) == {("float32", asked)}
        assert run.recipe.train.fast is asked
    run.evaluate(backend=backend)
    assert backend.asked[-1] == ("float32", False)  # what a checkpoint says is the same each time


def test_parity_is_in_float32_and_to_the_bit():
    backend, case = Rough("tf32"), random_batch(2)
    subject_of(backend, "cpu", Task("tiny", case.inputs, None))
    assert backend.asked == [("float32", False)]


def of_before(path):
    """The run in `path` as the xfer wrote it that had no `auto`, and was not asked for a precision."""
    recipe = tomllib.loads((path / "config.toml").read_text())
    recipe["train"]["precision"] = "float32"
    del recipe["train"]["fast"]
    (path / "config.toml").write_text(tomli_w.dumps(recipe))
    for file in (path / ENV, path / "result.json"):
        if file.exists():
            content = json.loads(file.read_text())
            del content["precision"]
            file.write_text(json.dumps(content))
    if (path / STATE).exists():
        arrays, metadata = read_sealed(path / STATE)
        identity = json.loads(metadata["identity"])
        identity["recipe"]["train"] = recipe["train"]
        write_sealed(path / STATE, arrays, metadata | {"identity": json.dumps(identity)})
    return path


def of_long_before(path):
    """The same of the time before the key."""
    of_before(path)
    recipe = tomllib.loads((path / "config.toml").read_text())
    del recipe["train"]["precision"]
    (path / "config.toml").write_text(tomli_w.dumps(recipe))
    arrays, metadata = read_sealed(path / STATE)
    identity = json.loads(metadata["identity"])
    del identity["recipe"]["train"]["precision"]
    write_sealed(path / STATE, arrays, metadata | {"identity": json.dumps(identity)})
    return path


@pytest.mark.parametrize(
    ("backend", "fast", "words"),
    [
        (Rough("tf32"), True, ["computes in tf32; train.precision = 'float32' is exact", "train.fast: on a GPU, the "]),
        (NumpyBackend(), False, []),
    ],
)
def test_what_is_not_exact_is_said_in_a_line(recipe, capsys, backend, fast, words):
    run_text.describe(prepare(as_recipe(recipe, {"fast": fast}), backend))
    said = [line for line in capsys.readouterr().out.splitlines() if "computes in" in line or "fast" in line]
    assert len(said) == len(words)
    assert all(line.startswith(wanted) for line, wanted in zip(said, words, strict=True))


@pytest.mark.parametrize("age", [of_before, of_long_before])
@pytest.mark.parametrize("asked", [False, True])
def test_an_older_run_goes_on_in_float32(recipe, stopped, age, asked):
    """Also where it is asked for as it was then, by a recipe that says nothing of precision."""
    backend = Rough("tf32")
    run = xfer.train(recipe if asked else None, backend, resume=age(stopped), output=stopped, progress=False)
    assert set(backend.asked) == {("float32", False)}
    assert (run.result["precision"], run.result["resumed"][0]["epoch"]) == ("float32", 3)


def test_another_precision_than_the_runs_is_refused(recipe, stopped):
    of_before(stopped)
    with pytest.raises(ConfigError, match=r"train.precision was 'float32', 'bfloat16' is asked for"):
        xfer.train(with_precision(recipe, "bfloat16"), Rough("bfloat16"), resume=stopped, progress=False)


def test_parts_of_a_study_that_are_older_are_done_or_go_on(recipe, data, tmp_path, unthrottled):
    path = tmp_path / "done"
    xfer.train(recipe, NumpyBackend(), output=path, progress=False)
    planned = Planned("mode", "numpy", 0, recipe)
    assert is_done(planned, of_before(path), "auto")
    with pytest.raises(CheckpointError, match=r"train\.precision = float32, wanted bfloat16"):
        is_done(replace(planned, recipe=with_precision(recipe, "bfloat16")), path, "auto")
    left = of_before(stopped_in(tmp_path / "left", recipe))
    *_, run = pursue(recipe, NumpyBackend(), "cpu", left)
    assert run.result["resumed"]


def test_an_older_run_is_compared(recipe, tmp_path):
    runs = [xfer.train(recipe, NumpyBackend(), output=tmp_path / name, progress=False) for name in "ab"]
    of_before(runs[0].path)
    comparison = xfer.compare([xfer.Run.load(run.path) for run in runs])
    assert [summary.precision for summary in comparison.runs] == ["float32", "float32"]
    assert comparison.settings == ()


def test_the_run_from_random_weights_computes_in_what_it_is_compared_with(data):
    recipe = recipe_of(data, fast=True, **{"train.precision": "float32"})
    for other in (small_from_random(recipe), from_random(recipe, "stem")):
        assert (other.train.precision, other.train.fast) == ("float32", True)
