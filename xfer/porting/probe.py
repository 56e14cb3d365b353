"""One backend measured for `xfer parity`: python -m xfer.porting.probe NAME DEVICE TASK RESULT [MEASUREMENT].

The core gives every backend the same task; what comes back is arrays by name, to be held against another backend's.
With the measurement of that other backend, floors are measured where they can change a verdict alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xfer.arrays import Float64
from xfer.backend import Backend
from xfer.backends import load_backend, pick_device, settle
from xfer.errors import XferError
from xfer.porting.differences import alike
from xfer.porting.floors import (
    JUMPING,
    Floors,
    at_least,
    band_of,
    jumps,
    largest,
    moves,
    of_multiples,
    of_rounding,
    shaken,
)
from xfer.porting.subject import LR, MOMENTUM, Subject, subject_of
from xfer.porting.task import (
    GRADIENTS,
    ONE_STEP,
    REST_GRADIENTS,
    START,
    UPDATE,
    Measurement,
    Task,
    read_measurement,
    read_task,
    write_measurement,
)
from xfer.system import own_process, processes
from xfer.system.files import json_text


def measure(backend: Backend, device: str, task: Task, other: Measurement | None = None) -> Measurement:
    """Everything that is compared, of one backend, and its floors where the task asks for them. Raises XferError.

    Activations (what leaves each stage) are of the first batch, logits of all images. Training runs through the full
    batches in turn, with everything trained and labels drawn from the seed.

    other   what the other backend made of it, where that is known: without a difference beyond the tolerance there are
            no floors, as none would change a verdict
    """
    subject = subject_of(backend, device, task)
    if task.nodes:
        return _with_floors_of_nodes(subject)
    if task.steps == 0:
        subject.net.load(subject.first)
        return subject.measurement(subject.logits())
    arrays, losses = subject.all_of(subject.first)
    still = subject.measurement({**arrays, **subject.update(arrays[START])}, losses)
    if not task.draws or (other is not None and alike(still, other, task.tolerance)):
        return still
    return _with_floors(subject, still)


def _with_floors_of_nodes(subject: Subject) -> Measurement:
    still, task = subject.of_nodes(subject.first), subject.task
    seeds = [(task.seed, 2 + number) for number in range(1, task.draws + 1)]
    draws = [moves(still.arrays, subject.of_nodes(shaken(subject.first, seed, 1)).arrays) for seed in seeds]
    return replace(still, floors=largest(draws)) if draws else still


def _with_floors(subject: Subject, still: Measurement) -> Measurement:
    draws, jumped, bands = list[Floors](), list[Floors](), list[Float64]()
    gradients = {what: still.arrays[what] for what in (REST_GRADIENTS, GRADIENTS)}
    for number in range(1, subject.task.draws + 1):
        seed = (subject.task.seed, 2 + number)
        arrays, losses = subject.all_of(shaken(subject.first, seed, 1))
        draws.append(moves(still.arrays, arrays))
        strongly = shaken(still.arrays[START], seed, JUMPING)
        jumped.append(jumps(gradients, subject.gradients(strongly), still.stages, JUMPING))
        bands += [losses, subject.trained(strongly)[1]]
    floors = at_least(largest(draws), largest(jumped))
    floors[UPDATE] = _of_multiples(floors[GRADIENTS], still, UPDATE, 1 + MOMENTUM)
    floors = at_least(floors, {ONE_STEP: _of_multiples(floors[GRADIENTS], still, ONE_STEP, LR)})
    floors = at_least(floors, {ONE_STEP: of_rounding(still.arrays[START], still.arrays[ONE_STEP])})
    return replace(still, floors=floors, band=band_of(still.losses, bands))


def _of_multiples(floors: Mapping[str, Float64], still: Measurement, what: str, factor: float) -> dict[str, Float64]:
    """Floors of what is so many times gradient and decay, from those of the gradients. No rounding moves the decay."""
    return of_multiples(floors, still.arrays[GRADIENTS], still.arrays[what], factor)


def main(name: str, device: str, task: str, result: str, other: str = "") -> None:
    """Measure, and write the result; of what a user can put right, print the kind and the message as JSON instead."""
    try:
        backend = load_backend(name)
        device = pick_device(backend, device)
        settle(backend, device)
        known = read_measurement(Path(other)) if other else None
        write_measurement(Path(result), measure(backend, device, read_task(Path(task)), known))
    except XferError as error:
        print(json_text({"kind": type(error).__name__, "message": str(error)}))


if __name__ == "__main__":
    processes.end_with_parent()
    own_process.begin()
    main(*sys.argv[1:])
