"""`xfer train` as a command, from its start to its end. Prints its seconds as JSON; arguments are the command's."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "xfer", "train", *sys.argv[1:], "--quiet", "--output", f"{folder}/run"]
        started = time.perf_counter()
        process = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - started
        if process.returncode:
            sys.exit(process.stderr)
        result = json.loads(Path(folder, "run", "result.json").read_text(encoding="utf-8"))
    figures = {key: result[key] for key in ("seconds_features", "seconds_training", "val_accuracy", "epochs")}
    print(json.dumps({"seconds": seconds, **figures, "peak_memory": result.get("peak_memory")}))


if __name__ == "__main__":
    main()
