"""Settings for a process of xfer's own: a command, or one that a command starts.

They suit a program that imports much, does one thing and ends. A program that imports xfer gets none of them.
"""

from __future__ import annotations

import ctypes
import gc
import os
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module
from threading import Event

SAFE_PATH = "PYTHONSAFEPATH"
_WHILE_IMPORTING = (100_000, 50, 1000)
_USUAL = gc.get_threshold()
_OWN = Event()  # the process is xfer's own


def begin() -> None:
    """To be called first, before anything large is imported."""
    # A framework makes some 300,000 objects as it is imported, and nearly all of them stay. Looking through them again
    # and again took half a second: a sixth of importing torch and torchvision.
    gc.set_threshold(*_WHILE_IMPORTING)
    # As -P: what Python or a framework starts from here, multiprocessing's helpers say, is not to run what lies in the
    # current folder under the name of a module.
    os.environ[SAFE_PATH] = "1"
    # Pillow warns of pictures that are large or have damaged EXIF data, and they can be used all the same. For good:
    # warnings.catch_warnings around each picture would change the filters of every thread that is decoding. The second
    # is its DecompressionBombWarning, known by its words, so that Pillow need not be imported for it.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")

    quieten_tiff.cache_clear()
    _OWN.set()


@cache
def quieten_tiff() -> None:
    """To be called before a TIFF file is decoded. Its decoder writes to the console, and no name of a file with it.

    What it says is an error of Pillow's besides, or nothing that spoils the picture.
    """
    if _OWN.is_set():
        with suppress(AttributeError, OSError):  # linked into Pillow, so that it cannot be reached
            library = ctypes.CDLL(import_module("PIL._imaging").__file__)
            for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                handler(None)


def settle() -> None:
    """To be called when all is there that stays to the end: it need not be looked through for garbage."""
    if not gc.get_freeze_count():  # once
        gc.freeze()
    gc.set_threshold(*_USUAL)
