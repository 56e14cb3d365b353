"""A run that was killed, stopped or moved ends as if nothing had happened. On the NumPy backend."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xfer
from xfer.errors import CheckpointError, ConfigError, XferError
from xfer.formats.files import read_weights, write_weights
from xfer.recipe.load import as_recipe
from xfer.results.read import LOCK, STATE, is_finished
from xfer.system.interrupts import Interrupted
from xfer.system.locks import locked
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.resuming import assert_same_end, assert_same_folders, ended, resumptions, stopping
from xfer.training import record, resume, run
from xfer.training.run import prepare
from xfer.training.state import read_state

CLI = """
import sys, time
from importlib.metadata import EntryPoint
import xfer.backends
entry = EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", xfer.backends.GROUP)
xfer.backends.declared = lambda: {"numpy": entry}
pause = float(sys.argv.pop(1))
from xfer.testing import numpy_backend
step = numpy_backend.NumpyTrainStep.__call__
def slow(self, batch, lrs):
    time.sleep(pause)
    return step(self, batch, lrs)
numpy_backend.NumpyTrainStep.__call__ = slow
import xfer.training.gallery
xfer.training.gallery.draw = lambda *args: None
from xfer.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", counts=(9, 3))


@pytest.fixture
def recipe(data):
    return recipe_of(data)


def recipe_of(data, **overrides):
    usual = {
        "data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 4, "batch_size": 3, "views": 2,
        "train_from": "layer1", "model.dropout": 0.3, "optimizer.lr": 0.03,
    }  # fmt: skip
    return as_recipe(None, usual | overrides)


def with_phases(recipe, phases):
    return xfer.recipe.load.make_recipe(recipe.model_dump(mode="json", exclude_none=True) | {"phases": phases}, {})


@pytest.fixture
def unthrottled(monkeypatch):
    """Save the state after every step and every epoch, and draw nothing: pictures are not what is tested here."""
    monkeypatch.setattr(record, "STATE_EVERY", 0.0)
    monkeypatch.setattr(record, "STATE_SHARE", float("inf"))
    monkeypatch.setattr("xfer.training.record.draw", lambda *args: None)


def train(recipe, path, **options):
    return xfer.train(recipe, NumpyBackend(), output=path, checkpoint_every=1e-9, **options)


