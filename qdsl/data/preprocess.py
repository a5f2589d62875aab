"""The `input` block of a recipe, carried out on one picture or array, in the order written.

Pixels stay uint8 until the first arithmetic step (rescale, mean, std) and are float32 from there; the last step casts
to the model input's type. Resampling is Pillow's bilinear filter, which widens with the scale when shrinking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qdsl.data.geometry import covering, letterbox
from qdsl.data.types import Array, ModelInput, failure
from qdsl.diag import Span
from qdsl.lang.recipe import InputSpec, InputStep
from qdsl.spec.words import count

PAD = 114.0  # the grey that YOLO's letterbox pads with, on a scale of 0..255
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's mode "L"
_TYPES = frozenset(
    {"float16", "float32", "float64", "bool"} | {f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)}
)
GEOMETRY = frozenset({"resize", "crop", "color"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on its way through the steps. `pixels` is [height, width, channels], uint8 or float32; `pad` is the
    padding colour after the same arithmetic, per channel; `order` is "rgb", "bgr" or "gray"."""

    pixels: Array
    pad: NDArray[np.float32]
    order: str = "rgb"


def resample(pixels: Array, height: int, width: int) -> Array:
    """[h, w, channels] to [height, width, channels] with Pillow's bilinear filter, in the type it came in."""
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    planes = [Image.fromarray(np.ascontiguousarray(pixels[:, :, c])) for c in range(pixels.shape[2])]
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BILINEAR)) for p in planes], axis=2)


def _resize(picture: Picture, step: InputStep) -> Picture:
    to_height, to_width, words = int(step.args[0]), int(step.args[1]), step.args[2:]
    height, width = picture.pixels.shape[:2]
    if "letterbox" in words:
        where = letterbox(height, width, to_height, to_width, corner="top_left" in words)
        canvas = np.empty((to_height, to_width, picture.pixels.shape[2]), dtype=picture.pixels.dtype)
        canvas[:] = picture.pad.astype(canvas.dtype)
        inside = resample(picture.pixels, where.height, where.width)
        canvas[where.top : where.top + where.height, where.left : where.left + where.width] = inside
        return replace(picture, pixels=canvas)
    if "crop" in words:
        covered = resample(picture.pixels, *covering(height, width, to_height, to_width))
        return _crop(replace(picture, pixels=covered), replace(step, args=(to_height, to_width)))
    return replace(picture, pixels=resample(picture.pixels, to_height, to_width))


def require_crop(step: InputStep, height: int, width: int) -> None:
    """Raise input-crop unless a picture of this size can be cropped as `step` says."""
    to_height, to_width = int(step.args[0]), int(step.args[1])
    if to_height > height or to_width > width:
        help = (f"put `resize [{to_height}, {to_width}] crop` before it, or crop less",)
        headline = f"a {width}x{height} picture cannot be cropped to {to_width}x{to_height}"
        raise failure("input-crop", headline, step.span, label="larger than the picture here", help=help)


def _crop(picture: Picture, step: InputStep) -> Picture:
    to_height, to_width = int(step.args[0]), int(step.args[1])
    height, width = picture.pixels.shape[:2]
    require_crop(step, height, width)
    top, left = (height - to_height) // 2, (width - to_width) // 2
    return replace(picture, pixels=picture.pixels[top : top + to_height, left : left + to_width])


def _color(picture: Picture, step: InputStep) -> Picture:
    to = str(step.args[0])
    if to == picture.order:
        return picture
    if picture.order == "gray":
        return Picture(np.repeat(picture.pixels, 3, axis=2), np.repeat(picture.pad, 3), to)
    if to != "gray":
        return Picture(picture.pixels[:, :, ::-1], picture.pad[::-1], to)
    rgb = picture.pixels if picture.order == "rgb" else picture.pixels[:, :, ::-1]
    pad = picture.pad if picture.order == "rgb" else picture.pad[::-1]
    if rgb.dtype == np.uint8:
        gray: Array = np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))[:, :, None]
    else:
        gray = (rgb * _LUMA).sum(axis=2, keepdims=True, dtype=np.float32)
    return Picture(gray, (pad * _LUMA).sum(keepdims=True, dtype=np.float32), to)


def _arithmetic(picture: Picture, step: InputStep) -> Picture:
    channels = picture.pixels.shape[2]
    numbers = per_channel(step, channels)
    pad = apply_numbers(step.name, picture.pad, numbers)
    return replace(picture, pixels=apply_numbers(step.name, picture.pixels, numbers), pad=pad)


