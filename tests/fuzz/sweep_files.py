"""Sweep files that nobody would write: broken from good ones, or made up."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import strategies as st

from orchestrator.config_paths import CONFIG_PATHS
from orchestrator.spec_names import PACKAGED

RICH = """\
name: rich
question: Does it hold?
trial:
  dataset: {name: glyphs, rotations: false}
  episodes: {ways: 5, shots: 1, queries: 5}
  algorithm: {name: maml, inner_lr: [0.1, 0.1, 0.1, 0.1, 0.4], frozen_layers: [conv1]}
  training: {iterations: 200, validate_every: 100, snapshots: [100]}
  evaluation: {weights: 100, measure: cka, head: linear}
search:
  seed: 3
  trials: 4
  window: 8
  space:
    algorithm.name: {choice: [maml, anil]}
    algorithm.inner_steps: {int: [1, 5], when: {algorithm.name: maml}}
    training.meta_lr: {loguniform: [1e-4, 1e-2]}
    algorithm.inner_lr: {uniform: [0.1, 0.5]}
  start: [{algorithm.name: maml, training.meta_lr: 0.001}]
  objective: [{maximize: validation_accuracy}, {minimize: train_flops}, {minimize: adapt_flops}]
  early_stopping: {name: asha, grace_iterations: 100, reduction: 2, metric: validation_accuracy}
  confirm: {top: 2, seeds: 3}
budget: {hours: 1.5, gpu_hours: 2, trials: 3}
resources: {cpu: 0.5, max_concurrent: 2}
scales: {smoke: {training.iterations: 100, search.early_stopping: null, budget: null}}
"""
GRID = """\
trial: {dataset: {name: glyphs}}
grid:
  train: {episodes.shots: [1, 5], algorithm.inner_steps: {choice: [1, 2], when: {algorithm.name: maml}}}
  test: {evaluation.queries: [1, 5], evaluation.frozen_layers: [0, 1, [conv2, head]]}
  zip: [episodes.shots, evaluation.queries]
  exclude: [{episodes.shots: 5, evaluation.frozen_layers: [1]}]
  settings: {easy: {episodes.ways: 5}, hard: {episodes.ways: 20}}
  seeds: [0, 7]
  compare: {baseline: {evaluation.frozen_layers: 0}}
  published: table1
"""
GOOD = [RICH, GRID, *(path.read_text(encoding="utf-8") for path in sorted(PACKAGED.rglob("*.yaml")))]
TREES = [yaml.safe_load(text) for text in GOOD]


def _keys_below(value: Any) -> set[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = {str(key) for key in value} if isinstance(value, dict) else set()
    return own.union(*map(_keys_below, inner))


WORDS = sorted(set().union(*map(_keys_below, TREES)) | set(CONFIG_PATHS))
"""Every key that may stand somewhere in a file."""
ODD = [
    *("", " ", "~", "null", "yes", "1e-4", "0x10", "1_000", "🦜", "ä", "\x00", "a\nb", "\x1b[31mred", "\u202e"),
    *("../../x", "/etc/passwd", "a/b", "..", ".", "-", "--home", "a" * 300, "%s%n", "{}", "[key]", "name", "head"),
]
texts = st.sampled_from([*ODD, *WORDS]) | st.text(max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 2, 100, 2**31, 2**53 + 1, 2**63, -(2**63), 10**30, 10**400])
    | st.integers()
    | st.sampled_from([0.0, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"), 0.5, 2.0])
    | st.floats()
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
trees = st.dictionaries(
    st.sampled_from(["name", "question", "trial", "search", "grid", "budget", "resources", "scales"]) | texts,
    st.recursive(scalars, lambda inner: st.dictionaries(texts, inner, max_size=5) | st.lists(inner, max_size=4)),
    max_size=6,
)


def dumped(tree: Any, flow: bool) -> str:
    """YAML text of a tree, as PyYAML writes it."""
    return str(yaml.dump(tree, Dumper=_Plain, allow_unicode=True, default_flow_style=flow, sort_keys=False))


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value of a tree but the tree itself."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ((*above, key), *places(inner, (*above, key)))]


@st.composite
def broken_trees(draw: st.DrawFn) -> str:
    """A good file with one to three values replaced, keys renamed, or things added or taken away."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 3))):
        found = places(tree)
        if not found:
            break
        place = draw(st.sampled_from(found))
        holder = tree
        for key in place[:-1]:
            holder = holder[key]
        last = place[-1]
        what = draw(st.sampled_from(["replace", "replace", "rename", "take away", "add", "wrap"]))
        if what == "replace":
            holder[last] = draw(values)
        elif what == "take away":
            del holder[last]
        elif what == "wrap":
            holder[last] = [holder[last]]
        elif isinstance(holder, dict):
            holder[draw(texts)] = holder.pop(last) if what == "rename" else draw(values)
        else:
            holder.append(draw(values))
    return dumped(tree, draw(st.booleans()))


