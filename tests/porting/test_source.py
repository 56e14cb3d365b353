"""A network that is data, written as MindSpore source."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_graphs import ODD
from small_graphs import GRAPHS, Builder, residual, transformer

from xfer.errors import ConfigError
from xfer.formats.files import write_weights
from xfer.graphs import packaged
from xfer.porting.helpers import NAMES_OF_CELLS, PREFIXES_OF_CELLS
from xfer.porting.source import class_name, mindspore_source, write_source
from xfer.testing.kinds import evaluate
from xfer.testing.kit import random_weights
from xfer.testing.laws.branches import BRANCHES, tree_of

RUN = Path(__file__).with_name("run_source.py")
SMALL = {**GRAPHS, **ODD, "transformer": transformer(depth=2)}
GRADIENTS = ["residual", "transformer"]
COMPILED = ["interleaved", "numbered", "windows", *GRADIENTS]
PACKAGED = ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"]


def of_size(name, side):
    """A network that comes with xfer, for 5 classes and small pictures."""
    return replace(packaged.load(name).with_classes(5), size=(side, side))


def forward_graphs():
    return {"branches": tree_of(BRANCHES).graph, **{name: of_size(name, 64) for name in PACKAGED}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Name of a network -> what its source computed, and what the reference says: all of one process."""
    pytest.importorskip("mindspore")
    root = tmp_path_factory.mktemp("written")
    expected = {}
    for name, graph in {**SMALL, **forward_graphs()}.items():
        folder = root / name.replace(" ", "_")
        folder.mkdir()
        weights = random_weights(dict(graph.weights), 1)
        write_weights(folder / "net.ckpt", weights, {})
        write_source(folder / "net.py", graph, "Net")
        x = np.random.default_rng(0).standard_normal((2, 3, *graph.size)).astype(np.float32)
        np.savez(folder / "given.npz", x=x, label=np.array([0, 1], np.int32))
        for mark, names in (("gradients", GRADIENTS), ("forward", set(COMPILED) - set(GRADIENTS))):
            if name in names:
                (folder / mark).touch()
        expected[name] = evaluate(graph, weights, x)[graph.nodes[-1].name]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["ONEDNN_MAX_CPU_ISA"] = "AVX2"  # the only thing that xfer would have done: it is no part of the source
    folders = [root / name.replace(" ", "_") for name in expected]
    subprocess.run([sys.executable, RUN, *folders], check=True, env=environment, cwd=root)
    return {name: np.load(folder / "results.npz") for name, folder in zip(expected, folders, strict=True)}, expected


@pytest.fixture
def result(results, request):
    """What one network's source computed, and what the reference says."""
    found, expected = (side[request.param] for side in results)
    assert "error" not in found, found["error"].item()
    return found, expected


@pytest.mark.parametrize("result", [*SMALL, "branches", *PACKAGED], indirect=True)
def test_source_computes_what_the_graph_means(result):
    found, expected = result
    np.testing.assert_allclose(found["pynative"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("result", COMPILED, indirect=True)
def test_graph_mode_computes_it_too(result):
    found, expected = result
    np.testing.assert_allclose(found["graph"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("result", GRADIENTS, indirect=True)
def test_graph_mode_has_the_same_gradients(result):
    found, _ = result
    scale = np.abs(found["gradients"]).max()
    assert scale > 0
    np.testing.assert_allclose(found["compiled"], found["gradients"], rtol=0, atol=1e-5 * scale)


def test_names_of_cells_are_known():
    nn = pytest.importorskip("mindspore").nn
    names = {name for cell in (nn.Cell(), nn.SequentialCell(nn.ReLU())) for name in (*dir(cell), *vars(cell))}
    assert [name for name in names if not name.startswith(PREFIXES_OF_CELLS) and name not in NAMES_OF_CELLS] == []


@pytest.fixture(scope="module")
def sources():
    return {name: mindspore_source(packaged.load(name), "Net") for name in packaged.names()}


def test_every_network_that_comes_with_xfer_can_be_written(sources):
    assert len(sources) > 60
    for name, text in sources.items():
        compile(text, name, "exec")
        assert "RENAMED" not in text, name
        assert "xfer" not in text
        assert "torch" not in text


@pytest.mark.skipif(not shutil.which("ruff", path=Path(sys.executable).parent), reason="ruff is not installed")
def test_linters_find_nothing_but_long_lines(sources, tmp_path):
    for name, graph in SMALL.items():
        write_source(tmp_path / f"{name}.py", graph, "Net")
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text)
    ruff = shutil.which("ruff", path=Path(sys.executable).parent)
    words = ["check", "--isolated", "--no-cache", "--select", "E,F,W", "--ignore", "E501", tmp_path]
    subprocess.run([ruff, *words], check=True)


def test_blocks_that_differ_in_numbers_alone_are_one_class(sources):
    lines = sources["wide_resnet50_2"].splitlines()
    assert sum(line.startswith("class ") for line in lines) == 4
    assert "            ProjectionBlock(256, 256, 512, stride=2)," in lines
    assert "            *[ResidualBlock(512, 256) for _ in range(3)]," in lines
    assert "        return ops.relu(out + x)" in lines


def test_the_share_that_running_statistics_keep_is_written(sources):
    assert "nn.BatchNorm2d(out_channels, eps=0.001, momentum=0.99)" in sources["mobilenet_v3_small"]  # torch: 0.01


def test_nested_modules_that_are_no_sequences_are_looked_at_once():
    b = Builder()
    before = b.conv("stem", 4, 3)
    for depth in range(1, 50):
        module = ".".join(["0"] * depth)
        before = b.add(f"{module}.sum", "add", before, b.conv(f"{module}.1", 4, 4, before))
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 4)
    lines = mindspore_source(b.graph("fc"), "Net").splitlines()
    assert f"        out = self.layer0{'[0]' * 48}[1](x)" in lines


def test_what_is_left_out_is_said():
    assert "dropout in drop: p = 0.25\n" in mindspore_source(residual(), "Net")
    expected = "stochastic depth in features.1.0, features.1.1, features.1.2: p = 0, 0.1, 0.2\n"
    assert expected in mindspore_source(ODD["map_norms"], "Net")


def test_weights_that_two_different_layers_share_are_refused():
    b = Builder()
    b.conv("a", 4, 3)
    b.conv("b", 4, 4)
    second = b.nodes[-1]
    b.nodes.append(replace(second, name="c", inputs=("b",), attributes={**second.attributes, "stride": [2, 2]}))
    b.last = "c"
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 4)
    with pytest.raises(ConfigError, match=r"^b: two layers of different settings share their weights"):
        mindspore_source(b.graph("fc"), "Net")


def test_a_file_that_is_there_is_kept(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"net\.py: there already\. Cure"):
        write_source(path, residual(), "Net")
    assert path.read_text() == "mine"
    write_source(path, residual(), "Net", overwrite=True)
    assert path.read_text() == mindspore_source(residual(), "Net")


@pytest.mark.parametrize("name", ["", "2Net", "class", "a b", "nn", "SelfAttention"])
def test_names_that_no_class_can_have_are_refused(name):
    with pytest.raises(ConfigError, match="is no name for a class"):
        mindspore_source(residual(), name)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("nets:Net", "Net"),
        ("a.b:make_small_net", "MakeSmallNet"),
        ("nets:class", "Class"),
        ("x:9", "Network"),
        ("", "Network"),
    ],
)
def test_a_class_is_called_after_what_made_the_network(target, name):
    assert class_name(target) == name