def per_channel(step: InputStep, channels: int) -> NDArray[np.float32]:
    """The numbers of a rescale, mean or std step, one per channel; one number serves every channel."""
    if len(step.args) not in (1, channels):
        headline = f"`{step.name}` has {len(step.args)} values, but the picture has {count(channels, 'channel')} here"
        raise failure(
            "input-channels",
            headline,
            step.span,
            label="expected 1 value" if channels == 1 else f"expected 1 or {channels} values",
        )
    numbers = np.array([float(a) for a in step.args], dtype=np.float32)
    return np.broadcast_to(numbers, (channels,))


def apply_numbers(name: str, values: Array, numbers: NDArray[np.float32]) -> Array:
    """rescale multiplies, mean subtracts, std divides; float32 in and out, `numbers` along the last axis."""
    values = values.astype(np.float32, copy=False)
    if values.ndim > 1:
        # Whole rows at a time: numpy's inner loop over three channels alone takes several times as long.
        rows = values.reshape(*values.shape[:-2], -1)
        return _applied(name, rows, np.tile(numbers, values.shape[-2])).reshape(values.shape)
    return _applied(name, values, numbers)


def _applied(name: str, values: Array, numbers: NDArray[np.float32]) -> Array:
    if name == "rescale":
        return values * numbers
    return values - numbers if name == "mean" else values / numbers


def _skip(picture: Picture, step: InputStep) -> Picture:
    return picture


