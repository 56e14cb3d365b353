"""Two backends held against each other, stage by stage: the acceptance test of a network that was ported."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.archs import LOGITS
from xfer.arrays import Weights
from xfer.data.find import find_images
from xfer.data.loader import read_now, refuse_large_batches
from xfer.data.split import Split
from xfer.errors import ConfigError, XferError, refuse_outside
from xfer.formats.files import read_with_metadata
from xfer.nets.pretrained import IMAGENET, RANDOM, normalize_of, resolve_source
from xfer.nets.specs import arch_named
from xfer.nets.weights import refuse_unusable
from xfer.pixels.augment import default_eval
from xfer.pixels.images import MORE_SUFFIXES, SUFFIXES
from xfer.porting.differences import FORWARD, ParityReport, Row, Side, compare, compare_arrays
from xfer.porting.floors import DRAWS
from xfer.porting.gaps import Array
from xfer.porting.node_rows import compare_nodes, furthest
from xfer.porting.not_finite import first_not_finite
from xfer.porting.subject import stage_of
from xfer.porting.task import (
    LOGITS_OF_ALL,
    NO_STAGE,
    START,
    Measurement,
    Task,
    read_measurement,
    write_measurement,
    write_task,
)
from xfer.progress import Progress, silent
from xfer.recipe.recipe import MOST_BATCH, MOST_SEED, MOST_SIZE
from xfer.system.files import expanded
from xfer.system.parts import half_written
from xfer.system.processes import ask, error_of

TOLERANCE = 1e-4
MOST_STEPS, MOST_CLASSES = 100_000, 10_000_000
EXCHANGE = "xfer-parity"  # where tasks and results pass, in the folder for temporary files
NOISE_BATCHES = 2  # batches of noise where there are no pictures


def parity(
    arch: str,
    weights: str | Path = IMAGENET,
    *,
    weights_other: str | Path | None = None,
    backends: Sequence[str] = ("torch", "mindspore"),
    images: Sequence[str] = (),
    size: int = 224,
    classes: int | None = None,
    batch_size: int = 8,
    steps: int = 10,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    progress: Progress = silent,
) -> ParityReport:
    """Run the same task on two backends, each in a process of its own, and compare what they made of it.

    weights        a file, `imagenet` or `random`; `weights_other` is the second backend's own file
    backends       two of `name` or `name:device`, `torch:cuda`; the first is the reference
    images         files, folders and patterns, of any suffix that can be read, seen through the usual evaluation;
                   none: smooth noise from the seed
    size           side of the images in pixels, as in a recipe; so are `batch_size` and `seed`
    classes        of a fresh head from the seed, in place of the head of the weights; at most MOST_CLASSES
    steps          1 to MOST_STEPS
    tolerance      of a relative difference, at most 1

    Raises XferError for what a user can put right, and BackendError for a process that died.
    """
    if len(backends) != 2:
        raise ConfigError(f"backends: expected two, got {len(backends)}. Cure: --backends torch,mindspore")
    refuse_outside("size", size, 1, MOST_SIZE)
    refuse_outside("batch_size", batch_size, 1, MOST_BATCH)
    refuse_outside("steps", steps, 1, MOST_STEPS)
    refuse_outside("classes", 1 if classes is None else classes, 1, MOST_CLASSES)
    refuse_outside("seed", seed, 0, MOST_SEED)
    refuse_outside("tolerance", tolerance, 1e-12, 1)
    pixels = pictures_of(images, size) if images else noise(NOISE_BATCHES * batch_size, size, seed)
    common = Task(arch, pixels, classes=classes, batch_size=batch_size, steps=steps, seed=seed)
    tasks = _with_weights(common, [str(weights), str(weights if weights_other is None else weights_other)], progress)
    tasks[0] = replace(tasks[0], draws=DRAWS, tolerance=tolerance)
    settings = _settings(common, bool(images))
    sides = [Side(*target_of(name), {}, task.source) for name, task in zip(backends, tasks, strict=True)]
    unlike = () if weights_other is None else _unlike(*tasks)
    if unlike:
        return ParityReport(arch, tuple(sides), tolerance, steps, 0, 0, unlike, settings=settings)
    reference, candidate = _measured(sides, tasks, progress, "measuring")
    report = replace(compare(reference, candidate, tasks, tolerance), settings=settings)
    stages = stages_off(report)
    if not stages:
        return report
    of_nodes = [replace(task, nodes=stages, images=pixels[_pictures(report, reference, candidate)]) for task in tasks]
    try:
        return with_nodes(report, *_measured(sides, of_nodes, progress, "measuring every node of"))
    except (
        XferError
    ) as error:  # a stranger's backend may stop at boundaries alone; what it did is to be seen all the same
        return replace(report, nodes_note=str(error))


def stages_off(report: ParityReport) -> tuple[str, ...]:
    """Stages in which inference goes wrong: the first that is off, and where a backend stops being finite."""
    first = report.first_difference
    places = [place for place in (first, *report.not_finite) if place and place.what in FORWARD]
    return tuple(dict.fromkeys(place.stage for place in places if place.stage != NO_STAGE))


def _pictures(report: ParityReport, reference: Measurement, candidate: Measurement) -> list[int]:
    """The one that is furthest apart where inference first is, and another beside it."""
    place = next(p for p in (report.first_difference, *report.not_finite) if p and p.what in FORWARD)
    a, b = (measurement.arrays[place.what].get(place.tensor) for measurement in (reference, candidate))
    worst = furthest(a, b) if a is not None and b is not None and a.shape == b.shape else 0
    count = len(reference.arrays[LOGITS_OF_ALL][LOGITS])
    return list(dict.fromkeys((worst, (worst + 1) % count)))


def with_nodes(report: ParityReport, reference: Measurement, candidate: Measurement) -> ParityReport:
    """The report with what each node gives, and the node at which each backend stops being finite, where it does."""
    nodes = map(first_not_finite, (reference, candidate))
    places = (
        node if node and place and place.what in FORWARD else place
        for node, place in zip(nodes, report.not_finite, strict=True)
    )
    return replace(report, nodes=compare_nodes(reference, candidate, report.tolerance), not_finite=tuple(places))


def _settings(task: Task, pictures: bool) -> dict[str, Any]:
    count, side = task.images.shape[:2]
    given = {"images": f"{count} {'pictures' if pictures else 'of smooth noise'}", "size": side}
    return given | {name: getattr(task, name) for name in ("classes", "batch_size", "steps", "seed")}


def _measured(
    sides: Sequence[Side], tasks: Sequence[Task], progress: Progress, doing: str
) -> tuple[Measurement, Measurement]:
    """The reference, measured with the other one's figures at hand, and the other one."""
    reference, candidate = sides
    progress(f"{doing} {candidate.backend}", 1, len(sides))
    measured = measure_in_own_process(candidate.backend, candidate.device, tasks[1])
    progress(f"{doing} {reference.backend}", 2, len(sides))
    return measure_in_own_process(reference.backend, reference.device, tasks[0], measured), measured


