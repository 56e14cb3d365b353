"""Settings for a process of xfer's own: a command, or one that a command starts.

They suit a program that imports much, does one thing and ends. A program that imports xfer gets none of them.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from threading import Event
from typing import Any, cast

SAFE_PATH = "PYTHONSAFEPATH"
_WHILE_IMPORTING = (100_000, 50, 1000)
_USUAL = gc.get_threshold()
_OWN = Event()  # the process is xfer's own
_SILENT = Event()  # libtiff is, from the first TIFF file on


def begin() -> None:
    """To be called first, before anything large is imported."""
    # A framework makes some 300,000 objects as it is imported, and nearly all of them stay. Looking through them again
    # and again took half a second: a sixth of importing torch and torchvision.
    gc.set_threshold(*_WHILE_IMPORTING)
    _warnings_are_no_errors()
    silence_decoders()
    # None of matplotlib's settings hold for xfer's pictures, and it cannot be imported where a file of settings is
    # damaged, or where a notebook's environment names a way of showing figures that is not installed here.
    os.environ["MPLBACKEND"], os.environ["MATPLOTLIBRC"] = "agg", os.devnull
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # As -P: what Python or a framework starts from here, multiprocessing's helpers say, is not to run what lies in the
    # current folder under the name of a module.
    os.environ[SAFE_PATH] = "1"
    _OWN.set()


def silence_decoders() -> None:
    """For a program that imports xfer, too, if it likes: what decoders write names no file, and xfer's errors do."""
    # Pillow warns of pictures that are large or have damaged EXIF data, and they can be used all the same. For good:
    # warnings.catch_warnings around each picture would change the filters of every thread that is decoding. The second
    # is its DecompressionBombWarning, known by its words, so that Pillow need not be imported for it.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
    # What it logs is an error that it raises besides; logging prints that where nobody listens.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    quieten_tiff.cache_clear()
    _SILENT.set()


def _warnings_are_no_errors() -> None:
    """Whatever PYTHONWARNINGS says: libraries warn as they are imported and as they end, and would not be usable."""
    filters = cast("list[tuple[Any, ...]]", warnings.filters)
    kept = [known for known in filters if known[0] != "error"]
    warnings.resetwarnings()
    filters.extend(kept)


@cache
def quieten_tiff() -> None:
    """To be called before a TIFF file is decoded. Its decoder writes to the console, and no name of a file with it.

    What it says is an error of Pillow's besides, or nothing that spoils the picture.
    """
    if _SILENT.is_set():
        with suppress(AttributeError, OSError):  # linked into Pillow, so that it cannot be reached
            library = ctypes.CDLL(import_module("PIL._imaging").__file__)
            for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                handler(None)


@contextmanager
def quiet_programs() -> Iterator[None]:
    """What programs that a library starts write to standard error in here is not shown, nor what other threads do."""
    try:
        shown = os.dup(2) if _OWN.is_set() else None
    except OSError:  # it is closed
        shown = None
    if shown is None:
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)


def settle() -> None:
    """To be called when all is there that stays to the end: it need not be looked through for garbage."""
    if not gc.get_freeze_count():  # once
        gc.freeze()
    gc.set_threshold(*_USUAL)
