"""Pictures as a worse camera or worse light would have given them: the same change for the same picture every time.

Five severities of each, after Hendrycks and Dietterich 2019 (arXiv:1903.12261) for noise, blur and JPEG, whose figures
are for pictures of 224 pixels: blur grows with the picture. Light is off by half a stop to two and a half, up or down.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from qdsl.data.npz import ArrayReader
from qdsl.data.opening import PictureReader
from qdsl.data.types import Dataset

SEVERITIES = (1, 2, 3, 4, 5)
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation, of the full range
_BLUR = (1.0, 2.0, 3.0, 4.0, 6.0)  # standard deviation in pixels, of a picture whose shorter side has `_SIDE`
_QUALITY = (25, 18, 15, 10, 7)
_STOPS = (0.5, 1.0, 1.5, 2.0, 2.5)  # a stop halves or doubles the light
_SIDE, _GAMMA = 224, 2.2

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Corruption:
    """One change: a kind of `KINDS` and a severity of `SEVERITIES`. Raises ValueError for others."""

    kind: str
    severity: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.severity not in SEVERITIES:
            raise ValueError(f"there is no `{self.kind} {self.severity}`: expected one of {', '.join(KINDS)}, 1 to 5")

    def __str__(self) -> str:
        return f"{self.kind} {self.severity}"

    def __call__(self, pixels: Pixels, name: str) -> Pixels:
        """A picture [height, width, channels], changed; `name` is what its chance depends on."""
        digest = hashlib.sha256(f"{self} {name}".encode("utf-8", "surrogateescape")).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
        return KINDS[self.kind](pixels, self.severity - 1, rng)


def corrupted(dataset: Dataset, change: Corruption) -> Dataset | None:
    """The dataset with every picture changed; None where its samples are no pictures."""
    reader = dataset.reader
    pictures = isinstance(reader, PictureReader) or (isinstance(reader, ArrayReader) and reader.size(0) is not None)
    return replace(dataset, reader=replace(reader, change=change)) if pictures else None  # type: ignore[type-var]


def _noise(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    added = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(255 * _NOISE[level])
    return _bytes(pixels + added)


def _blur(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    radius = _BLUR[level] * min(pixels.shape[:2]) / _SIDE
    return _through(pixels, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def _jpeg(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    def pressed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY[level])
        return Image.open(buffer)

    return _through(pixels, pressed)


def _light(pixels: Pixels, level: int, rng: np.random.Generator) -> Pixels:
    stops = _STOPS[level] * (1 if rng.random() < 0.5 else -1)
    values = np.arange(256, dtype=np.float64) / 255
    table = _bytes(255 * (values**_GAMMA * 2.0**stops) ** (1 / _GAMMA))
    return np.asarray(table[pixels])


KINDS: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {
    "light": _light,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
}


def _through(pixels: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """A change that works on Pillow's images."""
    grey = pixels.shape[2] == 1
    found = np.asarray(change(Image.fromarray(pixels[:, :, 0] if grey else pixels)))
    return np.asarray(found[:, :, None] if grey else found)


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
