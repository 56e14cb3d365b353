"""What a recipe says: sections, keys, types, ranges and defaults. `docs/recipes.md` has them in words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from xfer.archs import MOST_BLOCKS, MOST_HIDDEN, MOST_WIDTH, Padding
from xfer.backend import Precision, UpdateRule
from xfer.data.columns import Columns, Task
from xfer.data.leaks import OnLeak
from xfer.data.locate import has_columns
from xfer.data.order import Sampler
from xfer.data.readers import Readers
from xfer.errors import ConfigError
from xfer.nets.freeze import NormStats
from xfer.nets.head import HeadPolicy
from xfer.pixels.augment import Normalize, Transform, default_eval, default_train, split_normalize
from xfer.pixels.channels import COLOURS, Count
from xfer.pixels.images import SUFFIXES
from xfer.pixels.levels import WIDE, Depth
from xfer.recipe.schedule import MOST_EPOCHS, Schedule
from xfer.recipe.strategies import SHARES, Strategy
from xfer.recipe.tasks import refuse_unfit
from xfer.section import Section
from xfer.system.addresses import remember

MOST_BATCH = 1_000_000
MOST_SIZE = 10_000  # pixels; the usual resizing before a crop of that size makes an eighth more
MOST_WORKERS = 256
MOST_SEED = 2**63 - 1
MOST_ALPHA = 1000.0  # of more, all shares are a half
MOST_FOLDS = 100
MOST_LISTED = 100  # phases, augmentations, suffixes

Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
Blocks = Annotated[int, Field(ge=1, le=MOST_BLOCKS)]
Width = Annotated[int, Field(ge=1, le=MOST_WIDTH)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=1e15)]  # see also xfer.training.diverged.refuse_rate
Chance = Annotated[float, Field(ge=0, le=1)]
Alpha = Annotated[float, Field(ge=0, le=MOST_ALPHA)]
Small = Annotated[float, Field(ge=1e-30, le=1e30)]  # what float32 can hold
ClassWeights = Literal["balanced"] | tuple[float, ...] | dict[str, float] | None


class Data(Section):
    """`source` is a folder, an archive, a table or a named set. Without train/val folders, `val_fraction` is split off.

    `split_seed` decides which pictures that takes; `seed`: that of the recipe, so that each seed has its own split.
    `fold` of `folds` is validated with, in place of what is split off or of a val folder; it counts from 1.
    `decode = "draft"` decodes large JPEG files faster and a little less exactly: see `xfer.pixels.images.Jpeg`.
    """

    source: Annotated[str, AfterValidator(remember)] = "demo"  # what may be shown: a recipe is in every run
    task: Task = "classification"  # a label for each picture, or any number of them
    columns: Columns | None = None  # of a table; those of usual names need none
    val_fraction: Fraction = 0.2
    split_seed: Seed | Literal["seed"] = "seed"
    folds: Annotated[int, Field(ge=2, le=MOST_FOLDS)] | None = None
    fold: Annotated[int, Field(ge=1, le=MOST_FOLDS)] | None = None
    suffixes: Annotated[tuple[str, ...], Field(max_length=MOST_LISTED)] = SUFFIXES
    on_bad_image: Literal["skip", "error"] = "skip"
    on_leak: OnLeak = "warn"  # copies of pictures in both splits or in two classes
    pipeline: Literal["core", "native"] = "core"
    decode: Literal["exact", "draft"] = "exact"
    depth: Depth = WIDE  # bits that 16-bit values use
    channels: Count = COLOURS  # of the pixels that the network sees: 1 is grey, 4 RGBA
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 0  # that decode; 0: one for each processor
    readers: Readers = "auto"  # what they are
    cache: bool = True  # what was found out of pictures that have not changed since; False: read all, keep nothing

    @model_validator(mode="after")
    def _columns_are_of_a_table(self) -> Data:
        if self.columns is not None and not has_columns(self.source):
            what = f"columns are those of a table, and source = {self.source!r} is none"
            raise ValueError(f"{what}. Cure: leave them out, or hf:FOLDER")
        return self

    @model_validator(mode="after")
    def _a_fold_is_one_of_them(self) -> Data:
        if (self.folds is None) != (self.fold is None) or (self.fold or 0) > (self.folds or 0):
            raise ValueError(f"fold = {self.fold} of folds = {self.folds}: expected both, and 1 to folds")
        return self


class Augment(Section):
    """What happens to a picture. Lists left out become the usual ones for `size` (height = width, pixels)."""

    size: Annotated[int, Field(ge=8, le=MOST_SIZE)] = 224
    train: Annotated[tuple[Transform, ...], Field(max_length=MOST_LISTED)] | None = None
    eval: Annotated[tuple[Transform, ...], Field(max_length=MOST_LISTED)] | None = None

    @property
    def train_transforms(self) -> tuple[Transform, ...]:
        return tuple(split_normalize(default_train(self.size) if self.train is None else self.train)[0])

    @property
    def eval_transforms(self) -> tuple[Transform, ...]:
        return tuple(split_normalize(default_eval(self.size) if self.eval is None else self.eval)[0])

    @property
    def normalize(self) -> Normalize | None:
        """The one normalisation that both lists ask for, if any does."""
        asked = {split_normalize(t)[1] for t in (self.train or (), self.eval or ())} - {None}
        if len(asked) > 1:
            raise ConfigError("augment: train and eval normalise differently. Cure: give both the same Normalize")
        return asked.pop() if asked else None


class Model(Section):
    """`layers`: blocks of each stage, where there are such. `extra`: widths of hidden linear layers before the head.

    `padding`: of strided layers between them; "auto" is as the weights need it, which a forward test tells.
    """

    arch: str = "efficientnet_lite0"
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None  # before the head; None: as the architecture has it
    layers: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=4)] | None = None
    extra: Annotated[tuple[Width, ...], Field(max_length=MOST_HIDDEN)] = ()
    padding: Padding | Literal["auto"] = "auto"


class WeightsSource(Section):
    """`imagenet`, `random`, a file of weights, or a run folder. `partial`: take what fits, leave the rest.

    `head`: `auto` keeps a checkpoint's where its classes are the data's, `keep` insists, `fresh` makes it anew.
    """

    source: str = "imagenet"
    partial: bool = False
    head: HeadPolicy = "auto"


class Train(Section):
    """`views` counts the augmented views of each picture: epoch e uses view e mod views; `fresh`: always a new one.

    `auto` means 4 views where a frozen prefix makes their features worth keeping, and fresh ones elsewhere.
    `precision = "auto"` is `tf32` where the device has it, and else `float32`; see `xfer.recipe.meaning.precision`.
    `fast` takes what is faster on a GPU even if two runs then end with other bits.
    `sampler = "balanced"` draws as many pictures of each class, as many in all: see `xfer.data.order.balanced_order`.
    """

    train_from: str = "head"
    strategy: Strategy | None = None  # phases by a name, see xfer.recipe.strategies
    norm_stats: NormStats = "follow"
    epochs: Epochs = 10
    patience: Epochs | None = None  # epochs without a gain after which a phase ends; None: it has all of its epochs
    min_delta: Annotated[float, Field(ge=0, le=1)] = 0.0  # a gain is more than that, see xfer.recipe.endings
    batch_size: Annotated[int, Field(ge=1, le=MOST_BATCH)] = 16
    accumulate: Annotated[int, Field(ge=1, le=MOST_BATCH)] = 1  # batches of that size whose gradients make one step
    views: Epochs | Literal["fresh", "auto"] = "auto"
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None  # decay of an average, see xfer.training.average
    precision: Literal["auto", Precision] = "auto"
    fast: bool = False
    sampler: Sampler = "shuffle"

    @model_validator(mode="after")
    def _min_delta_needs_patience(self) -> Train:
        if self.min_delta and self.patience is None:
            raise ValueError("min_delta needs a patience. Cure: train.patience, the epochs to wait for such a gain")
        return self

    @model_validator(mode="after")
    def _strategy_is_alone(self) -> Train:
        if self.strategy is None:
            return self
        if self.train_from != "head":
            raise ValueError(f"train_from and strategy {self.strategy!r} both say what is trained. Cure: one of them")
        if self.epochs < (least := len(SHARES[self.strategy])):
            raise ValueError(f"strategy {self.strategy!r} has {least} phases. Cure: train.epochs = {least}, or more")
        return self


class Optimizer(Section):
    """`lr` is the base rate; the head's is `lr * head_lr_mult`. Decay is per torch's definition of each rule.

    `layer_decay` multiplies the rate once more for each block between a weight and the head; 1 does nothing.
    """

    kind: UpdateRule = "sgd"
    lr: Rate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.99  # of rmsprop's mean of squares
    eps: Small = 1e-8
    weight_decay: Rate = 0.0
    decay_norm_and_bias: bool = True
    head_lr_mult: Rate = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Small | None = None

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Optimizer:
        if self.nesterov and (self.kind != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs kind = 'sgd' and a momentum above 0")
        return self


class Loss(Section):
    """`class_weights`: none, one for each class in order of their names or by name; `balanced`: inverse to counts."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: ClassWeights = None

    @field_validator("class_weights")
    @classmethod
    def _weights_above_0(cls, weights: ClassWeights) -> ClassWeights:
        # Not a bound of the types: a complaint about one of several types names the first of them.
        values = weights.values() if isinstance(weights, dict) else weights if isinstance(weights, tuple) else ()
        if any(weight <= 0 for weight in values):
            raise ValueError("expected weights above 0")
        if any(not 1e-6 <= weight <= 1e6 for weight in values):
            raise ValueError("expected weights of 0.000001 to 1,000,000")
        return weights


