"""What the samples themselves show while they are measured: that they hold one colour or one value, that they are
equal, and repeats that move no range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_setups import conv, save
from data_cases import picture
from PIL import Image

import qdsl
from qdsl.calibrate import Request, merged, observe
from qdsl.data.image import FLAT, decode, is_flat
from qdsl.data.sameness import FEW, is_constant
from qdsl.diag import Diagnostic

RECIPE = """recipe example
model onnx "model.onnx"
input { resize 8 stretch }
data calib from SOURCE
quantize static { weights int8; activations uint8; calibrate METHOD on calib }
target ort
"""


def project(folder: Path, source: str = 'images "photos"', method: str = "minmax") -> Path:
    save(conv(), folder)
    recipe = folder / "example.q"
    recipe.write_text(RECIPE.replace("SOURCE", source).replace("METHOD", method))
    return recipe


def told(recipe: Path, code: str) -> list[Diagnostic]:
    result = qdsl.compile(recipe, out=recipe.parent / "build", lock=False, workers=2)
    return [found for found in result.diagnostics if found.code == code]


def plain(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 150), colour).save(path)


def test_pictures_of_one_colour_are_named(tmp_path: Path) -> None:
    for at in range(4):
        picture(tmp_path / f"photos/{at}.png", seed=at)
    recipe = project(tmp_path)
    assert not told(recipe, "data-flat")
    for name in ("9", "8", "7", "6"):
        plain(tmp_path / f"photos/{name}.jpg", (0, 0, int(name)))
    (found,) = told(recipe, "data-flat")
    assert found.headline == "4 pictures of dataset calib are of one colour"
    assert found.label == "6.jpg, 7.jpg, 8.jpg, ..."
    assert found.span is not None and found.span.line == 4


def test_pictures_stored_as_arrays_are_looked_at_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pixels[1] = 77
    np.savez(tmp_path / "calib.npz", images=pixels)
    (found,) = told(project(tmp_path, 'npz "calib.npz"'), "data-flat")
    assert found.label == "calib.npz[1]"


@pytest.mark.parametrize("spread, flat", [(0.0, True), (FLAT / 2, True), (1.5 * FLAT, False)])
def test_the_bound_is_a_standard_deviation(spread: float, flat: bool) -> None:
    noise = np.random.default_rng(1).standard_normal((300, 200, 3)) * spread
    assert is_flat(np.clip(128 + noise, 0, 255).astype(np.uint8)) is flat


def test_small_bright_things_on_black_are_seen(tmp_path: Path) -> None:
    """They fall between the pixels of the first glance."""
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[15::20, 13::20] = 255
    assert pixels[::10, ::10].max() == 0
    Image.fromarray(pixels).save(tmp_path / "stars.png")
    assert not is_flat(decode(tmp_path / "stars.png", "stars.png", None))


def test_a_colour_that_changes_from_channel_to_channel_only_is_flat() -> None:
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[:, :, 0] = 255
    assert is_flat(pixels)


def test_shards_and_interruptions_forget_none(tmp_path: Path) -> None:
    from qdsl.data import ModelInput
    from qdsl.data import open as open_data
    from qdsl.work.prepared import prepare, read

    for at in range(5):
        picture(tmp_path / f"photos/{at}.png", seed=at)
    plain(tmp_path / "photos/2.png", (9, 9, 9))
    plain(tmp_path / "photos/3.png", (1, 2, 3))
    prepared = prepare(read(project(tmp_path), {}))
    takes = {"images": ModelInput("float32", (1, 3, 8, 8))}
    dataset = open_data(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes)
    parts = [observe(prepared.model, [[Request("y")]], dataset, shard=(i, 2)) for i in (1, 0)]
    again = [type(part).from_json(part.to_json()) for part in parts]
    assert merged(again).flat == {2, 3}


OVER = 'folder "photos" { oversample "crack" 5 }'


def classes(folder: Path) -> None:
    for at, name in enumerate(("crack/1", "clean/1", "clean/2")):
        picture(folder / f"photos/{name}.png", seed=at)


def test_repeats_alone_move_no_minimum(tmp_path: Path) -> None:
    classes(tmp_path)
    (found,) = told(project(tmp_path, OVER), "sampling-no-effect")
    assert found.headline == "`oversample` of dataset calib changes no range: it leaves no picture out"


@pytest.mark.parametrize(
    "source, method",
    [(OVER, "mse"), (OVER.replace("5", "5; take 3 seed 1"), "minmax"), ('folder "photos"', "minmax")],
)
def test_what_moves_a_range_is_not_told(source: str, method: str, tmp_path: Path) -> None:
    classes(tmp_path)
    assert not told(project(tmp_path, source, method), "sampling-no-effect")


def test_nothing_is_told_twice(tmp_path: Path) -> None:
    classes(tmp_path)
    (found,) = told(project(tmp_path, OVER.replace("5", '5, "clean" 5')), "sampling-no-effect")
    assert found.label == "every picture gets the same factor"


def arrays(folder: Path, values: np.ndarray) -> Path:
    np.savez(folder / "calib.npz", images=values)
    recipe = project(folder, 'npz "calib.npz"')
    recipe.write_text(recipe.read_text().replace("input { resize 8 stretch }\n", ""))
    return recipe


NOISE = np.random.default_rng(3).standard_normal((6, 3, 8, 8)).astype(np.float32)


def test_arrays_of_one_value_are_told_once_and_as_nothing_else(tmp_path: Path) -> None:
    recipe = arrays(tmp_path, np.zeros((6, 3, 8, 8), np.float32))
    (found,) = told(recipe, "data-flat")
    assert found.headline == "all 6 samples of dataset calib hold one value alone, or one per channel"
    assert found.label == "calib.npz[0], calib.npz[1], calib.npz[2], ..."
    assert not told(recipe, "data-duplicates")


@pytest.mark.parametrize("of_each", [np.zeros(3), np.arange(3.0)], ids=["one value", "one per channel"])
def test_a_constant_row_among_others_is_named(of_each: np.ndarray, tmp_path: Path) -> None:
    values = NOISE.copy()
    values[4] = of_each[:, None, None]
    (found,) = told(arrays(tmp_path, values), "data-flat")
    assert found.headline == "1 sample of dataset calib holds one value alone, or one per channel"
    assert found.label == "calib.npz[4]"


def test_one_value_that_differs_is_enough(tmp_path: Path) -> None:
    values = np.zeros((2, 3, 8, 8), np.float32)
    values[:, 1, 5, 3] = 1, 2
    recipe = arrays(tmp_path, values)
    assert not told(recipe, "data-flat")
    assert not told(recipe, "data-duplicates")


def test_rows_of_the_same_values_are_named(tmp_path: Path) -> None:
    values = NOISE.copy()
    values[5] = values[1]
    (found,) = told(arrays(tmp_path, values), "data-duplicates")
    assert found.headline == "1 of the 6 samples of dataset calib holds the values of another"
    assert found.label == "calib.npz[5]"


def test_rows_that_are_all_the_same_are_told_as_that(tmp_path: Path) -> None:
    (found,) = told(arrays(tmp_path, np.repeat(NOISE[:1], 4, 0)), "data-duplicates")
    assert found.headline == "all 4 samples of dataset calib hold the same values"


def test_pictures_of_other_bytes_and_the_same_pixels_are_told_where_all_are_such(tmp_path: Path) -> None:
    picture(tmp_path / "photos/0.png", seed=1)
    pixels = Image.open(tmp_path / "photos/0.png")
    pixels.save(tmp_path / "photos/1.bmp")
    recipe = project(tmp_path)
    (found,) = told(recipe, "data-duplicates")
    assert found.headline == "all 2 samples of dataset calib hold the same values"
    picture(tmp_path / "photos/2.png", seed=2)
    assert not told(recipe, "data-duplicates")


def test_equal_files_are_not_told_again(tmp_path: Path) -> None:
    for at in range(2):
        picture(tmp_path / f"photos/{at}.png", seed=1)
    (found,) = told(project(tmp_path), "data-duplicates")
    assert found.headline == "1 of the files of dataset calib has the content of another"


def test_samples_drawn_twice_on_purpose_are_no_copies(tmp_path: Path) -> None:
    classes(tmp_path)
    assert not told(project(tmp_path, OVER, "mse"), "data-duplicates")


def test_shards_and_interruptions_find_the_copies(tmp_path: Path) -> None:
    from qdsl.calibrate import plan_ways
    from qdsl.data import ModelInput
    from qdsl.data import open as open_data
    from qdsl.work.prepared import prepare, read

    values = NOISE.copy()
    values[3] = values[0]
    prepared = prepare(read(arrays(tmp_path, values), {}))
    takes = {"images": ModelInput("float32", (1, 3, 8, 8))}
    dataset = open_data(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes)
    parts = [observe(prepared.model, [[Request("y")]], dataset, shard=(i, 2)) for i in (1, 0)]
    again = [type(part).from_json(part.to_json()) for part in parts]
    assert merged(again).ranges(plan_ways(prepared.model, [Request("y")])).copies == ((3, 0),)


@pytest.mark.parametrize(
    "shape, channels, constant",
    [((3, 8, 8), 0, True), ((8, 8, 3), 2, True), ((8, 8, 3), 0, False), ((3, 1, 1), 0, False), ((512, 1, 1), 0, False)],
)
def test_channels_hold_one_value_each_where_they_have_room(
    shape: tuple[int, ...], channels: int, constant: bool
) -> None:
    axis = 2 if shape[2] == 3 else 0
    values = np.moveaxis(np.broadcast_to(np.arange(float(shape[axis]))[:, None, None], np.roll(shape, -axis)), 0, axis)
    assert values.shape == shape
    assert is_constant(values, channels) is constant


@pytest.mark.parametrize("count, constant", [(1, False), (FEW - 1, False), (FEW, True)])
def test_a_few_equal_numbers_say_nothing(count: int, constant: bool) -> None:
    assert is_constant(np.ones(count)) is constant
