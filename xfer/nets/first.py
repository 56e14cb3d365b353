"""The weights that a training starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xfer.arrays import Float32, Weights
from xfer.errors import WeightsError
from xfer.graphs.channels import GREY, fitted
from xfer.nets.first_rules import FirstRules, rules_of
from xfer.nets.head import Head, HeadPolicy, choose_head
from xfer.nets.net import Net
from xfer.nets.partial import Loaded, partial_merge
from xfer.nets.pretrained import parent_of, taken_from
from xfer.nets.specs import own_networks
from xfer.nets.weights import init_weights, merge, refuse_unusable
from xfer.nets.wrapped import unwrapped


@dataclass(frozen=True)
class First:
    """Every weight of a network before its first step, and where they are from.

    loaded   what partial loading took from the source; None where all of it was taken
    notes    lines for the user on what was taken, where there was a choice
    parent   the file they are from, see `parent_of`
    """

    weights: Weights
    loaded: Loaded | None = None
    notes: tuple[str, ...] = ()
    parent: Mapping[str, str] | None = None


def first_weights(
    net: Net,
    source: str,
    weights: Weights | None,
    metadata: Mapping[str, str],
    classes: Sequence[str],
    *,
    seed: int,
    head: HeadPolicy = "auto",
    partial: bool = False,
) -> First:
    """From the weights of the source, but for a fresh head; all from the seed where they are None.

    From the seed alone, a network of the catalogue begins as its family does; what is fresh beside loaded weights has
    the one rule of `init_weights`.

    source, weights, metadata   as for, and from, `resolve_source`
    classes                     of the data, in the order of their labels
    head                        whether the source's is kept, see `choose_head`; its rows in the order of the classes
    partial                     take what fits, and say what became of each tensor

    Raises WeightsError, naming the source, for weights that do not fit, are not finite, or have a variance below 0.
    """
    names, under, adapted = net.arch.head_names, "", tuple[str, ...]()
    if weights is not None:
        weights, under = unwrapped(weights, net.shapes, names)
        weights, adapted = fitted(weights, net.graph)
    chosen = choose_head(head, weights, metadata, names, net.shapes, classes, source)
    if weights is None:
        return First(init_weights(net.shapes, seed, net.spec.graph, _rules(net)))
    lines = tuple(filter(None, (taken_from(metadata), under, chosen.note, _adapted(adapted, net.graph.channels))))
    return First(*_taken(net, source, weights, seed, chosen, partial), lines, parent_of(source, weights, chosen))


def _adapted(names: Sequence[str], channels: int) -> str:
    if not names:
        return ""
    done = "the kernels of the three colours were added up"
    if channels != GREY:
        done = "kernels of red, green, blue and red again were taken times 3/4"
    return f"data.channels = {channels}: {done} in {', '.join(names)}"


def _rules(net: Net) -> FirstRules | None:
    own = net.spec.arch in own_networks(net.backend)  # of the backend, perhaps by a name of the catalogue
    return None if own else rules_of(net.spec.arch)


def _taken(
    net: Net, source: str, weights: Mapping[str, Float32], seed: int, kept: Head, partial: bool
) -> tuple[Weights, Loaded | None]:
    refuse_unusable(weights, source)
    head, shapes = net.arch.head_names, net.shapes
    loaded, made = kept.in_order(weights, head), () if kept.rows is not None else head
    if not partial:
        fresh = init_weights({name: shapes[name] for name in head}, seed, net.spec.graph)
        return merge(shapes, loaded, made, fresh, source), None
    try:
        return partial_merge(shapes, loaded, made, init_weights(shapes, seed, net.spec.graph))
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from None
