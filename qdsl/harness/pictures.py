"""Small copies of sample pictures, for reports."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qdsl.data import Dataset
from qdsl.data.image import with_pixels
from qdsl.data.opening import PictureReader
from qdsl.diag import Span

LONGEST, QUALITY = 320, 80


def thumbnail(dataset: Dataset, index: int, span: Span | None) -> bytes | None:
    """The picture of sample `index` as a JPEG file whose longer side has at most `LONGEST` pixels; None where the
    samples are no picture files. Raises QdslError: data-missing, data-unreadable, data-size, image-*."""
    if not isinstance(dataset.reader, PictureReader):
        return None
    image = with_pixels(dataset.reader.items[index], span, _small)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def _small(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST))
    return image
