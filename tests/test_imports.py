"""Which part of the code may know which other, read from the sources: imports inside functions count too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from orchestrator.seal import seal_table
from trainers.algorithms import ALGORITHMS
from trainers.datasets import DATASETS
from trainers.rl.environments import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[1]

# Lowest first. A module imports only from layers below its own, and from ``trainers``. A new module joins the lowest
# layer that is above everything it imports. ``cluster`` is one unit.
LAYERS = (
    {
        "budget",
        "errors",
        "local_disk",
        "pace",
        "patience",
        "record_shapes",
        "seal",
        "server_guard",
        "trial_numbers",
        "url_secrets",
        "usage",
    },
    # parts that know nothing of sweeps
    {
        "data",
        "early_stopping",
        "environment",
        "estimate",
        "failure",
        "finding",
        "home_objects",
        "interrupt",
        "job_entry",
        "stats",
        "status",
        "tracking_uri",
        "tracking_views",
        "yaml_file",
    },
    {
        "contact_sheet",
        "dashboard_page",
        "download",
        "export",
        "home",
        "home_lock",
        "live_rows",
        "status_text",
        "store",
        "tracking_database",
        "tracking_parent",
        "verdicts",
        "wording",
    },
    {"dashboard", "live_table", "plain_lines", "stored_progress", "tracking"},
    {"live"},
    {"attempt_record", "config_paths", "curves", "growth", "job_package", "objectives"},
    {"pareto", "saving", "space"},
    {"attempt", "factors", "insight", "published", "trial_spec"},
    {"grid_spec"},
    # what a sweep is, what it tries, what came of it
    {"spec"},
    {"confirm", "grid", "labels", "search", "spec_file"},
    {"analyses", "placement", "record"},
    {"analysis_attempt"},
    {"cluster", "layout", "live_record", "rows"},
    {"row_table", "sweep_state", "watch"},
    {"forget", "inputs", "plan", "references", "results", "spending", "tracking_rows"},
    {"board", "cleanup", "confirm_plan", "report"},
    # what a user can do
    {"continuing", "gpu_share", "tracked_outcome"},
    {"place"},
    {"sweep_run"},
    {"analysis_run", "trial_run"},
    {"sweep"},
    {"doctor", "preview", "single", "study_file", "submission", "summary", "track"},
    {"remote"},
    {"cli_options", "spec_names"},
    {"cli_spec"},
    {"cli_remote"},
    {
        "cli_clean",
        "cli_dashboard",
        "cli_data",
        "cli_doctor",
        "cli_grid",
        "cli_report",
        "cli_status",
        "cli_submit",
        "cli_track",
    },
    {"cli", "__init__"},
    {"entry"},
)

# The one place of each heavy library.
ONLY_IN = {
    "ray": "orchestrator.cluster",
    "optuna": "orchestrator.search",
    "mlflow": "orchestrator.tracking",
    "pooch": "orchestrator.download",
    "matplotlib": "orchestrator.report",
    "jinja2": "orchestrator.report",
    "sklearn": "orchestrator.insight",
    "mujoco": "trainers.rl.environments.half_cheetah",
}

TRAINERS_NEED = {"torch", "numpy", "pyarrow", "pydantic", "safetensors", "PIL", "HersheyFonts"}
OF_EXTRAS = {"mujoco"}

# Files that the leaves of a family share.
SHARED = {
    "trainers.algorithms": {"trainers.algorithms.algorithm"},
    "trainers.datasets": {
        *("trainers.datasets.recipe", "trainers.datasets.image_file", "trainers.datasets.image_writer"),
        *("trainers.datasets.rendering", "trainers.datasets.source", "trainers.datasets.decode"),
        *("trainers.datasets.class_listing", "trainers.datasets.cifar100"),
    },
    "trainers.rl.environments": {
        "trainers.rl.environments.environment",
        "trainers.rl.environments.half_cheetah",
    },
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def sources(package: str) -> dict[str, Path]:
    return {module_name(path): path for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def imported_by(path: Path) -> frozenset[str]:
    """Full names of the modules, and of the names in them, that a file imports anywhere; relative ones resolved."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            found |= {base, *(f"{base}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            found |= {value.value for value in node.args if isinstance(value, ast.Constant)}
    return frozenset(found)


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def unit(module: str) -> str:
    """``home`` of ``orchestrator.home.open_home``; ``__init__`` of ``orchestrator`` itself."""
    return (module.split(".")[1:] or ["__init__"])[0]


EVERY_FILE = {**sources("orchestrator"), **sources("trainers")}
ORCHESTRATOR = {name: path for name, path in EVERY_FILE.items() if inside(name, "orchestrator")}


@pytest.mark.parametrize("name", [name for name in EVERY_FILE if inside(name, "trainers")])
def test_trainers_know_only_what_a_trial_needs(name: str) -> None:
    packages = {module.split(".")[0] for module in imported_by(EVERY_FILE[name])}
    assert packages - TRAINERS_NEED - OF_EXTRAS - {"trainers"} - set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_heavy_library_has_one_importer(library: str) -> None:
    importers = {
        name for name, path in EVERY_FILE.items() if any(inside(module, library) for module in imported_by(path))
    }
    assert importers, f"nothing imports {library}: is the rule out of date?"
    assert {name for name in importers if not inside(name, ONLY_IN[library])} == set()


