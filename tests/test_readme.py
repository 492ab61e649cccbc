"""The README names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from orchestrator.grid import expand
from orchestrator.spec_file import load_spec
from orchestrator.yaml_file import read_yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
YAML = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)


def test_every_file_of_the_tree_exists_and_none_is_missing() -> None:
    tree = README[README.index("orchestrator/            what to run") : README.index("A home (`--home`")]
    named: dict[str, set[str]] = {}
    package = ""
    for line in tree.splitlines():
        if match := re.match(r"(\w+)/", line):
            package = match[1]
        named.setdefault(package, set()).update(re.findall(r"[\w*]+\.py", line))
    for package in ("orchestrator", "trainers"):
        there = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "errors.py"}
        patterns = named[package]
        assert {name for name in patterns if not list((ROOT / package).glob(name))} == set()
        missing = {name for name in there if not any(Path(name).match(pattern) for pattern in patterns)}
        assert missing == set()


def test_the_example_file_is_a_sweep(tmp_path: Path) -> None:
    example, *_ = YAML
    path = tmp_path / "example.yaml"
    path.write_text(example)
    assert load_spec(path).search is not None
    # its commented alternative, too
    grid = example[: example.index("search:")] + example[example.index("# grid:") :].replace("# ", "").replace(
        "#", ""
    ).replace("... or lay them out: factors x levels x seeds", "")
    assert set(yaml.safe_load(grid)["grid"]) == {"train", "test", "seeds"}
    path.write_text(grid)
    assert load_spec(path).grid is not None


def test_the_example_grid_is_what_the_text_says(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(YAML[1])
    cells = {tuple(point.levels.values()) for point in expand(load_spec(path))}
    assert cells == {(1, 1, layers) for layers in range(5)} | {(5, 5, layers) for layers in (0, 2, 4)}
    smoke = load_spec(path, scale="smoke")
    assert (smoke.name, smoke.trial.training.iterations) == ("example-smoke", 100)


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_packaged_sweep_loads(path: Path) -> None:
    spec = load_spec(path)
    assert spec.question
    for scale in read_yaml(path).value.get("scales", {}):
        scaled = load_spec(path, scale=scale)
        assert scaled.name == f"{spec.name}-{scale}"
        assert scaled.grid is None or expand(scaled)


def test_the_worked_example_is_the_algorithm() -> None:
    first, second = (code for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "boil" in code)
    folder = ROOT / "trainers" / "algorithms"
    assert (folder / "boil.py").read_text(encoding="utf-8").split('"""\n\n')[1] == first
    assert second in (folder / "__init__.py").read_text(encoding="utf-8")
