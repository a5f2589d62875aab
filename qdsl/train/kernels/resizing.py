"""Resize and Upsample, axis by axis: the values that an output takes, and how much of each (Resize-19).

Places are computed in float32, as ONNX Runtime does: nearest modes depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qdsl.train.call import Call

_Places = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Axis:
    axis: int
    length: int
    wanted: int
    scale: np.float32


def resize(call: Call) -> Tensor:
    """Modes nearest, linear and cubic."""
    x = call.tensor()
    mode = call.text("mode", "nearest")
    for axis in _axes(call, x):
        x = _nearest(call, x, axis) if mode == "nearest" else _weighted(call, x, axis, cubic=mode == "cubic")
    return x


def _axes(call: Call, x: Tensor) -> list[_Axis]:
    """The axes that change, or whose values do."""
    scales, sizes = _asked(call)
    axes = call.wholes("axes") or list(range(x.dim()))
    axes = [axis % x.dim() for axis in axes]
    if sizes is not None:
        sizes, scales = _kept_ratio(call, [x.shape[axis] for axis in axes], sizes)
    found = []
    for index, axis in enumerate(axes):
        length = x.shape[axis]
        scale = np.float32(scales[index])
        wanted = int(np.floor(scale * np.float32(length))) if sizes is None else sizes[index]
        if wanted != length or scale != 1:
            found.append(_Axis(axis, length, wanted, scale))
    return found


def _asked(call: Call) -> tuple[Sequence[Any], list[int] | None]:
    """Scales and sizes: before opset 11 scales stand at the second port, in Upsample-7 in an attribute."""
    if call.attribute("scales") is not None:
        return list(call.attribute("scales")), None
    port = 1 if call.operation.op == "Upsample" or call.opset < 11 else 2
    scales = call.optional(port)
    if scales is not None and scales.numel():
        return [float(scale) for scale in scales.reshape(-1).tolist()], None
    return (), call.numbers_at(3)


def _kept_ratio(call: Call, lengths: Sequence[int], sizes: list[int]) -> tuple[list[int], Sequence[Any]]:
    """Sizes with their scales; where the ratio is kept, one scale for all."""
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    scales = [np.float32(size) / np.float32(length) for size, length in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return sizes, scales
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [int(np.floor(scale * np.float32(length) + np.float32(0.5))) for length in lengths], [scale] * len(sizes)


def _places(call: Call, axis: _Axis) -> _Places:
    """Where each output lies between the inputs, in elements."""
    legacy = call.operation.op == "Upsample" or call.opset < 11
    way = "asymmetric" if legacy else call.text("coordinate_transformation_mode", "half_pixel")
    x, half, one = np.arange(axis.wanted, dtype=np.float32), np.float32(0.5), np.float32(1)
    if way == "asymmetric":
        return x / axis.scale
    if way == "align_corners":
        top = np.float32(axis.wanted - 1)
        return x * np.float32(axis.length - 1) / top if axis.wanted > 1 else x * 0
    if way == "pytorch_half_pixel" and axis.wanted == 1:
        return x * 0
    found = (x + half) / axis.scale - half
    if way == "half_pixel_symmetric":
        adjustment = np.float32(axis.wanted) / (axis.scale * np.float32(axis.length))
        return found + np.float32(axis.length) / np.float32(2) * (one - adjustment)
    return found


def _nearest(call: Call, x: Tensor, axis: _Axis) -> Tensor:
    legacy = call.operation.op == "Upsample" or call.opset < 11
    places, rounding = _places(call, axis), call.text("nearest_mode", "round_prefer_floor")
    if legacy:
        picked = np.floor(places) if axis.scale >= 1 else np.ceil(places)
    elif rounding == "floor":
        picked = np.floor(places)
    elif rounding == "ceil":
        picked = np.ceil(places)
    elif rounding == "round_prefer_floor":
        picked = np.ceil(places - np.float32(0.5))
    else:
        picked = np.floor(places + np.float32(0.5))
    return x.index_select(axis.axis, _indices(picked, axis.length, x))


def _indices(picked: NDArray[np.floating], length: int, x: Tensor) -> Tensor:
    return torch.from_numpy(np.clip(picked, 0, length - 1).astype(np.int64)).to(x.device)


def _weighted(call: Call, x: Tensor, axis: _Axis, *, cubic: bool) -> Tensor:
    """A sum of neighbours: two for linear, four for cubic. Those past the border are the last ones."""
    places = _places(call, axis)
    if not cubic:
        places = np.clip(places, 0, axis.length - 1)
    below = np.floor(places)
    part = (places - below).astype(np.float64)
    taps = {0: 1 - part, 1: part} if not cubic else _cubic(part, call.real("cubic_coeff_a", -0.75))
    if call.whole("exclude_outside", 0):
        taps = _inside(taps, below, axis.length)
    shape = [-1 if at == axis.axis else 1 for at in range(x.dim())]
    found = None
    for step, weights in taps.items():
        picked = x.index_select(axis.axis, _indices(below + step, axis.length, x))
        term = picked * torch.from_numpy(weights).to(picked).reshape(shape)
        found = term if found is None else found + term
    return x if found is None else found


def _cubic(part: NDArray[np.float64], a: float) -> dict[int, NDArray[np.float64]]:
    """Keys' cubic convolution (1981): `a` is its free parameter."""

    def near(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return {-1: far(part + 1), 0: near(part), 1: near(1 - part), 2: far(2 - part)}


def _inside(
    taps: dict[int, NDArray[np.float64]], below: NDArray[np.floating], length: int
) -> dict[int, NDArray[np.float64]]:
    """Weights of what lies outside are 0, and the rest sums up to 1."""
    kept = {
        step: np.where((below + step >= 0) & (below + step < length), weights, 0.0) for step, weights in taps.items()
    }
    total = np.sum(list(kept.values()), axis=0)
    return {step: weights / total for step, weights in kept.items()}
