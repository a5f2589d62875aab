"""What only moves values, whatever these are: changes of shape and order, slices, padding, nearest Resize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import cast

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_layout import CHANNELS_LAST, Shape, transposed
from qdsl.integer.lower_quants import encoding_of
from qdsl.integer.lower_values import Array, At, Const, Floats, Of, Packed, RunScale, RunZero, Value
from qdsl.integer.lower_windows import spatial
from qdsl.integer.lower_work import Work, lies, put, quantized
from qdsl.integer.records import Pad, Resize, Slice

_FAR = 2**31


def same(work: Work, node: NodeView) -> None:
    """Identity, and Dropout while nobody trains."""
    work.values[node.outputs[0]] = work.value(node, 0)


def _moved(work: Work, node: NodeView) -> tuple[Value, At]:
    value = work.moved(node)
    at = lies(value)
    if at is None:
        raise work.no(node, "what it moves is constant, or no tensor of 8-bit integers or floats")
    return value, at


def reshape(work: Work, node: NodeView) -> None:
    value = work.value(node, 0)
    if isinstance(value, RunScale | RunZero):
        work.give(node, value)
        return
    if isinstance(value, Packed):
        work.give(node, _packed(work, node, value))
        return
    value, at = _moved(work, node)
    work.give(node, put(value, work.graph.reshaped(at, work.shape(node), node.name)))


def _packed(work: Work, node: NodeView, value: Packed) -> Packed:
    """A dequantized constant under another shape; the axis of its scales is found where the places before it are as
    many as they were."""
    shape = work.shape(node)
    if value.scale.size == 1:
        return replace(value, integers=value.integers.reshape(shape))
    before = prod(value.integers.shape[: value.axis])
    axis = next((a for a in range(len(shape)) if prod(shape[:a]) == before and shape[a] == value.scale.size), None)
    if axis is None:
        raise work.no(node, "it breaks up the channels that the scales of a constant run along")
    return replace(value, integers=value.integers.reshape(shape), axis=axis)


def transpose(work: Work, node: NodeView) -> None:
    rank = len(work.shape(node))
    perm = cast("tuple[int, ...]", node.attrs.get("perm") or tuple(reversed(range(rank))))
    constant = work.value(node, 0)
    if isinstance(constant, Packed):
        turned = constant.integers.transpose(perm)
        work.give(node, replace(constant, integers=turned, axis=perm.index(constant.axis)))
        return
    value, at = _moved(work, node)
    at = work.graph.ready(at, node.name)
    shape = tuple(at.shape[axis] for axis in perm)
    work.give(node, put(value, At(at.name, shape, transposed(at.axes, perm))))


def blocks(work: Work, node: NodeView) -> None:
    """DepthToSpace and SpaceToDepth, as the reshapes and the transposition that ONNX defines them by."""
    value, at = _moved(work, node)
    size = cast(int, node.attrs["blocksize"])
    n, c, h, w = at.shape
    deep = node.op == "DepthToSpace"
    parts, perm = (n, c, h // size, size, w // size, size), (0, 3, 5, 1, 2, 4)
    if deep and str(node.attrs.get("mode") or "DCR") == "CRD":
        parts, perm = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    elif deep:
        parts, perm = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    at = work.graph.ready(work.graph.reshaped(at, parts, node.name), node.name)
    turned = At(at.name, tuple(parts[axis] for axis in perm), transposed(at.axes, perm))
    work.give(node, put(value, work.graph.reshaped(turned, work.shape(node), node.name)))


def slice_(work: Work, node: NodeView) -> None:
    value, at = _moved(work, node)
    rank = len(at.shape)
    ends = [_told(work, node, port, key) for port, key in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))]
    starts, stops, axes, steps = ends
    if starts is None or stops is None:
        raise work.no(node, "where it starts and ends has to be constant")
    axes = list(range(len(starts))) if axes is None else [axis % rank for axis in axes]
    first, step = [0] * rank, [1] * rank
    for place, axis in enumerate(axes):
        step[axis] = 1 if steps is None else steps[place]
        if step[axis] < 1:
            raise work.no(node, "it goes backwards: only steps above 0 have a kernel here")
        start = max(starts[place], -_FAR)
        first[axis] = min(max(start + at.shape[axis] if start < 0 else start, 0), at.shape[axis])
    work.give(node, put(value, _cut(work, node, at, work.shape(node), node.outputs[0], first, step)))


def _told(work: Work, node: NodeView, port: int, key: str) -> list[int] | None:
    """A list of whole numbers, of an input or, before, of an attribute."""
    array = work.constant(node, port)
    if array is not None:
        return [int(each) for each in array.reshape(-1)]
    told = node.attrs.get(key)
    return None if told is None else list(cast("tuple[int, ...]", told))


def _cut(
    work: Work, node: NodeView, at: At, shape: Shape, output: str, first: Sequence[int], step: Sequence[int]
) -> At:
    """What starts at `first` and goes by `step` along each axis, as far as `shape` goes."""
    at = work.graph.ready(at, node.name)
    if shape == at.shape:
        return at
    made = work.graph.like(replace(at, shape=shape), output)
    starts, steps = (tuple(each[axis] for axis in at.axes) for each in (first, step))
    work.graph.add(Slice(node.name, (at.name,), made.name, starts=starts, steps=steps))
    return made


def split(work: Work, node: NodeView) -> None:
    value, at = _moved(work, node)
    axis = cast(int, node.attrs.get("axis", 0)) % len(at.shape)
    start = 0
    for output in node.outputs:
        first = [start if each == axis else 0 for each in range(len(at.shape))]
        shape = work.file.shape(output, node)
        start += shape[axis]
        work.values[output] = put(value, _cut(work, node, at, shape, output, first, [1] * len(at.shape)))


def gather(work: Work, node: NodeView) -> None:
    """Places that lie evenly apart, as a slice; one place alone, without its axis."""
    value, at = _moved(work, node)
    axis = cast(int, node.attrs.get("axis", 0)) % len(at.shape)
    told = work.constant(node, 1)
    assert told is not None
    places = np.where(told < 0, told + at.shape[axis], told).reshape(-1).astype(np.int64)
    apart = np.diff(places)
    if told.ndim > 1 or not places.size or np.any(apart < 1) or np.any(apart != apart[:1]):
        raise work.no(node, "the places that it takes do not lie evenly apart, one after the other")
    first, step = [0] * len(at.shape), [1] * len(at.shape)
    first[axis], step[axis] = int(places[0]), int(apart[0]) if apart.size else 1
    shape = tuple(len(places) if each == axis else size for each, size in enumerate(at.shape))
    taken = _cut(work, node, at, shape, node.outputs[0], first, step)
    work.give(node, put(value, work.graph.reshaped(taken, work.shape(node), node.name)))


# --- padding ---------------------------------------------------------------------------------------------------------


def pad(work: Work, node: NodeView) -> None:
    value, at = _moved(work, node)
    if str(node.attrs.get("mode") or "constant") != "constant":
        raise work.no(node, f"only constant padding has a kernel here, not `{node.attrs['mode']}`")
    number = _padding_value(work, node)
    if isinstance(value, Of) and (value.steps or _code(work, node, value, number) is None):
        value = Floats(work.floats(node, 0))
        at = value.at
    at = work.graph.ready(at, node.name)
    widths = _widths(work, node, len(at.shape))
    if any(end < 0 for ends in widths for end in ends):
        raise work.no(node, "negative padding, which cuts off, has no kernel here")
    if number == 0.0 and isinstance(value, Of | Floats):
        work.give(node, put(value, replace(at, shape=work.shape(node), padding=widths)))
        return
    if not isinstance(value, Of | Floats):
        raise work.no(node, "it pads integers themselves, not what they stand for")
    stored = float(number if isinstance(value, Floats) else cast(int, _code(work, node, value, number)))
    made = work.graph.like(replace(at, shape=work.shape(node)), node.outputs[0])
    before, after = (tuple(widths[axis][end] for axis in at.axes) for end in (0, 1))
    work.graph.add(Pad(node.name, (at.name,), made.name, before=before, after=after, value=stored))
    work.give(node, put(value, made))


def _padding_value(work: Work, node: NodeView) -> float:
    if not work.has(node, 2):
        told = node.attrs.get("value", 0.0)
        return float(told) if isinstance(told, int | float) else 0.0
    value = work.value(node, 2)
    array = value.array if isinstance(value, Const) else None
    if array is None or array.size != 1:
        raise work.no(node, "what it pads with has to be one constant number")
    return float(array.reshape(-1)[0])


def _code(work: Work, node: NodeView, value: Of, number: float) -> int | None:
    """The integer that stands for `number`, exactly or for whatever reads what is padded. None where none does."""
    code = quantized(number, value.encoding)
    exact = np.float32(code - value.encoding.zero) * np.float32(value.encoding.scale) == number
    return code if exact or _quantized_alike(work, node.outputs[0], value) else None


def _quantized_alike(work: Work, name: str, value: Of) -> bool:
    """Whether `name` is read as integers of the encoding of `value` alone."""
    readers = work.view.users(name)
    alike = all(each.op == "QuantizeLinear" and encoding_of(work, each)[0] == value.encoding for each in readers)
    return bool(readers) and alike and not work.view.is_open(name)


def _widths(work: Work, node: NodeView, rank: int) -> tuple[tuple[int, int], ...]:
    told, axes = _told(work, node, 1, "pads"), _told(work, node, 3, "axes")
    if told is None:
        raise work.no(node, "how much it pads has to be constant")
    along = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    found = dict.fromkeys(range(rank), (0, 0))
    found.update({axis: (told[place], told[len(along) + place]) for place, axis in enumerate(along)})
    return tuple(found[axis] for axis in range(rank))


# --- Resize ----------------------------------------------------------------------------------------------------------


def resize(work: Work, node: NodeView) -> None:
    value, at = _moved(work, node)
    if str(node.attrs.get("mode") or "nearest") != "nearest":
        raise work.no(node, f"only nearest has a kernel here, not `{node.attrs['mode']}`")
    shape = work.shape(node)
    if len(shape) != 4:
        raise work.no(node, f"its input has {len(shape)} axes: only N, C, H, W have a kernel here")
    at = spatial(work, at, node)
    if shape[:2] != at.shape[:2]:
        raise work.no(node, "it changes other axes than H and W")
    scales = _scales(work, node, at.shape, shape)
    for before, after, scale in zip(at.shape, shape, scales, strict=True):
        if work.constant(node, 3) is None and int(np.float32(before) * np.float32(scale)) != after:
            raise work.no(
                node, f"whether {before} times {scale} is {after} depends on rounding: sizes say it, scales do not"
            )
    rows, columns = (_nearest(work, node, at.shape[axis], shape[axis], scales[axis]) for axis in (2, 3))
    made = work.graph.like(At(at.name, shape, CHANNELS_LAST), node.outputs[0])
    work.graph.add(Resize(node.name, (at.name,), made.name, rows=rows, columns=columns))
    work.give(node, put(value, made))


def _scales(work: Work, node: NodeView, before: Shape, after: Shape) -> list[float]:
    """How many times as large each axis becomes: as told, or by the sizes."""
    port = 1 if node.op == "Upsample" or work.view.opset < 11 else 2
    told = work.constant(node, port)
    if told is not None and told.size == len(before):
        return [float(each) for each in told]
    own = node.attrs.get("scales")
    if own:
        return [float(each) for each in cast("tuple[float, ...]", own)]
    return [new / old for old, new in zip(before, after, strict=True)]


def _nearest(work: Work, node: NodeView, before: int, after: int, scale: float) -> Array:
    """int32 [after]: the place that each place copies (ONNX operator Resize)."""
    old = node.op == "Upsample" or work.view.opset < 11
    way = "asymmetric" if old else str(node.attrs.get("coordinate_transformation_mode") or "half_pixel")
    rounding = "floor" if old else str(node.attrs.get("nearest_mode") or "round_prefer_floor")
    places, ratio = np.arange(after, dtype=np.float32), np.float32(scale)
    if way == "asymmetric":
        found = places / ratio
    elif way in ("half_pixel", "pytorch_half_pixel"):
        found = (places + np.float32(0.5)) / ratio - np.float32(0.5)
        found = found * (after > 1 or way == "half_pixel")
    elif way == "align_corners":
        found = places * np.float32(before - 1) / np.float32(max(after - 1, 1))
    else:
        raise work.no(node, f"the coordinates `{way}` have no kernel here")
    rounded = {
        "floor": np.floor(found),
        "ceil": np.ceil(found),
        "round_prefer_floor": np.ceil(found - np.float32(0.5)),
        "round_prefer_ceil": np.floor(found + np.float32(0.5)),
    }[rounding]
    return np.asarray(np.clip(rounded, 0, before - 1), np.int32)
