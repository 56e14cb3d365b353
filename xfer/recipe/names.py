"""What a recipe's keys are called on the command line, and by those who come from other trainers."""

from __future__ import annotations

from typing import NamedTuple

FLAGS = {
    "data": "data.source",
    "on_leak": "data.on_leak",
    "weights": "weights.source",
    "arch": "model.arch",
    "size": "augment.size",
    "seed": "seed",
    "train_from": "train.train_from",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "views": "train.views",
    "lr": "optimizer.lr",
    "fast": "train.fast",
}
"""Plain flag, or keyword of `xfer.train` -> the key of the recipe it overrides."""

# A flag of `xfer train`, or a key of the recipe where it has no flag of its own, with a value where the name says that
# too -> names in timm, fastai, Ultralytics, Lightning, Transformers, torchvision's references, and tutorials.
_NAMES = {
    # what is trained, and on what
    "--data": "data-path data-dir data-root dataset dataset-path root input path train-dir image-dir images folder",
    "--arch": "model model-name model-type net network architecture backbone a",
    "--weights": "checkpoint ckpt ckpt-path checkpoint-path initial-checkpoint load load-from model-path finetune",
    "--weights imagenet": "pretrained use-pretrained",
    "--weights random": "no-pretrained from-scratch scratch",
    "--train-from": "freeze freeze-until freeze-layers freeze-to unfreeze-from",
    "--train-from head": "freeze-backbone freeze-encoder freeze-features linear-probe linear-probing head-only",
    "--train-from stem": "unfreeze unfreeze-all no-freeze train-all",
    "--size": "img-size imgsz image-size img input-size resolution crop-size train-crop-size imsize sz",
    "data.task": "task problem-type",
    "data.task=multilabel": "multilabel multi-label",
    "data.val_fraction": "val-split val-fraction valid-split validation-split valid-pct val-size val-ratio test-size",
    # how long and how fast
    "--epochs": "epoch max-epochs num-epochs n-epochs nb-epochs num-train-epochs e",
    "train.patience": "patience early-stopping-patience early-stop-patience es-patience",
    "train.patience=5": "early-stopping early-stop",
    "train.strategy": "strategy training-strategy",
    "train.ema": "ema ema-decay model-ema-decay",
    "train.ema=0.999": "model-ema use-ema",
    "train.min_delta": "min-delta early-stopping-threshold early-stopping-delta",
    "--batch-size": "batch bs train-batch-size per-device-train-batch-size",
    "train.accumulate": "accumulate accumulate-grad-batches gradient-accumulation-steps grad-accum-steps grad-accum "
    "gradient-accumulation accumulation-steps accum-iter",
    "--lr": "lr0 learning-rate learningrate base-lr init-lr max-lr lr-max",
    "--folds": "folds kfold k-fold n-folds num-folds cv cv-folds n-splits",
    "--seed": "random-seed manual-seed random-state",
    "optimizer.kind": "opt optim optimizer optimiser",
    "optimizer.momentum": "momentum opt-momentum mom",
    "optimizer.weight_decay": "wd weight-decay l2 decay",
    "optimizer.nesterov=true": "nesterov",
    "optimizer.betas": "betas opt-betas adam-betas",
    "optimizer.alpha": "alpha rmsprop-alpha rho",
    "optimizer.eps": "eps opt-eps epsilon adam-epsilon",
    "optimizer.clip_norm": "clip-grad grad-clip clip-norm clip-grad-norm gradient-clip-val max-grad-norm",
    "optimizer.head_lr_mult": "head-lr-mult lr-mult",
    "optimizer.layer_decay": "layer-decay layer-lr-decay layerwise-lr-decay llrd",
    "schedule.kind": "sched schedule scheduler lr-scheduler lr-schedule lr-policy lr-scheduler-type",
    "schedule.kind=cosine": "cos-lr cosine cosine-annealing",
    "schedule.warmup_epochs": "warmup warmup-epochs lr-warmup-epochs",
    "schedule.step_epochs": "step-size lr-step-size decay-epochs",
    "schedule.gamma": "gamma lr-gamma decay-rate",
    "schedule.kind=plateau": "reduce-on-plateau reduce-lr-on-plateau",
    "schedule.plateau_patience": "patience-epochs lr-patience plateau-patience",
    "schedule.final_factor": "lrf final-factor",
    # regularisation
    "model.dropout": "dropout drop drop-rate dropout-rate",
    "loss.label_smoothing": "smoothing label-smoothing",
    "loss.class_weights": "class-weights class-weight",
    "loss.class_weights=balanced": "balanced balance-classes weighted-loss",
    "train.sampler=balanced": "weighted-sampler balanced-sampler class-balanced oversample",
    "mix.mixup": "mixup mixup-alpha",
    "mix.cutmix": "cutmix cutmix-alpha",
    "mix.p": "mixup-prob",
    "mix.switch_p": "mixup-switch-prob",
    "mix.off_epochs": "close-mosaic mixup-off-epoch",
    # the machine, and what is left behind
    "data.channels": "in-chans in-channels input-channels num-channels",
    "data.channels=1": "grayscale greyscale gray grey",
    "data.workers": "workers num-workers n-workers dataloader-num-workers threads j",
    "train.precision": "precision amp-dtype",
    "train.precision=tf32": "tf32 allow-tf32",
    "--fast": "cudnn-benchmark",
    "train.precision=bfloat16": "amp fp16 bf16 half mixed-precision use-amp native-amp autocast",
    "--device": "device accelerator devices",
    "--device cuda": "cuda gpu gpus use-cuda use-gpu",
    "--device cpu": "cpu no-cuda no-gpu use-cpu",
    "--backend": "backend framework",
    "--output": "output project name out out-dir outdir output-dir save-dir save-path exp-name experiment run-name "
    "logdir log-dir default-root-dir",
    "--overwrite": "overwrite exist-ok force overwrite-output-dir",
    "--resume": "resume resume-from resume-from-checkpoint",
    "--resume auto": "auto-resume",
    "--config": "config cfg config-file recipe conf hparams yaml",
    "--quiet": "quiet silent no-progress",
}
_NEEDLESS = {
    "the classes are the folders of the data": "num-classes nb-classes n-classes nc classes num-labels",
    "two runs end with the same bits, but with --fast": "deterministic cudnn-deterministic",
    "a run keeps the weights of its best epoch": "save-best save-best-only",
}


