"""Data sets of Hugging Face, as its own library makes them: the same bits as from class folders."""

import json
import re
import shutil

import pytest
from hub_sets import dataset_of, save
from opened_sets import facts, refused

from xfer.data.columns import Columns
from xfer.testing.pictures import write_class_folders

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Class folders `set`; `saved` by the library, and as files of Parquet, `shards`."""
    given = tmp_path_factory.mktemp("given")
    datasets.disable_progress_bars()
    root = write_class_folders(given / "set", counts=(3, 2), size=(16, 16))
    save(root, given / "saved")
    for split, name in (("train", "train"), ("val", "validation")):
        whole = dataset_of(root, split)
        for shard in range(2):
            file = given / "shards" / "data" / f"{name}-{shard:05d}-of-00002.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            whole.shard(2, shard).to_parquet(file)
    return given


def test_it_is_what_class_folders_are(given, opened):
    here = facts(opened(given / "set"))
    for source in (given / "saved", f"hf:{given / 'saved'}", f"hf://{given / 'saved'}", f"hf:{given / 'shards'}"):
        data = opened(source)
        assert facts(data) == here, source
        assert not data.skipped
    assert (data.name, data.source) == ("shards", f"hf:{given / 'shards'}")


def test_pictures_that_lie_here_stay_where_they_are(given, opened, tmp_path):
    save(given / "set", tmp_path / "named", embedded=False)
    for split in ("train", "validation"):  # the library puts the pictures in where it saves; these it left alone
        whole = dataset_of(given / "set", split.removesuffix("idation"), embedded=False)
        whole.to_parquet(tmp_path / "paths" / f"{split}.parquet")
    data = opened(f"hf:{tmp_path / 'paths'}")
    assert facts(data) == facts(opened(given / "set")) == facts(opened(tmp_path / "named"))
    assert data.train.files[0] == str(given / "set/train/ants/0.png")


def test_one_split_is_all_there_is(given, opened, tmp_path):
    for split in ("test", "train"):
        whole = datasets.load_from_disk(str(given / "saved" / "train"))
        datasets.DatasetDict({split: whole}).save_to_disk(tmp_path / split)
    shutil.copytree(given / "saved/train", tmp_path / "alone")
    sets = [opened(tmp_path / name, seed=1) for name in ("test", "train", "alone")]
    sets.append(opened(given / "set/train", seed=1))
    assert len({str(facts(data)) for data in sets}) == 1
    assert len(sets[0].val.files) == 2


def test_it_is_read_again_where_it_has_changed_and_only_then(given, opened, tmp_path, monkeypatch):
    shutil.copytree(given / "saved", tmp_path / "set")
    before = facts(opened(tmp_path / "set"))
    with monkeypatch.context() as patch:
        patch.setattr("xfer.data.huggingface.write_set", None)
        assert facts(opened(tmp_path / "set")) == before
    shutil.rmtree(tmp_path / "set/train")
    datasets.load_from_disk(str(given / "saved/train")).select(range(5)).save_to_disk(tmp_path / "set/train")
    assert len(opened(tmp_path / "set").train.files) == 5


def test_columns_by_kind_by_usual_names_and_as_asked(given, opened, tmp_path):
    whole = datasets.load_from_disk(str(given / "saved/train"))
    texts = ["x" if label else "y" for label in whole["label"]]
    own = whole.rename_columns({"image": "scan", "label": "finding"}).add_column("kind", texts)
    own.save_to_disk(tmp_path / "own")
    assert opened(tmp_path / "own").classes == ("ants", "bees")
    own.to_parquet(tmp_path / "own.parquet")
    assert opened(f"hf:{tmp_path / 'own.parquet'}", columns=Columns(label="kind")).classes == ("x", "y")
    plain = whole.cast_column("label", datasets.Value("int64")).rename_column("label", "category")
    plain.save_to_disk(tmp_path / "plain")
    assert opened(tmp_path / "plain").classes == ("0", "1")
    two = whole.add_column("label_kind", [0] * len(whole)).cast_column("label_kind", datasets.ClassLabel(names=["x"]))
    two.save_to_disk(tmp_path / "two")
    assert opened(tmp_path / "two").classes == ("ants", "bees")  # of two, the one with a usual name
    with_groups = whole.add_column("patient", [str(i // 2) for i in range(len(whole))])
    with_groups.save_to_disk(tmp_path / "groups")
    assert opened(tmp_path / "groups").train.groups is not None
    assert opened(tmp_path / "own").train.groups is None


def test_names_that_come_twice_or_cannot_be_are_numbers(given, opened, tmp_path):
    rows = datasets.load_from_disk(str(given / "saved/train")).cast_column("image", datasets.Image(decode=False))
    names = ["a.png", "a.png", "../up.png", "/etc/x.png", "", ".hidden.png"]
    pictures = [row | {"path": name} for row, name in zip(rows["image"], names, strict=True)]
    odd = datasets.Dataset.from_dict({"image": pictures, "label": ["n/a", "n/a", "..", "..", "n/a", ".."]})
    odd.save_to_disk(tmp_path / "odd")
    data = opened(tmp_path / "odd", val_fraction=0.34)
    files = [*data.train.files, *data.val.files]
    assert (data.classes, len(files), len(set(files))) == (("..", "n/a"), 6, 6)
    assert all(file.startswith(str(tmp_path / "cache")) for file in files)
    assert {file.rsplit("/", 1)[1] for file in files} >= {"a.png", "up.png", "x.png"}
    assert not [*tmp_path.glob("*.png")]


def test_a_split_without_labels_is_kept_back(given, opened, tmp_path):
    shutil.copytree(given / "saved", tmp_path / "set")
    info = json.loads((tmp_path / "set/dataset_dict.json").read_text())
    test = datasets.load_from_disk(str(given / "saved/train"))
    unlabelled = test.remove_columns("label").add_column("label", [-1] * len(test))
    unlabelled.cast_column("label", test.features["label"]).save_to_disk(tmp_path / "set/test")
    (tmp_path / "set/dataset_dict.json").write_text(json.dumps({"splits": [*info["splits"], "test"]}))
    data = opened(tmp_path / "set")
    assert facts(data) == facts(opened(given / "saved"))
    assert data.test is None


def several(given, folder):
    whole = datasets.load_from_disk(str(given / "saved/train"))
    features = whole.features | {"label": datasets.Sequence(datasets.Value("int64"))}
    lists = whole.map(lambda row: {"label": [row["label"], 1]}, features=datasets.Features(features))
    lists.save_to_disk(folder)


def two_pictures(given, folder):
    whole = datasets.load_from_disk(str(given / "saved/train"))
    whole.map(lambda row: {"other": row["image"]}).rename_column("image", "first").save_to_disk(folder)


def no_label(given, folder):
    datasets.load_from_disk(str(given / "saved/train")).remove_columns("label").save_to_disk(folder)


def one_without(given, folder):
    whole = datasets.load_from_disk(str(given / "saved/train"))
    whole.map(lambda row, i: {"label": -1 if i == 4 else row["label"]}, with_indices=True).save_to_disk(folder)


def no_pictures(given, folder):
    datasets.Dataset.from_dict({"image": ["x.png", "y.png"], "label": ["a", "b"]}).save_to_disk(folder)


def no_train(given, folder):
    whole = datasets.load_from_disk(str(given / "saved/train"))
    datasets.DatasetDict(test=whole, extra=whole).save_to_disk(folder)


def cut_off(given, folder):
    shutil.copytree(given / "saved/train", folder)
    file = folder / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-2000])


def other_bytes(given, folder):
    shutil.copytree(given / "saved/train", folder)
    (folder / "data-00000-of-00001.arrow").write_bytes(b"no arrow at all" * 100)


def leads_out(given, folder):
    shutil.copytree(given / "saved/train", folder)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))


def not_there(given, folder):
    shutil.copytree(given / "saved/train", folder)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "x\\ud800.arrow"}]}')


def no_json(given, folder):
    shutil.copytree(given / "saved/train", folder)
    (folder / "dataset_info.json").write_text("[" * 100)


def nothing(given, folder):
    folder.mkdir()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (several, r"column 'label' holds several labels a picture.*Cure: a column with one label, data\.columns"),
        (
            two_pictures,
            r"columns 'first' and 'other' may both be the path\. Cure: data\.columns = \{ path = \"first\" \}",
        ),
        (no_label, r"no column of labels among image\. Cure: data\.columns"),
        (one_without, r"row 4 of train has no label"),
        (no_pictures, r"row 0 of train has no picture"),
        (no_train, r"splits extra, test, and none of them is train"),
        (cut_off, r"arrow: cannot be read \(.*\)\. Cure: save the set anew"),
        (other_bytes, r"arrow: cannot be read \(.*\)\. Cure: save the set anew"),
        (leads_out, r"state\.json: names no files of its own"),
        (not_there, r"x\\ud800\.arrow.*cannot be read \(no name of a file\)"),
        (no_json, r"dataset_info\.json: cannot be read"),
        (nothing, r"holds no data set of Hugging Face\. Expected what save_to_disk leaves, or \.parquet"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_used_is_refused_in_one_line(given, opened, tmp_path, make, expected):
    make(given, tmp_path / "odd")
    line = refused(opened, f"hf:{tmp_path / 'odd'}")
    assert re.search(expected, line), line
    assert not [*(tmp_path / "cache").rglob("*.png")]


def test_limits_and_columns_that_are_not_there(given, opened, monkeypatch):
    assert (
        "no column 'lable', which data.columns has for the label: expected one of image, label. Did you mean"
        in refused(opened, given / "saved", columns=Columns(label="lable"))
    )
    monkeypatch.setenv("XFER_LIMIT_REMOTE", "500")
    assert "more than 500 bytes. Cure: XFER_LIMIT_REMOTE" in refused(opened, given / "saved")


def test_a_name_of_the_hub(given, opened, monkeypatch):
    """The library is asked for it, which has no network here."""
    asked = []

    def load_dataset(name, configuration=None):
        asked.append((name, configuration))
        if name != "owner/pets":
            raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nand more")
        return datasets.load_from_disk(str(given / "saved"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = opened("hf://owner/pets:small")
    assert facts(data) == facts(opened(given / "set"))
    assert (asked, data.name, data.source) == ([("owner/pets", "small")], "pets", "hf:owner/pets:small")
    assert re.search(
        r"hf:mnist: cannot be had \(Couldn't reach 'mnist' on the Hub\)\. Cure: ", refused(opened, "hf:mnist")
    )
    assert "hf:" in refused(opened, "hf:./nothing/here")
    assert "does not exist" in refused(opened, "hf:a b")


def test_without_the_libraries(given, opened, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert facts(opened(given / "saved")) == facts(opened(given / "set"))  # what lies here needs pyarrow alone
    assert "Cure: pip install 'xfer-vision[huggingface]'" in refused(opened, "hf:mnist")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (given / "saved/train/state.json").touch()
    assert "pyarrow cannot be imported" in refused(opened, f"hf:{given / 'shards'}")
