"""Kills, full disks, signals and swapped files at moments of chance: what ends, ends as if nothing had happened.

    make chaos                                     a quarter of an hour, on all backends
    python -m tests.chaos --seconds 60 --seed 7 --backends numpy,torch --kills 100

The seed, which is printed, repeats all choices; what a moment hits still depends on the machine. For each backend there
is a process that has imported everything. Each life of a run is forked from it, and most end by SIGKILL. Wrong is a
result that differs by a bit from the undisturbed one, a traceback, a file or a lock that is left over, a process that
lives on without its parent, a call that does not go on.
"""

import argparse
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

BACKENDS = ("numpy", "torch", "mindspore")
SMALL = ["--weights", "random", "--size", "32", "--batch-size", "6", "--quiet", "--checkpoint-every", "1e-9"]
KINDS = {
    "head": ["--epochs", "6", "--views", "2", "--train-from", "head"],
    "all": ["--epochs", "4", "--views", "fresh", "--set", "optimizer.kind=adam", "--lr", "0.001"],
    "average": ["--epochs", "4", "--train-from", "layer1", "--set", "train.ema=0.9", "--set", "train.accumulate=2"],
    "native": ["--epochs", "2", "--views", "fresh", "--set", "data.pipeline=native", "--set", "data.workers=2"],
    "against": ["--epochs", "2", "--train-from", "head", "--against-random"],
}
ORPHANED = 20.0  # seconds until a process without its parent must have ended
MOST_LIVES = 60  # of one run
SUBREAPER = 36  # prctl's PR_SET_CHILD_SUBREAPER


class WrongError(AssertionError):
    """Something that must not be."""