@pytest.mark.parametrize("name", ORCHESTRATOR)
def test_imports_point_down(name: str) -> None:
    height = {member: number for number, layer in enumerate(LAYERS) for member in layer}
    own = unit(name)
    assert own in height, f"{name} has no layer; give it one in LAYERS"
    known = {unit(module) for module in imported_by(ORCHESTRATOR[name]) if inside(module, "orchestrator")}
    upward = {member for member in known - {own} if height.get(member, len(LAYERS)) >= height[own]}
    assert upward == set(), f"{name} (layer {height[own]}) imports what is beside or above it"


def test_layers_name_each_module_once() -> None:
    named = [member for layer in LAYERS for member in layer]
    assert sorted(named) == sorted({unit(name) for name in ORCHESTRATOR})


CALENDAR = {
    "orchestrator.attempt_record": "when an attempt began, validated and ended",
    "orchestrator.record": "when a run began",
    "orchestrator.cli_clean": "how old files are",
    "orchestrator.forget": "how old files are",
    "orchestrator.tracking_database": "how old files are",
}
"""Who asks it, and for what. It may be set back: what takes time is measured by the monotonic clock."""


def test_only_times_on_record_and_ages_of_files_come_from_the_calendar() -> None:
    calls = r"\btime\.(time|time_ns|ctime|gmtime|localtime)\b|\bdatetime\.(now|utcnow|today)\b"
    asks = re.compile(f"{calls}|from time import")
    assert {name for name, path in EVERY_FILE.items() if asks.search(path.read_text())} == set(CALENDAR)


def leaves(family: str) -> dict[str, Path]:
    """The files of a family that are its members."""
    files = sources(family.replace(".", "/"))
    return {name: path for name, path in files.items() if name not in {f"{family}.__init__", *SHARED[family]}}


@pytest.mark.parametrize(("family", "name"), [(family, name) for family in SHARED for name in leaves(family)])
def test_leaves_do_not_know_each_other(family: str, name: str) -> None:
    others = leaves(family).keys() - {name}
    assert {module for module in imported_by(EVERY_FILE[name]) if any(inside(module, one) for one in others)} == set()


FAMILIES = [
    ("trainers.algorithms", ALGORITHMS),
    ("trainers.datasets", DATASETS),
    ("trainers.rl.environments", {name: entry.place for name, entry in ENVIRONMENTS.items()}),
]


@pytest.mark.parametrize(("family", "table"), FAMILIES)
def test_each_leaf_is_in_the_list_of_its_family(family: str, table: dict[str, str]) -> None:
    assert {place.partition(":")[0] for place in table.values()} == leaves(family).keys()


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules in a fresh Python process after it ran some code."""
    report = "import sys\n" + code + "\nprint('\\n'.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "ray", "optuna", "mlflow", "gymnasium", "mujoco"}


@pytest.mark.parametrize(
    "module",
    ["trainers.config", "trainers.rl.config", "trainers.canonical", "orchestrator.spec", "orchestrator.estimate"],
)
def test_a_config_is_checked_without_heavy_libraries(module: str) -> None:
    assert module.split(".")[0] in loaded_by(f"import {module}")
    assert loaded_by(f"import {module}") & HEAVY == set()


def test_a_sweep_begins_without_torch() -> None:
    """Only its trials need it; on a machine without GPUs."""
    assert "torch" not in loaded_by("import orchestrator.sweep, orchestrator.place, orchestrator.sweep_run")


def test_datasets_and_records_are_read_without_pandas(glyphs_file: Path, tmp_path: Path) -> None:
    """pyarrow imports it where it is asked for columns as NumPy arrays, half a second of every ``status``."""
    record = tmp_path / "record.arrow"
    record.write_bytes(seal_table(pa.table({"accuracy": [0.5, 1.0]}), {}))
    read = (
        "from pathlib import Path\n"
        "from orchestrator.seal import number_columns, open_table\n"
        "from trainers.datasets.image_file import open_image_file\n"
        f"assert open_image_file({str(glyphs_file)!r}).pixels.size\n"
        f"_, table = open_table(Path({str(record)!r}).read_bytes())\n"
        "assert number_columns(table)['accuracy'].tolist() == [0.5, 1.0]"
    )
    assert "pandas" not in loaded_by(read)


def test_help_loads_nothing_heavy() -> None:
    ask = (
        "from contextlib import suppress, redirect_stdout\n"
        "import io\n"
        "from orchestrator.cli import cli\n"
        "out = io.StringIO()\n"
        "with suppress(SystemExit), redirect_stdout(out):\n"
        "    cli(['--help'])\n"
        "assert 'Usage:' in out.getvalue()"
    )
    assert loaded_by(ask) & (HEAVY | {"numpy", "pyarrow", "pydantic", "rich", "matplotlib", "jinja2"}) == set()
