"""Any number in any field of a recipe is meant, or refused in one line that names it: at once, and in little memory."""

import math
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xfer.archs import MOST_BLOCKS, MOST_WIDTH
from xfer.errors import ConfigError
from xfer.pixels.augment import working_pixels
from xfer.pixels.fields import MOST_PIXELS
from xfer.porting.parity import MOST_STEPS
from xfer.recipe.keys import flat
from xfer.recipe.load import load_recipe, make_recipe, to_toml
from xfer.recipe.meaning import epochs, image_size, plan, small_from_random
from xfer.recipe.recipe import MOST_BATCH, MOST_LISTED, MOST_SIZE, MOST_WORKERS, Recipe
from xfer.recipe.schedule import MOST_EPOCHS, factor
from xfer.studies.plan import MOST_RUNS
from xfer.training.record import MOST_MINUTES

LIMITS = Path(__file__).parents[2] / "docs" / "limits.md"
SECONDS, BYTES = 1, 1 << 24  # of processor time: others may share the machine
quick = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

powers = st.integers(-400, 400)
numbers = st.one_of(
    st.integers(),
    powers.map(lambda n: 10 ** abs(n) * (1 if n >= 0 else -1)),
    st.floats(),
    powers.map(lambda n: float(f"1e{n}")),
    st.integers(1, 8).map(lambda n: 10**n),
)
DEFAULTS = dict(flat(Recipe().model_dump(mode="json")))
PLAIN = [key for key, value in DEFAULTS.items() if value is None or type(value) in (int, float)]
LISTS = ["model.layers", "model.extra", "loss.class_weights", "optimizer.betas"]


@st.composite
def recipes(draw):
    """Some keys of a recipe, each with any number, and phases and augmentations with some."""
    content = {key: draw(numbers) for key in draw(st.sets(st.sampled_from([*PLAIN, "train.views", "data.split_seed"])))}
    for key in draw(st.sets(st.sampled_from(LISTS))):
        content[key] = draw(st.lists(numbers, max_size=3))
    if draw(st.booleans()):
        content["phases"] = draw(st.lists(st.fixed_dictionaries({"epochs": numbers}), max_size=3))
    if draw(st.booleans()):
        sizes = numbers | st.lists(numbers, min_size=2, max_size=2)
        crop = st.fixed_dictionaries({"op": st.just("RandomCrop"), "size": sizes, "padding": numbers})
        pad = st.fixed_dictionaries({"op": st.just("Pad"), "padding": sizes})
        box = st.fixed_dictionaries({"op": st.just("Letterbox"), "size": sizes})
        content["augment.train"] = draw(st.lists(crop | pad | box, min_size=1, max_size=3))
    return content


