"""The common commands in Chinese: every line of ours is translated, and nothing else of what they do changes."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from tests.porting.faults import Stage
from xfer.cli.help import wrapped
from xfer.cli.main import main
from xfer.display import language, templates
from xfer.porting.probe import measure
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

TRAIN = ("--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", 32, "--epochs", 2, "--lr", 0.05)
NAMES = re.compile(r"[\s\d+:.,%]*(ants|bees|ants, bees|resnet\d+)?")  # of classes and networks, in a row of their own


@pytest.fixture(scope="module", autouse=True)
def english_afterwards(undrawn_module):
    yield
    language.speak("en")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("chinese")


@pytest.fixture(scope="module")
def data(place):
    return write_class_folders(place / "pictures")


@pytest.fixture(scope="module")
def run(place, data):
    call("train", data, "--output", place / "run", *TRAIN)
    return place / "run"


@pytest.fixture
def untranslated(monkeypatch):
    """The lines, headings and paragraphs of help that were looked for, and for which the table has nothing."""
    missing = []

    def watched(look_up):
        def look_up_and_tell(self, text):
            found = look_up(self, text)
            if found == text and text not in templates_own() and not NAMES.fullmatch(text):
                missing.append(text)
            return found

        return look_up_and_tell

    for name in ("line", "heading", "help"):
        monkeypatch.setattr(templates.Templates, name, watched(getattr(templates.Templates, name)))
    return missing


def templates_own():
    return {"F1", "GMAC", "kB", "x>=0", "x>=1", ""}


def call(*words, lang="zh"):
    return CliRunner().invoke(main, ["--lang", lang, *map(str, words)])


def test_training_says_everything_in_chinese(place, data, untranslated):
    output = place / "first"
    result = call("train", data, "--output", output, *TRAIN, "--against-random", "--set", "train.ema=0.5")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "pictures：训练集 16 张，验证集 8 张图片，共 2 个类别：ants, bees" in lines
    assert "tiny，第 1 阶段（共 1 个）：2 轮" in result.stdout
    assert re.search("│ head +│ +2 │ +34 │ +0.05 │ +0 │", result.stdout)
    assert re.search("│ stem, layer1 +│ +7 │ +1,104 │ +冻结 │ +│", result.stdout)
    epochs = [line for line in lines if line.startswith("第")]
    assert len(epochs) == 4
    assert re.fullmatch(
        r"第  1 轮  训练损失 [\d.]+ 准确率 +[\d.]+%  验证损失 [\d.]+ 准确率 +[\d.]+%  学习率 0.05  [\d.]+ 秒  \* 最佳",
        epochs[0],
    )
    assert f"检查点        {output / 'best.safetensors'}" in lines
    assert untranslated == []
    first = lines[lines.index(next(line for line in lines if line.startswith("┏"))) :][:6]
    assert {cell_len(line) for line in first} == {cell_len(first[0])}, "a frame around wide characters"


def test_what_is_written_is_as_in_english(place, data):
    runs = {lang: place / f"written-{lang}" for lang in ("zh", "en")}
    for lang, path in runs.items():
        assert call("train", data, "--output", path, *TRAIN, lang=lang).exit_code == 0
    for name in ("config.toml", "classes.json", "predictions.csv", "skipped_images.csv"):
        assert len({(path / name).read_bytes() for path in runs.values()}) == 1, name
    files = [file for file in runs["zh"].iterdir() if file.suffix in (".txt", ".json", ".jsonl", ".html", ".csv")]
    assert len(files) > 6
    assert not [file.name for file in files if re.search("[一-鿿]", file.read_text(encoding="utf-8"))]


def test_early_stops_leaks_and_what_is_left_out(place, data, untranslated):
    leaky = shutil.copytree(data, place / "leaky")
    shutil.copy(leaky / "val" / "ants" / "0.png", leaky / "train" / "ants" / "copy.png")
    (leaky / "train" / "ants" / "page.jpg").write_text("<html>")
    more = ("--set", "train.patience=1", "--set", "optimizer.lr=0", "--epochs", 5)
    result = call("train", leaky, "--output", place / "early", *TRAIN, *more)
    assert result.exit_code == 0, result.output
    assert "早停：训练在 5 轮中的第 2 轮后结束，已有 1 轮没有提升（train.patience）" in result.stdout
    assert "略去 1 个文件，见 skipped_images.csv" in result.stdout
    assert "警告：有重复的图片：1 个同时在训练集和验证集中；第一对：" in result.stdout
    assert "解决办法：--on-leak drop" in result.stdout
    call("train", leaky, "--output", place / "dropped", *TRAIN, "--on-leak", "drop")
    checked = call("data", "check", leaky, "--output", place / "checked")
    assert checked.exit_code == 1
    assert "结论     尚不可用：训练前有 2 个问题要解决，见上" in checked.stdout
    assert "（1 个不是图片而是网页），第一张：" in checked.stdout
    assert call("data", "check", data).exit_code == 0
    assert untranslated == []


def test_a_run_that_is_finished_and_one_that_trains_on(place, run, untranslated):
    assert f"{run} 已完成，没有可以继续的。" in call("train", "--resume", run).stdout
    result = call("train", "--resume", run, "--epochs", 3, "--output", place / "further")
    assert result.exit_code == 0, result.output
    assert f"{run} 已完成：从它的最佳权重（第 2 轮）开始新的训练，共 1 轮" in result.stdout
    assert f"起始权重      {run / 'best.safetensors'}，保留分类头" in result.stdout
    assert untranslated == []


def test_evaluating_comparing_and_predicting(place, data, run, untranslated):
    result = call("evaluate", run, "--output", place / "evaluated", "--tta", "flip")
    assert re.search(r"准确率 [\d.]+%\（8 张中 \d 张正确\），损失 [\d.]+，后端 numpy，测试时增强 flip", result.stdout)
    assert re.search("│ 平衡准确率 +│ [^a-z]+│", result.stdout)
    other = place / "other"
    call("train", data, "--output", other, *TRAIN, "--seed", 1)
    assert (
        "运行 2 与运行 1，在相同的 8 张验证图片上" in call("compare", run, other, "--output", place / "compared").stdout
    )
    (place / "no.jpg").write_text("<html>")
    result = call("predict", run, data / "val" / "ants", place / "no.jpg")
    assert result.exit_code == 1
    assert f"未使用：不是图片而是网页  {place / 'no.jpg'}" in result.stdout
    assert result.stderr.startswith("5 张图片中有 1 张无法使用，第一张：")
    assert untranslated == []


def test_classes_that_are_called_as_our_words_are_keep_their_names(place, monkeypatch):
    words = ("Accuracy", "error: frozen", "蚂蚁 total")
    monkeypatch.chdir(write_class_folders(place / "words" / "pictures", words).parent)
    trained = call("train", "pictures", "--output", "validation", *TRAIN)
    assert f"pictures：训练集 24 张，验证集 12 张图片，共 3 个类别：{', '.join(words)}" in trained.stdout
    assert "检查点        validation/best.safetensors" in trained.stdout
    evaluated = call("evaluate", "validation").stdout
    assert [row for word in words if not re.search(f"│ {word} +│", evaluated) for row in [word]] == []
    (confused,) = {line.partition(" 被误认为 ")[2].rpartition("：")[0] for line in evaluated.splitlines()} - {""}
    assert confused in words
    predicted = call("predict", "validation", "pictures/val").stdout
    assert {re.split(r"  [\d.]+%  ", line)[0] for line in predicted.splitlines()} <= set(words)
    assert predicted == call("predict", "validation", "pictures/val", lang="en").stdout
    checked = call("data", "check", "pictures").stdout
    assert [word for word in words if f"8 + 4      {word}\n" not in checked] == []


def test_lists_and_files(place, run, untranslated, monkeypatch):
    monkeypatch.chdir(place)
    listed = call("runs", "ls", ".")
    assert "已完成" in listed.stdout
    assert re.search(r"^\d+ 次运行$", listed.stdout, re.MULTILINE)
    call("runs", "ls", ".", "--where", "state=finished")
    call("runs", "prune", ".", "--where", "state=finished", "--dry-run")
    for words in (("resnet",), ("resnet18",), ("resnet18", "--cuts"), ("resnet18", "--backends")):
        call("models", *words)
    assert call("convert", run / "best.safetensors", "weights.pth").stdout == "weights.pth\nweights.pth.json\n"
    assert untranslated == []


def test_doctor(untranslated, monkeypatch):
    works = {
        "name": "numpy",
        "works": True,
        "devices": ["cpu"],
        "versions": {"numpy": "2"},
        "speed": ("tiny", "cpu", 9),
    }
    records = [
        works | {"diagnoses": [("oneDNN: ONEDNN_MAX_CPU_ISA is not set; 2 threads", "")]},
        works
        | {"name": "ms", "speed": None, "diagnoses": [("oneDNN: ONEDNN_MAX_CPU_ISA is not set; mode graph", "set it")]},
        {"name": "lost", "works": False, "problem": "gave no answer in 180 s"},
        {
            "name": "far",
            "works": False,
            "problem": "backend 'far' needs a package that cannot be imported (No). Cure: pip",
        },
    ]
    monkeypatch.setattr("xfer.doctor.survey", lambda speed=False: records)
    result = call("doctor")
    assert result.exit_code == 1
    machine, numpy, isa, speed, ms, slow, lost, far = result.stdout.splitlines()
    assert machine.endswith("个处理器")
    assert numpy == "正常    numpy：numpy 2；设备 cpu"
    assert speed == "正常    numpy：tiny 在 cpu 上每秒预测 9.0 张边长 224 像素的图片"
    assert isa == "正常    numpy：oneDNN：ONEDNN_MAX_CPU_ISA 未设置；2 个线程"
    assert ms == numpy.replace("numpy：", "ms：", 1)
    assert slow == "问题    ms：oneDNN：ONEDNN_MAX_CPU_ISA 未设置；模式 graph。解决办法：set it"
    assert lost == "问题    lost：180 秒内没有应答"
    assert far == "问题    far：后端 'far' 所需的软件包无法导入（No）。解决办法：pip"
    call("backends")
    assert untranslated == ["numpy      cpu", "ms         cpu"]


@pytest.mark.parametrize(
    ("other", "words"), [("other", r"一致：判定的全部 \d+ 个张量"), ("shifted", r"第一处差异：layer1（")]
)
def test_the_verdict_of_parity(untranslated, monkeypatch, other, words):
    def here(backend, device, task, other=None):
        own = Stage(NumpyBackend(), "layer1") if backend == "shifted" else NumpyBackend()
        return dataclasses.replace(measure(own, "cpu", task, other), backend=backend)

    monkeypatch.setattr("xfer.porting.parity.measure_in_own_process", here)
    options = ("--weights", "random", "--size", 16, "--batch-size", 4, "--steps", 2, "--quiet")
    result = call("parity", "--arch", "tiny", "--backends", f"numpy,{other}", *options)
    assert re.search(words, result.stdout), result.output
    assert result.exit_code == (other == "shifted")
    assert untranslated == []


ERRORS = {
    "no such data": (("train", "nothing", *TRAIN), "nothing 不存在"),
    "no class folders": (("train", "empty", *TRAIN), "其中没有类别文件夹"),
    "one class": (("train", "one", *TRAIN), "只有一个类别 'a'"),
    "nothing in a class": (("train", "hollow", *TRAIN), "这个类别没有可用的图片"),
    "an unknown backend": (("train", "pictures", "-b", "nump"), "后端 'nump' 不存在"),
    "a device that is not there": (("train", "pictures", *TRAIN, "--device", "cuda"), "解决办法：--device cpu"),
    "an unknown key": (("train", "pictures", *TRAIN, "--set", "train.epoch=3"), "未知的键 train.epoch"),
    "the key of another section": (("train", "pictures", *TRAIN, "--set", "train.lr=3"), "解决办法：应为 optimizer.lr"),
    "no number": (("train", "pictures", *TRAIN, "--set", "train.epochs=x"), "train.epochs = 'x'：应为整数"),
    "too small a number": (("train", "pictures", *TRAIN, "--set", "train.epochs=0"), "应大于或等于 1"),
    "too large a number": (("train", "pictures", *TRAIN, "--set", "train.epochs=9999999"), "至多为 100,000"),
    "no override": (("train", "pictures", *TRAIN, "--set", "epochs"), "应为 key=value"),
    "an unknown recipe": (("train", "pictures", "-c", "nothing"), "配方 'nothing'：应为以下之一"),
    "a broken recipe": (("train", "pictures", "-c", "broken.toml"), "不是有效的 TOML"),
    "no such recipe": (("train", "pictures", "-c", "no.toml"), "配方 no.toml：文件不存在"),
    "no published weights": (("train", "pictures", *TRAIN, "--weights", "imagenet"), "没有 ImageNet 权重"),
    "no such weights": (("train", "pictures", *TRAIN, "--weights", "no.pth"), "no.pth：文件不存在"),
    "broken weights": (("train", "pictures", *TRAIN, "--weights", "broken.safetensors"), "不是 safetensors 文件"),
    "an unknown network": (("train", "pictures", *TRAIN, "--arch", "resnet"), "是不是 'resnet50'？"),
    "a network of nodes that it lacks": (("train", "pictures", *TRAIN, "--arch", "vgg11"), "它没有"),
    "an unknown stage": (("train", "pictures", *TRAIN, "--train-from", "layer9"), "或其中的切分点"),
    "a run is there": (("train", "pictures", *TRAIN, "-o", "run"), "run 中已有一次运行"),
    "something else is there": (("evaluate", "run", "-o", "pictures"), "但没有评估结果"),
    "a file is there": (("convert", "run/best.safetensors", "broken.safetensors"), "已存在。解决办法：换一个名称"),
    "another recipe": (("train", "--resume", "run", "--lr", 3), "继续的运行使用自己的配方"),
    "no run": (("train", "--resume", "nothing"), "应为含有 config.toml 的运行文件夹"),
    "no checkpoint": (("evaluate", "nothing"), "这里没有检查点"),
    "no test folder": (("evaluate", "run", "--split", "test"), "没有测试集文件夹"),
    "no picture": (("predict", "run", "broken.toml"), "错误：broken.toml：不是图片"),
    "no pictures": (("predict", "run", "nothing"), "能匹配到图片的通配符"),
    "no such format": (("export", "run", "-o", "model.x"), "文件名应以 .onnx"),
    "one run to compare": (("compare", "run"), "只给出 1 次运行，至少需要两次"),
    "no such network": (("models", "nothing"), "没有名称包含它"),
    "an unknown option": (("train", "--foo"), "没有选项 '--foo'"),
    "the option of another trainer": (("train", "pictures", "--wd", 1), "解决办法：--set optimizer.weight_decay=1"),
    "an unknown command": (("trian",), "没有命令 'trian'"),
    "a missing argument": (("evaluate",), "缺少参数 'RUN|CHECKPOINT'"),
    "a missing option": (("export", "run"), "缺少选项 '--output' / '-o'"),
    "an argument too many": (("evaluate", "run", "more"), "多余的参数（more）"),
    "no value": (("train", "--epochs"), "选项 '--epochs' 需要一个值"),
    "no number for an option": (("train", "--epochs", "x"), "'x' 不是整数"),
    "no choice": (("evaluate", "run", "--split", "x"), "'x' 不在 'train', 'val', 'test', 'all' 之中"),
    "out of range": (("evaluate", "run", "--top", 0), "0 不在范围 x>=1 内"),
}


@pytest.fixture(scope="module")
def ground(place, data, run):
    """Beside a run and its data, what errors are about."""
    for name in ("empty", "one/a"):
        (place / name).mkdir(parents=True)
    hollow = shutil.copytree(data, place / "hollow")
    for file in (hollow / "train" / "ants").iterdir():
        file.write_bytes(b"")
    (place / "broken.toml").write_text("a = [")
    (place / "broken.safetensors").write_bytes(b"abc")
    return place


@pytest.mark.parametrize("words", ERRORS)
def test_an_error_is_one_line_with_its_cure(ground, untranslated, monkeypatch, words):
    monkeypatch.chdir(ground)
    words, part = ERRORS[words]
    result, english = call(*words), call(*words, lang="en")
    (line,) = result.stderr.splitlines()
    assert line.startswith("错误：")
    assert part in line
    assert "Cure" not in line
    assert ("解决办法：" in line) == ("Cure: " in english.stderr)
    assert (result.exit_code, result.stdout) == (english.exit_code, english.stdout) == (2, "")
    assert english.stderr.startswith("error: ")
    assert untranslated == []


def test_a_question_is_asked_in_chinese(place, run, monkeypatch, untranslated):
    monkeypatch.chdir(shutil.copytree(run, place / "asked" / "run").parent)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)
    asked = []
    monkeypatch.setattr("click.confirm", asked.append)
    assert call("runs", "prune", ".", "--where", "state=finished").stdout.endswith("没有删除任何内容\n")
    assert re.fullmatch(r"删除 1 次运行，[\d.]+ [kM]B？", asked[0])
    assert untranslated == []


def test_the_language_is_named_before_the_command():
    assert "解决办法：放在命令之前：xfer --lang en train" in call("train", "--lang", "en").stderr


def test_json_is_the_same_in_both(run, data):
    for words in (("evaluate", run), ("predict", run, data / "val"), ("data", "check", data), ("compare", run, run)):
        chinese, english = call(*words, "--json"), call(*words, "--json", lang="en")
        assert chinese.stdout == english.stdout
        assert chinese.exit_code == english.exit_code
        assert json.loads(english.stdout)


def every_command(command=main, path=()):
    yield path
    for name, below in command.commands.items() if isinstance(command, click.Group) else ():
        yield from every_command(below, (*path, name))


@pytest.mark.parametrize("path", [*every_command()], ids=" ".join)
def test_help_is_chinese_and_keeps_within_the_terminal(untranslated, path):
    result = call(*path, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("用法：")
    assert untranslated == [], "Cure: Chinese for these in xfer/display/zh.json"
    english = call(*path, "--help", lang="en").stdout
    assert english.startswith("Usage: ")
    options = re.compile(r"^  (-\S.*?)(?:  |$)", re.MULTILINE)
    assert options.findall(result.stdout) == options.findall(english)
    assert max(map(cell_len, result.stdout.splitlines())) <= 80  # as wide as click's runner is


def test_every_paragraph_of_help_is_somewhere():
    texts = {"Usage", "Options", "Commands", "default", "required"}
    for path in every_command():
        command, context = main, click.Context(main)
        for name in path:
            command = command.commands[name]
        texts |= {" ".join(part.split()) for part in (command.help or "").split("\n\n")}
        texts |= {f"{command.get_short_help_str(10_000).rstrip('.')}."}
        texts |= {param.help for param in command.get_params(context) if isinstance(param, click.Option)}
    assert set(templates.packaged("zh").helps) - texts == set()


@pytest.mark.parametrize(
    ("text", "width", "wanted"),
    [
        ("学习率，批大小。", 8, ["学习率，", "批大小。"]),
        ("学习率，批大小", 6, ["学习", "率，批", "大小"]),
        ("a （批大小）b", 5, ["a", "（批", "大", "小）b"]),
        ("见 xfer train --help", 12, ["见 xfer", "train --help"]),
        ("", 10, [""]),
    ],
)
def test_wide_characters_wrap_by_their_columns(text, width, wanted):
    assert wrapped(text, width) == wanted


def run_xfer(*words, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("XFER_LANG", "LANG", "LC_ALL", "LC_MESSAGES")}
    return subprocess.run(
        [sys.executable, "-m", "xfer", *words],
        env=environment | {"PYTHONIOENCODING": "utf-8"} | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "variables", "begin"),
    [
        (["trian"], {"LANG": "zh_CN.UTF-8"}, "错误："),
        (["trian"], {"LANG": "zh_CN.UTF-8", "XFER_LANG": "en"}, "error:"),
        (["--lang", "zh", "trian"], {"XFER_LANG": "en"}, "错误："),
        (["--lang=en", "trian"], {"LANG": "zh_CN.UTF-8"}, "error:"),
        (["trian"], {"XFER_LANG": "zh", "PYTHONIOENCODING": "ascii"}, "error:"),
        (["models", "--json", "resnet18"], {"XFER_LANG": "fr"}, "error: --lang, or XFER_LANG, is fr"),
    ],
)
def test_the_flag_stands_above_the_variable_and_that_above_the_locale(words, variables, begin):
    result = run_xfer(*words, **variables)
    assert result.stderr.startswith(begin)
    assert result.returncode == 2


def test_english_reads_no_table():
    code = "import sys; from xfer.cli.main import main; main(['models', 'resnet18'], standalone_mode=False);"
    code += "print('xfer.display.templates' in sys.modules)"
    environment = os.environ | {"XFER_LANG": "en"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"
