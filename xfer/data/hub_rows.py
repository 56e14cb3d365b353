"""The rows of a data set of Hugging Face, a few at a time: from Arrow and Parquet files, and from the library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from xfer.errors import DataError
from xfer.system.doors import open_regular, parse_json

AT_ONCE = 64  # rows: each may hold a picture


class Piece(NamedTuple):
    """A split, or a file of one.

    features  column -> its feature, as `datasets.Features.to_dict` gives it; none of those that nobody has described
    names     of all columns
    files     what it is read from, where it lies here
    rows      of the columns asked for: for each few rows, a list of cells for each column
    """

    split: str
    features: Mapping[str, Any]
    names: Sequence[str]
    files: Sequence[Path]
    rows: Callable[[Sequence[str]], Iterator[list[list[Any]]]]


def from_arrow(files: Sequence[Path], split: str, features: Mapping[str, Any]) -> Piece:
    """Of streams of Arrow's, one after the other. Raises DataError where they cannot be read."""

    def rows(columns: Sequence[str]) -> Iterator[list[list[Any]]]:
        arrow = _arrow(files[0])
        for file in files:
            with _plain(file, arrow), open_regular(file), arrow.memory_map(str(file)) as source:
                for batch in arrow.ipc.open_stream(source):
                    for begin in range(0, batch.num_rows, AT_ONCE):
                        part = batch.slice(begin, AT_ONCE)
                        yield [part.column(name).to_pylist() for name in columns]

    return Piece(split, features, [*features], files, rows)


def from_parquet(file: Path, split: str) -> Piece:
    """Of one file; what `datasets` says of its columns stands in it. Raises DataError where it cannot be read."""
    arrow = _arrow(file)
    from pyarrow import parquet

    with _plain(file, arrow), open_regular(file) as raw:
        schema = parquet.read_schema(raw)
    features: Any = {}
    if said := (schema.metadata or {}).get(b"huggingface"):
        try:
            features = parse_json(said)["info"]["features"]
        except (ValueError, LookupError, TypeError):
            features = {}

    def rows(columns: Sequence[str]) -> Iterator[list[list[Any]]]:
        with _plain(file, arrow), open_regular(file) as raw, parquet.ParquetFile(raw) as opened:
            for batch in opened.iter_batches(AT_ONCE, columns=list(columns)):
                yield [batch.column(name).to_pylist() for name in columns]

    return Piece(split, features if isinstance(features, dict) else {}, schema.names, [file], rows)


def from_hub(name: str) -> tuple[list[Piece], str]:
    """All splits, fetched by the library into its own cache; and a text that is another for other rows.

    `name`: NAME, OWNER/NAME, or either with :CONFIGURATION. Raises DataError where the library has none.
    """
    try:
        import datasets
    except Exception as error:  # one whose libraries do not fit raises whatever it likes
        cure = "Cure: pip install 'xfer-vision[huggingface]', or hf:FOLDER of what lies here"
        raise DataError(f"data hf:{name}: datasets cannot be imported ({_first(error)}). {cure}") from error
    own, _, configuration = name.partition(":")
    try:
        found: Any = datasets.load_dataset(own, configuration or None)
    except Exception as error:
        cure = f"Cure: look at the name, hf:{own}:CONFIGURATION where there are several; or give a folder, hf:FOLDER"
        raise DataError(f"data hf:{name}: cannot be had ({_first(error)}). {cure}") from error
    splits = found if isinstance(found, dict) else {"train": found}
    pieces = [_of_library(split, rows) for split, rows in splits.items()]
    return pieces, json.dumps([[split, rows._fingerprint] for split, rows in splits.items()])


def _of_library(split: str, whole: Any) -> Piece:
    def rows(columns: Sequence[str]) -> Iterator[list[list[Any]]]:
        for part in whole.select_columns(list(columns)).with_format("arrow").iter(AT_ONCE):
            yield [part.column(name).to_pylist() for name in columns]

    features = whole.features.to_dict()
    return Piece(split, features, [*features], [], rows)


def _arrow(file: Path) -> Any:
    try:
        import pyarrow
    except Exception as error:
        cure = "Cure: pip install 'xfer-vision[huggingface]'"
        raise DataError(f"data {file}: pyarrow cannot be imported ({_first(error)}). {cure}") from error
    return pyarrow


@contextmanager
def _plain(file: Path, arrow: Any) -> Iterator[None]:
    try:
        yield
    except (arrow.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and error.strerror:  # pyarrow's own of a damaged file have none
            raise DataError(f"data {file}: cannot be read ({error.strerror})") from error
        raise DataError(f"data {file}: cannot be read ({_first(error)}). Cure: save the set anew") from error


def _first(error: Exception) -> str:
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first[:300].rstrip(".")
