"""A study of data elsewhere, behind a password: its processes get in, and none of its files says how."""

import shutil

from served import serving

from xfer.studies.study import events, read_plan

SECRET = "geheim"


def test_processes_of_a_study_know_the_password_and_write_it_nowhere(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("xfer.studies.study.draw", lambda groups, folder, earlier: [])
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    shutil.make_archive(str(tmp_path / "set"), "zip", folder / "pictures")
    with serving() as server:
        server.files["/set.zip"], server.login = (tmp_path / "set.zip").read_bytes(), f"me:{SECRET}"
        source = server.url.replace("//", f"//me:{SECRET}@") + "/set.zip"
        recipe, study = ((folder / name).read_text() for name in ("recipe.toml", "study.toml"))
        (tmp_path / "recipe.toml").write_text(recipe.replace(str(folder / "pictures"), source))
        (tmp_path / "study.toml").write_text(study.partition("[modes.all]")[0].replace("seeds = 2", "seeds = 1"))
        *runs, _ = events(read_plan(tmp_path / "study.toml"), tmp_path / "out")
    assert [run.reason for run in runs] == [None]
    files = [file for place in ("out", "cache") for file in (tmp_path / place).rglob("*") if file.is_file()]
    assert len(files) > 20
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
