"""The networks that come with xfer, and files of them that are damaged."""

import gzip
import json

import pytest

from xfer.errors import ConfigError
from xfer.graphs import packaged
from xfer.graphs.packaged import ENDING, PUBLISHED


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of networks of the test's own."""

    def forget():
        packaged.names.cache_clear()
        packaged.load.cache_clear()
        packaged._published.cache_clear()

    forget()
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    yield tmp_path
    monkeypatch.undo()
    forget()


def tiny():
    return {
        "format": 1, "head": "fc", "size": [8, 8], "fixed": False,
        "nodes": [
            ["image", "image", [], {}, {}],
            ["mean", "mean", ["image"], {"axes": [2, 3], "keep": False}, {}],
            ["fc", "linear", ["mean"], {}, {"weight": "fc.weight", "bias": "fc.bias"}],
        ],
        "weights": {"fc.weight": [2, 3], "fc.bias": [2]},
    }  # fmt: skip


def put(folder, data, name="tiny"):
    (folder / f"{name}{ENDING}").write_bytes(gzip.compress(json.dumps(data).encode(), mtime=0))


def test_every_network_is_a_graph_for_the_classes_of_imagenet():
    """Its attributes and shapes are read as strictly as a stranger's."""
    names = packaged.names()
    assert len(names) == 75
    assert {"alexnet", "vit_b_16", "inception_v3", "regnet_y_128gf"} <= set(names)
    graphs = {name: packaged.load(name) for name in names}
    assert {graph.classes for graph in graphs.values()} == {1000}
    fixed = {name for name in names if name.startswith(("vit", "maxvit"))}
    assert {name for name, graph in graphs.items() if graph.fixed} == fixed
    of_other_size = {"inception_v3", *(name for name in names if name.startswith("swin_v2"))}
    assert {name for name, graph in graphs.items() if graph.size != (224, 224)} == of_other_size


def test_parameters_are_as_many_as_were_published():
    def count(graph):
        statistics = (".running_mean", ".running_var")
        sizes = [shape for name, shape in graph.weights.items() if not name.endswith(statistics)]
        return sum(a * b for a, b in ((shape[0], _product(shape[1:])) for shape in sizes))

    for name in (
        "squeezenet1_1",
        "shufflenet_v2_x0_5",
        "densenet121",
        "vit_b_16",
        "convnext_tiny",
        "swin_t",
        "swin_v2_t",
    ):
        graph = packaged.load(name)
        (fitting,) = {w.parameters for w in packaged.published(name) if not graph.fixed or w.crop == graph.size[0]}
        assert count(graph) == fitting


def _product(sizes):
    result = 1
    for size in sizes:
        result *= size
    return result


def test_published_weights_say_all_that_travels_with_them():
    v1, v2 = packaged.published("resnet50")
    assert (v1.tag, v1.default, v1.size) == ("IMAGENET1K_V1", False, 102_530_333)
    assert v1.sha256 == "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"
    assert v1.url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    assert (v1.mean, v1.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (v1.resize, v1.crop, v1.interpolation, v1.licence) == (256, 224, "bilinear", "BSD-3-Clause")
    assert (v2.tag, v2.resize, v2.default, v2.accuracy, v2.parameters) == (
        "IMAGENET1K_V2", 232, True, 80.858, 25_557_032,
    )  # fmt: skip


def test_published_weights_whose_files_differ_from_the_network():
    (inception,), (googlenet,) = packaged.published("inception_v3"), packaged.published("googlenet")
    assert (inception.ignored, googlenet.ignored) == (("AuxLogits.",), ("aux1.", "aux2."))
    # They were trained on pictures in [-1, 1], which torchvision makes of normalised ones inside of the network.
    assert {inception.mean, inception.std, googlenet.mean, googlenet.std} == {(0.5, 0.5, 0.5)}
    (dense,) = packaged.published("densenet121")
    name = "features.denseblock1.denselayer1.norm.1.weight"
    for old, new in dense.renamed:
        name = name.replace(old, new)
    assert name in packaged.load("densenet121").weights
    licences = {w.tag: w.licence for w in packaged.published("vit_b_16")}
    assert licences == {
        "IMAGENET1K_V1": "BSD-3-Clause",
        "IMAGENET1K_SWAG_E2E_V1": "CC-BY-NC-4.0",
        "IMAGENET1K_SWAG_LINEAR_V1": "CC-BY-NC-4.0",
    }


def test_each_network_has_published_weights_and_one_that_is_taken_by_default():
    for name in packaged.names():
        weights = packaged.published(name)
        assert [w.default for w in weights].count(True) == 1
        assert len({w.tag for w in weights}) == len(weights)
    assert packaged.published("nobodys") == ()


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'vit_b_16'"):
        packaged.load("vit_b16")


def test_a_graph_is_read_once(folder):
    put(folder, tiny())
    assert packaged.names() == ("tiny",)
    assert packaged.load("tiny") is packaged.load("tiny")
    assert packaged.load("tiny").as_json() == tiny()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: b"",
        lambda packed: packed[:-4],
        lambda packed: packed[:20],
        lambda packed: packed + b"more",
        lambda packed: packed[:30] + bytes([packed[30] ^ 255]) + packed[31:],
        lambda packed: b"{}",
        lambda packed: gzip.compress(b"{"),
        lambda packed: gzip.compress(b"[" * 100_000),
        lambda packed: gzip.compress(b" " * (2**24 + 1)),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(folder, spoil):
    put(folder, tiny())
    path = folder / f"tiny{ENDING}"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        packaged.load("tiny")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_no_graph_is_refused(folder):
    put(folder, tiny() | {"head": "mean"})
    with pytest.raises(ConfigError, match="head = 'mean'"):
        packaged.load("tiny")


ROW = {
    "tag": "V1", "url": "https://host/a-12345678.pth", "sha256": "12345678", "default": True, "accuracy": 70.5,
    "parameters": 8, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize": 256, "crop": 224,
    "interpolation": "bilinear",
}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"format": 2, "networks": {}},
        {"format": 1},
        {"format": 1, "networks": []},
        {"format": 1, "networks": {"tiny": [{}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"more": 1}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"mean": [0.5, 0.5]}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"accuracy": None}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"size": "8 kB"}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"sha256": ""}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"url": "file:///etc/passwd"}]}},
        {"format": 1, "networks": {"tiny": [ROW | {"renamed": [["a"]]}]}},
    ],
    ids=str,
)
def test_damaged_lists_of_published_weights_are_refused(folder, data):
    (folder / PUBLISHED).write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ConfigError, match=PUBLISHED):
        packaged.published("tiny")


def test_a_whole_row_is_taken(folder):
    rows = {"format": 1, "networks": {"tiny": [ROW]}}
    (folder / PUBLISHED).write_text(json.dumps(rows), encoding="utf-8")
    (weights,) = packaged.published("tiny")
    assert (weights.mean, weights.renamed, weights.ignored) == ((0.5, 0.5, 0.5), (), ())