# `layout` and `shape` speak of the finished array: see Pipeline.
_STEPS: dict[str, Callable[[Picture, InputStep], Picture]] = {
    "resize": _resize,
    "crop": _crop,
    "color": _color,
    "rescale": _arithmetic,
    "mean": _arithmetic,
    "std": _arithmetic,
    "layout": _skip,
    "shape": _skip,
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps for one model input, and what must come out of them."""

    name: str
    steps: tuple[InputStep, ...]
    takes: ModelInput
    span: Span

    @property
    def layout(self) -> str:
        words = [str(s.args[0]) for s in self.steps if s.name == "layout"]
        return words[-1] if words else "nchw"

    def picture(self, pixels: Array) -> Array:
        """uint8 [height, width, 3] in RGB to the array that the model takes, batch of 1 in front."""
        channels = pixels.shape[2]
        now = Picture(pixels, np.full(channels, PAD, dtype=np.float32), "rgb" if channels == 3 else "gray")
        for step in self.steps:
            now = _STEPS[step.name](now, step)
        values = now.pixels if self.layout == "nhwc" else now.pixels.transpose(2, 0, 1)
        return self.finish(values[None])

    def values(self, array: Array) -> Array:
        """An array that already has the model's layout and a leading 1: arithmetic steps, along the channel axis."""
        axis = -1 if self.layout == "nhwc" or array.ndim < 3 else 1
        for step in self.steps:
            require_arithmetic(self, step)
            if step.name in ("rescale", "mean", "std"):
                moved = np.moveaxis(array, axis, -1)
                moved = apply_numbers(step.name, moved, per_channel(step, moved.shape[-1]))
                array = np.moveaxis(moved, -1, axis)
        return self.finish(array[0] if self.without_batch(array.shape[1:]) else array, stored=True)

    def fits(self, dtype: np.dtype[Any], row: tuple[int, ...]) -> bool:
        """Whether one sample of this type and shape can become the input: a picture for the steps, or the values."""
        if is_picture(dtype, row) or self.takes.shape is None:
            return True
        return _agrees(self.takes.shape, (1, *row)) or self.without_batch(row)

    def without_batch(self, row: tuple[int, ...]) -> bool:
        """Whether one row of an array is all that the input takes: a state, a number, a batch of its own."""
        expected = self.takes.shape
        return expected is not None and len(expected) == len(row) and _agrees(expected, row)

    def finish(self, array: Array, *, stored: bool = False) -> Array:
        """Shape checked, cast to the model's type, contiguous. `stored`: not made of a picture by the steps."""
        check_shape(self, array.shape, stored=stored)
        return np.asarray(cast(self, array), order="C")


def require_arithmetic(pipeline: Pipeline, step: InputStep) -> None:
    """Raise input-not-picture for a step that arrays cannot take."""
    if step.name in GEOMETRY:
        headline = f"`{step.name}` works on pictures, and input {pipeline.name} gets an array"
        help = ("store uint8 arrays of shape [samples, height, width, 3] to have them treated as pictures",)
        raise failure("input-not-picture", headline, step.span, help=help)


def is_picture(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether one sample of this type and shape is taken for a picture [height, width, 1 or 3]."""
    return dtype == np.uint8 and len(shape) == 3 and shape[2] in (1, 3)


def build(name: str, spec: InputSpec | None, takes: ModelInput, span: Span) -> Pipeline:
    """The pipeline for input `name`; without a spec the pixels go in as they are. QdslError input-dtype."""
    steps = spec.steps if spec else ()
    numpy_type(takes.dtype, name, spec.span if spec else span)
    fixed = [tuple(int(a) for a in s.args) for s in steps if s.name == "shape"]
    takes = ModelInput(takes.dtype, fixed[-1] if fixed else takes.shape)
    return Pipeline(name, steps, takes, spec.span if spec else span)


def numpy_type(name: str, input_name: str, span: Span | None) -> np.dtype[Any]:
    """The numpy type of an ONNX element type; QdslError input-dtype for those that a dataset cannot fill."""
    name = {"float": "float32", "double": "float64"}.get(name, name)
    if name not in _TYPES:
        raise failure("input-dtype", f"input {input_name} takes {name}, which no dataset can fill", span)
    return np.dtype(name)


def cast(pipeline: Pipeline, array: Array) -> Array:
    """`array` in the model input's type. Numbers may gain or lose float precision; integers must fit; floats do not
    become integers (QdslError input-dtype)."""
    to = numpy_type(pipeline.takes.dtype, pipeline.name, pipeline.span)
    if array.dtype == to or to.kind == "f":
        return array.astype(to, copy=False)
    if array.dtype.kind in "biu" and to.kind in "iu":
        bounds = np.iinfo(to)
        if array.size == 0 or (int(array.min()) >= bounds.min and int(array.max()) <= bounds.max):
            return array.astype(to)
    steps = [s for s in pipeline.steps if s.name in ("rescale", "mean", "std")]
    headline = f"input {pipeline.name} takes {to.name}, but the data gives {array.dtype.name}"
    help = (f"leave out `{steps[0].name}`: integer inputs take the pixels as they are",) if steps else ()
    raise failure("input-dtype", headline, steps[0].span if steps else pipeline.span, help=help)


def check_shape(pipeline: Pipeline, found: tuple[int, ...], *, stored: bool = False) -> None:
    """Raise `input-shape` unless `found` agrees with the numbers among the model input's dims."""
    expected = pipeline.takes.shape
    if expected is None or _agrees(expected, found):
        return
    shown = ", ".join("?" if d is None else str(d) for d in expected)
    headline = f"input {pipeline.name} takes [{shown}], but the data gives {list(found)}"
    step, help = (None, _array_cure(expected)) if stored else _cure(pipeline, expected, found)
    label = f"expected [{shown}], found {list(found)}"
    raise failure("input-shape", headline, step.span if step else pipeline.span, label=label, help=(help,))


def _agrees(expected: tuple[int | str | None, ...], found: tuple[int, ...]) -> bool:
    pairs = zip(expected, found, strict=False)
    return len(expected) == len(found) and all(not isinstance(e, int) or e == f for e, f in pairs)


def _array_cure(expected: tuple[int | str | None, ...]) -> str:
    rows = expected[1:] if expected[:1] == (1,) or not isinstance(next(iter(expected), 1), int) else expected
    return f"store an array of shape [{', '.join('?' if d is None else str(d) for d in ('samples', *rows))}]"


def _cure(
    pipeline: Pipeline, expected: tuple[int | str | None, ...], found: tuple[int, ...]
) -> tuple[InputStep | None, str]:
    """The step to change and what to write instead."""

    def last(*names: str) -> InputStep | None:
        return next((s for s in reversed(pipeline.steps) if s.name in names), None)

    if len(expected) != len(found):
        return last("shape"), f"the model takes {len(expected)} dimensions: store arrays of that rank in an npz"
    if len(found) != 4:
        return last("shape"), "change the arrays, or the model's input"
    other = "nchw" if pipeline.layout == "nhwc" else "nhwc"
    swapped = (found[0], found[3], found[1], found[2]) if other == "nchw" else (found[0], found[2], found[3], found[1])
    if _agrees(expected, swapped):
        return last("layout"), f"write `layout {other}`"
    if isinstance(expected[0], int) and expected[0] != found[0]:
        return last("shape"), f"samples are given one at a time: export the model with batch 1 instead of {expected[0]}"
    axis = 3 if pipeline.layout == "nhwc" else 1
    rows, columns = (1, 2) if pipeline.layout == "nhwc" else (2, 3)
    wanted = expected[axis]
    if isinstance(wanted, int) and wanted != found[axis]:
        cures = {1: "write `color gray`", 3: "leave out `color gray`"}
        return last("color", "layout"), cures.get(wanted, f"no step makes {wanted} channels: store arrays in an npz")
    high, wide = (expected[i] if isinstance(expected[i], int) else found[i] for i in (rows, columns))
    return last("resize", "crop"), f"write `resize [{high}, {wide}] letterbox` (or `stretch`, `crop`)"
