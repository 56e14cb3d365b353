"""The command in a process of its own: killed, signalled, without room or rights. What was saved is whole."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from stopped_runs import CLI, again, command, recipe_of, started, stopped_in, train

from xfer.results.read import LOCK, STATE
from xfer.testing.pictures import write_class_folders
from xfer.testing.resuming import assert_same_folders, resumptions
from xfer.training.state import read_state


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