def meant(content):
    """What a recipe of these keys comes to, up to where pictures would be read."""
    recipe = make_recipe({}, content)
    assert make_recipe(recipe.model_dump(mode="json", exclude_none=True), {}) == recipe
    assert sum(phase.epochs for phase in plan(recipe)) == epochs(recipe)
    small_from_random(recipe)
    for steps in (1, 1000):
        for at in (0, steps * epochs(recipe) // 2, steps * epochs(recipe) - 1):
            assert not math.isnan(factor(recipe.schedule, at, steps, epochs(recipe)))
    assert working_pixels(recipe.augment.train_transforms) < 2**40
    image_size(recipe)


@settings(quick, max_examples=400)
@given(recipes())
def test_any_numbers_are_meant_or_refused_at_once(content):
    refusals, started = [], time.process_time()
    tracemalloc.start()
    try:
        meant(content)
    except ConfigError as error:
        refusals.append(str(error))
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert [line for line in refusals if "\n" in line or len(line) > 1000] == []
    assert peak < BYTES
    assert time.process_time() - started < SECONDS


BOUNDS = {
    "seed": 2**63 - 1,
    "data.split_seed": 2**63 - 1,
    "data.workers": 256,
    "augment.size": 10_000,
    "train.epochs": 100_000,
    "train.patience": 100_000,
    "train.batch_size": 1_000_000,
    "train.accumulate": 1_000_000,
    "train.views": 100_000,
    "optimizer.lr": 1e15,
    "optimizer.weight_decay": 1e15,
    "optimizer.head_lr_mult": 1e15,
    "optimizer.layer_decay": 1.0,
    "optimizer.eps": 1e30,
    "optimizer.clip_norm": 1e30,
    "schedule.step_epochs": 100_000,
    "schedule.plateau_patience": 100_000,
    "schedule.gamma": 10.0,
    "schedule.warmup_epochs": 100_000.0,
    "schedule.final_div_factor": 1e12,
}


@pytest.mark.parametrize("key", BOUNDS)
def test_a_number_above_its_bound_is_refused_with_the_bound(key):
    most = BOUNDS[key]
    assert dict(flat(make_recipe({}, {key: most}).model_dump()))[key] == most
    above = most + 1 if isinstance(most, int) else most * 1.01
    with pytest.raises(ConfigError) as caught:
        make_recipe({}, {key: above})
    bound = f"{most:,}" if isinstance(most, int) else f"{most:,.15g}"
    assert str(caught.value) == f"recipe: {key} = {above}: expected at most {bound}. Cure: a smaller number"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.layers", [2, 257], "model.layers.1 = 257: expected at most 256"),
        ("model.extra", [100_001], "model.extra.0 = 100001: expected at most 100,000"),
        ("model.extra", [1] * 33, "33 entries, expected at most 32. Cure: fewer"),
        ("loss.class_weights", [1.0, 1e300], "expected weights of 0.000001 to 1,000,000"),
        ("phases", [{"epochs": 60_000}] * 2, "120,000 epochs together, expected at most 100,000. Cure: fewer epochs"),
        ("phases", [{"epochs": 1}] * 101, "101 entries, expected at most 100"),
        ("augment.train", [{"op": "CenterCrop", "size": 20_001}], "a whole number of pixels, 1 to 20,000"),
        ("augment.train", [{"op": "RandomCrop", "size": 8, "padding": 20_001}], "expected at most 20,000"),
        ("augment.train", [{"op": "RandomResizedCrop", "size": 8, "ratio": [1e-9, 1]}], "in 0.001..1000"),
        ("augment.train", [{"op": "ColorJitter", "contrast": 1e308}], "1000 at most"),
        ("augment.train", [{"op": "Rotation", "degrees": 1e308}], "3600 at most"),
        ("augment.train", [{"op": "Pad", "padding": [0, 20_001]}], "a whole number of pixels, 0 to 20,000"),
        ("augment.train", [{"op": "GaussianBlur", "kernel_size": 257}], "an odd number of pixels, 1 to 255"),
        ("augment.train", [{"op": "GaussianBlur", "kernel_size": 3, "sigma": 1e-300}], "in 0.001..1000"),
        ("augment.train", [{"op": "Affine", "degrees": 0, "scale": [1e-9, 1]}], "in 0.001..1000"),
        ("augment.train", [{"op": "RandAugment", "num_ops": 10**9}], "expected at most 100"),
        ("augment.train", [{"op": "TrivialAugmentWide", "num_magnitude_bins": 10**9}], "expected at most 1,000"),
        ("augment.train", [{"op": "RandomApply", "transforms": [{"op": "Invert"}] * 101}], "expected at most 100"),
        ("augment.eval", [{"op": "Normalize", "mean": [-1e300] * 3, "std": [1.0] * 3}], "each -10 or more"),
        ("augment.eval", [{"op": "Normalize", "mean": [0.0] * 3, "std": [1e-300] * 3}], "each above 0"),
    ],
)
def test_what_has_more_numbers_than_one_is_bounded_too(key, value, message):
    with pytest.raises(ConfigError) as caught:
        make_recipe({}, {key: value})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("digits", ["9" * 5000, f"0x{'f' * 5000}", f"1e{'9' * 5000}"])
def test_a_number_of_thousands_of_digits_is_refused_in_a_line(tmp_path, digits):
    (tmp_path / "r.toml").write_text(f"[train]\nepochs = {digits}")
    with pytest.raises(ConfigError, match=r"r\.toml") as caught:
        load_recipe(tmp_path / "r.toml")
    assert len(str(caught.value)) < 500


def test_a_run_of_the_most_epochs_in_many_phases_is_a_recipe():
    recipe = make_recipe({}, {"phases": [{"epochs": 1000}] * 100})
    assert (epochs(recipe), plan(recipe)[-1].first_epoch) == (100_000, 99_000)
    assert "epochs = 1000" in to_toml(recipe)


def test_a_factor_beyond_all_numbers_is_infinite_and_no_traceback():
    recipe = make_recipe({}, {"schedule.kind": "step", "schedule.gamma": 10.0, "schedule.step_epochs": 1})
    assert factor(recipe.schedule, 300, 1, 1000) == 10.0**300
    assert factor(recipe.schedule, 400, 1, 1000) == math.inf


@pytest.mark.parametrize(
    ("numbers", "bound"),
    [
        ("`train.epochs`", MOST_EPOCHS),
        ("`train.batch_size`", MOST_BATCH),
        ("`augment.size`", MOST_SIZE),
        ("a `size`, a `padding` in a list", MOST_PIXELS),
        ("`model.layers`", MOST_BLOCKS),
        ("`model.layers`, `model.extra`", MOST_WIDTH),
        ("phases, augmentations of a list, suffixes", MOST_LISTED),
        ("`data.workers`", MOST_WORKERS),
        ("runs of a study", MOST_RUNS),
        ("`xfer parity --steps`", MOST_STEPS),
        ("`--checkpoint-every`", MOST_MINUTES),
    ],
)
def test_the_page_of_limits_says_them(numbers, bound):
    rows = [row for row in LIMITS.read_text(encoding="utf-8").splitlines() if row.startswith(f"| {numbers}")]
    assert [f"{bound:,}" in row.split("|")[2] for row in rows] == [True]
