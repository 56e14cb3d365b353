"""Make `xfer/graphs/networks` from torchvision: a graph of every classifier, and what is known of published weights.

python tools/catalogue.py            write what is not there yet or has changed
python tools/catalogue.py --check    write nothing; fail where anything would be written
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models
from torchvision.models import get_model, get_model_weights, list_models

from xfer.graphs.graph import Graph
from xfer.graphs.packaged import ENDING, FOLDER, FORMAT, PUBLISHED, unpacked
from xfer_torch.trace import trace

ROOT = Path(__file__).parents[1]
WRITTEN_HERE = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""In `xfer/nets/builders.py`, node by node the same, in any number of blocks."""
SIZES = {"inception_v3": (299, 299), **dict.fromkeys(("swin_v2_b", "swin_v2_s", "swin_v2_t"), (256, 256))}

_BARE = {"aux_logits": False, "init_weights": False, "transform_input": False}
_BUILT = {"googlenet": _BARE, "inception_v3": _BARE}
_AUXILIARY = {"googlenet": ["aux1.", "aux2."], "inception_v3": ["AuxLogits."]}
# The published files of these two are for pictures in [-1, 1]: torchvision rescales them inside of the network
# (`transform_input`), and here they are normalised so.
_HALF = [0.5, 0.5, 0.5]
# A head has a bias here.
_UNBIASED = {"maxvit_t": ["classifier.5"]}
# As torchvision.models.densenet._load_state_dict does by a regular expression: older torch allowed dots in names.
_DENSE = [[f".{part}.{number}.", f".{part}{number}."] for part in ("norm", "conv") for number in (1, 2)]
_SWAG = "CC-BY-NC-4.0"
# Of files that were fetched and measured: the whole sha256, of which torchvision says the first digits, and the bytes.
_MEASURED = {
    "resnet18-f37072fd.pth": ("f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec", 46_830_571),
    "resnet34-b627a593.pth": ("b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f", 87_319_819),
    "resnet50-0676ba61.pth": ("0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", 102_530_333),
}


class WithoutNumbers(TorchFunctionMode):
    """Large weights are made without memory, and all else as ever: RegNets compute their widths with tensors.

    What stands in a graph by itself is small, and its first values are part of the graph.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        settings = dict(kwargs or {})
        if func is torch.empty and math.prod(_sizes(args)) > 2**19:
            settings["device"] = "meta"
        return func(*args, **settings)


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    return args[0] if args and not isinstance(args[0], int) else args


def traced() -> list[str]:
    """Names of the networks of which there is a graph."""
    return [name for name in list_models(module=models) if name not in WRITTEN_HERE]


def build(name: str) -> nn.Module:
    """torchvision's own, without auxiliary heads and in inference mode."""
    module: nn.Module = get_model(name, weights=None, **_BUILT.get(name, {}))
    return module.eval()


def graph_of(name: str) -> Graph:
    with WithoutNumbers():
        module = build(name)
    return trace(module, SIZES.get(name, (224, 224))).with_head_bias()


def published_of(name: str) -> list[dict[str, Any]]:
    weights = get_model_weights(name)
    # One file of VGG16 is for detection, and has no classifier: its accuracy is said to be NaN.
    usable = [entry for entry in weights if not math.isnan(_accuracy(entry))]
    return [_published(name, entry, entry is weights.DEFAULT) for entry in usable]


def _accuracy(entry: Any) -> float:
    return float(entry.meta["_metrics"]["ImageNet-1K"]["acc@1"])


def _published(name: str, entry: Any, default: bool) -> dict[str, Any]:
    digits = re.search(r"-([0-9a-f]{8,64})\.pth$", entry.url)
    if digits is None:
        raise SystemExit(f"{entry.url}: no digits of a sha256 in the name")
    transforms, rescaled = entry.transforms(), name in _AUXILIARY
    sha256, size = _MEASURED.get(entry.url.rpartition("/")[2], (digits[1], None))
    row = {
        "tag": entry.name,
        "url": entry.url,
        "sha256": sha256,
        "default": default,
        "accuracy": _accuracy(entry),
        "parameters": entry.meta["num_params"],
        "mean": _HALF if rescaled else list(transforms.mean),
        "std": _HALF if rescaled else list(transforms.std),
        "resize": transforms.resize_size[0],
        "crop": transforms.crop_size[0],
        "interpolation": transforms.interpolation.value,
    }
    if "SWAG" in entry.meta.get("license", ""):
        row["licence"] = _SWAG
    elif "license" in entry.meta:
        raise SystemExit(f"{entry.url}: a licence that is not known here: {entry.meta['license']}")
    if size is not None:
        row["size"] = size
    if name in _AUXILIARY:
        row["ignored"] = _AUXILIARY[name]
    if name in _UNBIASED:
        row["unbiased"] = _UNBIASED[name]
    if name.startswith("densenet"):
        row["renamed"] = _DENSE
    return row


def graph_text(name: str) -> str:
    return json.dumps(graph_of(name).as_json(), separators=(",", ":"))


def published_text() -> str:
    """One line for each file, so that differences can be read."""
    networks = []
    for name in sorted((*traced(), *WRITTEN_HERE)):
        rows = ",\n".join(json.dumps(row, allow_nan=False) for row in published_of(name))
        networks.append(f"{json.dumps(name)}: [\n{rows}\n]")
    return f'{{"format": {FORMAT}, "networks": {{\n' + ",\n".join(networks) + "\n}}\n"


def files() -> Iterator[tuple[Path, bytes]]:
    """Every file of the catalogue, with what should be in it once it is unpacked."""
    for name in traced():
        yield FOLDER / f"{name}{ENDING}", graph_text(name).encode()
    yield FOLDER / PUBLISHED, published_text().encode()


def differences() -> Iterator[tuple[Path, bytes | None]]:
    """Files that are to be written, and those that are to go (None)."""
    known = set()
    for path, content in files():
        known.add(path)
        if not path.is_file() or content != _content(path):
            yield path, content
    yield from ((path, None) for path in sorted(FOLDER.glob("*")) if path not in known)


def _content(path: Path) -> bytes:
    """Packed bytes differ from one zlib to another; what is in them does not."""
    return unpacked(path.read_bytes()) if path.name.endswith(ENDING) else path.read_bytes()


def write(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content, mtime=0) if path.name.endswith(ENDING) else content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where anything would be written")
    check = parser.parse_args().check
    changed = 0
    for path, content in differences():
        changed += 1
        print(path.relative_to(ROOT), "to go" if content is None else "differs" if check else "written", flush=True)
        if not check:
            write(path, content)
    return 1 if check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
