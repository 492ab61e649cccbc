"""What a job of ours on a Ray cluster runs first, by whatever Python the head has: it is copied to the top of the job's
folder, needs the standard library only, and says in a line what is missing there.

    python job_entry.py run sweep spec.yaml --home /data/runs     this command, as here, on the cluster of the job
    python job_entry.py answer status quickstart --home ...       the command, and one line with all that came of it
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zlib

OLDEST_PYTHON = (3, 11)
NEEDED = ("torch", "numpy", "pyarrow", "pydantic", "safetensors", "PIL", "ray", "optuna", "mlflow", "click", "rich")
BAD_INPUT = 2
MARK = "metasweep-answer:"
"""Begins the line of an answer; whatever else is in the log, Ray has written."""

COMMAND = "from orchestrator.entry import main; main()"


def problem() -> str | None:
    """Why nothing of ours can run here, in a line; None where it can."""
    if sys.version_info < OLDEST_PYTHON:
        found, wanted = (".".join(map(str, numbers)) for numbers in (sys.version_info[:3], OLDEST_PYTHON))
        return f"the cluster's python is {found}; set it up with Python {wanted} or later"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        return f"the cluster's python ({sys.executable}) lacks {names}; install metasweep on every machine of it"
    return None


def run(arguments: list[str]) -> None:
    """The command, in place of this process."""
    if arguments[0] == "sweep":
        arguments = [*arguments, "--address", os.environ["RAY_ADDRESS"]]
    os.execv(sys.executable, [sys.executable, "-c", COMMAND, *arguments])


def answer(arguments: list[str]) -> None:
    """The command in an empty folder, and as one line its exit code, what it printed, and the files that it left."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], cwd=folder, capture_output=True, check=False)
        files = {}
        for above, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(above, name)
                with open(path, "rb") as file:
                    files[os.path.relpath(path, folder)] = base64.b64encode(file.read()).decode()
    found = {
        "code": done.returncode,
        "stdout": base64.b64encode(done.stdout).decode(),
        "stderr": base64.b64encode(done.stderr).decode(),
        "files": files,
    }
    print(MARK + base64.b64encode(zlib.compress(json.dumps(found).encode())).decode(), flush=True)


if __name__ == "__main__":
    lacking = problem()
    if lacking:
        sys.stderr.write("error: " + lacking + "\n")
        sys.exit(BAD_INPUT)
    {"run": run, "answer": answer}[sys.argv[1]](sys.argv[2:])
