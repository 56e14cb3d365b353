"""Lists of augmentations in a recipe: what is within one, sizes that a Pad adds to, and what comes back from TOML."""

import pytest

from xfer.errors import ConfigError
from xfer.recipe.load import load_recipe, make_recipe, to_toml
from xfer.recipe.meaning import image_size

WITHIN = [
    {"op": "Letterbox", "size": 32, "fill": [1, 2, 3]},
    {"op": "Pad", "padding": [0, 1, 2, 3], "padding_mode": "reflect"},
    {
        "op": "RandomApply",
        "p": 0.25,
        "transforms": [{"op": "GaussianBlur", "kernel_size": [3, 5]}, {"op": "RandAugment", "num_ops": 3}],
    },
    {"op": "RandomChoice", "transforms": [{"op": "Affine", "degrees": 10, "shear": [1, 2, 3, 4]}, {"op": "Invert"}]},
]


def test_a_list_within_a_list_comes_back_from_toml(tmp_path):
    recipe = make_recipe({}, {"augment.train": WITHIN, "augment.eval": WITHIN[:2]})
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "r.toml") == recipe
    assert image_size(recipe) == (36, 34)


def test_an_override_reaches_into_a_list_within_a_list():
    path = "augment.train.2.transforms.0.kernel_size"
    recipe = make_recipe({"augment": {"train": WITHIN}}, {path: 7})
    assert recipe.augment.train[2].transforms[0].kernel_size == 7
    with pytest.raises(ConfigError, match=r"augment\.train\.2\.transforms\.5.*number in the list"):
        make_recipe({"augment": {"train": WITHIN}}, {path.replace(".0.", ".5."): 7})


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"op": "Resize", "size": 8}, r"transforms\.0\.op = 'Resize': expected one of HorizontalFlip, "),
        (
            {"op": "RandomApply", "transforms": []},
            r"transforms\.0\.op = 'RandomApply': expected one of HorizontalFlip, ",
        ),
        ({"op": "Invert", "q": 1}, r"unknown key augment\.train\.0\.RandomChoice\.transforms\.0\.Invert\.q"),
        ({"op": "Posterize", "bits": 9}, r"Posterize\.bits = 9: expected at most 8"),
    ],
)
def test_what_cannot_stand_in_a_list_within_a_list_is_one_line(inner, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_recipe({}, {"augment.train": [{"op": "RandomChoice", "transforms": [inner]}]})
    assert "\n" not in str(caught.value)


def test_another_size_is_refused_with_a_cure_that_works():
    framed, padded = [{"op": "Letterbox", "size": 32}], [{"op": "Letterbox", "size": 32}, {"op": "Pad", "padding": 1}]
    lists = {"augment": {"train": framed, "eval": framed}}
    with pytest.raises(ConfigError, match=r"size 48 changes nothing in augment\.train") as caught:
        make_recipe(lists, {"size": 48})
    cures = dict(word.split("=") for word in str(caught.value).split() if word.startswith("augment.") and "=" in word)
    scaled = make_recipe(lists, {"size": 48} | {key: int(value) for key, value in cures.items()})
    assert image_size(scaled) == (48, 48)
    with pytest.raises(
        ConfigError, match=r"34x34; .* Cure: leave it out, or change the sizes in that list, to which a Pad"
    ):
        make_recipe({"augment": {"train": padded}}, {"size": 48})
