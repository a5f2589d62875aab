"""The input block against arrays worked out by hand, and against Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import BLOCK_SPAN, block, picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qdsl.data.geometry import covering, letterbox
from qdsl.data.image import decode
from qdsl.data.preprocess import build, resample
from qdsl.data.types import ModelInput
from qdsl.diag import QdslError


def run(pixels: np.ndarray[Any, Any], *steps: tuple[Any, ...], dtype: str = "float32", shape: Any = None) -> Any:
    return build("images", block(*steps), ModelInput(dtype, shape), BLOCK_SPAN).picture(pixels)


def pixels_of(height: int, width: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_no_steps_gives_the_pixels_channels_first() -> None:
    pixels = pixels_of(2, 4)
    made = run(pixels)
    assert made.shape == (1, 3, 2, 4) and made.dtype == np.float32
    np.testing.assert_array_equal(made[0], pixels.transpose(2, 0, 1).astype(np.float32))


def test_letterbox_by_hand() -> None:
    pixels = np.full((2, 4, 3), 7, dtype=np.uint8)
    made = run(pixels, ("resize", 4, 4, "letterbox"), dtype="uint8")
    expected = np.full((4, 4), 114, dtype=np.uint8)
    expected[1:3] = 7
    np.testing.assert_array_equal(made[0], np.stack([expected] * 3))


def test_letterbox_top_left_pads_below_and_right() -> None:
    made = run(np.full((2, 4, 3), 7, dtype=np.uint8), ("resize", 4, 4, "letterbox", "top_left"), dtype="uint8")
    assert (made[0, :, :2] == 7).all() and (made[0, :, 2:] == 114).all()


def test_letterbox_after_arithmetic_pads_with_the_same_grey() -> None:
    pixels = pixels_of(2, 4)
    before = run(pixels, ("resize", 4, 4, "letterbox"), ("rescale", 1 / 255), ("mean", 0.1, 0.2, 0.3))
    after = run(pixels, ("rescale", 1 / 255), ("mean", 0.1, 0.2, 0.3), ("resize", 4, 4, "letterbox"))
    np.testing.assert_allclose(after, before, atol=1e-6, rtol=0)


def test_arithmetic_in_the_order_written() -> None:
    pixels = pixels_of(1, 2)
    steps = (("rescale", 1 / 255), ("mean", 0.485, 0.456, 0.406), ("std", 0.229, 0.224, 0.225))
    expected = pixels.astype(np.float32) * np.float32(1 / 255)
    expected = (expected - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    np.testing.assert_array_equal(run(pixels, *steps)[0], expected.transpose(2, 0, 1))
    other = run(pixels, ("mean", 127.5), ("rescale", 1 / 127.5))
    np.testing.assert_array_equal(
        other[0], ((pixels.astype(np.float32) - 127.5) * np.float32(1 / 127.5)).transpose(2, 0, 1)
    )


def test_mean_follows_the_channel_order_at_its_place() -> None:
    pixels = pixels_of(1, 1)
    first = run(pixels, ("color", "bgr"), ("mean", 1, 2, 3))
    np.testing.assert_array_equal(first.ravel(), pixels[0, 0, ::-1].astype(np.float32) - np.float32([1, 2, 3]))
    last = run(pixels, ("mean", 1, 2, 3), ("color", "bgr"))
    np.testing.assert_array_equal(last.ravel(), (pixels[0, 0].astype(np.float32) - np.float32([1, 2, 3]))[::-1])


def test_gray_is_pillows_and_layout_puts_channels_last() -> None:
    pixels = pixels_of(5, 7)
    gray = run(pixels, ("color", "gray"), ("layout", "nhwc"), dtype="uint8")
    np.testing.assert_array_equal(gray[0, :, :, 0], np.asarray(Image.fromarray(pixels).convert("L")))
    floats = run(pixels, ("rescale", 1.0), ("color", "bgr"), ("color", "gray"))
    np.testing.assert_allclose(floats[0, 0], gray[0, :, :, 0], atol=1.0, rtol=0)


def test_stretch_is_pillows_bilinear_and_crop_covers_then_cuts() -> None:
    pixels = pixels_of(20, 30)
    stretched = run(pixels, ("resize", 8, 12, "stretch"), ("layout", "nhwc"), dtype="uint8")
    pillow = np.asarray(Image.fromarray(pixels).resize((12, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(stretched[0], pillow)
    cropped = run(pixels, ("resize", 10, 10, "crop"), ("layout", "nhwc"), dtype="uint8")
    whole = np.asarray(Image.fromarray(pixels).resize((15, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(cropped[0], whole[:, 2:12])
    np.testing.assert_array_equal(run(pixels, ("crop", 4, 6), dtype="uint8")[0, 0], pixels[8:12, 12:18, 0])


def test_float_resampling_agrees_with_integer_resampling() -> None:
    pixels = pixels_of(16, 16)
    exact = resample(pixels.astype(np.float32), 8, 8)
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, resample(pixels, 8, 8), atol=1.0, rtol=0)


@given(*(st.integers(1, 5000) for _ in range(2)), *(st.integers(1, 1300) for _ in range(2)), st.booleans())
def test_letterbox_geometry(height: int, width: int, to_height: int, to_width: int, corner: bool) -> None:
    placed = letterbox(height, width, to_height, to_width, corner)
    assert 1 <= placed.height <= to_height and 1 <= placed.width <= to_width
    assert placed.height == to_height or placed.width == to_width, "one side is filled"
    below, right = to_height - placed.top - placed.height, to_width - placed.left - placed.width
    if corner:
        assert (placed.top, placed.left) == (0, 0)
    else:
        assert 0 <= below - placed.top <= 1 and 0 <= right - placed.left <= 1, "in the middle"
    scale = min(to_height / height, to_width / width)
    assert abs(placed.height - height * scale) <= 1 and abs(placed.width - width * scale) <= 1
    covered = covering(height, width, to_height, to_width)
    assert covered[0] >= to_height and covered[1] >= to_width


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_pillow_applies_it(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(tmp_path / "a.png", (5, 3), exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(tmp_path / "a.png", "a.png", None), expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    grey = np.tile(np.arange(0, 256, 32, dtype=np.uint8), (4, 1))
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 256 + 9).save(path)
        np.testing.assert_array_equal(decode(path, "a", None), np.repeat(grey[:, :, None], 3, axis=2))
        return
    Image.fromarray(grey).convert("RGB").convert(mode).save(path)
    made = decode(path, "a", None)
    assert made.shape == (4, 8, 3) and made.dtype == np.uint8
    if mode not in ("1", "P"):
        np.testing.assert_array_equal(made[:, :, 0], grey)


def test_integer_inputs_take_what_fits() -> None:
    assert run(np.full((1, 1, 3), 100, dtype=np.uint8), dtype="int8").dtype == np.int8
    with pytest.raises(QdslError, match="input-dtype"):
        run(np.full((1, 1, 3), 200, dtype=np.uint8), dtype="int8")
    assert run(pixels_of(1, 1), ("rescale", 1 / 255), dtype="float16").dtype == np.float16
