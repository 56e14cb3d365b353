"""The processes of a study: what a framework raises in one, and how several share the machine."""

from xfer.studies import processes
from xfer.studies.study import study


def test_what_a_framework_raises_is_one_line_and_kept_whole_in_the_log(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DYING", "raise")
    results = study(folder / "study.toml", backends=["dying"], seeds=[3], output=tmp_path / "out")
    assert [(run.seed, run.reason) for run in results.failed] == [
        (3, f"RuntimeError: out of order (see {tmp_path}/out/logs/dying-1.log)")
    ] * 2
    assert (results.rows, results.pairs, results.n_val) == ((), (), (0, 0))
    assert "Traceback" in (tmp_path / "out" / "logs" / "dying-1.log").read_text()
    assert "failed and are left out" in (tmp_path / "out" / "study.md").read_text()
    assert (tmp_path / "out" / "report.html").exists()


def test_data_that_no_run_can_use_are_looked_at_once(folder, tmp_path, monkeypatch):
    asked, ask = [], processes.processes.Child.ask
    monkeypatch.setattr(processes.processes.Child, "ask", lambda self, order: asked.append(order) or ask(self, order))
    (tmp_path / "pictures" / "ants").mkdir(parents=True)
    (tmp_path / "pictures" / "bees").mkdir()
    results = study(folder / "study.toml", data=tmp_path / "pictures", seeds=[0, 1], output=tmp_path / "out")
    reasons = {run.reason for run in results.failed}
    assert len(results.failed) >= 4
    assert len(reasons) == 1
    assert "no picture in this class" in reasons.pop()
    assert len(asked) == len({run.backend for run in results.failed})


def test_data_that_change_under_one_run_are_looked_at_again_for_the_next(folder, tmp_path, monkeypatch):
    asked, ask = [], processes.processes.Child.ask
    monkeypatch.setattr(processes.processes.Child, "ask", lambda self, order: asked.append(order) or ask(self, order))
    monkeypatch.setenv("DYING", "data")
    results = study(folder / "study.toml", backends=["dying"], seeds=[0], output=tmp_path / "out")
    assert {run.reason for run in results.failed} == {"data x.png: changed since it was checked"}
    assert len(asked) == len(results.failed) == 2


def test_processes_that_share_the_machine_share_its_processors(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "processors", lambda: 8)
    for name in processes.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    started = [processes._Worker("numpy", "auto", jobs, tmp_path / "log", {}).child.environment for jobs in (1, 3)]
    assert [environment.get("OMP_NUM_THREADS") for environment in started] == [None, "2"]
    assert [environment.get("MKL_NUM_THREADS") for environment in started] == ["7", "7"]
