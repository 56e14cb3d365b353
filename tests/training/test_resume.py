"""A run that was killed, stopped or moved ends as if nothing had happened. On the NumPy backend."""

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopped_runs import again, recipe_of, stop_now, train

import xfer
from xfer.errors import CheckpointError
from xfer.results.read import LOCK, STATE, is_finished
from xfer.system.interrupts import Interrupted
from xfer.system.locks import locked
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.resuming import assert_same_end, assert_same_folders, ended, resumptions, stopping


def with_phases(recipe, phases):
    return xfer.recipe.load.make_recipe(recipe.model_dump(mode="json", exclude_none=True) | {"phases": phases}, {})


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


def test_a_second_writer_is_refused_with_the_holder_named(recipe, stopped):
    with locked(stopped / LOCK):
        for options in ({"resume": stopped}, {"recipe": recipe, "output": stopped, "overwrite": True}):
            with pytest.raises(CheckpointError, match=rf"run.lock: is held by process {os.getpid()} on .*Cure"):
                xfer.train(backend=NumpyBackend(), **options)
    train(None, None, resume=stopped)


def test_an_unfinished_run_is_not_written_over_and_the_cure_is_to_resume(recipe, stopped):
    with pytest.raises(CheckpointError, match="--resume"):
        train(recipe, stopped)
