"""How large the representations are that a similarity compares: known from shapes, before there are any."""

from __future__ import annotations

from trainers.algorithms.algorithm import HEAD_LAYER
from trainers.config import Between, TrialConfig
from trainers.errors import ConfigError


def representation_sizes(
    config: TrialConfig, image_shape: tuple[int, int, int] | None = None
) -> dict[str, tuple[int, int]]:
    """(points, neurons) of every layer's representation of a test's query set.

    Args:
        config: of the trial.
        image_shape: (height, width, channels); where it is not known, only the head's can be told.
    """
    images, width = config.episodes.ways * config.test_queries, config.backbone.width
    pixels = config.backbone.map_sizes(*image_shape[:2]) if image_shape else []
    by_channel = config.evaluation.flattening == "channels"
    return {
        **{
            layer: (images * count, width) if by_channel else (images, width * count)
            for layer, count in zip(config.backbone.layers, pixels, strict=False)
        },
        HEAD_LAYER: (images, config.episodes.ways),
    }


def check_points(
    config: TrialConfig, image_shape: tuple[int, int, int] | None = None, between: Between | None = None
) -> None:
    """Refuses a similarity whose CCA can't be: some layer would have too few points for its neurons.

    Args:
        config: of the trial.
        image_shape: (height, width, channels), where it is known.
        between: what is compared between trainings, if anything is.

    Raises:
        ConfigError: names the layer, both numbers and the ways out.
    """
    if between is not None and between.measure == "similarity":
        asked = "grid.between.measure"
    elif config.evaluation.measure == "similarity":
        asked = "evaluation.measure"
    else:
        return
    for layer, (points, neurons) in representation_sizes(config, image_shape).items():
        if points <= neurons:
            by_image = config.evaluation.flattening == "images" and layer != HEAD_LAYER
            raise ConfigError(
                f"{asked}: similarity has CCA, which needs more points than neurons, but the query set gives "
                f"{layer} {points:,} points and {neurons:,} neurons; raise evaluation.queries (now "
                f"{config.test_queries}), {'set evaluation.flattening: channels, ' if by_image else ''}"
                f"or set {asked}: cka"
            )