@st.composite
def broken_texts(draw: st.DrawFn) -> bytes:
    """The text of a good file with some lines, words or bytes changed."""
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        at = draw(st.integers(0, len(lines) - 1))
        what = draw(st.sampled_from(["drop", "twice", "indent", "cut", "insert", "replace"]))
        if what == "drop":
            del lines[at]
        elif what == "twice":
            lines.insert(at, lines[at])
        elif what == "indent":
            lines[at] = " " * draw(st.integers(0, 6)) + lines[at].lstrip()
        elif what == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        else:
            column = draw(st.integers(0, len(lines[at])))
            end = column if what == "insert" else min(len(lines[at]), column + draw(st.integers(1, 8)))
            lines[at] = lines[at][:column] + draw(SIGNS) + lines[at][end:]
        text = "\n".join(lines)
    data = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
    return data


SIGNS = st.sampled_from(
    [
        *("{", "}", "[", "]", ":", ": ", "-", "- ", "#", "&a ", "*a", "!!python/name:os.system ", "|", ">", "%", "@"),
        *("'", '"', "\t", "\x00", "\ufeff", "---\n", "...", "? ", "<<: ", ",", "1e999", ".nan", "\\u2028", "\x85"),
    ]
) | st.text(max_size=3)

SPECIAL = {
    "nothing": b"",
    "half a byte order mark": b"\xff\xfe\x00",
    "a list in itself": b"a: &a [*a]\n",
    "a mapping in itself": b"a: &a {b: *a}\n",
    "a billion laughs": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    ).encode(),
    "deep lists": b"search: " + b"[" * 100_000,
    "deep mappings": b"search: " + b"{a: " * 5_000 + b"}" * 5_000,
    "a huge number": b"trial: {episodes: {ways: " + b"9" * 5_000 + b"}}\nsearch: {trials: 1}\n",
    "a key that is a list": b"? [a, b]\n: 1\n",
    "a tag": b"!!set {a, b}\n",
    "a merge": b"<<: {trial: {}}\n",
    "one key 3,000 times": b"a: 1\n" * 3_000,
    "9,000 unknown keys": b"\n".join(b"k%d: 1" % n for n in range(9_000)),
    "3,000 unknown keys deep inside": b"trial: {training: {"
    + b", ".join(b"k%d: 1" % n for n in range(3_000))
    + b"}}\n",
    "3,000 odd paths": b"search: {trials: 1, space: {" + b", ".join(b"k%d: 1" % n for n in range(3_000)) + b"}}\n",
    "more than a sweep file can be": b"x" * 1_000_001,
    "a line break in a key": b'"a\\nb": 1\n',
    "commands to a terminal": b'trial: {"\\u2028\\x1b]0;x\\x07": 1}\nsearch: {trials: "\\x1b[2J"}\n',
    "a line break in a scale": b'scales: {"a\\nb": {"c\\nd": 1}}\n',
    "a name that climbs": b"name: ../../x\nsearch: {trials: 1, space: {algorithm.inner_lr: {uniform: [0.1, 1]}}}\n",
    "100,000 seeds": b"grid: {seeds: 100000, train: {episodes.shots: [1, 5]}}\n",
    "many levels": b"grid: {train: {"
    + b", ".join(
        b"%s: [%s]" % (path, b", ".join(b"%d" % n for n in range(2, 1000)))
        for path in (b"episodes.ways", b"episodes.shots", b"episodes.queries", b"algorithm.inner_steps")
    )
    + b"}}\n",
    "many choices": b"search: {trials: 1, space: {"
    + b", ".join(
        b"%s: {choice: [%s]}" % (path, b", ".join(b"%d" % n for n in range(2, 1000)))
        for path in (b"episodes.ways", b"episodes.shots", b"episodes.queries", b"algorithm.inner_steps")
    )
    + b"}}\n",
}

sweep_files = (
    broken_texts()
    | broken_trees().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.builds(dumped, trees, st.booleans()).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=60)
)
