"""Against a real server of MLflow's, where the whole of it is installed: the extra `mlflow` has its client alone."""

import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import xfer
from xfer.recipe.load import as_recipe
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

pytest.importorskip("mlflow.server", reason="no server of MLflow's: pip install mlflow", exc_type=ImportError)
pytest.importorskip("flask", reason="no server of MLflow's: pip install mlflow", exc_type=ImportError)
SECONDS = 300  # it imports much


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files")]
    server = subprocess.Popen([*words, *places], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, "the server never answered"
                assert server.poll() is None, "the server ended"
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(SECONDS)


@pytest.fixture
def client(address, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ants")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(address)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    data = write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (4, 3))
    return as_recipe(None, {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "epochs": 3})


def runs(client):
    return client.search_runs([client.get_experiment_by_name("ants").experiment_id])


def test_a_run_that_goes_on_is_one_run_with_each_epoch_once(client, recipe, tmp_path):
    def stop(what, done, total):
        if what == "epoch 3":
            raise Interrupted(2, between=True)

    with pytest.raises(Interrupted):
        xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", loggers=["mlflow"], progress=stop)
    (there,) = runs(client)
    assert there.info.status == "KILLED"
    run = xfer.train(resume=tmp_path / "run", backend=NumpyBackend(), loggers=["mlflow"])
    (there,) = runs(client)
    assert (there.info.status, there.info.run_name) == ("FINISHED", "run")
    for name in ("val_loss", "train_accuracy", "lr"):
        logged = client.get_metric_history(there.info.run_id, name)
        assert [(metric.step, metric.value) for metric in logged] == [
            (record["epoch"], pytest.approx(record[name])) for record in run.history
        ]
    assert there.data.params["optimizer.lr"] == "0.01"
    assert there.data.tags["xfer.backend"] == "numpy"
    assert "result.json" in {file.path for file in client.list_artifacts(there.info.run_id)}


def test_a_server_that_has_forgotten_a_run_gets_another(client, recipe, tmp_path):
    before = len(runs(client))

    def stop(what, done, total):
        if what == "epoch 2":
            raise Interrupted(2, between=True)

    with pytest.raises(Interrupted):
        xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", loggers=["mlflow"], progress=stop)
    client.delete_run(runs(client)[0].info.run_id)
    xfer.train(resume=tmp_path / "run", backend=NumpyBackend(), loggers=["mlflow"])
    assert len(runs(client)) == before + 1
    newest = runs(client)[0]
    assert [m.step for m in client.get_metric_history(newest.info.run_id, "val_loss")] == [1, 2, 3]