def target_of(name: str) -> tuple[str, str]:
    backend, _, device = name.partition(":")
    return backend, device or "auto"


def pictures_of(images: Sequence[str], size: int) -> Array:
    """(N, size, size, 3) uint8, as in evaluation. Raises DataError."""
    files = find_images(images, (*SUFFIXES, *MORE_SUFFIXES))
    _refuse_pictures(len(files), size)
    split, indices = Split(files, np.zeros(len(files), np.int64)), np.arange(len(files))
    return read_now(split, default_eval(size), indices)


def _refuse_pictures(count: int, size: int) -> None:
    refuse_large_batches(default_eval(size), count, 0, "cpu", "a smaller --size or --batch-size, or fewer --images")


def noise(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """(count, size, size, 3) uint8: random pixels made smooth.

    Pixels that know nothing of their neighbours average out in the first stages; what is left there is smaller than
    rounding later makes it.
    """
    _refuse_pictures(count, size)
    side = max(2, size // 8)
    coarse = np.random.default_rng((seed, 1)).integers(0, 256, (count, side, side, 3), np.uint8)
    return np.stack([np.array(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse])


def _with_weights(task: Task, sources: Sequence[str], progress: Progress) -> list[Task]:
    """The task for each source of weights; all normalise as the first source that says how."""
    read = {source: _weights(source, task.arch, progress) for source in dict.fromkeys(sources)}
    normalize = next(filter(None, (normalize_of(meta, source) for source, (_, meta) in read.items())), None)
    if normalize is not None:
        task = replace(task, mean=normalize.mean, std=normalize.std)
    if task.classes is None and any("thresholds" in meta for _, meta in read.values()):  # for any number of labels
        task = replace(task, loss="sigmoid")
    return [replace(task, weights=read[source][0], source=source) for source in sources]


def _weights(source: str, arch: str, progress: Progress) -> tuple[Weights | None, dict[str, str]]:
    path = expanded(source)
    if source not in (IMAGENET, RANDOM) and path.is_file():
        weights, metadata = read_with_metadata(path)
        refuse_unusable(weights, source)
        return weights, metadata
    return resolve_source(source, arch, progress=progress) or (None, {})


def _unlike(first: Task, second: Task) -> tuple[Row, ...]:
    """All rows of two weights files, where a name or shape of one is not in the other; else none."""
    arch = arch_named(first.arch)
    fresh = arch.head_names if arch and first.classes else ()
    a, b = ({n: w for n, w in (task.weights or {}).items() if n not in fresh} for task in (first, second))
    if not (a and b) or {n: w.shape for n, w in a.items()} == {n: w.shape for n, w in b.items()}:
        return ()
    return tuple(compare_arrays(START, a, b, {n: stage_of(arch, n) for n in a | b}, TOLERANCE))


def measure_in_own_process(backend: str, device: str, task: Task, other: Measurement | None = None) -> Measurement:
    """`other`: see `xfer.porting.probe.measure`.

    Raises the XferError that the process met, and BackendError for a process that died.
    """
    with half_written(Path(tempfile.gettempdir(), EXCHANGE)) as folder:
        folder.chmod(0o700)  # weights and pictures are nobody else's
        question, result, known = (folder / f"{name}.safetensors" for name in ("task", "result", "other"))
        write_task(question, task)
        if other is not None:
            write_measurement(known, other)
        files = (question, result, *(() if other is None else (known,)))
        answer = ask("xfer.porting.probe", backend, device, *map(str, files))
        if answer.code == 0 and result.exists():
            return read_measurement(result)
    raise error_of(answer, f"the process of backend '{backend}'")
