import json
import sys
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from xfer import doctor
from xfer.backends import GROUP
from xfer.cli.main import main
from xfer.testing.numpy_backend import NumpyBackend

ABSENT = EntryPoint("absent", "no_such_package:Backend", GROUP)


@pytest.fixture(scope="module")
def declared_backends(declared_backends):
    return {"absent": ABSENT} | declared_backends


@pytest.fixture
def here(monkeypatch, declaring, declared_backends):
    """Two backends, examined in this process, and quickly."""
    monkeypatch.setattr(doctor, "declared", lambda: declared_backends)
    monkeypatch.setattr(doctor, "SPEED_SECONDS", 0.01)
    monkeypatch.setattr(doctor, "_in_own_process", lambda name, speed: doctor.probe(name, speed))
    with declaring():
        yield


@pytest.mark.usefixtures("here")
def test_backends_lists_what_works_and_what_does_not():
    lines = CliRunner().invoke(main, ["backends"]).stdout.splitlines()
    assert lines[1].split() == ["numpy", "cpu"]
    assert lines[0].startswith("absent")
    assert "not usable" in lines[0]
    (absent, numpy) = json.loads(CliRunner().invoke(main, ["backends", "--json"]).stdout)
    assert (absent["works"], numpy["works"], numpy["kinds"]) == (False, True, sorted(NumpyBackend.kinds))


@pytest.mark.usefixtures("here")
def test_doctor_gives_each_problem_its_cure_and_fails():
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    (problem,) = [line for line in result.stdout.splitlines() if line.startswith("problem")]
    assert "no_such_package" in problem
    assert "Cure: pip install" in problem
    assert "tiny predicts" in result.stdout


def test_what_a_backend_says_of_itself_is_passed_on():
    record = {"name": "x", "works": True, "versions": {"x": "1"}, "devices": ["cpu"]}
    findings = doctor._findings(
        record | {"diagnoses": [["all is well", ""], ["slow", "do this"]], "speed": ["net", "cpu", 9.0]}
    )
    levels = [(f.level, f.cure) for f in findings]
    assert levels == [("ok", ""), ("ok", ""), ("problem", "do this"), ("ok", "")]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("import sys; sys.exit('boom')", "died with exit code 1: boom"),
        ("import time; time.sleep(60)", "gave no answer"),
        ('print(\'chatter\'); print(\'{"name": "x", "works": true}\')', None),
    ],
)
def test_a_framework_that_dies_takes_nobody_along(monkeypatch, command, problem):
    run = doctor.subprocess.run
    monkeypatch.setattr(doctor, "TIMEOUT", 5)
    monkeypatch.setattr(doctor.subprocess, "run", lambda _, **k: run([sys.executable, "-c", command], **k))
    record = doctor._in_own_process("x", False)
    assert record["works"] is (problem is None)
    assert problem is None or problem in record["problem"]
