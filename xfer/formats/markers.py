"""What a torch checkpoint's pickle mentions, as inert markers: names, storages, tensors, objects of any other kind."""

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
_UNDERSTOOD = frozenset(
    (*KINDS, _TENSOR, *_PARAMETERS, "collections.OrderedDict", "collections.defaultdict", "torch.Size")
)
_MAX_NAME = 300  # characters: two opcodes may join a long text to itself again and again


@dataclass(frozen=True)
class Global:
    """A name that a pickle mentions. It is never looked up."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """An object of another kind: options, an optimizer's schedule, a whole model. What is in it is thrown away.

    Beside the weights it does no harm, as it is never made. In their place it is refused, by its name.
    """

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


def named(module: object, name: object) -> Global:
    """A name of two parts, each of them a text."""
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > _MAX_NAME:
        raise ValueError("its pickle asks for something that has no name")
    return Global(f"{module}.{name}")


def foreign(name: str) -> str:
    """Why the weights cannot be an object of this name."""
    return f"it asks for {name[:80]!r}, which is no part of a state dict"


def storage_of(persistent_id: object) -> Storage | Global:
    """("storage", class, key, device, size[, view]), the view being None or (key, start, size).

    The legacy format also keeps classes of modules so: ("module", class, file, source).
    """
    match persistent_id:
        case ("storage", Global(name), str(key), str(), int(size), *view) if name in KINDS:
            match view:
                case [] | [None]:
                    return Storage(key, KINDS[name], size)
                case [(_, int(start), int())]:
                    return Storage(key, KINDS[name], size, start)
        case ("storage", Global(name), *_):
            raise ValueError(foreign(name))
        case ("module", Global() as kind, *_):
            return kind
    raise ValueError("its pickle describes a storage in an unknown way")


def result_of(function: object, arguments: object) -> object:
    """What torch's own rebuilders would make, and only from the arguments that they take; of all else, a marker."""
    match function, arguments:
        case (Global("collections.OrderedDict"), ()) | (Global("collections.defaultdict"), () | (_,)):
            return {}
        case Global("torch.Size"), (tuple(shape),):
            return shape
        case Global(name), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if name == _TENSOR:
            return Tensor(storage, offset, _integers(shape), _integers(strides))
        case Global(name), (Tensor() as tensor, *_) if name in _PARAMETERS:
            return tensor
        case Global(name), tuple() if name not in _UNDERSTOOD:
            return Opaque(name)
    raise ValueError("its pickle makes a call that no state dict needs")


def _integers(items: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(item for item in items if isinstance(item, int))
    if len(numbers) != len(items):
        raise ValueError("a tensor's shape is not made of integers")
    return numbers