class Meant(NamedTuple):
    """A flag of `xfer train`, a key of the recipe, and a value for them; "" for what a name does not mean."""

    flag: str
    key: str
    value: str


def _parsed(text: str) -> Meant:
    is_flag = text.startswith("--")
    name, _, value = text.partition(" " if is_flag else "=")
    return Meant(name, FLAGS.get(name[2:].replace("-", "_"), ""), value) if is_flag else Meant("", name, value)


def spelt(name: str) -> str:
    """As names are spelt in these tables: `--Weight_Decay` -> `weight-decay`."""
    return name.lstrip("-").replace("_", "-").lower()


MEANT = {name: _parsed(text) for text, names in _NAMES.items() for name in names.split()}
MEANT |= {spelt(flag): _parsed(f"--{spelt(flag)}") for flag in FLAGS}
"""Name of a flag or key, xfer's or another trainer's -> what is meant."""
OTHER_VALUES = {"--train-from": "STAGE", "--device": "auto|cpu|cuda"}
"""Flags whose values are other ones than those of other trainers, who count layers or devices."""
AFFIRMATIVE = {"", "1", "true", "yes", "on"}
NEEDLESS = {name: why for why, names in _NEEDLESS.items() for name in names.split()}
"""Name of what nobody has to say -> why."""


def meant_value(meant: str, fixed: str, value: str) -> str:
    """What a flag or key is to be given in place of another trainer's value ("": none); "" where there is no telling.

    fixed   the value that the name itself says, "" where it says none: `--no-cuda` is `--device cpu`
    """
    if fixed == "cuda" and value.isdecimal():
        return f"cuda:{value}"
    if fixed:
        return fixed if value.lower() in AFFIRMATIVE else ""
    return "" if meant in OTHER_VALUES else value
