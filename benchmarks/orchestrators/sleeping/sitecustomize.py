"""Makes each training of ours sleep, in every Python process whose PYTHONPATH names this folder.

SLEEP_S     how long
SLEEP_LOG   a file that gets a line a sleep: when it began and ended, in seconds since 1970
"""

import importlib.abc
import importlib.machinery
import os
import sys

_PLACE = "trainers.trial"


class _Sleeper(importlib.abc.MetaPathFinder):
    """Looks on when the module that trains is imported, and puts a sleep before its trainings."""

    def find_spec(self, name, path=None, target=None):
        if name != _PLACE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            train = module.train

            def sleep_and_train(*args, **kwargs):
                from benchmark_sleep import sleep

                sleep()
                return train(*args, **kwargs)

            module.train = sleep_and_train

        spec.loader.exec_module = exec_module
        return spec


if "SLEEP_S" in os.environ:
    sys.meta_path.insert(0, _Sleeper())
