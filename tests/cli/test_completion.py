"""`xfer completion`: the script that it prints, and what a shell completes by it."""

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from xfer.cli.main import main


def script_for(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_the_shells_own_and_whole(shell):
    script = script_for(shell)
    assert script == CliRunner().invoke(main, prog_name="xfer", env={"_XFER_COMPLETE": f"{shell}_source"}).output
    assert f"_XFER_COMPLETE={shell}_complete" in script
    if (found := shutil.which(shell)) is None:
        pytest.skip(f"there is no {shell} here that would read it")
    done = subprocess.run([found, "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("xfer export --fo", {"--format"}),
        ("xfer runs pr", {"prune"}),
    ],
)
def test_bash_completes_by_it(line, wanted, tmp_path):
    call = "import xfer.cli.main as cli; cli.main(prog_name='xfer')"
    (tmp_path / "xfer").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{call}"\n', encoding="utf-8")
    (tmp_path / "xfer").chmod(0o755)
    words = " ".join(f"'{word}'" for word in line.split(" "))
    asked = f"{script_for('bash')}\nCOMP_WORDS=({words}); COMP_CWORD={line.count(' ')}\n_xfer_completion xfer\n"
    asked += 'printf "%s\\n" "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", asked], env=environment, text=True, capture_output=True, check=False)
    assert {*done.stdout.split()} == wanted, done.stderr


def test_another_shell_is_one_line():
    result = CliRunner().invoke(main, ["completion", "csh"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "'bash', 'zsh', 'fish'" in result.stderr
