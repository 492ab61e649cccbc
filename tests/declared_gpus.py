"""GPUs that a machine of the tests declares and does not have."""

from __future__ import annotations

import os
from pathlib import Path

# Notes which GPU of which machine each attempt has, when it begins and ends, and has it calculated on the processor.
# Nothing is calculated before so many have begun.
_NO_DEVICE = """
import importlib.abc, importlib.machinery, os, socket, sys, time
def note(*words):
    log = os.open(os.environ["GPU_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, (" ".join(words) + "\\n").encode())
    os.close(log)
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "orchestrator.attempt":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            attempt = module.attempt_trial
            def attempt_trial(store, configs, data, asked_by, device, **options):
                said = f"{device} {socket.gethostname()} {os.environ['CUDA_VISIBLE_DEVICES']}"
                note("began", said)
                end = time.monotonic() + 60
                together = int(os.environ["GPU_TOGETHER"])
                while sum(line.startswith("began") for line in open(os.environ["GPU_LOG"])) < together:
                    assert time.monotonic() < end, "so many do not run at once"
                    time.sleep(0.05)
                yield from attempt(store, configs, data, asked_by, "cpu", **options)
                note("ended", said)
            module.attempt_trial = attempt_trial
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""


def no_device(folder: Path, together: int) -> dict[str, str]:
    """Variables under which Ray's workers take a GPU for the processor, and wait until so many trials have begun."""
    shim = folder / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(_NO_DEVICE)
    paths = os.pathsep.join(filter(None, [str(shim), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": paths, "GPU_LOG": str(folder / "gpus"), "GPU_TOGETHER": str(together)}


def noted(folder: Path) -> list[list[str]]:
    """In order: ``began`` or ``ended``, the device asked for, the machine, the number of the GPU."""
    return [line.split() for line in (folder / "gpus").read_text().splitlines()]