PHASES = st.lists(
    st.fixed_dictionaries(
        {"epochs": st.integers(1, 3), "train_from": st.sampled_from(["stem", "layer1", "head"])},
        optional={"norm_stats": st.sampled_from(["follow", "update", "freeze"]), "lr": st.sampled_from([0.0, 0.05])},
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    phases=PHASES,
    batch=st.sampled_from([2, 3, 4, 5, 7, 16, 18, 30]),  # none leaves a batch of one, which has no variance
    kind=st.sampled_from([("sgd", 0.0), ("sgd", 0.9), ("adam", 0.9), ("adamw", 0.9)]),
    views=st.sampled_from([1, 2, "fresh"]),
    stops=st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
def test_stopped_anywhere_it_ends_the_same(data, tmp_path, phases, batch, kind, views, stops):
    rule = {"optimizer.kind": kind[0], "optimizer.momentum": kind[1], "schedule.kind": "one_cycle"}
    recipe = with_phases(recipe_of(data, batch_size=batch, views=views, **rule), phases)
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    assert_same_end(whole, ended(recipe, [NumpyBackend()], stops, tmp_path))


def test_sigkill_at_any_moment_of_a_forked_run_loses_nothing(recipe, tmp_path, unthrottled):
    """At least 22 kills, at moments of chance: runs are killed and go on until they end.

    Each attempt of a run gets a tenth more time, so that it ends on a machine that became slower after the first
    run was timed, too: there, coming back may take longer than that whole run did.
    """
    started = time.perf_counter()
    train(recipe, tmp_path / "whole")
    lasts, chance, kills, runs = time.perf_counter() - started, random.Random(5), 0, 0
    while kills < 22 or runs < 2:
        runs += 1
        path = tmp_path / f"killed-{runs}"
        attempts = 0
        while not (path / "result.json").exists() or (path / STATE).exists():
            seconds = chance.uniform(0.2, 0.8) * lasts * 1.1**attempts
            attempts += 1
            assert attempts < 50, "it gets nowhere"
            kills += killed_after(seconds, lambda path=path: train(recipe, path, resume="auto"))
        assert_same_folders(tmp_path / "whole", path)


def killed_after(seconds, work):
    """Do the work in a forked process. Whether it was killed before it was done."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (status := os.waitpid(child, os.WNOHANG))[0]:
            break
        time.sleep(0.002)
    else:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status[1]) or os.WEXITSTATUS(status[1]) == 0
    return os.WIFSIGNALED(status[1])


def command(data, path, *more, pause=0.02):
    flags = ["--arch", "tiny", "--weights", "random", "--size", "32", "--lr", "0.05", "--epochs", "12"]
    words = ["train", "--data", data, "--output", path, "--backend", "numpy", "--batch-size", "3", *flags, *more]
    return [sys.executable, "-c", CLI, str(pause), *map(str, words)]


def started(path, epochs, words):
    """A process that has written down so many epochs."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = path / "metrics.jsonl"
    while process.poll() is None and not (lines.exists() and len(lines.read_text().splitlines()) >= epochs):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    return process


def again(path, *more, code=0, pause=0.0):
    words = [sys.executable, "-c", CLI, str(pause), "train", "--resume", str(path), *map(str, more)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    return done


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    done = subprocess.run(command(data, path, pause=0.0), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return path


@pytest.mark.parametrize("epochs", [1, 9])
def test_sigkill_of_the_command_loses_nothing(data, tmp_path, uninterrupted, epochs):
    path = tmp_path / "run"
    process = started(path, epochs, command(data, path, "--checkpoint-every", "1e-6"))
    process.kill()
    process.communicate()
    assert (path / STATE).exists()
    again(path)
    assert_same_folders(uninterrupted, path)
    assert len(resumptions(path)) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_step_saves_and_says_how_to_go_on(data, tmp_path, uninterrupted, number, code):
    path = tmp_path / "run"
    process = started(path, 2, command(data, path))
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == code
    assert stderr.splitlines()[-1] == f"interrupted. To go on: xfer train --resume {path}"
    assert "Traceback" not in stderr
    state, _ = read_state(path / STATE)
    assert 2 <= state.point.epoch < 12
    assert not (path / LOCK).exists()
    again(path)
    assert_same_folders(uninterrupted, path)


def test_a_second_signal_is_answered_at_once_and_tears_nothing(data, tmp_path, uninterrupted):
    path = tmp_path / "run"
    process = started(path, 1, command(data, path, "--checkpoint-every", "1e-6", pause=0.3))
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - asked < 5
    again(path)
    assert_same_folders(uninterrupted, path)


def test_a_signal_before_training_leaves_nothing(data, tmp_path):
    wait = "lambda *a: (print('opening', flush=True), time.sleep(30))"
    slow = CLI.replace(
        "from xfer.cli.main",
        f"import xfer.recipe.meaning\nxfer.recipe.meaning.open_data = {wait}\nfrom xfer.cli.main",
    )
    words = command(data, tmp_path / "run")
    process = subprocess.Popen([words[0], "-c", slow, *words[3:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"opening" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 143
    assert stderr == b"interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [26, 30, 34, 37, 55])
def test_the_python_interface_saves_and_raises_keyboard_interrupt(recipe, tmp_path, unthrottled, at):
    """In the features, after the first steps, in the evaluation, in the second epoch, at the very end."""
    train(recipe, tmp_path / "whole")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", progress=stopping(at, lambda: signal.raise_signal(signal.SIGINT)))
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "run" / LOCK).exists()
    run = train(None, tmp_path / "run", resume=tmp_path / "run")
    assert_same_folders(tmp_path / "whole", run.path)


def test_a_run_is_resumed_as_often_as_it_takes(recipe, tmp_path, unthrottled):
    train(recipe, tmp_path / "whole")
    path = tmp_path / "run"
    parts = 0
    while not (path / "result.json").exists():
        parts += 1
        assert parts < 50, "it gets nowhere"
        with suppress(Interrupted):
            train(recipe, path, resume="auto", progress=stopping(36, stop_now))
    assert parts > 3
    assert_same_folders(tmp_path / "whole", path)
    history = resumptions(path)
    places = [(row["epoch"], row["step"]) for row in history]
    assert places == sorted(places)
    assert {row["backend"] for row in history} == {"numpy"}


def stop_now():
    raise Interrupted(signal.SIGINT, between=True)


@pytest.fixture
def stopped(recipe, tmp_path, unthrottled):
    """A run that was stopped in its third epoch."""
    return stopped_in(tmp_path / "stopped", recipe)


def stopped_in(path, recipe):
    def stop_late(what, done, total):
        if what == "epoch 3" and done >= 6:
            stop_now()

    with pytest.raises(Interrupted):
        train(recipe, path, progress=stop_late)
    return path


def test_metrics_with_torn_and_surplus_lines_are_repaired(recipe, tmp_path, stopped):
    train(recipe, tmp_path / "whole")
    with (stopped / "metrics.jsonl").open("a") as lines:
        lines.write('{"epoch": 3}\n{"epo')
    (stopped / ".state.safetensors.1.part").write_bytes(b"half")
    train(None, None, resume=stopped)
    assert_same_folders(tmp_path / "whole", stopped)


def test_a_run_that_never_saved_its_state_begins_again(recipe, tmp_path, stopped):
    train(recipe, tmp_path / "whole")
    (stopped / STATE).unlink()
    train(None, None, resume=stopped)
    assert_same_folders(tmp_path / "whole", stopped)
    assert resumptions(stopped) == []


def test_a_run_killed_while_writing_its_result_writes_it_again(recipe, tmp_path, unthrottled, monkeypatch):
    train(recipe, tmp_path / "whole")
    monkeypatch.setattr("xfer.training.record.draw", lambda *args: stop_now())
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run")
    assert not is_finished(tmp_path / "run")
    monkeypatch.setattr("xfer.training.record.draw", lambda *args: None)
    train(None, None, resume=tmp_path / "run")
    assert_same_folders(tmp_path / "whole", tmp_path / "run")


def test_a_finished_run_stays_as_it_is(recipe, tmp_path, unthrottled):
    run = train(recipe, tmp_path / "run")
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in run.path.rglob("*") if p.is_file()}
    assert train(None, None, resume=run.path).result == xfer.Run.load(run.path).result
    assert train(recipe, run.path, resume="auto").path == run.path
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in run.path.rglob("*") if p.is_file()} == before
    assert "is finished" in again(run.path).stdout


def test_auto_takes_the_newest_unfinished_run_or_a_fresh_one(recipe, tmp_path, stopped, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fresh = train(recipe, None, resume="auto")
    assert fresh.path.parent.name == "runs"
    for name, age in (("older", 200), ("newer", 100)):
        (tmp_path / "runs" / name).mkdir()
        for file in stopped.iterdir():
            (tmp_path / "runs" / name / file.name).write_bytes(file.read_bytes())
            os.utime(tmp_path / "runs" / name / file.name, (time.time() - age,) * 2)
    assert train(None, None, resume="auto").path.name == "newer"
    assert train(recipe, None, resume="auto").path.name == "older"


@pytest.mark.parametrize(
    ("options", "error", "names"),
    [
        ({"resume": "nowhere"}, CheckpointError, "nowhere"),
        ({"output": "elsewhere"}, ConfigError, "its own folder"),
        ({"overwrite": True}, ConfigError, "leave out one"),
        ({"epochs": 5}, ConfigError, "train.epochs was 4, 5 is"),
        ({"optimizer.momentum": 0.5}, ConfigError, "optimizer.momentum was 0.9"),
    ],
)
def test_what_contradicts_the_run_is_refused(stopped, options, error, names):
    before = (stopped / STATE).read_bytes()
    with pytest.raises(error, match=names) as caught:
        xfer.train(backend=NumpyBackend(), **{"resume": stopped, **options})
    assert "\n" not in str(caught.value)
    assert (stopped / STATE).read_bytes() == before


def test_the_same_value_again_is_fine(stopped):
    train(None, None, resume=stopped, epochs=4)


def test_changed_data_are_refused(tmp_path, unthrottled):
    folders = write_class_folders(tmp_path / "own", counts=(9, 3))
    recipe, path = recipe_of(folders), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, path, progress=stopping(45, lambda: signal.raise_signal(signal.SIGINT)))
    picture = folders / "train" / "ants" / "0.png"
    content = picture.read_bytes()
    picture.write_bytes((folders / "train" / "ants" / "1.png").read_bytes())
    with pytest.raises(CheckpointError, match=r"data .*changed since .*18 \+ 6 pictures then, 18 \+ 6 now.*Cure"):
        train(None, None, resume=path)
    picture.unlink()
    with pytest.raises(CheckpointError, match=r"18 \+ 6 pictures then, 17 \+ 6 now"):
        train(None, None, resume=path)
    picture.write_bytes(content)
    train(None, None, resume=path)


def test_a_changed_weights_file_is_refused(recipe, tmp_path, unthrottled):
    source = train(recipe, tmp_path / "source").path / "best.safetensors"
    progress = stopping(45, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", weights=str(source), progress=progress)
    arrays, metadata = read_weights(source)
    write_weights(source, {name: array + 1 for name, array in arrays.items()}, metadata)
    with pytest.raises(CheckpointError, match=r"weights .*best.safetensors: changed since"):
        train(None, None, resume=tmp_path / "run")


def test_a_changed_config_is_refused(stopped):
    text = (stopped / "config.toml").read_text()
    (stopped / "config.toml").write_text(text.replace("batch_size = 3", "batch_size = 4"))
    with pytest.raises(CheckpointError, match=r"config.toml: changed .*train.batch_size was 3, 4 is"):
        train(None, None, resume=stopped)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_any_damage_to_the_state_is_found_and_named(stopped, where, bit, cut):
    file = stopped / STATE
    content = (stopped / "kept").read_bytes() if (stopped / "kept").exists() else file.read_bytes()
    (stopped / "kept").write_bytes(content)
    read_state(file)
    at = int(where * len(content))
    damaged = content[:at] if cut else content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]
    file.write_bytes(damaged)
    try:
        with pytest.raises(CheckpointError, match=r"state.safetensors: is damaged or cut short.*Cure") as caught:
            read_state(file)
        assert "\n" not in str(caught.value)
    finally:
        file.write_bytes(content)


def test_every_part_of_the_header_is_covered(stopped):
    file = stopped / STATE
    content = file.read_bytes()
    for at in [*range(40), *range(40, 8 + int.from_bytes(content[:8], "little"), 7)]:
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            read_state(file)


def test_a_second_writer_is_refused_with_the_holder_named(recipe, stopped):
    with locked(stopped / LOCK):
        for options in ({"resume": stopped}, {"recipe": recipe, "output": stopped, "overwrite": True}):
            with pytest.raises(CheckpointError, match=rf"run.lock: is held by process {os.getpid()} on .*Cure"):
                xfer.train(backend=NumpyBackend(), **options)
    train(None, None, resume=stopped)


def test_an_unfinished_run_is_not_written_over_and_the_cure_is_to_resume(recipe, stopped):
    with pytest.raises(CheckpointError, match="--resume"):
        train(recipe, stopped)


def test_a_loss_that_is_not_finite_leaves_the_state_before(recipe, tmp_path, unthrottled):
    class Exploding(NumpyBackend):
        def make_train_step(self, model, *args):
            step = super().make_train_step(model, *args)
            call, calls = step.__call__, []

            def explode(batch, lrs):
                calls.append(batch)
                if len(calls) == 16:  # six steps an epoch: after the fourth of the third
                    model.weights["fc.bias"][0] = np.nan
                return call(batch, lrs)

            return Wrapped(step, explode)

    with pytest.raises(XferError, match=r"step 4 of epoch 3.*Cure"):
        xfer.train(recipe, Exploding(), output=tmp_path / "run", checkpoint_every=1e-9)
    state, _ = read_state(tmp_path / "run" / STATE)
    assert (state.point.epoch, state.point.step) == (2, 3)
    assert state.finite
    assert (tmp_path / "run" / "best.safetensors").exists()


class Wrapped:
    def __init__(self, step, call):
        self.step, self.call = step, call

    def __call__(self, batch, lrs):
        return self.call(batch, lrs)

    def __getattr__(self, name):
        return getattr(self.step, name)


FULL = """
import resource, signal, sys
sys.argv.insert(1, "0.02")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import xfer.training.state
whole = xfer.training.state.write_state
def limited(*args):
    if args[1].point.epoch >= 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    whole(*args)
import xfer.training.record
xfer.training.record.write_state = limited
"""


def test_a_full_disk_is_one_line_and_what_was_saved_stays(data, tmp_path, uninterrupted):
    """The size of files is limited in the midst of the run, which fails as a full disk does: with an OSError."""
    words = command(data, tmp_path / "run", "--checkpoint-every", "1e-6")
    done = subprocess.run([words[0], "-c", FULL + CLI, *words[4:]], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line
    assert "--resume" in line
    state, _ = read_state(tmp_path / "run" / STATE)
    assert state.point.epoch <= 3
    assert not list((tmp_path / "run").glob(".*.part"))
    again(tmp_path / "run")
    assert_same_folders(uninterrupted, tmp_path / "run")


def test_a_folder_that_may_not_be_written_is_one_line(unthrottled):
    """Root may write everywhere: from there, a process of the user `nobody` tries."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        place = Path(name)
        place.chmod(0o755)
        recipe = recipe_of(write_class_folders(place / "pictures", counts=(9, 3)))
        stopped_in(place / "run", recipe)
        before = {file.name: file.read_bytes() for file in (place / "run").iterdir() if file.is_file()}
        train(None, place / "copy", resume=shutil.copytree(place / "run", place / "copy"))  # imports what it needs
        (place / "run").chmod(0o555)
        assert "Permission denied" in error_of_nobody(lambda: train(None, None, resume=place / "run"))
        assert "Permission denied" in error_of_nobody(lambda: train(recipe, place / "run" / "new"))
        (place / "run").chmod(0o755)
        assert {file.name: file.read_bytes() for file in (place / "run").iterdir() if file.is_file()} == before
        assert train(None, None, resume=place / "run").result["epochs"] == 4


def error_of_nobody(work):
    """The error of what another user does, in a forked process, where this one is root; its only line."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    assert "\n" not in message
    return message


def test_a_state_is_not_saved_more_than_once_a_second(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("xfer.training.record.draw", lambda *args: None)
    written = []
    monkeypatch.setattr(record, "write_state", lambda path, state, identity: written.append(state.point))
    xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", epochs=20)
    assert len(written) <= 3
    assert written[-1].epoch == 20


def test_saving_takes_at_most_a_tenth_of_the_time(recipe, tmp_path, monkeypatch):
    """On a clock where an epoch takes 3 seconds and a state 5: one is due when 50 have passed since the last."""
    now, written = [0.0], []

    def slowly(path, state, identity):
        now[0] += 5
        written.append(state.point.epoch)

    monkeypatch.setattr(record, "write_state", slowly)
    monkeypatch.setattr(record.time, "monotonic", lambda: now[0])
    prepared = prepare(xfer.recipe.load.as_recipe(recipe, {"epochs": 40}), NumpyBackend())
    states = record.StateWriter(prepared, tmp_path)
    for event in xfer.training.run.fit(prepared):
        now[0] += 3
        states.offer(event)
    assert written == [1, 18, 35]


def test_seconds_are_summed_over_the_parts(stopped):
    state, identity = read_state(stopped / STATE)
    xfer.training.state.write_state(
        stopped / STATE, xfer.training.loop.replace(state, seconds=5000.0, seconds_features=70.0), identity
    )
    result = train(None, None, resume=stopped).result
    assert 5000 < result["seconds_total"] < 5100
    assert 70 < result["seconds_features"] < 80
    assert result["resumed"] == [{"epoch": 3, "step": 2, "backend": "numpy"}]


def test_a_state_holds_nothing_that_was_frozen_all_along(recipe):
    p = prepare(recipe, NumpyBackend())
    event = next(run.train(p))
    state = event.state()
    assert set(state.weights) == set(p.net.shapes) - p.groups[0].frozen
    assert {key.partition(":")[2] for key in state.optimizer if key != "step"} == set(p.groups[0].trainable_names)
    assert json.dumps(resume.identity(p))
