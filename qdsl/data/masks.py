"""Masks: read from files without loss, and moved to the model's input as their picture is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qdsl.data.geometry import region
from qdsl.data.image import MAX_FILE_BYTES, open_file, require_room
from qdsl.data.types import failure
from qdsl.diag import QdslError, Span
from qdsl.lang.recipe import InputStep

Mask = NDArray[np.integer | np.bool_]
_MASKS = ("PNG", "BMP", "TIFF", "PPM")  # formats without loss: a class number must survive
_KINDS = ("1", "L", "P", "I", "I;16")


def read_mask(path: Path, name: str, span: Span | None) -> Mask:
    """The class of each pixel [height, width] of a mask file: grey values, or palette indices. Raises QdslError:
    data-missing, data-unreadable, image-bomb, image-broken, mask-format."""
    with open_file(path, name, span, MAX_FILE_BYTES) as file:
        try:
            with Image.open(file, formats=_MASKS) as image:
                require_room(image, name, span)
                if image.mode not in _KINDS:
                    help = ("store one grey value or palette index per pixel: the number of its class",)
                    raise failure("mask-format", f"{name} is a picture in colour, not a mask", span, help=help)
                return np.asarray(image)
        except QdslError:
            raise
        # As in `decode`: Pillow's readers meet bad bytes with many kinds of exception.
        except Exception as error:
            headline = f"{name} is not a usable mask: {type(error).__name__}"
            help = (f"masks are {', '.join(_MASKS)} files: JPEG changes class numbers",)
            raise failure("mask-format", headline, span, help=help) from None


def same_shape(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) are of one shape, up to the rounding of a pixel when one was scaled."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)


def place_mask(mask: Mask, steps: Iterable[InputStep], outside: int) -> NDArray[np.int64]:
    """A mask [h, w] moved as the picture is, to the height and width of the input. A pixel takes the class that lies
    under its centre (no mixing of class numbers); where there is no picture it is `outside`."""
    steps = [step for step in steps if step.name in ("resize", "crop")]
    if not steps:
        return mask.astype(np.int64)
    height, width = int(steps[-1].args[0]), int(steps[-1].args[1])
    left, top, right, bottom = region(steps, *mask.shape)
    rows = np.floor((np.arange(height) + 0.5 - top) * (mask.shape[0] / (bottom - top))).astype(np.int64)
    columns = np.floor((np.arange(width) + 0.5 - left) * (mask.shape[1] / (right - left))).astype(np.int64)
    in_rows, in_columns = (rows >= 0) & (rows < mask.shape[0]), (columns >= 0) & (columns < mask.shape[1])
    placed = np.full((height, width), outside, np.int64)
    placed[np.ix_(in_rows, in_columns)] = mask[np.ix_(rows[in_rows], columns[in_columns])]
    return placed
