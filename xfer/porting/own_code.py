"""Code of the user's own, run because they named it: `package.module:factory`."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from xfer.errors import ConfigError, XferError, nearest

_TARGET = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """Modules in the folder can be imported in here. Those of installed packages come first, whatever lies there."""
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def blamed(doing: str) -> Iterator[None]:
    """Whatever code of the user's raises in here becomes a ConfigError, one line that begins with what was done.

    What it prints goes to standard error: standard output is for results.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except XferError:
        raise
    except (Exception, SystemExit) as error:  # SystemExit: a script that ends itself when it is imported
        raise ConfigError(f"{doing}: {_cause(error)}") from error


def named(target: str) -> Any:
    """What `package.module:name` is. Raises ConfigError for a module or a name that there is not."""
    if (match := _TARGET.fullmatch(target)) is None or match[1].endswith(".py"):  # a path, as for `python`
        name = re.sub(r"\.py(?=:|$)", "", target).strip("./").replace("/", ".")
        meant = name if _TARGET.fullmatch(name) else "package.module:factory"
        raise ConfigError(f"{target!r}: expected package.module:factory. Cure: {meant}")
    module_name, path = match[1], match[2]
    try:
        with blamed(f"importing {module_name}"):
            found: Any = importlib.import_module(module_name)
    except ConfigError as error:
        if _is_missing(error.__cause__, module_name):
            cure = "Cure: start in the folder that it is in, or install its package"
            raise ConfigError(f"{target}: there is no module {module_name}, here or installed. {cure}") from error
        raise
    where = getattr(found, "__file__", None) or module_name
    for part in path.split("."):
        with blamed(f"looking up {target}"):
            names = [name for name in dir(found) if not name.startswith("_")]
            if not hasattr(found, part):
                raise ConfigError(f"{target}: {where} has no {part!r}.{nearest(part, names)}")
            found = getattr(found, part)
    return found


def made(target: str, value: Any) -> Any:
    """What the factory gives that `named` has found. Raises ConfigError, with its cause, where it gives nothing."""
    if not callable(value):
        raise ConfigError(
            f"{target}: is of type {type(value).__name__}, expected a function or a class that makes the network"
        )
    with blamed(f"calling {target}"):
        return value()


def _is_missing(cause: BaseException | None, module: str) -> bool:
    """Whether it is the module itself, or a package on the way to it, that is not there."""
    name = cause.name if isinstance(cause, ModuleNotFoundError) else None
    return bool(name) and f"{module}.".startswith(f"{name}.")


def _cause(error: BaseException) -> str:
    """The error in one line, and the last line of a file in the current folder that led to it."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_here(frame.filename)]
    return f"{said} ({os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno})" if frames else said


def _is_here(file: str) -> bool:
    here = os.path.join(os.getcwd(), "")
    return os.path.abspath(file).startswith(here) and "site-packages" not in file and not file.startswith("<")
