"""What a sweep file may say, what is refused and in which words, and what may grow."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import SpecError
from orchestrator.search.samplers import SAMPLERS
from orchestrator.spec import SearchSpec, SweepSpec, differences, with_values
from orchestrator.spec_file import load_spec, spec_to_yaml
from orchestrator.yaml_file import parse_yaml, yaml_text
from trainers.config import TrialConfig

SEARCH = """\
question: Does the body need the inner loop?
trial:
  algorithm: {name: maml, inner_lr: 0.4}
  training:
    iterations: 500
search:
  trials: 40
  space:
    algorithm.name: {choice: [maml, anil, nil]}
    algorithm.inner_lr: {loguniform: [1e-2, 1.0]}
    algorithm.frozen_layers:
      int: [0, 4]
      when: {algorithm.name: maml}
    training.clip: {choice: [null, 1, 10.0]}
  start: [{algorithm.inner_lr: 0.4}]
"""
TESTED = "grid:\n  train: {episodes.shots: [1, 5]}\n  test: {evaluation.frozen_layers: [0, 4]}\n"
FACTORS = (
    "grid:\n  train: {episodes.shots: [1, 5]}\n  test: {evaluation.frozen_layers: [0, 4], evaluation.queries: [1, 5]}\n"
)
ZIPPED = FACTORS + (
    "  zip: [episodes.shots, evaluation.queries]\n  exclude: [{evaluation.frozen_layers: 4}]\n"
    "  compare: {baseline: {episodes.shots: 1}}\n"
)
EXCLUDED = "grid.exclude: [{evaluation.frozen_layers: [4]}] -> [{evaluation.frozen_layers: [0]}]"
UNZIPPED = "grid.zip: [[episodes.shots, evaluation.queries]] -> []"
CONDITIONED = (
    "grid:\n  train:\n    algorithm.name: [maml, anil]\n"
    "    algorithm.inner_steps: {choice: [1, 5], when: {algorithm.name: maml}}\n"
)
GRID = """\
trial:
  training: {seed: 7}
grid:
  train: {episodes.shots: [1, 5], algorithm.frozen_layers: [0, [conv1, head]]}
  seeds: 3
