"""What a torch state dict's pickle may mention, as inert markers: names, storages, tensors. ValueError for all else."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    f"torch.{name}Storage": kind
    for name, kind in {
        "Double": "float64",
        "Float": "float32",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
    }.items()
} | {"torch.UntypedStorage": "uint8", "torch.storage.UntypedStorage": "uint8"}
"""Storage class -> number type."""

_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_GLOBALS = frozenset((*KINDS, _TENSOR, *_PARAMETERS, "collections.OrderedDict", "torch.Size"))


@dataclass(frozen=True)
class Global:
    """A name that a pickle mentions. It is never looked up."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A run of `size` numbers, kept beside the pickle under `key`; a view of it begins at number `start`."""

    key: str
    kind: str
    size: int
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage. Offset and strides count numbers, not bytes. Nothing is checked yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def known_global(name: str) -> Global:
    """Refuses every name but the few of a state dict."""
    if name not in _GLOBALS:
        raise ValueError(f"it asks for {name[:80]!r}, which is no part of a state dict")
    return Global(name)


def storage_of(persistent_id: object) -> Storage:
    """("storage", class, key, device, size[, view]), the view being None or (key, start, size)."""
    match persistent_id:
        case ("storage", Global(name), str(key), str(), int(size), *view) if name in KINDS:
            match view:
                case [] | [None]:
                    return Storage(key, KINDS[name], size)
                case [(_, int(start), int())]:
                    return Storage(key, KINDS[name], size, start)
    raise ValueError("its pickle describes a storage in an unknown way")


def result_of(function: object, arguments: object) -> object:
    """What torch's own rebuilders would make, and only from the arguments that they take."""
    match function, arguments:
        case Global("collections.OrderedDict"), ():
            return {}
        case Global("torch.Size"), (tuple(shape),):
            return shape
        case Global(name), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if name == _TENSOR:
            return Tensor(storage, offset, _integers(shape), _integers(strides))
        case Global(name), (Tensor() as tensor, *_) if name in _PARAMETERS:
            return tensor
    raise ValueError("its pickle makes a call that no state dict needs")


def _integers(items: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(item for item in items if isinstance(item, int))
    if len(numbers) != len(items):
        raise ValueError("a tensor's shape is not made of integers")
    return numbers
