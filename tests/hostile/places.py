"""Odd places to be called in: environments, current folders, temporary folders, caches."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from hostile.ground import PLAIN, Call, Random, giving
from hostile.paths import Maker, bound, dangling, endless, fifo, folder, full, loop, sparse, text
from xfer.system.limits import LIMITS, variable_of

SIZES = ["0", "-1", "nan", "9" * 400, "1e9", "1EB", "", " ", "٣MB", "x", "1TiB", "\x1b[31m"]
EVIL = "from pathlib import Path\nPath({!r}).touch()\n"
OWN_CACHE = {"XFER_CACHE": "cache", "XFER_CACHE_LIMIT": "1GB"}
MODULES = ("numpy", "xfer", "json", "torch", "PIL", "click", "sitecustomize", "xfer_torch")


def all_calls() -> Iterator[Call]:
    commands = ("train", "evaluate", "predict", "data check", "compare", "study", "cache ls", "cache prune")
    for variable in (*map(variable_of, LIMITS), "XFER_CACHE_LIMIT"):
        for name in commands:
            for value in SIZES if name in ("train", "cache ls") else SIZES[::4]:
                told = f"{name} {variable}={value[:20]!r}"
                yield Call("limits", told, name, giving(PLAIN[name]), {variable: value})
    for maker in (fifo, bound, endless, full, loop, dangling, text, sparse):
        for variable in ("XFER_CACHE", "TMPDIR", "HOME"):
            environment = {variable: "odd"} | ({"XFER_CACHE": None} if variable == "HOME" else {})
            for name in ("train", "cache ls", "cache prune", "parity"):
                make = partial(_made, maker, "odd", PLAIN[name])
                told = f"{name} {variable} {maker.__name__}"
                yield Call(f"{variable} of another kind", told, name, make, environment)
        for inside in ("features", "datasets", "unpacked", "downloads"):
            make = partial(_made, maker, f"cache/{inside}", ["cache", "prune", "--all"])
            told = f"cache prune {inside} {maker.__name__}"
            yield Call("a cache of another kind", told, "cache prune", make, OWN_CACHE)
    for file in ("meta.json", "values.npy", "digests.npy"):
        for maker in (fifo, endless, sparse, folder, text, loop):
            make = partial(_made, maker, f"cache/features/{'0' * 64}/{file}", PLAIN["cache ls"])
            told = f"cache ls {file} {maker.__name__}"
            yield Call("kept features of another kind", told, "cache ls", make, OWN_CACHE)
    for what, surroundings in ENVIRONMENTS.items():
        for name in ("train", "compare", "predict"):
            yield Call("environments", f"{name} {what}", name, giving(PLAIN[name]), surroundings, apart=True)
    for name in ("backends", "parity", "study", "train", "doctor"):
        for module in MODULES if name != "doctor" else MODULES[:1]:
            for form in ("file", "folder"):
                make = partial(_planted, module, form, PLAIN[name])
                yield Call("a current folder that would run", f"{name} {module} {form}", name, make)
    for name in ("train", "predict", "cache ls", "compare", "convert"):
        make = partial(_from_above, PLAIN[name])
        yield Call("a current folder that is gone", f"{name} gone", name, make, vanishes=True)


ENVIRONMENTS: dict[str, Mapping[str, str | None]] = {
    "no HOME": {"HOME": None, "XFER_CACHE": None},
    "a HOME that is not there": {"HOME": "/nowhere", "XFER_CACHE": None},
    "an empty HOME": {"HOME": "", "XFER_CACHE": None},
    "an empty cache": {"XFER_CACHE": ""},
    "no such user's cache": {"XFER_CACHE": "~nosuchuser/x"},
    "a long cache": {"XFER_CACHE": "x" * 5000},
    "a cache in /proc": {"XFER_CACHE": "/proc/x"},
    "a notebook's plots": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "no such plots": {"MPLBACKEND": "nonsense"},
    "a window's plots": {"MPLBACKEND": "TkAgg", "DISPLAY": None},
    "plots kept nowhere": {"MPLCONFIGDIR": "/proc/x"},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "the C locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin 1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "no temporary folder": {"TMPDIR": "/nowhere"},
    "columns": {"COLUMNS": "1", "LINES": "1"},
    "columns without end": {"COLUMNS": "1000000000"},
    "no columns": {"COLUMNS": "-5"},
    "a dumb terminal": {"TERM": "dumb", "FORCE_COLOR": "1"},
    "threads": {"OMP_NUM_THREADS": "-1"},
    "many threads": {"OMP_NUM_THREADS": "100000"},
    "optimised": {"PYTHONOPTIMIZE": "2"},
    "developing": {"PYTHONDEVMODE": "1"},
    "a proxy": {"http_proxy": "nonsense", "https_proxy": "http://["},
}


def _made(maker: Maker, path: str, words: list[str], here: Path, random: Random) -> list[str]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    maker(Path(path))
    return words


def _planted(module: str, form: str, words: list[str], here: Path, random: Random) -> list[str]:
    """The current folder has a module of a name that Python would find there first."""
    code = EVIL.format(str(here / "executed"))
    if form == "file":
        Path(f"{module}.py").write_text(code)
    else:
        Path(module).mkdir()
        Path(module, "__init__.py").write_text(code)
    return words


def _from_above(words: list[str], here: Path, random: Random) -> list[str]:
    return [f"{here}/{word}" if (here / word).exists() else word for word in words]
