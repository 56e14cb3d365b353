"""How slow work tells its caller how far it is; `xfer.display` draws it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""progress(what, done, total): `done` of `total` units of `what`; total None where it is not known."""


def silent(what: str, done: int, total: int | None) -> None:
    """The progress of nobody who watches."""


def part(progress: Progress, before: int, total: int) -> Progress:
    """The progress of a part, told as that of the whole: `before` of its `total` units come before the part."""

    def show(what: str, done: int, own: int | None) -> None:
        progress(what, done if own is None else before + done, None if own is None else total)

    return show
