"""Studies on one folder for each class, where a share is split off for validation: one split, or one for each seed."""

import csv
import shutil

import numpy as np
import pytest

from xfer.errors import CheckpointError
from xfer.studies import text as study_text
from xfer.studies.plan import read_plan
from xfer.studies.results import PairedTest
from xfer.studies.statistics import difference_interval, pigeonhole, sign_flip
from xfer.studies.study import study


@pytest.fixture(scope="module")
def whole(folder):
    """A study's file whose data has no folder for validation."""
    recipe = (folder / "recipe.toml").read_text().replace('pictures"', 'pictures/train"')
    (folder / "whole.toml").write_text(recipe.replace("[data]", "[data]\nval_fraction = 0.4"))
    (folder / "splits.toml").write_text((folder / "study.toml").read_text().replace("recipe.toml", "whole.toml"))
    return folder / "splits.toml"


def right(run):
    """Whether the validation images of a run, by file, were taken for what they are; and what they were taken for."""
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: (row["label"] == row["predicted"], row["predicted"]) for row in csv.DictReader(file)}


def test_all_seeds_of_a_study_are_validated_on_the_same_images(whole, tmp_path):
    results = study(whole, output=tmp_path)
    images = [set(right(tmp_path / run.folder)) for run in results.runs]
    assert images == [images[0]] * 4
    (pair,) = results.pairs
    assert isinstance(pair, PairedTest)
    assert (results.splits, pair.splits, pair.n, pair.total, pair.seeds) == (1, 1, 6, 12, (0, 1))
    assert "on the same images; none" in " ".join(study_text.notes(results))
    assert "different sets of images" not in " ".join(study_text.notes(results))


def test_seeds_with_a_split_each_are_compared_within_it(whole, tmp_path):
    results = study(whole, output=tmp_path, **{"data.split_seed": "seed"})
    (pair,) = results.pairs
    runs = {run.folder: right(tmp_path / run.folder) for run in results.runs}
    first, second = ([runs[f"runs/{mode}-numpy-{seed}"] for seed in (0, 1)] for mode in ("head", "all"))
    assert set(first[0]) == set(second[0]) != set(first[1]) == set(second[1])
    images = sorted(set(first[0]) | set(first[1]))
    validated = np.array([[image in run for image in images] for run in first])
    differences = np.array(
        [
            [int(y[image][0]) - int(x[image][0]) if image in x else 0 for image in images]
            for x, y in zip(first, second, strict=True)
        ]
    )
    assert (results.splits, pair.splits, pair.n, pair.total) == (2, 2, len(images), 12)
    assert pair.n < 12, "this test needs an image that both splits hold"
    assert pair.difference == pytest.approx(differences.sum() / 12)
    assert pair.difference == pytest.approx(results.rows[1].accuracy - results.rows[0].accuracy)
    assert pair.p == sign_flip(differences.sum(axis=0))
    assert pair.interval == difference_interval(differences, 0, validated)
    same = [x[image][1] == y[image][1] for x, y in zip(first, second, strict=True) for image in x]
    assert pair.same == sum(same)
    assert f"{sum(same)} of 12" in (tmp_path / "study.md").read_text()
    notes = " ".join(study_text.notes(results))
    assert "validated on 2 different sets of images" in notes
    assert "on the same images; none" not in notes
    assert "compared seed by seed" in notes


def test_modes_that_are_split_otherwise_are_not_paired_and_the_reason_is_named(whole, folder, tmp_path):
    (folder / "apart.toml").write_text(whole.read_text().replace("set = {", "set = { data.split_seed = 7,"))
    (pair,) = study(folder / "apart.toml", output=tmp_path, seeds=1, epochs=1).pairs
    assert "with data.split_seed 0 and 7; cure: the same for both" in pair.reason


def test_a_number_in_a_recipe_is_kept_and_seed_has_to_be_asked_for_by_the_study(whole, folder):
    def asked(**overrides):
        return [run.recipe.split_seed for run in read_plan(folder / "asked.toml", overrides=overrides).runs]

    recipe, text = folder / "asked_recipe.toml", (folder / "whole.toml").read_text()
    (folder / "asked.toml").write_text(whole.read_text().replace("whole.toml", recipe.name))
    recipe.write_text(text)
    assert asked() == [0, 0, 0, 0]
    assert asked(**{"data.split_seed": "seed"}) == [0, 1, 0, 1]
    recipe.write_text(text.replace("[data]", '[data]\nsplit_seed = "seed"'))  # as every resolved recipe says it
    assert asked() == [0, 0, 0, 0]
    recipe.write_text(text.replace("[data]", "[data]\nsplit_seed = 5"))
    assert asked() == [5, 5, 5, 5]


def as_before_the_key(run):
    lines = (run / "config.toml").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("split_seed")]
    assert len(kept) == len(lines) - 1
    (run / "config.toml").write_text("".join(kept))


def test_runs_of_before_the_key_are_done_where_it_decides_nothing(finished, folder, whole, tmp_path):
    shutil.copytree(finished[0], tmp_path / "apart")
    for run in (tmp_path / "apart" / "runs").iterdir():
        as_before_the_key(run)
    again = study(folder / "study.toml", output=tmp_path / "apart")
    assert [run.seconds for run in again.runs] == [run.seconds for run in finished[1].runs]
    study(whole, output=tmp_path / "off", epochs=1)
    as_before_the_key(tmp_path / "off" / "runs" / "head-numpy-0")  # split off with 0 then, and now
    study(whole, output=tmp_path / "off", epochs=1)
    as_before_the_key(tmp_path / "off" / "runs" / "head-numpy-1")
    with pytest.raises(CheckpointError, match=r"data\.split_seed = 1, wanted 0"):
        study(whole, output=tmp_path / "off", epochs=1)


def test_the_pigeonhole_of_a_whole_table_is_that_of_one_in_which_all_was_validated():
    differences = np.random.default_rng(0).integers(-1, 2, (4, 30))
    everything = np.ones(differences.shape, bool)
    assert pigeonhole(differences, 3, validated=everything) == pigeonhole(differences, 3)
    assert difference_interval(differences, 3, everything) == difference_interval(differences, 3)


def test_the_pigeonhole_interval_covers_the_truth_where_each_seed_sees_a_share_of_the_images():
    generator, covered = np.random.default_rng(1), 0
    for trial in range(200):
        chance = 0.04 + generator.normal(0, 0.03, (8, 1)) + generator.normal(0, 0.15, (1, 300))
        drawn = generator.random((8, 300))
        differences = (drawn < 0.25 + chance / 2).astype(np.int64) - (drawn > 0.75 + chance / 2)
        validated = generator.random((8, 300)) < 0.3
        low, high = pigeonhole(np.where(validated, differences, 0), trial, 400, validated)
        covered += low <= 0.04 <= high
    assert covered / 200 >= 0.93
