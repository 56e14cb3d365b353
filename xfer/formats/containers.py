"""Where the weights are in a checkpoint that holds more than them: of two sets, those that the field evaluates with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xfer.formats.markers import Opaque, Tensor, foreign

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "params_ema", "ema")
"""Keys of exponential moving averages. They go before the plain weights, which only the optimizer went on from: timm's
`load_checkpoint` and `validate.py --use-ema` take them, and torchvision's references report their accuracy beside."""

PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
"""Keys of the weights themselves, in the order of looking. DeepSpeed and some averages hold theirs in `module`."""

_KEYS = (*AVERAGED, *PLAIN)
_DEPTH = 4  # bounded: a crafted container may hold itself


@dataclass(frozen=True)
class Weights:
    """The tensors of a state dict by name.

    key    the keys that lead to it, joined by dots; empty where the file is a state dict itself
    beside another set of weights at the same place, which was not taken; empty where there is none
    """

    tensors: Mapping[str, Tensor]
    key: str = ""
    beside: str = ""


def find_weights(content: object) -> Weights:
    """The state dict of a checkpoint. Raises ValueError where there is none, or where it holds foreign objects."""
    keys: list[str] = []
    beside = ""
    while isinstance(content, dict) and (inner := list(_sets(content, _DEPTH - len(keys)))):
        content = content[inner[0]]
        keys.append(inner[0])
        beside = beside or next((key for key in inner[1:] if inner[0] in AVERAGED and key in PLAIN), "")
    if isinstance(content, Opaque):
        raise ValueError(foreign(content.name))
    if not isinstance(content, dict):
        raise ValueError("it does not hold a dictionary of tensors")
    _refuse_foreign(content)
    return Weights({k: v for k, v in content.items() if isinstance(v, Tensor)}, ".".join(keys), beside)


def _sets(content: Mapping[str, object], depth: int) -> Iterator[str]:
    """The keys under which sets of weights lie, the first choice first."""
    return (key for key in _KEYS if _holds_tensors(content.get(key), depth - 1))


def _holds_tensors(content: object, depth: int) -> bool:
    if not isinstance(content, dict) or depth < 0:
        return False
    if any(isinstance(value, Tensor) for value in content.values()):
        return True
    return any(_holds_tensors(content.get(key), depth - 1) for key in _KEYS)


def _refuse_foreign(state: Mapping[str, object]) -> None:
    """Raises ValueError, naming it, where an object stands among the tensors, or in their place."""
    for key in sorted(state, key=lambda key: key not in _KEYS):
        value = state[key]
        if isinstance(value, Opaque):
            raise ValueError(f"under {key[:80]!r} {foreign(value.name)}")
    if not any(isinstance(value, Tensor) for value in state.values()):
        dictionaries = [repr(key[:40]) for key, value in state.items() if isinstance(value, dict)]
        keys = f", but dictionaries under {', '.join(dictionaries[:5])}" if dictionaries else ""
        raise ValueError(f"it holds no tensors{keys}")
