"""What the boundary cache saves: a frozen ResNet-18 on ants and bees, against plain loops in the same framework.

A loop's epochs are all alike, so one is measured and multiplied; what xfer does is measured whole, on a cold cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Row, in_turns, table

EPOCHS, EPOCHS_LAYER4 = 20, 10
STEPS = 61  # of an epoch at batches of 4
ONEDNN = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # without it, MindSpore's convolutions take their slowest way on AVX-512
RECIPE = "configs/ants_bees_frozen.toml"


def measure(images: Path, weights: Path, rounds: int) -> dict[str, dict[str, Row]]:
    """Rows of medians by framework and case."""

    def xfer(backend: str, *more: object) -> list[object]:
        given = ("--data", images, "--weights", weights, "--views", 1)
        return ["benchmarks.ours", "-b", backend, "-c", RECIPE, *given, *more]

    layer4 = ("--train-from", "layer4", "--epochs", EPOCHS_LAYER4)
    torch: dict[str, list[object]] = {
        way: ["benchmarks.frozen_torch", way, images] for way in ("limit", "plain", "careful", "layer4")
    }
    torch |= {"xfer": xfer("torch", "--epochs", EPOCHS), "xfer layer4": xfer("torch", *layer4)}
    mindspore: dict[str, list[object]] = {
        way: ["benchmarks.frozen_mindspore", way, images] for way in ("limit", "epoch")
    }
    mindspore |= {"xfer": xfer("mindspore", "--epochs", EPOCHS)}
    return {
        "torch": in_turns(torch, rounds),
        "mindspore": in_turns(mindspore, rounds, ONEDNN)
        | in_turns({"step as installed": ["benchmarks.frozen_mindspore", "step", images]}, 1),
    }


def report(found: dict[str, dict[str, Row]]) -> list[str]:
    return [table(f"Frozen ResNet-18, {name}", *_rows(name, rows)) for name, rows in found.items()]


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
