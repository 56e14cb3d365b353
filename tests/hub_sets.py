"""Data sets of Hugging Face, made of class folders as its own library makes them."""

from pathlib import Path


def dataset_of(root: Path, split: str, embedded: bool = True, **columns):
    """The pictures of `root/split` as a `datasets.Dataset` of `image` and `label`; not embedded, by their paths."""
    import datasets

    files = sorted((root / split).rglob("*.png"), key=lambda file: (file.name, file.parent.name), reverse=True)
    names = sorted({file.parent.name for file in files})
    pictures = [{"bytes": file.read_bytes(), "path": file.name} if embedded else str(file) for file in files]
    rows = {"image": pictures, "label": [names.index(file.parent.name) for file in files], **columns}
    made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    return made.cast_column("label", datasets.ClassLabel(names=names))


def save(root: Path, folder: Path, splits=("train", "val"), **options) -> Path:
    """As `DatasetDict.save_to_disk` leaves it."""
    import datasets

    named = {"val": "validation"}
    whole = datasets.DatasetDict({named.get(split, split): dataset_of(root, split, **options) for split in splits})
    whole.save_to_disk(folder)
    return folder
