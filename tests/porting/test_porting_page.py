"""docs/porting.md, followed from its first line to its last: its module is written and ported, its commands are run.

Both frameworks measure in this process: that they do it in their own is held by other tests, and takes long.
"""

import re
import runpy

import pytest
from click.testing import CliRunner

from tests.conftest import draw_nothing
from tests.documents import ROOT, SHELL, blocks, commands_of
from xfer.backends import load_backend
from xfer.cli.main import main
from xfer.porting import parity, port
from xfer.porting.probe import measure
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

PAGE = ROOT / "docs" / "porting.md"
BLOCKS = list(blocks(PAGE.read_text(encoding="utf-8")))
MODULE, FAULT = (block.text for block in BLOCKS if block.language == "python")
DECIDING = """

class Deciding(Net):
    def forward(self, x):
        return self.head(self.stem(x).mean(dim=(2, 3))) if x.mean() > 0 else x
"""
NUMBER = re.compile(r"\d[\d,]*(?:\\\.\d+)?(?:e(?:\\?-)?\d+)?")


@pytest.fixture(scope="module", autouse=True)
def no_pictures_drawn():
    yield from draw_nothing()


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Line of a block -> (exit code, what the commands in it said). The Python of the page is run where it stands."""
    require("torch")
    require("mindspore")
    folder, said = tmp_path_factory.mktemp("porting"), {}
    write_class_folders(folder / "pictures", counts=(4, 2))
    (folder / "my_net.py").write_text(MODULE + DECIDING)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module in (port, parity):
            patch.setattr(module, "measure_in_own_process", measure_here)
        for block in BLOCKS:
            if block.text == FAULT:
                (folder / "fault.py").write_text(FAULT)
                runpy.run_path("fault.py")
            elif block.language in SHELL:
                results = [CliRunner().invoke(main, words) for words in commands_in(block)]
                said[block.line] = [result.exit_code for result in results], "".join(r.output for r in results)
        refused = CliRunner().invoke(main, ["port", "my_net:Deciding", "-o", "deciding.safetensors", "--size", "64"])
        yield folder, said, refused


def measure_here(backend, device, task, other=None):
    return measure(load_backend(backend), "cpu", task, other)


def commands_in(block):
    last = block.line + block.text.count("\n")
    return [found.words for found in commands_of(PAGE) if found.whole and block.line <= found.line < last]


def test_every_command_ends_as_the_page_says(followed):
    _, said, _ = followed
    codes = [code for exits, _ in said.values() for code in exits]
    failing = [words for block in BLOCKS for words in commands_in(block) if "theirs.safetensors" in words]
    assert len(failing) == 1
    expected = [int(words in failing) for block in BLOCKS for words in commands_in(block)]
    assert codes == expected, said
    assert len(codes) == 10


def test_what_is_shown_is_said(followed):
    """Each line of a block of text, but for its numbers, by the commands above it."""
    _, said, refused = followed
    before = ""
    for block in BLOCKS:
        before = said[block.line][1] if block.line in said else before
        if block.language == "text":
            outputs = [" ".join(line.split()) for line in (before + refused.stderr).splitlines()]
            for line in block.text.splitlines():
                pattern = NUMBER.sub(lambda _: r"[\d.,e-]+", re.escape(" ".join(line.split())))
                assert any(re.fullmatch(pattern, output) for output in outputs), f"{line}\nis not said by\n{before}"


def test_what_it_leaves_stands_alone(followed):
    folder, _, refused = followed
    assert refused.exit_code == 2
    assert not (folder / "deciding.safetensors").exists()
    page = (folder / "parity.html").read_text(encoding="utf-8")
    assert "blocks.0.bn1.running_var" in page
    source = (folder / "net_mindspore.py").read_text(encoding="utf-8")
    assert "import torch" not in source
    assert "xfer" not in source
    assert (folder / "all.ckpt").is_file()
