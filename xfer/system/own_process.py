"""Settings for a process of xfer's own: a command, or one that a command starts.

They suit a program that imports much, does one thing and ends. A program that imports xfer gets none of them.
"""

from __future__ import annotations

import gc
import warnings

_WHILE_IMPORTING = (100_000, 50, 1000)
_USUAL = gc.get_threshold()


def begin() -> None:
    """To be called first, before anything large is imported."""
    # A framework makes some 300,000 objects as it is imported, and nearly all of them stay. Looking through them again
    # and again took half a second: a sixth of importing torch and torchvision.
    gc.set_threshold(*_WHILE_IMPORTING)
    # Pillow warns of pictures that are large or have damaged EXIF data, and they can be used all the same. For good:
    # warnings.catch_warnings around each picture would change the filters of every thread that is decoding. The second
    # is its DecompressionBombWarning, known by its words, so that Pillow need not be imported for it.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")


def settle() -> None:
    """To be called when all is there that stays to the end: it need not be looked through for garbage."""
    if not gc.get_freeze_count():  # once
        gc.freeze()
    gc.set_threshold(*_USUAL)
