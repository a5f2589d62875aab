"""What can be said of samples before one is read: the shape and type that the steps of an `input` block make of them.

Everything is raised as the steps themselves would raise it, with the same codes at the same places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qdsl.data.preprocess import (
    Pipeline,
    cast,
    check_shape,
    is_picture,
    per_channel,
    require_arithmetic,
    require_crop,
)
from qdsl.data.types import Dim

_ARITHMETIC = ("rescale", "mean", "std")


def check_pictures(pipeline: Pipeline, size: tuple[int, int] | None = None, channels: int = 3) -> None:
    """Pictures of `size` (height, width; None where they differ) and `channels`. QdslError input-shape, input-channels,
    input-crop, input-dtype."""
    for step in pipeline.steps:
        if step.name == "crop" and size is not None:
            require_crop(step, *size)
        if step.name in ("resize", "crop"):
            size = int(step.args[0]), int(step.args[1])
        elif step.name == "color":
            channels = 1 if step.args[0] == "gray" else 3
        elif step.name in _ARITHMETIC:
            per_channel(step, channels)
    _check_type(pipeline, np.dtype(np.uint8))
    expected = pipeline.takes.shape
    high, wide = size if size is not None else _fitting(pipeline, expected)
    check_shape(pipeline, (1, high, wide, channels) if pipeline.layout == "nhwc" else (1, channels, high, wide))


def _fitting(pipeline: Pipeline, expected: tuple[Dim, ...] | None) -> tuple[int, int]:
    """A height and width that the input takes: only a picture of its own size tells whether that one does."""
    if expected is None or len(expected) != 4:
        return 1, 1
    sides = expected[1:3] if pipeline.layout == "nhwc" else expected[2:4]
    high, wide = (side if isinstance(side, int) else 1 for side in sides)
    return high, wide


def check_rows(pipeline: Pipeline, dtype: np.dtype[Any], row: tuple[int, ...]) -> None:
    """Stored arrays of which one sample has this type and shape. QdslError as above, and input-not-picture."""
    if is_picture(dtype, row):
        check_pictures(pipeline, (row[0], row[1]), row[2])
        return
    whole = (1, *row)
    axis = -1 if pipeline.layout == "nhwc" or len(whole) < 3 else 1
    for step in pipeline.steps:
        require_arithmetic(pipeline, step)
        if step.name in _ARITHMETIC:
            per_channel(step, whole[axis])
    _check_type(pipeline, dtype)
    check_shape(pipeline, row if pipeline.without_batch(row) else whole, stored=True)


def _check_type(pipeline: Pipeline, dtype: np.dtype[Any]) -> None:
    """Arithmetic makes float32 of everything; whether integers fit is for the samples to say."""
    arithmetic = any(step.name in _ARITHMETIC for step in pipeline.steps)
    cast(pipeline, np.empty(0, np.float32 if arithmetic else dtype))
