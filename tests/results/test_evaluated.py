"""What `Run.evaluate` gives: what it always gave, and all figures, on every backend as `xfer evaluate` says them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import xfer
from xfer.cli.main import main
from xfer.metrics import Evaluation
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.usefixtures("undrawn_module")


@pytest.mark.parametrize("name", ["numpy", "torch", "mindspore"])
def test_all_figures_are_those_that_the_command_says(name, tmp_path, monkeypatch, declaring):
    backend, _ = require(name)
    data = write_class_folders(tmp_path / "pictures", ("ants", "bees", "cats"), counts=(4, 5), size=(20, 24))
    arch = "tiny" if name == "numpy" else "convnet"
    run = xfer.train(
        None, backend, data=data, output=tmp_path / "run", arch=arch, size=20, epochs=1, batch_size=4,
        weights="random", progress=False,
    )  # fmt: skip
    result = run.evaluate(backend=backend, split="all")
    assert isinstance(result, Evaluation)
    assert result.accuracy == (result.predictions == result.labels).mean()
    assert result.logits.shape == (27, 3)
    assert result.metrics.n == 27
    assert result.metrics.accuracy.value == result.accuracy
    assert result.metrics.log_loss.value == pytest.approx(result.loss, rel=1e-6)
    assert result.metrics.macro_f1.low <= result.metrics.macro_f1.value <= result.metrics.macro_f1.high
    assert result.metrics is result.metrics, "made once"
    words = ["evaluate", str(run.path), "--split", "all", "--json", "-q"]
    if name == "numpy":
        with declaring():
            said = CliRunner().invoke(main, words)
    else:
        said = CliRunner().invoke(main, words)
    record = json.loads(said.stdout)
    assert record["metrics"] == result.metrics.as_json()
    assert (record["loss"], record["accuracy"], record["classes"]) == (result.loss, result.accuracy, [*result.classes])


def test_the_validation_of_a_run_has_the_figures_of_its_result(tmp_path, declaring):
    data = write_class_folders(tmp_path / "pictures", counts=(4, 5))
    with declaring():
        run = xfer.train(
            None, "numpy", data=data, output=tmp_path / "run", arch="tiny", size=32, epochs=1, weights="random",
            progress=False,
        )  # fmt: skip
        whole, mirrored = run.evaluate(), run.evaluate(tta="flip")
    assert whole.metrics == run.metrics
    assert mirrored.metrics.log_loss.value == pytest.approx(mirrored.loss, rel=1e-6)
    assert not np.array_equal(mirrored.logits, whole.logits)
