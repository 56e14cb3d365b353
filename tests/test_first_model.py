"""docs/first_model.md: its commands are run as they stand there, in their order, and say what the page shows.

A block marked `sh` is commands, and the block marked `text` behind it is lines of what they say. Three things are not
as they stand: nothing is installed, `xfer serve` gets a port that is free, and curl asks that one in place of 8000. Of
the lines, numbers, paths and names of files are another folder's.
"""

import http.client
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from PIL import Image

from xfer.cli.main import main
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "first_model.md").read_text(encoding="utf-8")
ON_TORCH, ON_MINDSPORE = PAGE.split("## The same on MindSpore")
FENCED = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANOTHER = re.compile(r"(?:(?<=\s)/|\b[\w/-]+/)?[\w-]+\\\.jpg|/home\S+|\d+(?:\\\.\d+)?(?:e\\?-\d+)?")


@dataclass
class Block:
    commands: list[str]
    shown: list[str]


def blocks(text):
    found = []
    for kind, body in FENCED.findall(text):
        lines = body.splitlines()
        if kind == "sh":
            found.append(Block(lines, []))
        else:
            found[-1].shown = lines
    return found


class Reader:
    """Somebody who follows the page in the current folder."""

    def __init__(self):
        self.service, self.port = None, 0

    def follow(self, command):
        """What the command says. Fails where its exit code is not 0."""
        words = shlex.split(command)
        if words[0] == "curl":
            return self.ask(words)
        assert words[0] == "xfer", command
        if words[1] == "serve":
            return self.serve(words)
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
        return result.output

    def serve(self, words):
        call = [sys.executable, "-m", *words, "--port", "0"]
        self.service = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self.service.stdout.readline()
        self.port = int(re.search(r"at http://127\.0\.0\.1:(\d+);", said)[1])
        return said

    def ask(self, words):
        (file,) = (word[1:] for word in words if word.startswith("@"))
        assert words == ["curl", "--data-binary", f"@{file}", "http://127.0.0.1:8000/predict"]
        if shutil.which("curl"):
            here = [word.replace(":8000/", f":{self.port}/") for word in words]
            return subprocess.run([*here, "--silent"], capture_output=True, text=True, check=True, timeout=60).stdout
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/predict", Path(file).read_bytes())
        return connection.getresponse().read().decode()

    def leave(self):
        """Ctrl-C, where something is served."""
        if self.service:
            self.service.send_signal(signal.SIGINT)
            self.service.communicate(timeout=60)


def write_pictures(folder):
    """`pictures` and `new`, as the page has them. One picture of val is the other class's, to be confused."""
    write_class_folders(folder / "drawn", counts=(5, 3))
    for picture in sorted((folder / "drawn").rglob("*.png")):
        split, name = picture.parts[-3:-1]
        swapped = {"ants": "bees", "bees": "ants"}[name] if (split, picture.stem) == ("val", "0") else name
        place = folder / "pictures" / split / swapped / f"{name}{picture.stem}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(picture).save(place, quality=95)
    (folder / "pictures" / "train" / "ants" / "notes.txt").write_text("not a picture")
    (folder / "new").mkdir()
    for name in ("ant", "bee"):
        shutil.copy(folder / "pictures" / "val" / f"{name}s" / f"{name}s1.jpg", folder / "new" / f"{name}.jpg")


def walked(text):
    """Each block with all that its commands said; installing says nothing."""
    reader, said = Reader(), []
    try:
        for block in blocks(text):
            to_run = [command for command in block.commands if not command.startswith("pip install ")]
            said.append((block, "".join(map(reader.follow, to_run))))
    finally:
        reader.leave()
    return said


def assert_shown(said):
    for block, output in said:
        lines = [" ".join(line.split()) for line in output.splitlines()]
        for line in block.shown:
            pattern = ANOTHER.sub(lambda _: r"\S+?", re.escape(" ".join(line.split())))
            assert any(re.fullmatch(pattern, given) for given in lines), f"{line}\nis not said by\n{output}"


@pytest.fixture(scope="module")
def torch_part(tmp_path_factory):
    """The folder, and what the commands said in it."""
    require("torch")
    for module in ("onnx", "onnxruntime", "uvicorn", "starlette", "python_multipart"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    folder = tmp_path_factory.mktemp("first")
    write_pictures(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield SimpleNamespace(folder=folder, said=walked(ON_TORCH))


def test_the_page_is_followed_to_its_end(torch_part):
    assert_shown(torch_part.said)
    there = {path.relative_to(torch_part.folder).as_posix() for path in torch_part.folder.rglob("*")}
    assert there >= {"runs/first/report.html", "predictions.csv", "maps/explained.png", "model.onnx"}


def test_the_report_has_what_the_page_reads_in_it(torch_part):
    report = (torch_part.folder / "runs" / "first" / "report.html").read_text(encoding="utf-8")
    told = ("a star marks the best epoch", "Each row is a true class, each column what it was taken for",
            "95 % interval", "that the model gets most wrong")  # fmt: skip
    places = [report.find(words) for words in told]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.long  # that runs of one framework are evaluated and compared on the other is held by shorter ones
def test_and_on_mindspore(torch_part):
    require("mindspore")
    assert_shown(walked(ON_MINDSPORE))


def test_what_the_page_installs_is_offered():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installs = [command for block in blocks(PAGE) for command in block.commands if command.startswith("pip")]
    assert len(installs) == 2
    for command in installs:
        name, extras = re.fullmatch(r"pip install '([\w-]+)\[([\w,]+)\]'", command).groups()
        assert name == project["name"]
        assert {*extras.split(",")} <= {*project["optional-dependencies"]}


def test_the_page_names_every_step_of_the_way():
    commands = [shlex.split(command)[:2] for block in blocks(ON_TORCH) for command in block.commands]
    verbs = [words[1] for words in commands if words[0] == "xfer"]
    assert list(dict.fromkeys(verbs)) == [
        "--version", "data", "train", "evaluate", "predict", "explain", "export", "serve",
    ]  # fmt: skip
