"""What `make` says while it installs, with a Python in place that only tells what it is asked for."""

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "asked: $*"\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize("watched", [True, False])
def test_an_installation_is_announced_and_quiet_only_where_nobody_watches(tmp_path, watched):
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    ours, theirs = pty.openpty()
    words = ["make", "-f", str(MAKEFILE), ".venv/.ready", f"PYTHON={python}"]
    streams = {"stdout": subprocess.PIPE, "stderr": theirs if watched else subprocess.PIPE}
    # `make test` runs this: what it hands on to a make below it would have that one speak of its folders.
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    result = subprocess.run(words, cwd=tmp_path, env=environment, text=True, check=True, **streams)
    os.close(ours)
    os.close(theirs)
    lines = result.stdout.splitlines()
    announced = "installing xfer, its frameworks and its development tools into .venv: gigabytes, which takes minutes"
    assert lines[0] == announced
    (asked,) = [line for line in lines if line.startswith("asked: -m pip install")]
    assert ("--quiet" in asked) is not watched