class Mix(Section):
    """Training pictures mixed with others of their batch. `mixup`, `cutmix`: alpha of Beta(alpha, alpha); 0: not so.

    `p` is the chance of a batch to be mixed, `switch_p` that of cutmix where both are asked for.
    """

    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0
    p: Chance = 1.0
    switch_p: Chance = 0.5
    off_epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS)] = 0  # the last planned ones, of pictures as they are

    @property
    def on(self) -> bool:
        return self.p > 0 and (self.mixup > 0 or self.cutmix > 0)


class Features(Section):
    """Whether what a frozen prefix computes is kept at its boundary. It never changes a result.

    `dtype = "float16"` keeps half as many bytes, and does change it a little: features are rounded to 11 bits.
    """

    cache: bool = True
    dtype: Literal["float32", "float16"] = "float32"


class Phase(Section):
    """A part of a run, with an optimizer and a schedule of its own. What is left out is as in train and optimizer."""

    epochs: Epochs
    train_from: str | None = None
    norm_stats: NormStats | None = None
    lr: Rate | None = None
    head_lr_mult: Rate | None = None


class Recipe(Section):
    """Everything that decides a result, and nothing else: no paths of outputs, no device."""

    seed: Seed = 0
    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    weights: WeightsSource = WeightsSource()
    train: Train = Train()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule(kind="cosine")
    loss: Loss = Loss()
    mix: Mix = Mix()
    features: Features = Features()
    phases: Annotated[tuple[Phase, ...], Field(max_length=MOST_LISTED)] = ()

    @field_validator("phases")
    @classmethod
    def _epochs_of_all(cls, phases: tuple[Phase, ...], info: ValidationInfo) -> tuple[Phase, ...]:
        if phases and (train := info.data.get("train")) and train.strategy:
            raise ValueError(f"train.strategy = {train.strategy!r} has phases of its own. Cure: one of them")
        if (together := sum(phase.epochs for phase in phases)) > MOST_EPOCHS:
            raise ValueError(f"{together:,} epochs together, expected at most {MOST_EPOCHS:,}. Cure: fewer epochs")
        return phases

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        if self.mix.on and self.train.batch_size < 2:
            raise ConfigError(
                "mix: pictures are mixed with others of their batch. Cure: a train.batch_size of 2 or more"
            )
        refuse_unfit(self.data.task, self.train.sampler)
        if self.train.sampler == "balanced" == self.loss.class_weights:
            what = "train.sampler and loss.class_weights are both 'balanced', and make up twice for rare classes"
            raise ConfigError(f"{what}. Cure: leave one of them out")
        return self

    @property
    def split_seed(self) -> int:
        """What decides which pictures are split off for validation, where the data has no folder of them."""
        return self.seed if self.data.split_seed == "seed" else self.data.split_seed
