"""`xfer evaluate` and `xfer predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xfer.cli.flags import Command
from xfer.cli.options import (
    backend_option,
    data_option,
    device_option,
    json_option,
    overwrite_option,
    quiet_option,
    tta_option,
)

if TYPE_CHECKING:
    from xfer.backend import Backend
    from xfer.metrics import Evaluation
    from xfer.pixels.views import Tta
    from xfer.progress import Progress
    from xfer.results.checkpoint import Checkpoint
    from xfer.results.judged import Judged
    from xfer.results.predictions import Predictions
    from xfer.results.run import Chosen, Which

MOST_NAMED = 20  # files that were left out


def _opened(name: str, device: str) -> tuple[Backend, str]:
    """A backend and its device, in a process that is the command's own."""
    from xfer.backends import load_backend, pick_device, settle

    backend = load_backend(name)
    device = pick_device(backend, device)
    settle(backend, device)
    return backend, device


@click.command(
    cls=Command,
    help="Accuracy, F1, ROC-AUC, calibration and more of a checkpoint, with 95 % intervals.\n\n"
    "On either framework, whichever wrote it. Of a folder without splits that is not the run's own, every "
    "picture counts.",
)
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@data_option
@click.option("--split", type=click.Choice(["train", "val", "test", "all"]), default="val", show_default=True)
@tta_option
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write metrics.json and pictures.csv to this folder."
)
@click.option("--top", type=click.IntRange(1), default=5, metavar="K", show_default=True, help="K of top-K accuracy.")
@overwrite_option
@backend_option
@device_option
@quiet_option
@json_option
def evaluate(
    source: Path, data: str | None, split: Which, tta: Tta | None, output: Path | None, top: int, overwrite: bool,
    backend: str | None, device: str, quiet: bool, json_: bool,
) -> None:  # fmt: skip
    from xfer.cli import console, evaluation_text
    from xfer.results import evaluated, predict
    from xfer.results.checkpoint import load_checkpoint
    from xfer.results.judged import judge, judge_with
    from xfer.results.read import read_located
    from xfer.results.run import choose
    from xfer.scores.score import score

    if output is not None:
        evaluated.refuse_others(output, overwrite)
    checkpoint = load_checkpoint(source)
    _refuse_unfit(checkpoint.thresholds is not None)
    with console.progress_bars(quiet) as progress:
        recipe = read_located(source) if (source / "config.toml").exists() else None
        chosen = choose(checkpoint, data, split, recipe, progress)
        used = backend or checkpoint.backend
        result = predict.evaluate(checkpoint, chosen.split, *_opened(used, device), progress, tta)
    thresholds, classes = checkpoint.thresholds, checkpoint.classes
    if thresholds is not None:
        judged = judge(result, classes) if chosen.fitted else judge_with(result, classes, thresholds)
        _of_labels(judged, result, chosen, used, tta, output, checkpoint, quiet, json_)
        return
    scores = score(result.labels, result.probabilities, checkpoint.classes, top=top)
    right = int((result.predictions == result.labels).sum())
    figures = {"backend": used, **({"tta": tta} if tta else {}), "n": len(result.labels), "right": right}
    left_out = [skipped._asdict() for skipped in chosen.skipped]
    record = {**figures, "accuracy": result.accuracy, "loss": result.loss, "left_out": left_out}
    record |= {"classes": list(checkpoint.classes), "metrics": scores.as_json()}
    written = [] if output is None else evaluated.save(output, record, chosen.split, result, checkpoint.classes)
    if json_:
        console.as_json(record)
        return
    accuracy = f"accuracy {result.accuracy:.2%} ({right} of {len(result.labels)})"
    views = f", tta {tta}" if tta else ""
    console.say(f"{accuracy}, loss {result.loss:.4f}, on {used}{views}")
    if not quiet:
        evaluation_text.show(scores, checkpoint.classes)
        console.say(*(f"written       {path}" for path in written), *_about(chosen))


def _refuse_unfit(several: bool, threshold: float | None = None) -> None:
    """Raises ConfigError for what was asked for and has no meaning for a network of labels, or for one of classes."""
    from xfer.errors import ConfigError

    if several and click.get_current_context().get_parameter_source("top") != click.core.ParameterSource.DEFAULT:
        raise ConfigError("--top: of any number of labels those above their thresholds count. Cure: leave it out")
    if not several and threshold is not None:
        raise ConfigError("--threshold: the model tells classes apart, and a picture has one. Cure: leave it out")


def _of_labels(
    judged: Judged, result: Evaluation, chosen: Chosen, used: str, tta: Tta | None, output: Path | None,
    checkpoint: Checkpoint, quiet: bool, json_: bool,
) -> None:  # fmt: skip
    """The figures of pictures with any number of labels, told and written."""
    from xfer.cli import console, evaluation_text
    from xfer.multilabel import differ
    from xfer.results import evaluated
    from xfer.scores.label_record import LabelScores

    assert judged.decided is not None, "labels are decided"
    scores = LabelScores.model_validate(judged.record["label_metrics"])
    right = int((~differ(judged.decided, result.labels)).sum())
    record = {"backend": used, **({"tta": tta} if tta else {}), "n": len(result.labels), "right": right}
    record |= {"mean_average_precision": scores.mean_average_precision.value, "loss": result.loss}
    record |= {"left_out": [skipped._asdict() for skipped in chosen.skipped], "classes": list(checkpoint.classes)}
    record |= {"thresholds_out_of_fold": chosen.fitted, **judged.record}
    classes = checkpoint.classes
    written = [] if output is None else evaluated.save(output, record, chosen.split, result, classes, judged.decided)
    if json_:
        console.as_json(record)
        return
    of = "chosen out of fold" if chosen.fitted else "of the checkpoint"
    precision = "–" if scores.mean_average_precision.value is None else f"{scores.mean_average_precision.value:.4f}"
    console.say(
        f"mean average precision {precision}, every label right on {right} of {len(result.labels)}, loss "
        f"{result.loss:.4f}, thresholds {of}, on {used}{f', tta {tta}' if tta else ''}"
    )
    if not quiet:
        evaluation_text.show_labels(scores, classes, judged.record["thresholds"])
        console.say(*(f"written       {path}" for path in written), *_about(chosen))