"""
SPACE = "search:\n  trials: 4\n  space:\n"


def load(tmp_path: Path, text: str, overrides: tuple[str, ...] = (), plan: bool = True) -> SweepSpec:
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    return load_spec(tmp_path / "s.yaml", overrides, require_plan=plan)


def problems(tmp_path: Path, text: str, overrides: tuple[str, ...] = (), plan: bool = True) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text, overrides, plan)
    lines = list(caught.value.problems)
    assert all("\n" not in line for line in lines)
    assert str(caught.value) == "\n".join(lines)
    return [line.replace(f"{tmp_path}/", "") for line in lines]


def test_a_search_file_becomes_objects(tmp_path: Path) -> None:
    spec = load(tmp_path, SEARCH)
    assert (spec.name, spec.question) == ("s", "Does the body need the inner loop?")
    assert spec.trial == with_values(TrialConfig(), {"algorithm.inner_lr": 0.4, "training.iterations": 500})
    assert spec.search is not None
    assert (spec.search.seed, spec.search.window, spec.search.sampler, spec.search.trials) == (0, None, "tpe", 40)
    assert [one.plain() for one in spec.search.objective] == [{"maximize": "validation_accuracy"}]
    assert list(spec.search.space) == [
        "algorithm.name",
        "algorithm.inner_lr",
        "algorithm.frozen_layers",
        "training.clip",
    ]
    assert spec.search.space["algorithm.inner_lr"].domain == (0.01, 1.0)
    assert spec.search.space["algorithm.frozen_layers"].when == {"algorithm.name": ("maml",)}
    assert spec.search.start == ({"algorithm.inner_lr": 0.4},)
    assert (spec.resources.cpu, spec.resources.gpu, spec.resources.max_concurrent) == (1.0, None, None)


# (text, the exact line); overrides and files without a plan have tables of their own
BAD = {
    "unknown key at the top": ("nmae: x\n" + SEARCH, "s.yaml:1: nmae: unknown key 'nmae'; did you mean 'name'?"),
    "a budget of nothing": (
        GRID + "budget: {}\n",
        "s.yaml:6: budget: must have hours, gpu_hours or trials; give one, or leave budget: out",
    ),
    "a budget of no hours": (
        GRID + "budget: {hours: 0}\n",
        "s.yaml:6: budget.hours: must be greater than 0.0, got 0",
    ),
    "a budget below nothing": (
        GRID + "budget: {trials: 4, hours: -1.5}\n",
        "s.yaml:6: budget.hours: must be greater than 0.0, got -1.5",
    ),
    "a budget of half a trial": (
        GRID + "budget: {trials: 0.5}\n",
        "s.yaml:6: budget.trials: must be a whole number, got 0.5",
    ),
    "a budget in another unit": (
        GRID + "budget: {days: 2}\n",
        "s.yaml:6: budget.days: unknown key 'days'; known: gpu_hours, hours, trials",
    ),
    "a budget that nothing uses": (
        GRID + "budget: {gpu_hours: 2}\nresources: {gpu: 0}\n",
        "s.yaml:6: budget.gpu_hours: is never used where resources.gpu is 0; set that, or give hours",
    ),
    "more confirmed than tried": (
        SEARCH + "  confirm: {top: 41, seeds: 5}\n",
        "s.yaml:16: search.confirm.top: must be at most search.trials (40), got 41; confirm fewer, or try more",
    ),
    "confirmed under no seed": (
        SEARCH + "  confirm: {top: 3, seeds: 0}\n",
        "s.yaml:16: search.confirm.seeds: must be at least 1, got 0",
    ),
    "confirmed under how many": (
        SEARCH + "  confirm: {top: 3}\n",
        "s.yaml:16: search.confirm.seeds: is missing; add it below confirm:",
    ),
    "a grid confirmed": (
        GRID + "  confirm: {top: 3, seeds: 2}\n",
        "s.yaml:6: grid.confirm: unknown key 'confirm'; "
        "known: between, compare, exclude, published, seeds, settings, test, train, zip",
    ),
    "no room for fresh seeds": (
        f"trial: {{training: {{seed: {2**63 - 2}}}}}\nsearch: {{trials: 3, confirm: {{top: 1, seeds: 2}}, space: "
        "{algorithm.inner_lr: {uniform: [0.1, 1.0]}}}\n",
        "s.yaml:2: search.confirm.seeds: leaves no room below 2^63 for seeds that the search does not use; lower them "
        "there",
    ),
    "unknown key of search": (
        SEARCH + "  prune: true\n",
        "s.yaml:16: search.prune: unknown key 'prune'; "
        "known: confirm, early_stopping, objective, sampler, seed, space, start, trials, window",
    ),
    "early stopper": (
        SEARCH + "  early_stopping: {name: ash, grace_iterations: 100}\n",
        "s.yaml:16: search.early_stopping.name: must be 'asha', got 'ash'; did you mean 'asha'?",
    ),
    "early stopping by name alone": (
        SEARCH + "  early_stopping: asha\n",
        "s.yaml:16: search.early_stopping: must be a mapping (lines of key: value), got 'asha'",
    ),
    "grace absent": (
        SEARCH + "  early_stopping: {name: asha}\n",
        "s.yaml:16: search.early_stopping.grace_iterations: is missing; add it below early_stopping:",
    ),
    "reduction": (
        SEARCH + "  early_stopping: {name: asha, grace_iterations: 100, reduction: 1}\n",
        "s.yaml:16: search.early_stopping.reduction: must be at least 2, got 1",
    ),
    "metric": (
        SEARCH + "  early_stopping: {name: asha, grace_iterations: 100, metric: loss}\n",
        "s.yaml:16: search.early_stopping.metric: must be 'validation_accuracy' or 'validation_return', got 'loss'",
    ),
    "grace beyond the end": (
        SEARCH + "  early_stopping: {name: asha, grace_iterations: 500}\n",
        "s.yaml:16: search.early_stopping.grace_iterations: must be less than training.iterations = 500, got 500; "
        "lower it, or leave early_stopping out",
    ),
    "several objectives and no metric": (
        SEARCH
        + "  early_stopping: {name: asha, grace_iterations: 100}\n"
        + "  objective: [{maximize: validation_accuracy}, {minimize: adapt_flops}]\n",
        "s.yaml:16: search.early_stopping: has no metric, and there are several objectives; add metric: "
        "validation_accuracy",
    ),
    "grace between validations": (
        SEARCH + "  early_stopping: {name: asha, grace_iterations: 50}\n",
        "s.yaml:16: search.early_stopping.grace_iterations: must be a multiple of training.validate_every = 100, got "
        "50: trials stop at validations",
    ),
    "grace beyond the end of some": (
        SPACE
        + "    training.iterations: {choice: [400, 200]}\n  early_stopping: {name: asha, grace_iterations: 200}\n",
        "s.yaml:5: search.early_stopping.grace_iterations: must be less than training.iterations = 200, got 200; "
        "lower it, or leave early_stopping out",
    ),
    "grace between validations inside a range": (
        "trial: {training: {iterations: 12, validate_every: 4}}\nsearch:\n  trials: 4\n"
        "  space: {training.validate_every: {int: [1, 4]}}\n"
        "  early_stopping: {name: asha, grace_iterations: 4}\n",
        "s.yaml:5: search.early_stopping.grace_iterations: must be a multiple of training.validate_every = 3, got 4: "
        "trials stop at validations",
    ),
    "grace between validations of some": (
        SPACE
        + "    algorithm.name: {choice: [maml, anil]}\n"
        + "    training.validate_every: {choice: [250], when: {algorithm.name: anil}}\n"
        + "  early_stopping: {name: asha, grace_iterations: 200}\n",
        "s.yaml:6: search.early_stopping.grace_iterations: must be a multiple of training.validate_every = 250, got "
        "200: trials stop at validations",
    ),
    "unknown key of grid": (
        GRID + "  tests: {}\n",
        "s.yaml:6: grid.tests: unknown key 'tests'; did you mean 'test'?",
    ),
    "name": (
        "name: a b\n" + GRID,
        "s.yaml:1: name: must be 1 to 100 letters, digits and ._- and begin with a letter or digit, got 'a b'; "
        "give the sweep another name",
    ),
    "name is a number": ("name: 5\n" + GRID, "s.yaml:1: name: must be text, got 5"),
    "plan absent": ("trial: {}\n", "s.yaml:1: search: is missing; add search: or grid: to say what the sweep tries"),
    "two plans": (
        SPACE + "    algorithm.inner_lr: {uniform: [0.1, 1]}\ngrid: {seeds: [0]}\n",
        "s.yaml:5: grid: stands beside search:, and a sweep is one of the two; remove one",
    ),
    "trials absent": (
        "search:\n  space: {algorithm.first_order: {choice: [true]}}\n",
        "s.yaml:1: search.trials: is missing; add it below search:",
    ),
    "trials": (SEARCH.replace("40", "0"), "s.yaml:7: search.trials: must be at least 1, got 0"),
    "trials is a bool": (SEARCH.replace("40", "true"), "s.yaml:7: search.trials: must be a whole number, got true"),
    "window": (SEARCH + "  window: 0\n", "s.yaml:16: search.window: must be at least 1, got 0"),
    "sampler": (
        SEARCH + "  sampler: nsga\n",
        "s.yaml:16: search.sampler: must be 'tpe', 'random', 'gp', 'nsga2' or 'qmc', got 'nsga'; did you mean 'nsga2'?",
    ),
    "objective": (
        SEARCH + "  objective: {maximize: loss}\n",
        "s.yaml:16: search.objective.maximize: unknown objective 'loss'; "
        "choose of validation_accuracy, train_flops, adapt_flops; with problem: rl of validation_return, train_flops",
    ),
    "objective is no function of the config": (
        SEARCH + "  objective: [{maximize: validation_accuracy}, {minimize: train_seconds}]\n",
        "s.yaml:16: search.objective[1].minimize: 'train_seconds' depends on the machine and on what else it does, so "
        "that no search could be repeated; choose of validation_accuracy, train_flops, adapt_flops; with problem: "
        "rl of validation_return, train_flops",
    ),
    "objective is seen in the test alone": (
        SEARCH + "  objective: {maximize: test_accuracy}\n",
        "s.yaml:16: search.objective.maximize: 'test_accuracy' is of classes that are held back for the end, and a "
        "search that saw it would fit them; choose of validation_accuracy, train_flops, adapt_flops; with problem: "
        "rl of validation_return, train_flops",
    ),
    "objective twice": (
        SEARCH + "  objective: [{maximize: validation_accuracy}, {minimize: adapt_flops}, {minimize: adapt_flops}]\n",
        "s.yaml:16: search.objective[2]: adapt_flops is an objective already; drop one of the two",
    ),
    "objective that nothing is learnt of": (
        SEARCH + "  objective: {minimize: train_flops}\n",
        "s.yaml:16: search.objective: no trial has to run to know the least of it, got [{minimize: train_flops}]; "
        "add {maximize: validation_accuracy}",
    ),
    "objective the wrong way": (
        SEARCH + "  objective: [{maximize: validation_accuracy}, {maximize: adapt_flops}]\n",
        "s.yaml:16: search.objective[1].maximize: less of a cost is better, got {maximize: adapt_flops}; "
        "write {minimize: adapt_flops}",
    ),
    "objective both ways": (
        SEARCH + "  objective: {maximize: validation_accuracy, minimize: train_flops}\n",
        "s.yaml:16: search.objective.maximize: maximize and minimize are two objectives; make a list of them: "
        "[{maximize: validation_accuracy}, {minimize: train_flops}]",
    ),
    "objective is empty": (
        SEARCH + "  objective: [{maximize: validation_accuracy}, {}]\n",
        "s.yaml:16: search.objective[1]: must say what to maximize or minimize, got {}; "
        "choose of validation_accuracy, train_flops, adapt_flops; with problem: rl of validation_return, train_flops",
    ),
    "no objective": (
        SEARCH + "  objective: []\n",
        "s.yaml:16: search.objective: a search needs one, got []; add {maximize: validation_accuracy}",
    ),
    "objective is text": (
        SEARCH + "  objective: validation_accuracy\n",
        "s.yaml:16: search.objective: must be a list, got 'validation_accuracy'",
    ),
    "objective is a number": (
        SEARCH + "  objective: {maximize: 3}\n",
        "s.yaml:16: search.objective.maximize: must be text, got 3",
    ),
    "yes is text": (
        "trial:\n  algorithm:\n    first_order: yes\ngrid: {seeds: [0]}\n",
        "s.yaml:3: trial.algorithm.first_order: must be true or false, got 'yes'",
    ),
    "int as text": (
        "trial:\n  training:\n    iterations: '100'\ngrid: {seeds: [0]}\n",
        "s.yaml:3: trial.training.iterations: must be a whole number, got '100'",
    ),
    "infinite": (
        "trial:\n  training:\n    clip: .inf\ngrid: {seeds: [0]}\n",
        "s.yaml:3: trial.training.clip: must be a finite number, got inf",
    ),
    "not a mapping": (
        "trial: 3\ngrid: {seeds: [0]}\n",
        "s.yaml:1: trial: must be a mapping (lines of key: value), got 3",
    ),
    "one of a union": (
        "trial: {algorithm: {frozen_layers: 1.5}}\ngrid: {seeds: [0]}\n",
        "s.yaml:1: trial.algorithm.frozen_layers: must be a whole number or a list, got 1.5",
    ),
    "inside a union": (
        "trial:\n  algorithm:\n    frozen_layers:\n    - conv1\n    - 2\ngrid: {seeds: [0]}\n",
        "s.yaml:5: trial.algorithm.frozen_layers[1]: must be text, got 2",
    ),
    "layer": (
        "trial:\n  algorithm:\n    frozen_layers: [conv9]\ngrid: {seeds: [0]}\n",
        "s.yaml:3: trial.algorithm.frozen_layers: unknown layer 'conv9'; did you mean 'conv4'?",
    ),
    "between two values": (
        "trial:\n  training:\n    validate_every: 100\n    iterations: 150\ngrid: {seeds: [0]}\n",
        "s.yaml:4: trial.training.iterations: iterations must be a multiple of validate_every, got 150 and 100",
    ),
    "algorithm": (
        "trial:\n  algorithm:\n    name: mmal\ngrid: {seeds: [0]}\n",
        "s.yaml:3: trial.algorithm.name: unknown algorithm 'mmal'; did you mean 'maml'?",
    ),
    "dataset": (
        "trial:\n  dataset:\n    name: omniglt\ngrid: {seeds: [0]}\n",
        "s.yaml:3: trial.dataset.name: unknown dataset 'omniglt'; did you mean 'omniglot'?",
    ),
    "path": (
        SPACE + "    algorithm.iner_lr: {uniform: [0, 1]}\n",
        "s.yaml:4: search.space.algorithm.iner_lr: unknown path 'algorithm.iner_lr'; "
        "did you mean 'algorithm.inner_lr'?",
    ),
    "path with trial": (
        SPACE + "    trial.training.meta_lr: {uniform: [0, 1]}\n",
        "s.yaml:4: search.space.trial.training.meta_lr: unknown path 'trial.training.meta_lr'; "
        "did you mean 'training.meta_lr'?",
    ),
    "no parameters": (
        "search: {trials: 1, space: {}}\n",
        "s.yaml:1: search.space: must hold at least 1, got {}",
    ),
    "kind": (
        SPACE + "    algorithm.inner_lr: {}\n",
        "s.yaml:4: search.space.algorithm.inner_lr: must have exactly one of choice, int, uniform, loguniform, "
        "got none of them",
    ),
    "two kinds": (
        SPACE + "    algorithm.inner_steps: {int: [1, 2], choice: [1]}\n",
        "s.yaml:4: search.space.algorithm.inner_steps: must have exactly one of choice, int, uniform, loguniform, "
        "got choice and int",
    ),
    "range": (
        SPACE + "    algorithm.inner_lr:\n      uniform: [1, 0.1]\n",
        "s.yaml:5: search.space.algorithm.inner_lr.uniform: low must be at most high, got [1, 0.1]; swap them",
    ),
    "range of three": (
        SPACE + "    algorithm.inner_lr: {uniform: [1, 2, 3]}\n",
        "s.yaml:4: search.space.algorithm.inner_lr.uniform: must be two numbers [low, high], got [1, 2, 3]",
    ),
    "bools are no ints": (
        SPACE + "    algorithm.inner_steps: {int: [true, 5]}\n",
        "s.yaml:4: search.space.algorithm.inner_steps.int: must be two whole numbers [low, high], got [true, 5]",
    ),
    "infinite range": (
        SPACE + "    algorithm.inner_lr: {uniform: [0, .inf]}\n",
        "s.yaml:4: search.space.algorithm.inner_lr.uniform: must be finite, got [0, inf]",
    ),
    "log of zero": (
        SPACE + "    algorithm.inner_lr: {loguniform: [0, 1]}\n",
        "s.yaml:4: search.space.algorithm.inner_lr.loguniform: low must be greater than 0, got [0, 1]; "
        "use uniform, or a small low like 1e-6",
    ),
    "no choices": (
        SPACE + "    algorithm.name: {choice: []}\n",
        "s.yaml:4: search.space.algorithm.name.choice: must be a list of at least one value, got []",
    ),
    "repeated choice": (
        SPACE + "    algorithm.inner_lr: {choice: [1, 1.0]}\n",
        "s.yaml:4: search.space.algorithm.inner_lr.choice: holds 1.0 twice, got [1, 1.0]; keep one of them",
    ),
    "true is not 1": (
        SPACE + "    algorithm.first_order: {choice: [true, 1]}\n",
        "s.yaml:4: search.space.algorithm.first_order: can propose {algorithm.first_order: 1}: "
        "must be true or false, got 1; narrow it, use choice, or add a when",
    ),
    "condition on a later one": (
        SPACE + "    algorithm.inner_lr: {uniform: [0.1, 1], when: {algorithm.name: maml}}\n"
        "    algorithm.name: {choice: [maml, anil]}\n",
        "s.yaml:4: search.space.algorithm.inner_lr.when.algorithm.name: algorithm.name must stand earlier in the "
        "space; move it above algorithm.inner_lr",
    ),
    "condition that never holds": (
        SPACE + "    algorithm.name: {choice: [maml, anil]}\n"
        "    algorithm.inner_lr: {uniform: [0.1, 1], when: {algorithm.name: [anil, nil]}}\n",
        "s.yaml:5: search.space.algorithm.inner_lr.when.algorithm.name: algorithm.name never is 'nil'; "
        "did you mean 'anil'?",
    ),
    "condition on a fixed value": (
        SPACE + "    algorithm.inner_lr: {uniform: [0.1, 1], when: {algorithm.name: mmal}}\n"
        "    algorithm.inner_steps: {int: [1, 5]}\n",
        "s.yaml:4: search.space.algorithm.inner_lr.when.algorithm.name: unknown algorithm 'mmal'; did you mean 'maml'?",
    ),
    "nothing active": (
        SPACE + "    algorithm.inner_lr: {uniform: [0.1, 1], when: {algorithm.name: anil}}\n",
        "s.yaml:3: search.space: no parameter is ever active; change a when, or the value it asks for in trial:",
    ),
    "invalid end": (
        SPACE + "    algorithm.inner_lr: {uniform: [0.1, 1]}\n    algorithm.frozen_layers: {int: [0, 9]}\n",
        "s.yaml:5: search.space.algorithm.frozen_layers: can propose {algorithm.frozen_layers: 9}: "
        "conv4 has 4 body layers, got 9; narrow it, use choice, or add a when",
    ),
    "invalid between the ends": (
        SPACE + "    training.iterations: {int: [100, 500]}\n",
        "s.yaml:4: search.space.training.iterations: can propose {training.iterations: 101}: "
        "iterations must be a multiple of validate_every, got 101 and 100; narrow it, use choice, or add a when",
    ),
    "invalid together": (
        SPACE
        + "    training.iterations: {choice: [100, 300]}\n    training.validate_every: {choice: [50, 100, 150]}\n",
        "s.yaml:4: search.space.training.iterations: can propose "
        "{training.iterations: 100, training.validate_every: 150}: iterations must be a multiple of "
        "validate_every, got 100 and 150; narrow it, use choice, or add a when",
    ),
    "start outside": (
        SEARCH.replace("start: [{algorithm.inner_lr: 0.4}]", "start:\n  - {algorithm.inner_lr: 3}"),
        "s.yaml:16: search.start[0].algorithm.inner_lr: must lie in {loguniform: [0.01, 1.0]}, got 3",
    ),
    "start unknown": (
        SEARCH.replace("{algorithm.inner_lr: 0.4}]", "{algorithm.inner_steps: 1}]"),
        "s.yaml:15: search.start[0].algorithm.inner_steps: unknown parameter 'algorithm.inner_steps' of the space; "
        "did you mean 'algorithm.inner_lr'?",
    ),
    "start inactive": (
        SEARCH.replace("{algorithm.inner_lr: 0.4}]", "{algorithm.name: nil, algorithm.frozen_layers: 1}]"),
        "s.yaml:15: search.start[0].algorithm.frozen_layers: does not act where algorithm.name is 'nil'; "
        "leave it out of this point",
    ),
    "start invalid": (
        "trial: {training: {iterations: 6, validate_every: 6}}\nsearch:\n  trials: 1\n"
        "  space: {training.validate_every: {int: [1, 6]}}\n  start:\n  - training.validate_every: 4\n",
        "s.yaml:6: search.start[0].training.validate_every: leads to {training.validate_every: 4}: "
        "iterations must be a multiple of validate_every, got 6 and 4; change it",
    ),
    "float for a whole number": (
        SPACE + "    algorithm.inner_steps: {uniform: [1, 5]}\n",
        "s.yaml:4: search.space.algorithm.inner_steps: can propose {algorithm.inner_steps: 1.0}: "
        "must be a whole number, got 1.0; narrow it, use choice, or add a when",
    ),
    "grid level": (
        "grid:\n  train:\n    episodes.ways: [5, 1]\n",
        "s.yaml:3: grid.train.episodes.ways: holds {episodes.ways: 1}: must be at least 2, got 1; leave that out",
    ),
    "grid over evaluations": (
        "grid:\n  train:\n    evaluation.head: [nil]\n",
        "s.yaml:3: grid.train.evaluation.head: evaluation.head is how a training is tested; move it to grid.test",
    ),
    "test factor that retrains": (
        "grid:\n  test:\n    algorithm.inner_steps: [1, 5]\n",
        "s.yaml:3: grid.test.algorithm.inner_steps: algorithm.inner_steps changes what is trained; move it to "
        "grid.train",
    ),
    "test level": (
        "grid:\n  train: {episodes.shots: [1, 5]}\n  test:\n    evaluation.frozen_layers: [0, 5]\n",
        "s.yaml:4: grid.test.evaluation.frozen_layers: holds {evaluation.frozen_layers: 5}: conv4 has 4 body layers, "
        "got 5; leave that out",
    ),
    "grid over seeds": (
        "grid:\n  train:\n    training.seed: [0, 1]\n  seeds: 2\n",
        "s.yaml:3: grid.train.training.seed: stands beside grid.seeds, which sets it too; keep one of the two",
    ),
    "seeds": (
        "grid: {seeds: [1, 1]}\n",
        "s.yaml:1: grid.seeds: must be how many (1 to 100,000), or a list of different seeds of at least 0, got [1, 1]",
    ),
    "too many seeds": (
        "grid: {seeds: 100001}\n",
        "s.yaml:1: grid.seeds: must be how many (1 to 100,000), or a list of different seeds of at least 0, got 100001",
    ),
    "empty grid": ("grid: {}\n", "s.yaml:1: grid: is empty; add factors (train:, test:, settings:) or seeds:"),
    "factor of another kind": (
        "grid:\n  train: {algorithm.inner_lr: {uniform: [0.1, 1]}}\n",
        "s.yaml:2: grid.train.algorithm.inner_lr.uniform: unknown key 'uniform'; "
        "a factor is a list of levels, or {choice: [..], when: ..}",
    ),
    "factor that is a value": (
        "grid:\n  train: {episodes.shots: 5}\n",
        "s.yaml:2: grid.train.episodes.shots: must be a list of levels, or {choice: [..], when: ..}, got 5",
    ),
    "level of the wrong type": (
        "grid:\n  train: {episodes.shots: [1, many]}\n",
        "s.yaml:2: grid.train.episodes.shots: holds {episodes.shots: many}: must be a whole number, got 'many'; "
        "leave that out",
    ),
    "zip of no factor": (
        FACTORS + "  zip: [episodes.shots, evaluation.querys]\n",
        "s.yaml:4: grid.zip[0]: 'evaluation.querys' is no factor of this grid; did you mean 'evaluation.queries'?",
    ),
    "zip of other lengths": (
        FACTORS.replace("[1, 5]", "[1, 5, 9]", 1) + "  zip: [episodes.shots, evaluation.queries]\n",
        "s.yaml:4: grid.zip[0]: factors that move together need equally many levels: episodes.shots has 3, "
        "evaluation.queries has 2",
    ),
    "zip twice": (
        FACTORS + "  zip: [[episodes.shots, evaluation.queries], [evaluation.queries, evaluation.frozen_layers]]\n",
        "s.yaml:4: grid.zip[1]: holds evaluation.queries twice; a factor moves once",
    ),
    "zip of one": (
        FACTORS + "  zip: [episodes.shots]\n",
        "s.yaml:4: grid.zip: must be a list of at least two factors that move together, got [[episodes.shots]]",
    ),
    "zip with a condition": (
        "grid:\n  train: {algorithm.name: [maml, anil], algorithm.inner_lr: [0.1, 0.2],\n"
        "    algorithm.inner_steps: {choice: [1, 2], when: {algorithm.name: maml}}}\n"
        "  zip: [algorithm.inner_lr, algorithm.inner_steps]\n",
        "s.yaml:4: grid.zip[0]: algorithm.inner_steps has a when; leave one of the two out",
    ),
    "condition of a training on its test": (
        "grid:\n  train: {episodes.shots: {choice: [1, 5], when: {evaluation.queries: 1}}}\n"
        "  test: {evaluation.queries: [1, 5]}\n",
        "s.yaml:2: grid.train.episodes.shots.when.evaluation.queries: a training can't depend on how it is tested "
        "(evaluation.queries); move the condition",
    ),
    "condition that never is": (
        "grid:\n  train:\n    algorithm.name: [maml, anil]\n"
        "    algorithm.inner_steps: {choice: [1, 5], when: {algorithm.name: mmal}}\n",
        "s.yaml:4: grid.train.algorithm.inner_steps.when.algorithm.name: algorithm.name never is 'mmal'; "
        "did you mean 'maml'?",
    ),
    "exclusion of no factor": (
        FACTORS + "  exclude: [{algorithm.name: anil}]\n",
        "s.yaml:4: grid.exclude[0].algorithm.name: 'algorithm.name' is no factor of this grid; "
        "known: episodes.shots, evaluation.frozen_layers, evaluation.queries",
    ),
    "exclusion of no level": (
        FACTORS + "  exclude: [{episodes.shots: [1, 2]}]\n",
        "s.yaml:4: grid.exclude[0].episodes.shots: 2 is no level of episodes.shots; it has [1, 5]",
    ),
    "everything excluded": (
        FACTORS + "  exclude: [{episodes.shots: [1, 5]}]\n",
        "s.yaml:4: grid.exclude: leaves no cell; take an entry out",
    ),
    "baseline of no factor": (
        FACTORS + "  compare: {baseline: {evaluation.steps: 0}}\n",
        "s.yaml:4: grid.compare.baseline.evaluation.steps: 'evaluation.steps' is no factor of this grid; "
        "did you mean 'evaluation.queries'?",
    ),
    "baseline of no level": (
        FACTORS + "  compare: {baseline: {evaluation.frozen_layers: 1}}\n",
        "s.yaml:4: grid.compare.baseline.evaluation.frozen_layers: 1 is no level of evaluation.frozen_layers; "
        "it has [0, 4]",
    ),
    "baseline that a zip moves apart": (
        "grid:\n  train: {episodes.shots: [1, 5]}\n  test: {evaluation.queries: [1, 5]}\n"
        "  zip: [episodes.shots, evaluation.queries]\n"
        "  compare: {baseline: {episodes.shots: 1, evaluation.queries: 5}}\n",
        "s.yaml:5: grid.compare.baseline: {episodes.shots: 1, evaluation.queries: 5} moves apart what grid.zip joins, "
        "so it names no cell; name another",
    ),
    "factor with a condition and no levels": (
        "grid:\n  train: {episodes.shots: {when: {algorithm.name: maml}}}\n",
        "s.yaml:2: grid.train.episodes.shots: has no levels; add choice: and a list of them",
    ),
    "baseline that is excluded": (
        FACTORS + "  exclude: [{evaluation.frozen_layers: 0}]\n  compare: {baseline: {evaluation.frozen_layers: 0}}\n",
        "s.yaml:5: grid.compare.baseline: {evaluation.frozen_layers: 0} is excluded or never acts, "
        "so it names no cell; name another",
    ),
    "baseline left out": (
        FACTORS + "  compare: {}\n",
        "s.yaml:4: grid.compare.baseline: is missing; add it below compare:",
    ),
    "published": (
        FACTORS + "  published: tabel1\n",
        "s.yaml:4: grid.published: unknown table 'tabel1' of published numbers; did you mean 'table1'?",
    ),
    "scales of another kind": (
        GRID + "scales: 3\n",
        "s.yaml:6: scales: must be a mapping {name: {path: value}}, got 3",
    ),
    "scale of another kind": (
        GRID + "scales: {smoke: 3}\n",
        "s.yaml:6: scales.smoke: must be a mapping {path: value}, got 3",
    ),
    "scale of no path": (
        GRID + "scales: {smoke: {training.iteration: 3}}\n",
        "s.yaml:6: scales.smoke.training.iteration: unknown path 'training.iteration'; "
        "did you mean 'training.iterations'?",
    ),
    "cpu": (GRID + "resources: {cpu: 0}\n", "s.yaml:6: resources.cpu: must be greater than 0.0, got 0"),
    "gpu": (
        GRID + "resources: {gpu: 1.5}\n",
        "s.yaml:6: resources.gpu: gpu must be a part of one (like 0.5) or a whole number, got 1.5",
    ),
    "repeated key": (
        "grid: {seeds: [0]}\nname: a\nname: b\n",
        "s.yaml:2: name: stands twice, on lines 2 and 3; keep one of them",
    ),
    "top is a list": ("- a\n", "s.yaml:1: must be a mapping (lines of key: value) at the top"),
    "empty": ("", "s.yaml: is empty; a sweep file says trial: and search: or grid:"),
    "comments only": ("# nothing\n", "s.yaml: is empty; a sweep file says trial: and search: or grid:"),
    "two documents": ("a: 1\n---\nb: 2\n", "s.yaml:2: more than one YAML document; keep one, and remove the line ---"),
    "tag": (
        "a: !!python/name:os.system x\n",
        "s.yaml:1: tags like 'tag:yaml.org,2002:python/name:os.system' are not read; remove it",
    ),
    "control character": ("grid:\n  a: \x07\n", "s.yaml:2: character '\\x07' is not allowed in YAML; remove it"),
    "deep": ("a: " + "[" * 100_000, "s.yaml:1: nested more than 40 levels deep; a sweep file needs fewer than ten"),
    "alias inside itself": (
        "a: &a [*a]\n",
        "s.yaml:1: alias *a stands before or inside what it names; write the value",
    ),
    "bomb": (
        "a: &a [" + "1, " * 99 + "1]\nb: &b [" + "*a, " * 99 + "*a]\nc: [" + "*b, " * 99 + "*b]\n",
        "s.yaml:3: alias *b makes the file too large; write fewer values",
    ),
    "list as key": ("? [a]\n: 1\n", "s.yaml:1: a key must be plain text, got a list or mapping"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_gets_one_line_with_place_and_value(tmp_path: Path, case: str) -> None:
    text, line = BAD[case]
    assert problems(tmp_path, text) == [line]


@pytest.mark.parametrize("text", ["a: [1\n", "a:\n\tb: 1\n", "a: 'x\n", "a: b: c\n", "a: }\n"])
def test_text_that_is_no_yaml_gets_one_line(tmp_path: Path, text: str) -> None:
    (line,) = problems(tmp_path, text)
    assert re.match(r"s\.yaml:\d: not valid YAML: \w", line)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("search.trials=x", "search.trials: must be a whole number, got 'x'"),
        ("trial.training.meta_lr=-1", "trial.training.meta_lr: must be greater than 0.0, got -1"),
        (
            "training.validate_every=70",
            "trial.training.validate_every: iterations must be a multiple of validate_every, got 500 and 70",
        ),
        ("trainig.clip=1", "unknown path 'trainig.clip'; did you mean 'training.clip'?"),
        ("seed=3", "unknown path 'seed'; did you mean 'training.seed'?"),
        ("search.trials", "must be path=value, like search.trials=5 (null for nothing)"),
        ("search.trials=", "must be path=value, like search.trials=5 (null for nothing)"),
        ("search.trials.x=3", "search.trials is not a mapping, so nothing can be set inside it"),
        ("algorithm={inner_lr: -1}", "trial.algorithm.inner_lr: must be greater than 0.0, got -1"),
        ("search=null", "search: is missing; add search: or grid: to say what the sweep tries"),
        (
            "search.space.algorithm.inner_lr.loguniform=[1, 0.1]",
            "search.space.algorithm.inner_lr.loguniform: low must be at most high, got [1, 0.1]; swap them",
        ),
        ("grid={a: 1, a: 2}", "a: stands twice, on lines 1 and 1; keep one of them"),
        ("algorithm.name=", "must be path=value, like search.trials=5 (null for nothing)"),
        ("training.iterations" + ".x" * 60 + "=1", None),
    ],
)
def test_bad_override_is_named(tmp_path: Path, override: str, line: str | None) -> None:
    found = problems(tmp_path, SEARCH, (override,))
    assert len(found) == 1
    assert found[0].startswith(f"--set {override}: ")
    assert line is None or found[0] == f"--set {override}: {line}"


def test_overrides_reach_every_part(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        SEARCH,
        (
            "search.trials=5",
            "trial.training.iterations=100",
            "algorithm.inner_lr=1e-3",
            "training.clip=null",
            "search.space.algorithm.inner_lr={uniform: [0.1, 0.5]}",
            "search.space.algorithm.frozen_layers.int=[1, 2]",
            "search.space.algorithm.frozen_layers.when.algorithm.name=[maml, anil]",
            "resources.max_concurrent=2",
            "name=other",
        ),
    )
    assert spec.search is not None
    assert (spec.name, spec.search.trials, spec.resources.max_concurrent) == ("other", 5, 2)
    assert (spec.trial.training.iterations, spec.trial.training.clip, spec.trial.algorithm.inner_lr) == (
        100,
        None,
        1e-3,
    )
    assert spec.search.space["algorithm.inner_lr"].plain() == {"uniform": [0.1, 0.5]}
    assert spec.search.space["algorithm.frozen_layers"].plain() == {
        "int": [1, 2],
        "when": {"algorithm.name": ["maml", "anil"]},
    }


def test_all_problems_come_at_once_in_file_order(tmp_path: Path) -> None:
    text = (
        "trial:\n  training: {sed: 3}\n  algorithm: {inner_lr: -1}\n"
        "search:\n  trials: 0\n  space:\n    algorithm.lr: {uniform: [2, 1]}\n"
        "  trials: 1\nresources: {gpu: -1}\n"
    )
    found = problems(tmp_path, text, ("episodes.ways=1", "nope=1"))
    assert [line.partition(": ")[0] for line in found] == [
        "s.yaml:2",
        "s.yaml:3",
        "s.yaml:5",
        "s.yaml:5",
        "s.yaml:7",
        "s.yaml:7",
        "s.yaml:9",
        "--set episodes.ways=1",
        "--set nope=1",
    ]


def test_no_word_of_pydantic_is_left(tmp_path: Path) -> None:
    for text, _ in BAD.values():
        for line in problems(tmp_path, text):
            assert not re.search(r"Input should|Value error|https?:|pydantic|Extra inputs", line)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    expected = {
        "absent.yaml": "absent.yaml: no such file; check the path",
        "": ": is a folder; name a YAML file in it",
        "latin.yaml": "latin.yaml:2: not UTF-8 text (byte 0xff); save it as UTF-8",
        "large.yaml": "large.yaml: larger than 1,000,000 bytes; a sweep file is a few kilobytes",
    }
    for name, line in expected.items():
        with pytest.raises(SpecError) as caught:
            load_spec(tmp_path / name)
        assert len(caught.value.problems) == 1
        assert caught.value.problems[0].removeprefix(str(tmp_path)).removeprefix("/") == line


@pytest.mark.parametrize("text", ["trial: {algorithm: {name: anil}}\n", "algorithm: {name: anil}\n"])
def test_without_plan_a_trial_part_is_enough(tmp_path: Path, text: str) -> None:
    spec = load(tmp_path, text, ("training.iterations=100",), plan=False)
    assert (spec.search, spec.grid) == (None, None)
    assert spec.trial == with_values(TrialConfig(), {"algorithm.name": "anil", "training.iterations": 100})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1E+4", -1e4),
        ("1.", 1.0),
        (".5", 0.5),
        ("1_000", 1000),
        ("-3", -3),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("yes", "yes"),
        ("True", True),
        ("~", None),
        ("-.inf", float("-inf")),
        ("'1'", "1"),
        ("e4", "e4"),
        ("1e", "1e"),
        ("1" * 60, "1" * 60),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(text, "x").value
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_both_parsers_of_pyyaml_read_the_same(monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, loader))
    document = parse_yaml(SEARCH, "x")
    assert document.value["search"]["space"]["algorithm.frozen_layers"] == {
        "int": [0, 4],
        "when": {"algorithm.name": "maml"},
    }
    assert document.origin(("search", "space", "algorithm.frozen_layers", "when", "algorithm.name")) == 13
    with pytest.raises(SpecError, match="40 levels"):
        parse_yaml("[" * 5000, "x")


def test_dumped_text_is_read_back_as_it_was() -> None:
    tricky = [
        "1e-4",
        "1",
        "1.",
        "yes",
        "null",
        "~",
        "",
        " a",
        "a: b",
        "#",
        "true",
        "0x1",
        "é",
        "a\nb",
        "[",
        "*a",
        "-",
        "😀",
    ]
    values = {
        "text": tricky,
        "numbers": [1e-5, 1e22, 0.1, -0.0, 3, -7, 10**20, True, None],
        **dict.fromkeys(tricky, 1),
    }
    document = parse_yaml(yaml_text(values), "x")
    assert document.problems == []
    assert repr(document.value) == repr(values)


@pytest.mark.parametrize(
    "text",
    [
        SEARCH,
        GRID,
        GRID.replace("seeds: 3", "seeds: [3, 1]"),
        ZIPPED,
        CONDITIONED,
        "grid: {seeds: [0]}\nname: '1e-4'\n",
        SEARCH + "  objective: [{minimize: train_flops}, {maximize: validation_accuracy}]\n",
        SEARCH + "  early_stopping: {name: asha, grace_iterations: 100, metric: validation_accuracy}\n",
    ],
)
def test_a_stored_spec_is_the_spec(tmp_path: Path, text: str) -> None:
    spec = load(tmp_path, text)
    (tmp_path / "stored.yaml").write_text(spec_to_yaml(spec), encoding="utf-8")
    stored = load_spec(tmp_path / "stored.yaml")
    assert stored == spec
    assert spec_to_yaml(stored) == spec_to_yaml(spec)
    assert differences(spec, stored) == []
    if spec.search and stored.search:
        assert list(stored.search.space) == list(spec.search.space)


CHANGES: list[tuple[str, str, str, list[str]]] = [
    (SEARCH, "trials: 40", "trials: 50", []),
    (SEARCH, "trials: 40", "trials: 4", []),
    (SEARCH, "question: Does", "question: Did", []),
    (SEARCH, "search:", "resources: {cpu: 2, max_concurrent: 3}\nsearch:", []),
    (SEARCH, "trials: 40", "trials: 40\n  window: 9", ["search.window: null -> 9"]),
    (SEARCH, "trials: 40", "trials: 40\n  seed: 1", ["search.seed: 0 -> 1"]),
    (SEARCH, "trials: 40", "trials: 40\n  sampler: random", ["search.sampler: 'tpe' -> 'random'"]),
    (
        SEARCH,
        "trials: 40",
        "trials: 40\n  early_stopping: {name: asha, grace_iterations: 100}",
        [
            "search.early_stopping: null -> {name: asha, grace_iterations: 100, reduction: 2, metric: "
            "validation_accuracy}"
        ],
    ),
    (
        SEARCH.replace("trials: 40", "trials: 40\n  early_stopping: {name: asha, grace_iterations: 100}"),
        "grace_iterations: 100",
        "grace_iterations: 100, reduction: 4",
        [
            "search.early_stopping: {name: asha, grace_iterations: 100, reduction: 2, metric: validation_accuracy} -> "
            "{name: asha, grace_iterations: 100, reduction: 4, metric: validation_accuracy}"
        ],
    ),
    (
        SEARCH.replace("trials: 40", "trials: 40\n  early_stopping: {name: asha, grace_iterations: 100}"),
        "grace_iterations: 100",
        "grace_iterations: 100, metric: validation_accuracy",  # as it is
        [],
    ),
    (SEARCH, "iterations: 500", "iterations: 600", ["trial.training.iterations: 500 -> 600"]),
    (
        SEARCH,
        "[1e-2, 1.0]",
        "[1e-1, 1.0]",
        ["search.space.algorithm.inner_lr: {loguniform: [0.01, 1.0]} -> {loguniform: [0.1, 1.0]}"],
    ),
    (
        SEARCH,
        "    training.clip: {choice: [null, 1, 10.0]}\n",
        "",
        ["search.space.training.clip: {choice: [null, 1, 10.0]} -> absent"],
    ),
    (
        SEARCH,
        "[{algorithm.inner_lr: 0.4}]",
        "[]",
        ["search.start: [{algorithm.inner_lr: 0.4}] -> []"],
    ),
    (
        "search:\n  trials: 1\n  space:\n    episodes.ways: {int: [2, 5]}\n    episodes.shots: {int: [1, 5]}\n",
        "    episodes.ways: {int: [2, 5]}\n    episodes.shots: {int: [1, 5]}\n",
        "    episodes.shots: {int: [1, 5]}\n    episodes.ways: {int: [2, 5]}\n",
        ["search.space: [episodes.ways, episodes.shots] -> [episodes.shots, episodes.ways]"],
    ),
    (
        SEARCH,
        SEARCH,
        "question: Does the body need the inner loop?\ntrial: {}\ngrid: {seeds: [0]}\n",
        ["search -> grid"],
    ),
    (GRID, "seeds: 3", "seeds: 5", []),
    (GRID, "seeds: 3", "seeds: [9, 8, 7]", []),
    (GRID, "[1, 5]", "[10, 5, 1]", []),
    (GRID, "seeds: 3", "seeds: 2", ["grid.seeds: 3 -> 2"]),
    (GRID, "seeds: 3", "seeds: [7, 8]", ["grid.seeds: 3 -> [7, 8]"]),
    (GRID, "[1, 5]", "[1]", ["grid.train.episodes.shots: [1, 5] -> [1]"]),
    (GRID, "episodes.shots: [1, 5], ", "", ["grid.train.episodes.shots: [1, 5] -> absent"]),
    (GRID, "train: {", "train: {episodes.ways: [5], ", ["grid.train.episodes.ways: absent -> [5]"]),
    (GRID, "seed: 7", "seed: 8", ["trial.training.seed: 7 -> 8"]),
    (TESTED, "[0, 4]", "[0, 2, 4]", []),
    (TESTED, "[0, 4]", "[0]", ["grid.test.evaluation.frozen_layers: [0, 4] -> [0]"]),
    (ZIPPED, "exclude: [{evaluation.frozen_layers: 4}]", "exclude: []", []),
    (ZIPPED, "{evaluation.frozen_layers: 4}", "{evaluation.frozen_layers: 0}", [EXCLUDED]),
    (
        ZIPPED,
        "exclude: [{evaluation.frozen_layers: 4}]",
        "exclude: [{episodes.shots: 5, evaluation.frozen_layers: 4}]",
        [],
    ),
    (ZIPPED, "[0, 4]", "[0, 4, 2]", []),
    (
        ZIPPED.replace("[0, 4]", "[0, 4, 2]"),
        "exclude: [{evaluation.frozen_layers: 4}]",
        "exclude: [{evaluation.frozen_layers: [4, 2]}]",
        ["grid.exclude: [{evaluation.frozen_layers: [4]}] -> [{evaluation.frozen_layers: [4, 2]}]"],
    ),
    (ZIPPED, "zip: [episodes.shots, evaluation.queries]", "zip: []", [UNZIPPED]),
    (ZIPPED, "compare: {baseline: {episodes.shots: 1}}", "published: table1", []),
    (
        CONDITIONED,
        "when: {algorithm.name: maml}",
        "when: {algorithm.name: anil}",
        ["grid.train.algorithm.inner_steps.when: {algorithm.name: maml} -> {algorithm.name: anil}"],
    ),
    (CONDITIONED, "[1, 5]", "[1, 5, 9]", []),
    (
        TESTED,
        "test: {evaluation.frozen_layers: [0, 4]}",
        "test: {}",
        ["grid.test.evaluation.frozen_layers: [0, 4] -> absent"],
    ),
]


@pytest.mark.parametrize(("text", "old", "new", "lines"), CHANGES)
def test_a_sweep_may_grow_and_nothing_else(tmp_path: Path, text: str, old: str, new: str, lines: list[str]) -> None:
    assert old in text
    before, after = load(tmp_path, text), load(tmp_path, text.replace(old, new))
    assert differences(before, after) == lines
    assert differences(before, before) == []


def test_other_objectives_are_another_search(tmp_path: Path) -> None:
    one, listed = (
        load(tmp_path, SEARCH),
        load(tmp_path, SEARCH, ("search.objective=[{maximize: validation_accuracy}]",)),
    )
    assert one == listed
    two = load(tmp_path, SEARCH, (f"search.objective={TWO}",))
    assert two.search is not None
    assert [one.metric for one in two.search.objective] == ["validation_accuracy", "adapt_flops"]
    assert differences(one, two) == [f"search.objective: {{maximize: validation_accuracy}} -> {TWO}"]


TWO = "[{maximize: validation_accuracy}, {minimize: adapt_flops}]"


def test_early_stopping_is_not_confused_by_a_parameter_that_never_acts(tmp_path: Path) -> None:
    never = "    training.validate_every: {choice: [0, x], when: {algorithm.name: anil}}\n"
    text = SPACE + "    algorithm.inner_lr: {uniform: [0.1, 1]}\n" + never
    stopping = load(tmp_path, text + "  early_stopping: {name: asha, grace_iterations: 200}\n").search.early_stopping
    assert (stopping.grace_iterations, stopping.reduction) == (200, 2)


def test_a_window_left_out_stays(tmp_path: Path) -> None:
    stored, again = load(tmp_path, SEARCH, ("search.window=8",)), load(tmp_path, SEARCH)
    assert differences(stored, again) == []
    assert differences(stored, load(tmp_path, SEARCH, ("search.window=9",))) == ["search.window: 8 -> 9"]


def test_big_spaces_are_checked_in_pairs(tmp_path: Path) -> None:
    paths = ("episodes.ways", "episodes.shots", "episodes.queries", "algorithm.inner_steps", "training.meta_batch")
    text = SPACE + "".join(f"    {path}: {{choice: {list(range(2, 12))}}}\n" for path in paths)
    started = time.process_time()
    load(tmp_path, text)
    hidden = (
        "    algorithm.name: {choice: [anil, maml]}\n"
        "    training.validate_every: {choice: [100, 60], when: {algorithm.name: maml}}\n"
        "    training.iterations: {choice: [600, 300, 200], when: {algorithm.name: maml}}\n"
    )
    (line,) = problems(tmp_path, text + hidden)
    assert "can propose {training.validate_every: 60, training.iterations: 200}" in line
    assert time.process_time() - started < 15  # all combinations would take many minutes


def test_with_values_sets_and_refuses() -> None:
    base = TrialConfig()
    changed = with_values(base, {"algorithm.frozen_layers": ("conv1",), "training.meta_lr": 1, "problem": "few_shot"})
    assert changed.algorithm.frozen_layers == ("conv1",)
    assert changed.training.meta_lr == 1.0
    assert base == TrialConfig()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"inner_lr": 1}, "unknown path 'inner_lr'; did you mean 'algorithm.inner_lr'?"),
        ({"training.iterations": True}, "training.iterations: must be a whole number, got true"),
        ({"training.seed": 2**63}, f"training.seed: must be less than {2**63}, got {2**63}"),
    ]
    for values, line in wrong:
        with pytest.raises(SpecError) as caught:
            with_values(base, values)
        assert caught.value.problems == (line,)


def test_sampler_names_are_those_of_the_table() -> None:
    for name in SAMPLERS:
        SearchSpec.model_validate({"trials": 1, "sampler": name, "space": {"episodes.shots": {"int": [1, 2]}}})
    annotation = SearchSpec.model_fields["sampler"].annotation
    assert set(getattr(annotation, "__args__", ())) == set(SAMPLERS)


def test_importing_the_spec_brings_no_heavy_package() -> None:
    code = (
        "import sys, orchestrator.spec, orchestrator.grid, orchestrator.search.proposals;"
        "print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_values_that_conditions_name_are_checked_too(tmp_path):
    """frozen_layers 0 … 9 acts only where inner_steps is 3, which is no end of its range."""
    path = tmp_path / "inner.yaml"
    path.write_text(
        "search:\n  trials: 2\n  space:\n    algorithm.inner_steps: {int: [1, 5]}\n"
        "    algorithm.frozen_layers: {int: [0, 9], when: {algorithm.inner_steps: 3}}\n"
    )
    with pytest.raises(SpecError, match="4 body layers"):
        load_spec(path)


TIMED = """trial:
  evaluation: {measure: MEASURE}
