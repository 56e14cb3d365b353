"""Recipes: TOML, validated into frozen objects. An unknown key is refused, with the nearest known one."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import Field, ValidationError, model_validator

from xfer.augment import Normalize, Transform, default_eval, default_train, split_normalize
from xfer.errors import ConfigError, expected
from xfer.freeze import NormStats
from xfer.images import SUFFIXES
from xfer.schedule import Schedule
from xfer.section import Section

DEMO = Path(__file__).with_name("demo.toml")
"""The recipe of those who ask for nothing in particular."""

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Data(Section):
    """`source` is a folder, an archive or a named set. Without train/val folders, `val_fraction` is split off."""

    source: str = "demo"
    val_fraction: Fraction = 0.2
    suffixes: tuple[str, ...] = SUFFIXES
    on_bad_image: Literal["skip", "error"] = "skip"
    pipeline: Literal["core", "native"] = "core"
    workers: Annotated[int, Field(ge=0)] = 0  # threads or processes that decode; 0: one for each processor


class Augment(Section):
    """What happens to a picture. Lists left out become the usual ones for `size` (height = width, pixels)."""

    size: Annotated[int, Field(ge=8)] = 224
    train: tuple[Transform, ...] | None = None
    eval: tuple[Transform, ...] | None = None

    @property
    def train_transforms(self) -> tuple[Transform, ...]:
        return tuple(split_normalize(default_train(self.size) if self.train is None else self.train)[0])

    @property
    def eval_transforms(self) -> tuple[Transform, ...]:
        return tuple(split_normalize(default_eval(self.size) if self.eval is None else self.eval)[0])

    @property
    def normalize(self) -> Normalize | None:
        """The one normalisation that both lists ask for, if any does."""
        found = {split_normalize(t)[1] for t in (self.train or (), self.eval or ())} - {None}
        if len(found) > 1:
            raise ConfigError("augment: train and eval normalise differently. Cure: give both the same Normalize")
        return found.pop() if found else None


class Model(Section):
    arch: str = "efficientnet_lite0"
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None  # before the head; None: as the architecture has it


class WeightsSource(Section):
    """`imagenet`, `random`, or a .safetensors, .pth or .ckpt file."""

    source: str = "imagenet"


class Train(Section):
    """`views` counts the augmented views of each picture: epoch e uses view e mod views; `fresh`: always a new one.

    `auto` means 4 views where a frozen prefix makes their features worth keeping, and fresh ones elsewhere.
    """

    train_from: str = "head"
    norm_stats: NormStats = "follow"
    epochs: Positive = 10
    batch_size: Positive = 16
    views: Positive | Literal["fresh", "auto"] = "auto"


class Optimizer(Section):
    """`lr` is the base rate; the head's is `lr * head_lr_mult`. Decay is per torch's definition of each rule."""

    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: NonNegative = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: NonNegative = 0.0
    decay_norm_and_bias: bool = True
    head_lr_mult: NonNegative = 1.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Optimizer:
        if self.nesterov and (self.kind != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs kind = 'sgd' and a momentum above 0")
        return self


class Loss(Section):
    """`class_weights`: none, one for each class in order of their names, or `balanced` (inverse to their counts)."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["balanced"] | tuple[Annotated[float, Field(gt=0)], ...] | None = None


class Features(Section):
    """Whether what a frozen prefix computes is kept at its boundary. It never changes a result."""

    cache: bool = True


class Phase(Section):
    """A part of a run, with an optimizer and a schedule of its own. What is left out is as in train and optimizer."""

    epochs: Positive
    train_from: str | None = None
    norm_stats: NormStats | None = None
    lr: NonNegative | None = None
    head_lr_mult: NonNegative | None = None


