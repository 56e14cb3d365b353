"""MLflow: the server that MLFLOW_TRACKING_URI names; the experiment of MLFLOW_EXPERIMENT_NAME, or else `xfer`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param
from mlflow.environment_variables import MLFLOW_EXPERIMENT_NAME
from mlflow.exceptions import MlflowException

from xfer.system.files import write_json
from xfer.system.outputs import read_record
from xfer.tracking.logger import Started, figures, flat

FILE = "mlflow.json"
"""In the run folder: which run of which server it is, so that one that goes on is the same there."""
EXPERIMENT = "xfer"
LONGEST = 500  # characters of a parameter that every store takes
AT_ONCE = 100  # parameters in a request
FILES = ("report.html", "config.toml", "result.json", "predictions.csv")
FIGURE = "val_loss"  # one that every epoch has


class MLflow:
    """Figures by epoch, the recipe as parameters, and at the end the report and the pictures.

    By a client of its own: an active run of the program that trains is not touched.
    """

    def __init__(self, started: Started) -> None:
        self.path, self.client = started.path, MlflowClient()
        record = read_record(self.path / FILE) if started.history else {}
        self.run, self.heard = self._known(record) if record.get("uri") == get_tracking_uri() else ("", 0)
        if not self.run:
            self.run = self._begun(started)
            for epoch in started.history:
                self.epoch(epoch)

    def epoch(self, record: Mapping[str, Any]) -> None:
        if record["epoch"] > self.heard:  # it may have come before the run was stopped, and is the same then
            now = time.time_ns() // 1_000_000
            metrics = [Metric(key, value, now, record["epoch"]) for key, value in figures(record).items()]
            self.client.log_batch(self.run, metrics)

    def end(self, result: Mapping[str, Any] | None) -> None:
        if result is not None:
            for name in FILES:
                if (self.path / name).exists():
                    self.client.log_artifact(self.run, str(self.path / name))
            if (self.path / "plots").is_dir():
                self.client.log_artifacts(self.run, str(self.path / "plots"), "plots")
        self.client.set_terminated(self.run, "KILLED" if result is None else "FINISHED")

    def _known(self, record: Mapping[str, Any]) -> tuple[str, int]:
        """The run that the record names, and the last epoch that was logged of it; "" where the server has none."""
        run = str(record.get("run"))
        try:
            history = self.client.get_metric_history(run, FIGURE)
            self.client.update_run(run, "RUNNING")
        except MlflowException:
            return "", 0
        return run, max((metric.step for metric in history), default=0)

    def _begun(self, started: Started) -> str:
        name = MLFLOW_EXPERIMENT_NAME.get() or EXPERIMENT
        there = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if there is None else there.experiment_id
        tags = {"xfer.backend": started.backend, "xfer.device": started.device, "xfer.path": str(started.path)}
        run = str(self.client.create_run(experiment, run_name=started.path.name, tags=tags).info.run_id)
        params = [Param(key, str(value)[:LONGEST]) for key, value in flat(started.recipe).items()]
        for first in range(0, len(params), AT_ONCE):
            self.client.log_batch(run, params=params[first : first + AT_ONCE])
        write_json(started.path / FILE, {"uri": get_tracking_uri(), "run": run})
        return run
