"""Hostile calls through the command line: python tests/sweep.py --calls 700 --seed 1

Each call is made by a process of its own, split off from one that has imported xfer, in a folder of its own. What has
to hold of every one: it ends by itself with exit code 0, 1 or 2; 2 comes with one line that begins with `error: `, the
others with one line on standard error at most; no traceback, no control character, no NaN in JSON; no more than 10 s of
processor time and 1 GB of memory above the plain call of the same command; no process left behind; and nothing of the
input is executed. Exit code 1 where one of these is broken. The seed says which of all calls are tried, and what is
drawn at random in each: `--only NAME --keep FOLDER` makes one again and leaves its files.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import pkgutil
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from hostile import (
    archives,
    claims,
    folders,
    frameworks,
    paths,
    pictures,
    places,
    records,
    states,
    texts,
    values,
    weights,
)
from hostile.ground import PLAIN, Call, Ground, Random, lay

SECONDS = 10.0  # of processor time above a plain call
MEMORY = 10**9  # bytes above a plain call
WAITING = 15.0  # seconds by the clock in which a call that does not hang takes a fiftieth of them of processor time
PATIENCE = 120.0  # seconds by the clock, after which any call hangs
ROOM = 5 << 29  # bytes of addresses above what the server has: what goes on without end stops there
LARGEST = 2 << 30  # bytes of a file that a call may write
UNCAUGHT = 70  # exit code of a call that raised what the command line does not know
SLOW = ("doctor", "backends", "parity", "study", "train on torch", "train on mindspore")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass
class Outcome:
    """What a call did. `broken`: which of the laws it broke, in a word each."""

    kind: str
    name: str
    words: list[str]
    code: int
    cpu: float  # seconds
    seconds: float
    memory: int  # bytes, at most, of it and each of its own processes
    stdout: str
    stderr: str
    unmade: bool = False
    hangs: bool = False
    executed: bool = False
    orphans: bool = False
    broken: list[str] = field(default_factory=list)


def every_call(ground: Ground) -> list[Call]:
    sorts = (values, paths, texts, pictures, archives, weights, claims, states, records, places, frameworks)
    calls = [*(call for sort in sorts for call in sort.all_calls()), *folders.all_calls(ground)]
    twice = [name for name, count in Counter(call.name for call in calls).items() if count > 1]
    assert not twice, f"calls of one name: {twice[:5]}"
    return calls


def chosen(calls: Sequence[Call], count: int, seed: int) -> list[Call]:
    """Of every kind in turn, so that a kind of few calls is tried whole. What is added later changes few of them."""

    def rank(text: str) -> bytes:
        return hashlib.sha256(f"{seed} {text}".encode()).digest()

    by_kind = defaultdict(list)
    for call in calls:
        by_kind[call.kind].append(call)
    groups = [sorted(by_kind[kind], key=lambda call: rank(call.name)) for kind in sorted(by_kind, key=rank)]
    rounds = zip_longest(*groups)
    return list(islice((call for turn in rounds for call in turn if call is not None), count))


# --- one call


def attempt(call: Call, ground: Ground, place: str, seed: int, keep: bool = False, most: float = 60) -> Outcome:
    """Prepare it in one process, make it in another, and look at what it did.

    Its end comes after `most` seconds of processor time.
    """
    here = ground.copy(place)
    prepared = here.parent / "words.json"
    pid = os.fork()
    if pid == 0:
        _prepare(call, here, prepared, seed)
    if os.waitpid(pid, 0)[1] != 0:
        _remove(here.parent)
        return Outcome(call.kind, call.name, [], 0, 0, 0, 0, "", "", unmade=True)
    words = json.loads(prepared.read_text(encoding="utf-8"))
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _run(call, here, words)
    code, usage, used = _wait(pid, started, most)
    seconds = time.monotonic() - started
    cpu = max(used, usage.ru_utime + usage.ru_stime)
    outcome = Outcome(
        call.kind, call.name, words, code, cpu, seconds, usage.ru_maxrss * 1024,
        _said(here.parent / "stdout"), _said(here.parent / "stderr"), hangs=code == -signal.SIGKILL and cpu < most,
        executed=_lexists(here, "executed"), orphans=_end(pid),
    )  # fmt: skip
    if not keep:
        _remove(here.parent)
    return outcome


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", str(folder)], check=False)  # at any depth, which Python's own does not


def _prepare(call: Call, here: Path, prepared: Path, seed: int) -> None:
    try:
        os.chdir(here)
        words = call.make(here, Random(f"{seed} {call.name}"))
        prepared.write_text(json.dumps(words), encoding="utf-8")
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _run(call: Call, here: Path, words: list[str]) -> None:
    try:
        os.setsid()
        _streams(here.parent)
        for name, value in call.environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _limit()
        os.chdir(here)
        if call.vanishes:
            os.mkdir("gone")
            os.chdir("gone")
            os.rmdir(here / "gone")
        if call.apart:
            os.execv(sys.executable, [sys.executable, "-P", "-m", "xfer", *words])
        import click.utils

        from xfer.__main__ import run

        # It takes colours out of what goes into a file: here they stay, as on a terminal.
        click.utils.should_strip_ansi = lambda stream=None, color=None: False
        sys.argv = ["xfer", *words]
        run()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(UNCAUGHT)


def _streams(folder: Path) -> None:
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, folder / "stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        descriptor = os.open(path, flags)
        os.dup2(descriptor, number)
        os.close(descriptor)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(pid: int, started: float, most: float) -> tuple[int, resource.struct_rusage, float]:
    """Exit code, negative for a signal; what was used; and the processor time of it and its children so far."""
    used, looked, looks = 0.0, started, [(started, 0.0)]
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage, used
        if time.monotonic() - looked > 1:
            used, looked = _used(pid), time.monotonic()
            looks.append((looked, used))
            before = [seconds for moment, seconds in looks if moment <= looked - WAITING]
            if used > most or looked > started + PATIENCE or (before and used - before[-1] < WAITING / 50):
                os.killpg(pid, signal.SIGKILL)
                _, status, usage = os.wait4(pid, 0)
                return os.waitstatus_to_exitcode(status), usage, used
        time.sleep(0.005)


def _used(group: int) -> float:
    """Seconds of processor time of a group of processes and of the children they have waited for."""
    return sum(sum(map(int, fields[11:15])) for fields in _stat(group)) / os.sysconf("SC_CLK_TCK")


def _stat(group: int) -> Iterator[list[str]]:
    """What /proc says of each process of a group, from its state on."""
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # no process, or one that has just ended
            continue
        if fields[2] == str(group):
            yield fields


def _end(group: int) -> bool:
    """Whether processes of a call are still there a second after its end; they are ended."""
    for _ in range(20):
        if all(fields[0] == "Z" for fields in _stat(group)):  # dead, and nobody asks what became of it
            return False
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return True


def _said(path: Path) -> str:
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        return file.read(1 << 20)


def _lexists(here: Path, name: str) -> bool:
    return any(os.path.lexists(folder / name) for folder in (here, here.parent))


# --- what has to hold


def laws_broken(outcome: Outcome, plain: Outcome | None) -> Iterator[str]:
    cpu, memory = (plain.cpu, plain.memory) if plain else (0.0, 0)
    lines = outcome.stderr.count("\n")
    if outcome.unmade:
        yield "input not made"
    elif outcome.hangs:
        yield "hangs"
    elif outcome.code < 0 and outcome.cpu <= cpu + SECONDS:
        yield f"died by {signal.Signals(-outcome.code).name}"
    elif outcome.code == UNCAUGHT or "Traceback (most recent call last)" in outcome.stderr + outcome.stdout:
        yield "traceback"
    elif outcome.code not in (0, 1, 2) and outcome.code >= 0:
        yield f"exit code {outcome.code}"
    elif lines > 1 or (outcome.code == 2 and not (lines == 1 and outcome.stderr.startswith("error: "))):
        yield "not one line"
    if outcome.cpu > cpu + SECONDS:
        yield "processor time"
    if outcome.memory > memory + MEMORY:
        yield "memory"
    if CONTROL.search(outcome.stdout + outcome.stderr):
        yield "control characters"
    if outcome.executed:
        yield "executed"
    if outcome.orphans:
        yield "orphans"
    if outcome.code == 0 and "--json" in outcome.words and not _is_json(outcome.stdout):
        yield "no JSON"


def _is_json(text: str) -> bool:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


# --- all of them


def sweep(calls: Sequence[Call], ground: Ground, seed: int, jobs: int, keep: bool = False) -> Iterator[Outcome]:
    """The outcomes as they come, of `jobs` processes that make one call after another."""
    plain = {key: attempt(call, ground, f"plain{i}", seed) for i, (key, call) in enumerate(_plain_calls(calls))}
    for key, outcome in plain.items():
        broken = list(laws_broken(outcome, None))
        if (
            (outcome.code and key[0] != "doctor") or outcome.unmade or "traceback" in broken
        ):  # doctor finds fault with many a machine
            raise RuntimeError(f"the plain call of {key} fails: {outcome.stderr[-2000:]}")
    pipes: list[int] = []
    for job in range(jobs):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            _work(list(enumerate(calls))[job::jobs], ground, seed, keep, plain, writing)
        os.close(writing)
        pipes.append(reading)
    yield from (Outcome(**json.loads(line)) for line in _lines(pipes))
    for _ in range(jobs):
        os.wait()


def _plain_calls(calls: Sequence[Call]) -> Iterator[tuple[tuple[str, bool], Call]]:
    for plain, apart in sorted({(call.plain, call.apart) for call in calls}):
        words = PLAIN[plain]
        yield (plain, apart), Call("plain", plain, plain, lambda here, random, w=words: w, apart=apart)


def _work(
    calls: Sequence[tuple[int, Call]], ground: Ground, seed: int, keep: bool, plain: dict[Any, Outcome], pipe: int
) -> None:
    try:
        for number, call in calls:
            usual = plain[call.plain, call.apart]
            outcome = attempt(call, ground, f"{number:04d}", seed, keep, usual.cpu + SECONDS + 2)
            outcome.broken = list(laws_broken(outcome, usual))
            outcome.stdout, outcome.stderr = outcome.stdout[-3000:], outcome.stderr[-6000:]
            line = (json.dumps(asdict(outcome)) + "\n").encode()
            while line:
                line = line[os.write(pipe, line) :]
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _lines(pipes: list[int]) -> Iterator[bytes]:
    pending = dict.fromkeys(pipes, b"")
    while pending:
        for pipe in select.select(list(pending), [], [])[0]:
            piece = os.read(pipe, 1 << 16)
            if not piece:
                del pending[pipe]
                os.close(pipe)
                continue
            *whole, pending[pipe] = (pending[pipe] + piece).split(b"\n")
            yield from whole


OF_EXTRAS = ("xfer.tracking.mlflow", "xfer.tracking.tensorboard")  # need packages that may not be there


def ready(root: Path) -> Ground:
    """A process from which calls split off: everything imported, and the ground laid."""
    ground = lay(root)
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ground.site), *filter(None, others)])
    sys.path.insert(1, str(ground.site))
    os.environ.update(XFER_CACHE=str(root / "cache"), XFER_LANG="en", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    # Nothing is fetched: who tries is refused at once.
    os.environ.update(dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"))
    import xfer

    for module in pkgutil.walk_packages(xfer.__path__, "xfer."):
        if not module.name.endswith("__main__") and module.name not in OF_EXTRAS:
            importlib.import_module(module.name)
    importlib.import_module("xfer.__main__")
    return ground


# --- what is printed


def told(outcome: Outcome) -> str:
    lines = outcome.stderr.strip().splitlines() or ["(nothing on standard error)"]
    last = lines[-1] + "".join(re.findall(r'File "\S*(/xfer/\S+", line \d+)', outcome.stderr)[-1:])
    words = " ".join(shlex.quote(word if len(word) < 200 else f"{word[:100]}...") for word in outcome.words)
    cost = f"{outcome.cpu:.1f} s of processor time, {outcome.memory / 1e9:.2f} GB"
    shown = f"FAILS ({', '.join(outcome.broken)}) {outcome.name}\n    xfer {words}\n"
    shown += f"    exit code {outcome.code}, {cost}: {last[:300]}"
    return shown.encode("unicode_escape").decode().replace("\\n", "\n")


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    by_kind = defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.kind].append(outcome)
    for kind, group in by_kind.items():
        failed = sum(bool(outcome.broken) for outcome in group)
        cpu, memory = max(o.cpu for o in group), max(o.memory for o in group) / 1e9
        codes = ", ".join(f"{n} x {code}" for code, n in sorted(Counter(o.code for o in group).items()))
        most = f"at most {cpu:.1f} s, {memory:.2f} GB"
        yield f"{kind:45s} {len(group):4d} calls {failed:4d} fail   exit codes {codes}; {most}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=700, help="how many of all (0: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="calls whose kind or name has this in it")
    parser.add_argument("--quick", action="store_true", help="only commands that are answered in about a second")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the folders of the calls there")
    parser.add_argument("--record", metavar="FILE", help="write what each call did to this file, as lines of JSON")
    options = parser.parse_args()
    started, outcomes = time.monotonic(), []
    root = Path(options.keep or tempfile.mkdtemp(prefix="xfer-sweep-")).resolve()
    try:
        ground = ready(root)
        known = [call for call in every_call(ground) if options.only in f"{call.kind}: {call.name}"]
        known = [call for call in known if not (options.quick and (call.apart or call.plain in SLOW))]
        calls = chosen(known, options.calls or len(known), options.seed)
        if any(call.plain == "train on torch" for call in calls):
            importlib.import_module("torch")  # once for all of them; MindSpore starts threads, which no fork survives
        print(f"{len(calls)} of {len(known)} hostile calls, seed {options.seed}", flush=True)
        for outcome in sweep(calls, ground, options.seed, options.jobs, bool(options.keep)):
            outcomes.append(outcome)
            if outcome.broken:
                print(told(outcome), flush=True)
        if options.record:
            Path(options.record).write_text("".join(f"{json.dumps(asdict(o))}\n" for o in outcomes), encoding="utf-8")
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    print(*table(outcomes), sep="\n")
    failed = Counter(word for outcome in outcomes for word in outcome.broken)
    laws = ", ".join(f"{count} {word}" for word, count in failed.most_common()) or "none fails"
    print(f"\n{len(outcomes)} calls, seed {options.seed}, {time.monotonic() - started:.0f} s: {laws}")
    return int(bool(failed) or len(outcomes) < len(calls))


if __name__ == "__main__":
    sys.exit(main())