class Chaos:
    """Runs on one backend that are disturbed, in a folder of their own."""

    def __init__(self, backend, seed, place):
        self.backend, self.place, self.chance = backend, place, random.Random(f"{seed} {backend}")
        self.count, self.wholes, self.number = Counter(), {}, 0
        self.log = place / "log.txt"

    def start(self):
        """Import everything, once, and quicken what would take most of the time."""
        os.environ |= {
            "XFER_CACHE": str(self.place / "cache"),
            "OMP_NUM_THREADS": "1",
            "XFER_CACHE_LIMIT": "10MB",
            "XFER_LANG": "en",
        }
        os.environ["TMPDIR"] = str(self.place / "tmp")
        (self.place / "tmp").mkdir()
        os.chdir(self.place)
        import matplotlib.figure
        import scipy.stats

        import xfer.backends
        import xfer.cli.train
        import xfer.studies.study
        from xfer.cli.main import main
        from xfer.testing.pictures import write_class_folders
        from xfer.training import baseline, record

        xfer.backends.load_backend(self.backend)
        self.main, self.drawing = main, record.draw
        record.STATE_EVERY, record.STATE_SHARE = 0.0, float("inf")  # states are what a kill may tear
        self.record, self.arch = record, "tiny" if self.backend == "numpy" else "convnet"
        self.data = write_class_folders(self.place / "pictures", ("ants", "bees"), (9, 4), (36, 40))
        self.kinds = [kind for kind in KINDS if self.backend != "numpy" or kind != "native"]
        del matplotlib, scipy, baseline
        if hasattr(ctypes.CDLL(None), "prctl"):
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)

    def words(self, kind, path):
        target = ["--resume", "auto", "--output", str(path)]
        return ["train", str(self.data), "--backend", self.backend, "--arch", self.arch, *SMALL, *KINDS[kind], *target]

    # Lives

    def live(self, words, drawn, seconds=None, number=signal.SIGKILL, room=None, after=None):
        """A life of a command: to its end, or until a signal after so many seconds. Gives its exit code.

        The seconds begin where the life does, or where it has written the file `after`.
        """
        born, child = time.time(), os.fork()
        if child == 0:
            self._child(words, drawn, room)
        deadline = time.monotonic() + (300 if seconds is None else seconds)
        while not (status := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            if after is not None and not written_since(after, born):
                deadline = time.monotonic() + seconds
            time.sleep(0.002)
        if not status[0]:
            if seconds is None:
                os.killpg(child, signal.SIGKILL)
                raise WrongError(f"{words} did not end")
            os.kill(child, number)
            if number == signal.SIGKILL:
                self.count["kills"] += 1
                self.count["of them in training"] += after is not None
            status = os.waitpid(child, 0)
        self._await_orphans(child, words)
        return os.waitstatus_to_exitcode(status[1])

    def _child(self, words, drawn, room):
        code = 70
        try:
            os.setpgid(0, 0)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if not drawn:
                self.record.draw = lambda *arguments: None
            if room is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            self.main([*words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException as error:
            os.write(2, f"Traceback: {type(error).__name__}: {error}\n".encode())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _await_orphans(self, group, words):
        deadline = time.monotonic() + ORPHANED
        while True:
            try:
                if not os.waitpid(-group, os.WNOHANG)[0]:
                    if time.monotonic() > deadline:
                        os.killpg(group, signal.SIGKILL)
                        raise WrongError(f"{words}: a process lives on without its parent")
                    time.sleep(0.005)
            except ChildProcessError:
                return

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def check_refusal(self, code, codes=(2,)):
        said = self.said()
        if code not in codes or "Traceback" in said:
            raise WrongError(f"exit code {code}: {said}")

    # Runs

    def whole(self, kind):
        """The undisturbed run of a kind, and the seconds that it takes in a forked life."""
        if kind not in self.wholes:
            started, path = time.monotonic(), self.place / f"whole-{kind}"
            self.check_refusal(self.live(self.words(kind, path), True), (0,))
            self.wholes[kind] = path, time.monotonic() - started
        return self.wholes[kind]

    def run(self, kind, enough):
        """One run, disturbed until it ends."""
        whole, lasts = self.whole(kind)
        self.number += 1
        path, drawn = self.place / f"run-{self.number}", self.chance.random() < 0.3
        words = self.words(kind, path)
        for life in range(MOST_LIVES):
            seconds, what = self.chance.uniform(0, 0.7) * lasts * 1.08**life, self.chance.random()
            if enough():
                what, seconds = 0.0, None
            if what < 0.8:
                begun = path / "metrics.jsonl" if seconds is not None and self.chance.random() < 0.6 else None
                code = self.live(words, drawn, seconds and seconds * (0.35 if begun else 1), after=begun)
            elif what < 0.87:
                self.count["full disks"] += 1
                code = self.live(words, drawn, None, room=int(10 ** self.chance.uniform(2.5, 5)))
                self.check_refusal(code, (0, 2))
                drawn &= code != 0  # trained to its end: pictures that find no room fail no run, and are warned of
            elif what < 0.94:
                self.count["signals"] += 1
                number = self.chance.choice([signal.SIGTERM, signal.SIGINT])
                code = self.live(words, drawn, seconds, number)
                self.check_refusal(code, (0, 128 + number, -number))
            else:
                code = self._swapped(words, path, whole)
            if code == 0:
                break
            if code not in (2, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
                raise WrongError(f"exit code {code}: {self.said()}")
        else:
            raise WrongError(f"{words}: got nowhere in {MOST_LIVES} lives: {self.said()}")
        self.check(whole, path, drawn)
        if kind == "against":
            self.check(whole / "from_random", path / "from_random", drawn)
        self.count["runs"] += 1
        return path

    def _swapped(self, words, path, whole):
        """A file of the run is cut, changed or exchanged for another: refused in a line, or without any effect."""
        from xfer.testing.resuming import assert_same_folders

        files = sorted(file for file in path.glob("*.*") if file.is_file()) if path.is_dir() else []
        if not files or (path / "result.json").exists():
            return -signal.SIGKILL
        self.count["swaps"] += 1
        shutil.copytree(path, kept := self.place / "kept")
        file = self.chance.choice(files)
        content = file.read_bytes()
        place = self.chance.randrange(len(content) or 1)
        flipped = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :] if content else b"x"
        file.write_bytes(self.chance.choice([content[:place], flipped, self.chance.choice(files).read_bytes(), b""]))
        code = self.live(words, False)
        self.check_refusal(code, (0, 2))
        if code == 0 and file.name != "config.toml":  # a recipe that says something else is another run
            assert_same_folders(whole, path)
        shutil.rmtree(path)
        kept.rename(path)
        return 2

    def check(self, whole, path, drawn):
        """A finished run: the same to the last bit, and no file more, and none less that it should have."""
        from xfer.testing.resuming import assert_same_folders

        assert_same_folders(whole, path)
        names, wanted = ({str(f.relative_to(p)) for f in p.rglob("*")} for p in (path, whole))
        if extra := names - wanted:
            raise WrongError(f"{path}: left over: {sorted(extra)}")
        if drawn and (missing := wanted - names):
            raise WrongError(f"{path}: missing: {sorted(missing)}")

    def others(self, path):
        """Commands that only read a run, or tidy up, killed at a moment of chance; then once to their end."""
        converted, table = path / "m.ckpt", path / "p.csv"
        for words in (
            ["convert", str(path / "best.safetensors"), str(converted), "--overwrite"],
            ["predict", str(path), str(self.data / "val"), "--output", str(table), "--quiet", "--overwrite"],
            ["cache", "prune", "--to", "10kB"],
        ):
            for _ in range(2):
                self.live(words, False, self.chance.uniform(0, 0.3))
            self.check_refusal(self.live(words, False), (0,))
        self.check_refusal(self.live(["cache", "prune", "--all"], False), (0,))
        left = [file for folder in ("cache", "tmp", path.name) for file in (self.place / folder).rglob("*")]
        if wrong := [str(file) for file in left if file.suffix in (".part", ".lock") or "tmp" in file.name[:5]]:
            raise WrongError(f"left over: {wrong}")

    def study(self):
        """A study of two runs, whose processes are killed; on the NumPy backend, as its workers start soonest."""
        self.number += 1
        output = self.place / f"study-{self.number}"
        recipe = f'[data]\nsource = "{self.data}"\n[augment]\nsize = 32\n[model]\narch = "tiny"\n[weights]\n'
        recipe += 'source = "random"\n[train]\nepochs = 3\nbatch_size = 6\nviews = 2\n'
        (self.place / "recipe.toml").write_text(recipe)
        text = 'name = "s"\nbackends = ["numpy"]\nseeds = 2\n[modes.a]\nrecipe = "recipe.toml"\n'
        (self.place / "study.toml").write_text(text)
        words = ["study", str(self.place / "study.toml"), "--output", str(output), "--quiet", "--jobs", "2"]
        if "study" not in self.wholes:
            started, path = time.monotonic(), self.place / "whole-study"
            self.check_refusal(self.live([*words[:3], str(path), *words[4:]], True), (0,))
            self.wholes["study"] = path, time.monotonic() - started
        whole, lasts = self.wholes["study"]
        for life in range(4):
            self.live(words, True, self.chance.uniform(0, 1) * lasts * 1.1**life)
        self.check_refusal(self.live(words, True), (0,))
        for run in (whole / "runs").iterdir():
            self.check(run, output / "runs" / run.name, True)
        names, wanted = ({str(f.relative_to(p)) for f in p.rglob("*")} for p in (output, whole))
        if names != wanted:
            raise WrongError(f"{output}: {sorted(names ^ wanted)}")
        self.count["studies"] += 1
        shutil.rmtree(output)


def written_since(file, moment):
    try:
        return file.stat().st_mtime > moment
    except FileNotFoundError:
        return False


def declare_numpy(place):
    """The NumPy backend as a package that other processes find too."""
    about = place / "site" / "xfer_chaos-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: xfer-chaos\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[xfer.backends]\nnumpy = xfer.testing.numpy_backend:NumpyBackend\n")
    paths = [str(place / "site"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.path.insert(0, paths[0])


def disturb(backend, seed, seconds, kills):
    """Disturb one backend for so long, or for so many kills. The counts, and what was wrong."""
    from contextlib import chdir

    ends, wrong = time.monotonic() + seconds, []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # only a loss of power could tell it from a disk
    with tempfile.TemporaryDirectory(prefix="xfer-chaos-", dir=memory) as name, chdir("/"):
        place = Path(name)
        declare_numpy(place)
        chaos = Chaos(backend, seed, place)
        chaos.start()

        def enough():
            return time.monotonic() > ends or chaos.count["kills"] >= kills

        turn = 0
        while not enough() and len(wrong) < 5:
            try:
                if backend == "numpy" and turn % 8 == 3:
                    chaos.study()
                path = chaos.run(chaos.chance.choice(chaos.kinds), enough)
                if turn % 4 == 1:
                    chaos.others(path)
                shutil.rmtree(path)
            except AssertionError as error:
                wrong.append(f"{backend}, seed {seed}, turn {turn}: {' '.join(str(error).split())[-1500:]}")
            turn += 1
        os.chdir("/")
    return chaos.count, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--kills", type=int, default=10**9, help="on each backend, at most")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    if options.alone:
        count, wrong = disturb(options.alone, seed, options.seconds, options.kills)
        print(json.dumps({"count": count, "wrong": wrong}))
        return
    print(f"seed {seed}: to repeat it, --seed {seed}", flush=True)
    flags = ["--seconds", str(options.seconds), "--kills", str(options.kills), "--seed", str(seed)]
    words = [sys.executable, str(Path(__file__).resolve()), *flags, "--alone"]
    names = options.backends.split(",")
    processes = {name: subprocess.Popen([*words, name], stdout=subprocess.PIPE, text=True) for name in names}
    total, wrong = Counter(), []
    for name, process in processes.items():
        try:
            answer = json.loads((process.communicate()[0].splitlines() or ["null"])[-1])
            wrong += answer["wrong"]
        except (ValueError, TypeError, KeyError):
            wrong.append(f"{name}: the process ended with {process.returncode}")
            continue
        print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in answer["count"].items()), flush=True)
        total.update(answer["count"])
    for line in wrong:
        print(f"wrong: {line}")
    print(f"{total['kills']} kills in {total['runs']} runs and {total['studies']} studies: {len(wrong)} differences")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
