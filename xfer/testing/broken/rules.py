"""Update rules that are taken for other ones."""

from __future__ import annotations

from dataclasses import replace

from xfer.testing.broken.mechanics import Breakage, arguments
from xfer.testing.laws import optimizer as laws

BREAKAGES: tuple[Breakage, ...] = (
    Breakage(
        "RMSprop's alpha is the usual one",
        arguments(optimizer=lambda o: replace(o, alpha=0.99)),
        (laws.rmsprop_follows_its_formula,),
    ),
    Breakage(
        "RMSprop has no momentum",
        arguments(optimizer=lambda o: replace(o, momentum=0.0) if o.kind == "rmsprop" else o),
        (laws.rmsprop_follows_its_formula,),
    ),
    Breakage(
        "Lion has one beta",
        arguments(optimizer=lambda o: replace(o, betas=(o.betas[0], o.betas[0])) if o.kind == "lion" else o),
        (laws.lion_follows_its_formula,),
    ),
    Breakage(
        "LAMB trusts every layer alike",
        arguments(optimizer=lambda o: replace(o, kind="adamw") if o.kind == "lamb" else o),
        (laws.lamb_follows_its_formula,),
    ),
)
