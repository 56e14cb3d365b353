"""A port has its name once its proof has passed."""

import json

import pytest
from stand_in import run, told

import xfer.porting.port as porting
from xfer.errors import BackendError
from xfer.nets.network_file import read_network


@pytest.mark.usefixtures("offered")
def test_the_file_has_its_name_once_it_is_proved(here, offered, monkeypatch):
    names = []
    measured = porting.measure_in_own_process
    monkeypatch.setattr(
        porting, "measure_in_own_process", lambda *a: names.append(sorted(here.glob("n*"))) or measured(*a)
    )
    words = ("mine:make", "-o", "net.safetensors", "--size", 16, "--source", "net.py")
    offered["torch"] = 1.0
    failed = run(*words, "--json")
    assert (failed.exit_code, json.loads(failed.stdout)["output"]) == (1, "net.unproved.safetensors")
    assert sorted(here.glob("n*")) == [here / "net.unproved.safetensors"]
    assert read_network("net.unproved.safetensors").graph.size == (16, 16)
    offered["torch"] = 0.0
    assert run(*words).exit_code == 0  # what failed before is no hindrance
    assert sorted(here.glob("n*")) == [here / "net.py", here / "net.safetensors"]
    assert names == 4 * [[here / "net.unproved.safetensors"]]


@pytest.mark.usefixtures("offered")
def test_what_is_to_be_replaced_stays_unless_the_new_one_is_proved(here, offered):
    (here / "net.safetensors").write_bytes(b"what was there")
    offered["mindspore"] = BackendError("it has no expand")
    result = run("mine:make", "-o", "net.safetensors", "--size", 16, "--overwrite")
    assert result.exit_code == 1
    assert "net.safetensors was not written: the proof failed" in result.stdout
    assert (here / "net.safetensors").read_bytes() == b"what was there"
    offered["mindspore"] = KeyboardInterrupt()
    run("mine:make", "-o", "net.safetensors", "--size", 16, "--overwrite")
    assert [file.name for file in here.glob("net*")] == ["net.safetensors"]
    assert (here / "net.safetensors").read_bytes() == b"what was there"
    (here / "net.safetensors").unlink()
    (here / "net.unproved.safetensors").write_bytes(b"somebody's")
    assert "net.unproved.safetensors is in the way" in told(run("mine:make", "-o", "net.safetensors", "--size", 16))
    assert (here / "net.unproved.safetensors").read_bytes() == b"somebody's"