def _about(chosen: Chosen) -> Iterator[str]:
    """What was left out of the pictures, and whether training has seen some of them."""
    for skipped in chosen.skipped[:MOST_NAMED]:
        yield f"left out: {skipped.path}: {skipped.reason}"
    if (more := len(chosen.skipped) - MOST_NAMED) > 0:
        yield f"left out: {more} more"
    yield from chosen.warnings


@click.command(
    "predict",
    cls=Command,
    help="Classes and probabilities of pictures.\n\n"
    "As lines, CSV or JSON; on either framework, whichever wrote the checkpoint, and a model that `xfer export` wrote "
    "on neither. Pictures that cannot be "
    "used are listed with the reason behind the others, and the exit code is 1 then.",
)
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@click.argument("images", metavar="FILE|FOLDER|GLOB...", nargs=-1, required=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this .csv or .json file.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    metavar="K",
    show_default=True,
    help="The most probable classes of each picture, in lines. CSV and JSON have them all.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="T",
    help="Of any number of labels: those from this probability on, in place of the threshold of each.",
)
@click.option("--raw", is_flag=True, help="CSV for programs: no apostrophe before what a spreadsheet would run.")
@tta_option
@overwrite_option
@backend_option
@device_option
@quiet_option
@json_option
def predict_(
    source: Path,
    images: tuple[str, ...],
    output: Path | None,
    top: int,
    threshold: float | None,
    raw: bool,
    tta: Tta | None,
    overwrite: bool,
    backend: str | None,
    device: str,
    quiet: bool,
    json_: bool,
) -> None:
    from xfer.cli import console
    from xfer.errors import ConfigError
    from xfer.results import predictions as files
    from xfer.system.outputs import refuse_foreign_file

    if output is not None and output.suffix not in (".csv", ".json"):
        raise ConfigError(f"--output {output}: expected a name that ends in .csv or .json")
    if output is not None:
        refuse_foreign_file(output, "predictions", files.is_own(output), overwrite)
    with console.progress_bars(quiet) as progress:
        of = _by_onnx if source.suffix == ".onnx" else _by_backend
        predictions = of(source, images, backend, device, tta, threshold, progress)
    if threshold is not None:
        predictions = predictions.at(threshold)
    if output is not None:
        files.save(output, predictions, raw=raw)
    if json_:
        console.as_json(predictions.rows())
    elif output is None:
        console.say(*_lines(predictions, top), ours=False)
        console.say(*(f"not used: {reason}  {file}" for file, reason in predictions.skipped))
    if predictions.skipped:
        lost, total = len(predictions.skipped), len(predictions.files) + len(predictions.skipped)
        where = f"in {output}" if output else "above"
        (first, reason), count = predictions.skipped[0], f"{lost} of {total} pictures could not be used"
        console.say(f"{count}, the first: {first} ({reason}). All are {where}, in the last rows", error=True)
        sys.exit(1)


def _by_backend(
    source: Path,
    images: Sequence[str],
    backend: str | None,
    device: str,
    tta: Tta | None,
    threshold: float | None,
    progress: Progress,
) -> Predictions:
    from xfer.data.find import find_images
    from xfer.pixels.images import SUFFIXES
    from xfer.results import predict
    from xfer.results.checkpoint import load_checkpoint
    from xfer.results.read import is_run, read_recipe

    checkpoint = load_checkpoint(source)
    _refuse_unfit(checkpoint.thresholds is not None, threshold)
    run = source if source.is_dir() else source.parent
    files = find_images(images, read_recipe(run).data.suffixes if is_run(run) else SUFFIXES)
    opened = _opened(backend or checkpoint.backend, device)
    return predict.predict(checkpoint, files, *opened, progress, on_bad_image="skip", tta=tta)


def _by_onnx(
    source: Path,
    images: Sequence[str],
    backend: str | None,
    device: str,
    tta: Tta | None,
    threshold: float | None,
    progress: Progress,
) -> Predictions:
    from xfer.errors import ConfigError
    from xfer.export.runtime import open_onnx
    from xfer.results.predict import to_predict
    from xfer.system.own_process import settle

    if backend is not None or device not in ("auto", "cpu"):
        given = f"--backend {backend}" if backend is not None else f"--device {device}"
        raise ConfigError(f"{given}: {source} is run by onnxruntime, on the CPU. Cure: leave it out")
    model = open_onnx(source)
    _refuse_unfit(model.about.thresholds is not None, threshold)
    settle()
    pictures = to_predict(images, model.about.suffixes)
    return model.predictor.with_views(tta).predict(pictures, progress, on_bad_image="skip")


def _lines(predictions: Predictions, top: int) -> Iterator[str]:
    for file, words in zip(predictions.files, predictions.shown(top), strict=True):
        yield f"{words}  {file}"
