"""Run the notebooks of docs/notebooks and store what their cells give, so that they can be read without being run.

python tools/notebook.py            run them all, and write them
python tools/notebook.py --check    write nothing; fail where a cell raises, or gives output of another kind

Each runs in a folder of its own that is thrown away. Needs nbclient and ipykernel (pip install 'xfer-vision[test]').
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
TIMEOUT = 600  # seconds of a cell
PASSING = re.compile(r"object at 0x[0-9a-f]+")


def executed(path: Path, folder: Path) -> Any:
    """The notebook with the outputs of a run in `folder`. Raises CellExecutionError for a cell that does."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )  # fmt: skip
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            _make_plain(output, folder)
        if "outputs" in cell:
            cell.outputs = _without_warnings(cell.outputs)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def kinds(notebook: Any) -> list[list[tuple[str, ...]]]:
    """Of each cell of code what its outputs are: their type, and the formats that they have."""
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[(output.output_type, *sorted(output.get("data", {}))) for output in cell.outputs] for cell in code]


def _make_plain(output: Any, folder: Path) -> None:
    """Without what is another one each time: the folder, and addresses of objects."""

    def plain(text: str) -> str:
        return PASSING.sub("object", text.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", ""))

    if {"image/png", "image/jpeg"} <= output.get("data", {}).keys():
        del output.data["image/png"]  # of photographs, which these are, the smaller one
    if "text" in output:
        output.text = plain(output.text)
    for kind, value in output.get("data", {}).items():
        if isinstance(value, str) and not kind.startswith("image/"):
            output.data[kind] = plain(value)


def _without_warnings(outputs: list[Any]) -> list[Any]:
    """What frameworks say of this machine on standard error is no part of a lesson."""
    return [output for output in outputs if output.get("name") != "stderr"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the outputs are of other kinds")
    check, differing = parser.parse_args().check, 0
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        if not check:
            nbformat.write(notebook, path)
            print(path.name, "written")
        elif kinds(notebook) != kinds(nbformat.read(path, as_version=4)):
            print(path.name, "differs")
            differing = 1
    return differing


if __name__ == "__main__":
    raise SystemExit(main())
