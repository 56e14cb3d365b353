"""What a run may replace in the folder that it is told to write to: files of a run, and nothing else ever."""

import hashlib
import os
import shutil
import stat

import pytest

import xfer
from xfer.errors import CheckpointError
from xfer.recipe.load import as_recipe, to_toml
from xfer.results.read import is_finished
from xfer.results.run import Run
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.training import write
from xfer.training.record import record
from xfer.training.run import fit, prepare

FOREIGN = ("plots/fig.txt", "notes.txt", "from_random/mine.txt", ".hidden", ".mine.12.part")
NAMES = ("log.txt", "result.json", "report.html", "config.toml", "env.json", "best.safetensors", "state.safetensors",
         "metrics.jsonl", "predictions.csv", "plots/curves.png", "leaks.csv", "skipped_images.csv")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def nothing_is_drawn():
    """Here pictures are."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (4, 3))


@pytest.fixture
def recipe(data):
    return as_recipe(None, {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 1})


def train(recipe, output, **more):
    return xfer.train(recipe, NumpyBackend(), output=output, **more)


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")


def contents(folder):
    """Name and digest of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_folder_that_holds_anything_is_refused_and_left_alone(recipe, tmp_path):
    for name in FOREIGN:
        put(tmp_path / name, name)
        before = contents(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"but no run\. Cure: another --output, or --overwrite"):
            train(recipe, tmp_path / name)
        assert contents(tmp_path / name) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [*NAMES, "run.lock"])
def test_files_that_a_run_would_replace_are_kept_even_when_asked_to_overwrite(recipe, tmp_path, name, overwrite):
    put(tmp_path / "mine", name, "notes.txt")
    before = contents(tmp_path / "mine")
    with pytest.raises(CheckpointError, match=rf"{name}.*would be replaced.*Cure: |but no run\. Cure: "):
        train(recipe, tmp_path / "mine", overwrite=overwrite)
    assert contents(tmp_path / "mine") == before


def test_overwriting_leaves_what_is_there_and_so_does_replacing_the_run(recipe, tmp_path):
    put(tmp_path / "mine", *FOREIGN)
    before = contents(tmp_path / "mine")
    train(recipe, tmp_path / "mine", overwrite=True)
    assert contents(tmp_path / "mine").items() > before.items()
    run = train(recipe, tmp_path / "mine", overwrite=True, epochs=2)
    assert contents(tmp_path / "mine").items() > before.items()
    assert len(run.history) == 2


def test_a_folder_that_cannot_be_listed_is_one_line(recipe, tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("xfer.system.outputs.os.listdir", refuse)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Permission denied\)\. Cure: another --output"):
        train(recipe, tmp_path)


def test_of_an_earlier_run_nothing_is_left(recipe, tmp_path):
    path = train(recipe, tmp_path / "run").path
    train(recipe, path / "from_random")
    for name in (*write.OWN, ".best.safetensors.12.part", "plots/.curves.png.12.part"):
        if name != "env.json":
            put(path, name)
    prepared = prepare(recipe, NumpyBackend())
    write.create(prepared, path, overwrite=True)
    assert set(contents(path)) == {"config.toml", "env.json", "classes.json", "skipped_images.csv"}
    assert not (path / "plots").exists()
    assert not (path / "from_random").exists()


def test_every_file_of_a_run_is_known_as_its_own(recipe, tmp_path):
    left = set(contents(train(recipe, tmp_path / "run").path))
    assert len(left) > 10
    assert left <= set(write.OWN)


@pytest.mark.usefixtures("undrawn")
def test_what_a_killed_claim_left_is_no_obstacle(recipe, tmp_path):
    (tmp_path / "empty").mkdir()
    put(tmp_path / "claimed", ".config.toml.12.part", "run.lock")
    (tmp_path / "claimed" / "run.lock").write_text("process 4194305 on elsewhere, since then")
    whole = train(recipe, tmp_path / "whole").path
    (tmp_path / "begun").mkdir()
    shutil.copy(whole / "env.json", tmp_path / "begun" / "env.json")
    for name in ("empty", "claimed", "begun"):
        assert train(recipe, tmp_path / name).result["epochs"] == 1
        assert not (tmp_path / name / ".config.toml.12.part").exists()


@pytest.mark.parametrize("epochs", [0, 1])
def test_an_unfinished_run_is_named_with_resume_and_goes_on(recipe, tmp_path, epochs):
    prepared = prepare(as_recipe(recipe, {"epochs": 3}), NumpyBackend())
    path = write.create(prepared, tmp_path / "run")
    events = record(prepared, path, fit(prepared))
    for _ in range(epochs):
        next(events)
    events.close()
    put(path, "notes.txt")
    with pytest.raises(CheckpointError, match=r"already holds a run\. Cure: --resume to go on with it, or --overwrite"):
        train(recipe, path)
    assert len(xfer.train(backend=NumpyBackend(), resume=path).history) == 3
    assert (path / "notes.txt").read_text() == "mine: notes.txt"
    assert is_finished(path)


def test_a_recipe_in_a_folder_of_no_run_is_not_resumed(recipe, tmp_path):
    put(tmp_path / "mine", "log.txt")
    (tmp_path / "mine" / "config.toml").write_text(to_toml(recipe))
    before = contents(tmp_path / "mine")
    with pytest.raises(CheckpointError, match=r"of no run, and would be replaced\. Cure: another --output"):
        xfer.train(backend=NumpyBackend(), resume=tmp_path / "mine")
    assert contents(tmp_path / "mine") == before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["", "best.safetensors", "last.safetensors", "from_random/best.safetensors", "link"])
def test_the_weights_that_training_starts_from_are_never_removed(recipe, tmp_path, name):
    path = train(recipe, tmp_path / "run").path
    train(recipe, path / "from_random")
    (path / "link").mkdir()
    (path / "link" / "w.safetensors").symlink_to(path / "best.safetensors")
    source = path / name / "w.safetensors" if name == "link" else path / name
    before = contents(path)
    with pytest.raises(CheckpointError, match=r"belong to the run in .*Cure: another --output"):
        train(recipe, path, overwrite=True, weights=str(source))
    assert contents(path) == before
    assert train(recipe, tmp_path / "next", weights=str(source)).result["epochs"] == 1


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_of_a_run_are_readable_as_the_umask_says(recipe, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        path = train(recipe, tmp_path / "run").path
    finally:
        os.umask(before)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert {"best.safetensors", "config.toml", "predictions.csv"} <= {file.name for file in files}
    assert {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in files} == {f.name: oct(mode) for f in files}
    assert Run.load(path).checkpoint.classes == ("ants", "bees")