class Recipe(Section):
    """Everything that decides a result, and nothing else: no paths of outputs, no device."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    weights: WeightsSource = WeightsSource()
    train: Train = Train()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule(kind="cosine")
    loss: Loss = Loss()
    features: Features = Features()
    phases: tuple[Phase, ...] = ()

    @property
    def plan(self) -> tuple[PlannedPhase, ...]:
        """The phases with nothing left out; a recipe that names none is one phase."""
        train, optimizer = self.train, self.optimizer
        return tuple(
            PlannedPhase(
                epochs=phase.epochs,
                train_from=phase.train_from or train.train_from,
                norm_stats=phase.norm_stats or train.norm_stats,
                lr=optimizer.lr if phase.lr is None else phase.lr,
                head_lr_mult=optimizer.head_lr_mult if phase.head_lr_mult is None else phase.head_lr_mult,
            )
            for phase in self.phases or (Phase(epochs=train.epochs),)
        )


@dataclass(frozen=True)
class PlannedPhase:
    """A phase as it will be run. `train_from` is not yet known to be a stage of the network."""

    epochs: int
    train_from: str
    norm_stats: NormStats
    lr: float
    head_lr_mult: float


FLAGS = {
    "data": "data.source",
    "weights": "weights.source",
    "arch": "model.arch",
    "size": "augment.size",
    "seed": "seed",
    "train_from": "train.train_from",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "views": "train.views",
    "lr": "optimizer.lr",
}
"""Plain flag, or keyword of `xfer.train` -> the key of the recipe it overrides."""


def load_recipe(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a TOML recipe (None: the defaults) and lay `overrides`, by dotted key, over it.

    Raises ConfigError, in one line, for a missing or broken file, an unknown key, a wrong type or a bad value.
    """
    return make_recipe({} if path is None else read_toml(Path(path)), overrides or {}, str(path or "recipe"))


def make_recipe(content: Mapping[str, Any], overrides: Mapping[str, Any], name: str = "recipe") -> Recipe:
    """Validate a parsed recipe with overrides by dotted key, or by a plain flag's name."""
    merged = json.loads(_as_json(content, name))
    for key, value in overrides.items():
        _put(merged, FLAGS.get(key, key), value)
    if merged.get("phases") and any(FLAGS.get(k, k) == "train.epochs" for k in overrides):
        raise ConfigError(f"{name}: epochs cannot be overridden, as each of its phases gives its own")
    try:
        recipe = Recipe.model_validate_json(_as_json(merged, name))
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first(error)}") from None
    _ = recipe.augment.normalize
    return recipe


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"recipe {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: cannot be read ({error})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"recipe {path}: not valid TOML ({error})") from None


def parse_override(text: str) -> tuple[str, Any]:
    """`a.b=c` -> ("a.b", c), with c read as a TOML value, or as a plain string where it is none."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: expected key=value, for instance train.epochs=3")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return key.strip(), value.strip()


def to_toml(recipe: Recipe) -> str:
    """The recipe with everything said, as TOML that gives the same recipe when it is read."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def _as_json(content: Mapping[str, Any], name: str) -> str:
    # JSON is pydantic's strict mode with lists for tuples; what JSON lacks (dates) no recipe needs.
    try:
        return json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: a value of a kind that no recipe needs ({error})") from None


def _put(content: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"{dotted}: {parent!r} is not a section of the recipe")
    content[last] = value


def _first(error: ValidationError) -> str:
    """The first complaint, as what, expected, received."""
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one: the misspelling is the better news.
    problem = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    where, received = ".".join(map(str, problem["loc"])), problem["input"]
    if problem["type"] == "extra_forbidden":
        *section, key = problem["loc"]
        known = _fields(section)
        return expected(f"unknown key {'.'.join(map(str, section))}".rstrip(), key, known) if known else where
    if problem["type"] == "union_tag_invalid":
        known = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        return expected(f"{where}.op", problem["ctx"]["tag"], known)
    if problem["type"] == "missing":
        return f"{where} is missing"
    return f"{where} = {received!r}: {problem['msg']}"


def _fields(section: Sequence[str | int]) -> list[str]:
    """The keys that are known at a place in a recipe."""
    models: list[type[Section]] = [Recipe]
    for part in section:
        if isinstance(part, str):
            inside = [m for model in models if (f := model.model_fields.get(part)) for m in _sections(f.annotation)]
            models = inside or [m for m in models if m.__name__ == part]  # an augmentation's place ends in its op
    return [key for model in models for key in model.model_fields]


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections within a type such as `tuple[Phase, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections(inner)]