grid:
  train: {algorithm.name: [maml, anil]}
resources: {max_concurrent: CONCURRENT}
"""
NOT_TIMED = TIMED.replace("MEASURE", "accuracy")
ALONE = "must be 1 where evaluation.measure is speed, got {}: trials that are timed run alone; set it to 1"


@pytest.mark.parametrize(
    "text",
    [
        TIMED.replace("MEASURE", "speed"),
        NOT_TIMED.replace("  train:", "  test: {evaluation.measure: [cka, speed]}\n  train:"),
        NOT_TIMED.replace("  train:", "  settings: {a: {evaluation.measure: speed}}\n  train:"),
        "search:\n  trials: 2\n  space: {evaluation.measure: {choice: [accuracy, speed]}}\n"
        "resources: {max_concurrent: CONCURRENT}\n",
    ],
    ids=["trial", "test", "settings", "search"],
)
def test_trials_that_are_timed_run_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text.replace("CONCURRENT", "1"))
    assert load_spec(path).resources.max_concurrent == 1
    for asked in ("2", "null"):
        path.write_text(text.replace("CONCURRENT", asked))
        with pytest.raises(SpecError) as error:
            load_spec(path)
        (problem,) = error.value.problems
        assert problem.endswith(f" resources.max_concurrent: {ALONE.format(asked)}")
    path.write_text(text.replace("speed", "cka").replace("[cka, cka]", "[cka]").replace("CONCURRENT", "2"))
    load_spec(path)


def test_another_mistake_does_not_make_timed_trials_one(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("nmae: x\n" + TIMED.replace("MEASURE", "speed").replace("CONCURRENT", "1"))
    with pytest.raises(SpecError) as error:
        load_spec(path)
    (problem,) = error.value.problems
    assert "unknown key 'nmae'" in problem
