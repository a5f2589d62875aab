"""Where a picture lies in the model's input, and masks that move with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import block
from PIL import Image

from qdsl.data import ModelInput
from qdsl.data.geometry import region
from qdsl.data.image import picture_size
from qdsl.data.masks import place_mask, read_mask
from qdsl.data.preprocess import build
from qdsl.diag import QdslError


@pytest.mark.parametrize("size", [(200, 120), (90, 220), (64, 64)])
@pytest.mark.parametrize(
    "steps",
    [
        (("resize", 96, 96, "letterbox"),),
        (("resize", 96, 128, "letterbox", "top_left"),),
        (("resize", 96, 80, "stretch"),),
        (("resize", 64, 80, "crop"),),
        (("resize", 128, 128, "letterbox"), ("crop", 60, 100)),
        (("crop", 50, 40),),
    ],
)
def test_a_place_in_the_input_is_traced_back_to_the_picture(
    size: tuple[int, int], steps: tuple[tuple[Any, ...], ...]
) -> None:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = np.arange(width), np.arange(height)[:, None], 200
    spec = block(*steps)
    array = build("x", spec, ModelInput("uint8", None), spec.span).picture(pixels)[0].astype(float)
    left, top, right, bottom = region(spec.steps, height, width)
    rows, columns = np.nonzero(array[2] == 200)  # inside the picture, not padding
    x = (columns + 0.5 - left) / (right - left) * width - 0.5
    y = (rows + 0.5 - top) / (bottom - top) * height - 0.5
    inner = (x > 4) & (x < width - 5) & (y > 4) & (y < height - 5)
    assert inner.sum() > 100
    np.testing.assert_allclose(array[0][rows, columns][inner], x[inner], atol=0.51)
    np.testing.assert_allclose(array[1][rows, columns][inner], y[inner], atol=0.51)


@pytest.mark.parametrize(
    "steps",
    [
        (("resize", 32, 32, "letterbox"),),
        (("resize", 32, 48, "letterbox", "top_left"),),
        (("resize", 16, 16, "crop"),),
        (("crop", 24, 24),),
        (("resize", 64, 32, "stretch"), ("crop", 16, 16)),
    ],
)
def test_a_mask_moves_as_its_picture_does(steps: tuple[tuple[Any, ...], ...]) -> None:
    mask = np.zeros((32, 64), np.int64)
    mask[:16, :32], mask[16:, 32:] = 1, 2
    spec = block(*steps)
    pixels = (80 * mask).astype(np.uint8)[:, :, None].repeat(3, 2)
    array = build("x", spec, ModelInput("uint8", None), spec.span).picture(pixels)[0, 0].astype(int)
    placed = place_mask(mask, spec.steps, -1)
    assert placed.shape == array.shape
    clear = np.isin(array, (0, 80, 160)) & (placed >= 0)  # not mixed by resampling, not padding
    assert clear.sum() >= 100
    assert (array[clear] == 80 * placed[clear]).all()
    assert ((placed == -1) == (array == 114)).all()


def test_masks_are_class_numbers_or_refused(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(values).save(tmp_path / "grey.png")
    palette = Image.fromarray(values).convert("P")
    palette.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        assert read_mask(tmp_path / name, name, None).shape == (3, 4)
    assert (read_mask(tmp_path / "grey.png", "grey.png", None) == values).all()
    Image.fromarray(values).save(tmp_path / "lossy.jpg")
    (tmp_path / "cut.png").write_bytes((tmp_path / "grey.png").read_bytes()[:40])
    for name in ("lossy.jpg", "cut.png"):
        with pytest.raises(QdslError) as caught:
            read_mask(tmp_path / name, name, None)
        assert caught.value.diagnostics[0].code == "mask-format"


def test_a_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (20, 10)).save(tmp_path / "plain.png")
    assert picture_size(tmp_path / "turned.jpg", "turned.jpg", None) == (20, 10)
    assert picture_size(tmp_path / "plain.png", "plain.png", None) == (10, 20)
