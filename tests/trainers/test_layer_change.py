"""Layers before and after the inner loop: the numbers of an episode recomputed plainly, and what needs no computing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from trainers import layer_change
from trainers.config import TrialConfig
from trainers.datasets import recipe_of
from trainers.datasets.glyphs import GLYPHS
from trainers.datasets.image_file import ImageTable
from trainers.episodes import check_data
from trainers.episodes import test_sampler as sampler_of_tests
from trainers.errors import AdaptationDiverged, ConfigError
from trainers.evaluation import evaluate
from trainers.layer_change import layer_changes
from trainers.network import Network
from trainers.trial import run_trial

LAYERS = ("conv1", "conv2", "conv3", "conv4", "head")
KINDS = ("cca", "cka", "distance", "relative_distance")
UNMOVED = {"cca": 1, "cka": 1, "distance": 0, "relative_distance": 0}
SIMILARITY = {"measure": "similarity", "episodes": 3}


def config(evaluation: dict[str, Any] = SIMILARITY, **sections: dict[str, Any]) -> TrialConfig:
    """The maps of conv4 have one pixel on 16×16 images: 6 points for 3 neurons."""
    return TrialConfig.model_validate(
        {
            "episodes": {"ways": 3, "shots": 1, "queries": 2},
            "backbone": {"width": 3},
            "algorithm": {"inner_lr": 0.5, "inner_steps": 2},
            "training": {"iterations": 2, "validate_every": 1, "meta_batch": 1, "validation_episodes": 1},
            "evaluation": evaluation,
            **sections,
        }
    )


def weights(asked: TrialConfig, data: ImageTable) -> dict[str, torch.Tensor]:
    return {name: value.double() for name, value in Network(asked, data.image_shape).init(5).items()}


def layer(x: torch.Tensor, params: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    if name == "head":
        return x.flatten(1) @ params["head.weight"].T + params["head.bias"]
    x = F.conv2d(x, params[f"{name}.weight"], padding=1)
    x = F.batch_norm(x, None, None, params[f"{name}.gamma"], params[f"{name}.beta"], training=True)
    return F.max_pool2d(F.relu(x), 2)


def expected(
    asked: TrialConfig, data: ImageTable, params: dict[str, torch.Tensor], episode: int, frozen: tuple[str, ...]
) -> dict[str, float]:
    """Algorithm and formulas written out: two steps of 0.5 on the support set, then what the query set shows."""
    images = sampler_of_tests(asked, data).episode(episode)
    support, query = (
        torch.tensor(part.reshape(-1, 16, 16, 1)).permute(0, 3, 1, 2).double() / 255
        for part in (images.support, images.query)
    )
    adapted = {name: value.clone().requires_grad_() for name, value in params.items()}
    for _ in range(2):
        x = support
        for name in LAYERS:
            x = layer(x, adapted, name)
        gradients = torch.autograd.grad(F.cross_entropy(x, torch.arange(3)), list(adapted.values()))
        adapted = {
            name: value if name.split(".")[0] in frozen else (value - 0.5 * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(adapted.items(), gradients, strict=True)
        }
    found = {}
    before = after = query
    for name in LAYERS:
        before, after = layer(before, params, name), layer(after, adapted, name)
        x, y = (
            (one.detach().movedim(1, -1).reshape(-1, one.shape[1]) if one.dim() == 4 else one.detach()).numpy()
            for one in (before, after)
        )
        x, y = x - x.mean(0), y - y.mean(0)
        found[f"cca.{name}"] = np.cos(scipy.linalg.subspace_angles(scipy.linalg.orth(x), scipy.linalg.orth(y))).mean()
        alone = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
        found[f"cka.{name}"] = np.linalg.norm(x.T @ y) ** 2 / alone
        its = [key for key in params if key.startswith(name)]
        moved = np.sqrt(sum(((adapted[key] - params[key]) ** 2).sum().item() for key in its))
        found[f"distance.{name}"] = moved
        found[f"relative_distance.{name}"] = moved / np.sqrt(sum((params[key] ** 2).sum().item() for key in its))
    return found


@pytest.mark.parametrize("frozen", [(), ("conv1", "conv3"), ("conv1", "conv2", "conv3", "conv4")])
def test_an_episode_by_autograd_written_out(strokes: ImageTable, frozen: tuple[str, ...]) -> None:
    asked = config({**SIMILARITY, "frozen_layers": frozen})
    params = weights(asked, strokes)
    found = layer_changes(asked, params, strokes)
    assert list(found) == [f"{kind}.{name}" for kind in KINDS for name in LAYERS]
    for episode in (0, 2):
        plain = expected(asked, strokes, params, episode, frozen)
        for column, values in found.items():
            assert values.shape == (3,)
            assert values[episode] == pytest.approx(plain[column], abs=1e-9), column
    assert 0 < found["cka.head"].min() < 0.999
    assert found["distance.head"].min() > 0.01


def test_what_stands_still_is_not_compared(strokes: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """In front of the first layer that adapts nothing is compared; behind it a frozen one is, for what it is given."""
    passed: list[tuple[int, int | None]] = []
    forward = Network.forward
    compared: list[int] = []

    def noted(self: Network, params: Any, x: Any, start: int = 0, stop: int | None = None) -> Any:
        passed.append((start, stop))
        return forward(self, params, x, start, stop)

    def counted(x: Any, y: Any) -> float:
        compared.append(len(x))
        return 0.5

    monkeypatch.setattr(Network, "forward", noted)
    monkeypatch.setattr(layer_change, "cca", counted)
    asked = config({"measure": "similarity", "episodes": 2, "frozen_layers": ("conv1", "conv2", "conv4")})
    found = layer_changes(asked, weights(asked, strokes), strokes)
    for name in ("conv1", "conv2"):
        for kind in KINDS:
            assert found[f"{kind}.{name}"].tolist() == [UNMOVED[kind]] * 2
    assert len(compared) == 2 * 3  # conv3, conv4 and head of two episodes
    assert [place for place in passed if place[1] is not None and place[0] >= 2].count((2, 3)) == 2 * 2
    assert (0, 1) not in passed
    assert found["distance.conv4"].tolist() == [0, 0]
    assert found["cka.conv4"].max() < 1 - 1e-9


def test_without_steps_nothing_changes(strokes: ImageTable) -> None:
    asked = config({**SIMILARITY, "inner_steps": 0})
    for column, values in layer_changes(asked, weights(asked, strokes), strokes).items():
        assert values.tolist() == [UNMOVED[column.split(".")[0]]] * 3


def test_cka_alone_and_by_images(strokes: ImageTable) -> None:
    both, alone = config(), config({**SIMILARITY, "measure": "cka"})
    params = weights(both, strokes)
    found, without = layer_changes(both, params, strokes), layer_changes(alone, params, strokes)
    assert list(without) == [column for column in found if not column.startswith("cca")]
    assert all((without[column] == found[column]).all() for column in without)
    by_image = layer_changes(config({**SIMILARITY, "measure": "cka", "flattening": "images"}), params, strokes)
    assert (by_image["cka.head"] == without["cka.head"]).all()
    assert (by_image["cka.conv1"] != without["cka.conv1"]).all()


def test_accuracy_is_measured_as_ever(strokes: ImageTable) -> None:
    plain, asked = config({"episodes": 3}), config()
    params = weights(asked, strokes)
    (one,), (other,) = evaluate([plain], params, strokes), evaluate([asked], params, strokes)
    assert (one == other).all()
    assert layer_changes(plain, params, strokes) == {}


def test_a_network_that_leaves_the_numbers_is_named(strokes: ImageTable) -> None:
    asked = config(algorithm={"inner_lr": 1e200, "inner_steps": 2})
    with pytest.raises(AdaptationDiverged, match=r"test episode 0: conv1 is not finite .*; lower algorithm.inner_lr"):
        layer_changes(asked, weights(asked, strokes), strokes)


def test_a_trial_measures_what_it_is_asked(strokes: ImageTable) -> None:
    result = run_trial(config(), strokes)
    again = layer_changes(config(), result.progress.best["linear"].params, strokes)
    assert result.measured.keys() == again.keys()
    assert all((result.measured[column] == again[column]).all() for column in again)


def test_sizes_of_images_are_known_before_they_are_made() -> None:
    """28×28 with four pools leaves one pixel: 6 points for 6 neurons."""
    assert "conv4 6 points and 6 neurons" in refused(GLYPHS, SIMILARITY, backbone={"width": 6})
    check_data(config(), GLYPHS)


def refused(data: Any, evaluation: dict[str, Any], **sections: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        check_data(config(evaluation, **sections), data)
    return str(error.value)


def test_too_few_points_are_refused_before_anything_runs(strokes: ImageTable) -> None:
    check_data(config(), strokes)
    check_data(config(backbone={"width": 5}), strokes)
    words = refused(strokes, SIMILARITY, backbone={"width": 6})
    assert "conv4 6 points and 6 neurons; raise evaluation.queries (now 2), or set evaluation.measure: cka" in words
    words = refused(strokes, {**SIMILARITY, "flattening": "images"})
    assert "conv1 6 points and 192 neurons; raise evaluation.queries (now 2), set evaluation.flattening: ch" in words
    check_data(config({**SIMILARITY, "flattening": "images", "measure": "cka"}), strokes)
    check_data(config({"episodes": 3}, backbone={"width": 64}), strokes)
    # of the head it is known of images of any size
    birds = {"name": "folder.birds"}
    words = refused(recipe_of("folder.birds"), {**SIMILARITY, "queries": 1}, dataset=birds)
    assert "head 3 points and 3 neurons; raise evaluation.queries (now 1)" in words


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize("flattening", ["channels", "images"])
def test_sizes_are_those_of_the_network(strokes: ImageTable, pooling: str, flattening: str) -> None:
    from trainers.representation import representation_sizes
    from trainers.similarity import flatten

    measured = {"flattening": flattening, "measure": "cka"}
    asked = config({**SIMILARITY, **measured}, backbone={"width": 3, "pooling": pooling})
    for size in (16, 21, 28):
        network = Network(asked, (size, size + 1, 1))
        x, params = torch.zeros(6, 1, size, size + 1), network.init(0)
        sizes = {}
        for index, name in enumerate(network.layers):
            x = network.forward(params, x, start=index, stop=index + 1)
            sizes[name] = tuple(flatten(x, flattening).shape)
        assert sizes == representation_sizes(asked, (size, size + 1, 1))


def test_the_nil_head_has_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match=r"nil head has none; set evaluation.head: linear"):
        config({**SIMILARITY, "head": "nil"})
    with pytest.raises(ValueError, match=r"nil head has none"):
        config(algorithm={"name": "nil"})
    assert config({**SIMILARITY, "head": "linear"}, algorithm={"name": "nil"}).test_adapted_layers == ("head",)
