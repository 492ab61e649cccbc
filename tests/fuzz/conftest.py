"""How long is fuzzed: shortly and always alike, or at length and each time anew.

``METASWEEP_FUZZ_EXAMPLES=2000 pytest tests/fuzz`` tries so many examples a test, other ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import FOREIGN
from hypothesis import HealthCheck, settings

asked = os.environ.get("METASWEEP_FUZZ_EXAMPLES")
settings.register_profile(
    "fuzz",
    max_examples=int(asked) if asked else 200,
    derandomize=asked is None,
    database=None,
    deadline=None,  # commands.LIMIT_S is one of CPU time, which a busy machine does not change
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The limit of time of a test is one for the short form: who asks for many examples waits for them."""
    for item in items if asked else ():
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True, scope="module")
def _no_settings_of_the_caller() -> Iterator[None]:
    """None of the caller's settings that commands read."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the commands of a test file run in; ``home`` in it is the small home, where the file has one."""
    with pytest.MonkeyPatch.context() as patch:
        needs_home = getattr(request.module, "NEEDS_HOME", False)
        made = request.getfixturevalue("small_home").parent if needs_home else tmp_path_factory.mktemp("fuzz")
        patch.chdir(made)
        yield made
