"""What the boundary cache saves: a frozen ResNet-18 on ants and bees, against plain loops in the same framework.

A loop's epochs are all alike, so one is measured and multiplied; what xfer does is measured whole, on a cold cache.
"""

from __future__ import annotations

from typing import Any

from benchmarks.common import Figures, Options, Row, in_turns, table

EPOCHS, EPOCHS_LAYER4 = 20, 10
STEPS = 61  # of an epoch at batches of 4
ONEDNN = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # without it, MindSpore's convolutions take their slowest way on AVX-512
RECIPE = "configs/ants_bees_frozen.toml"


def measure(options: Options) -> Figures:
    """Rows of medians by framework and case."""

    def loops(module: str, *cases: str) -> dict[str, list[object]]:
        return {case: [module, case, options.images] for case in cases}

    def xfer_train(backend: str, *settings: object) -> list[object]:
        inputs = ("--data", options.images, "--weights", options.weights, "--views", 1)
        return ["benchmarks.command", "-b", backend, "-c", RECIPE, *inputs, *settings]

    layer4 = ("--train-from", "layer4", "--epochs", EPOCHS_LAYER4)
    torch_cases = loops("benchmarks.frozen_torch", "limit", "plain", "careful", "layer4") | {
        "xfer": xfer_train("torch", "--epochs", EPOCHS),
        "xfer layer4": xfer_train("torch", *layer4),
    }
    mindspore_cases = loops("benchmarks.frozen_mindspore", "limit", "epoch") | {
        "xfer": xfer_train("mindspore", "--epochs", EPOCHS)
    }
    step = ["benchmarks.frozen_mindspore", "step", options.images]
    return {
        "torch": in_turns(torch_cases, options.rounds),
        "mindspore": in_turns(mindspore_cases, options.rounds, ONEDNN) | in_turns({"step as installed": step}, 1),
    }


def report(figures: Figures) -> list[str]:
    return [table(f"Frozen ResNet-18, {name}", *_rows(name, rows)) for name, rows in figures.items()]


def _rows(name: str, rows: dict[str, Row]) -> tuple[list[str], list[list[Any]]]:
    def seconds(case: str, times: float = 1) -> float | None:
        return None if "missing" in rows[case] else times * rows[case]["seconds"]

    def against(base: float | None, own: float | None) -> Any:
        return f"{base / own:.2f} x" if base and own else "missing"

    own, limit = seconds("xfer"), seconds("limit")
    core = None if own is None else rows["xfer"]["seconds_features"] + rows["xfer"]["seconds_training"]
    lines: list[list[Any]] = [
        [f"xfer train, {EPOCHS} epochs, views = 1, the whole command", own, ""],
        ["of it, features and training", core, ""],
        ["one overlapped inference pass over all pictures", limit, ""],
        ["features and training, against that pass", "", against(core, limit)],
        ["the whole command, against that pass", "", against(own, limit)],
    ]
    loops = {"torch": ("plain", "careful"), "mindspore": ("epoch",)}[name]
    for loop in loops:
        whole = seconds(loop, EPOCHS)
        lines.append([f"{loop} loop, {EPOCHS} epochs (one measured)", whole, against(whole, own)])
    if name == "mindspore":
        whole = seconds("step as installed", EPOCHS * STEPS)
        lines.append([f"as installed, {EPOCHS} epochs of training (one step measured)", whole, against(whole, own)])
    if name == "torch":
        layer4 = seconds("xfer layer4")
        lines.append([f"xfer train, layer4 too, {EPOCHS_LAYER4} epochs", layer4, ""])
        whole = seconds("layer4", EPOCHS_LAYER4)
        lines.append([f"plain loop, layer4 too, {EPOCHS_LAYER4} epochs (one measured)", whole, against(whole, layer4)])
    return ["", "seconds", "ratio"], lines
