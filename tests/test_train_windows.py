"""Convolutions, pools and Resize of the executor against ONNX Runtime: shapes, padding, every way to say them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from train_tools import assert_same, floats, model_of

pytest.importorskip("torch")

WORDS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@st.composite
def windows(draw: st.DrawFn, axes: int) -> dict[str, Any]:
    """Attributes that Conv and the pools share."""
    each = lambda low, high: [draw(st.integers(low, high)) for _ in range(axes)]  # noqa: E731
    found: dict[str, Any] = {"kernel_shape": each(1, 3)}
    if draw(st.booleans()):
        found["strides"] = each(1, 3)
    if draw(st.booleans()):
        found["dilations"] = each(1, 2)
    word = draw(st.sampled_from(WORDS))
    if word != "NOTSET":
        found["auto_pad"] = word
    elif draw(st.booleans()):
        found["pads"] = [
            min(pad, size - 1) for pad, size in zip(each(0, 2) + each(0, 2), found["kernel_shape"] * 2, strict=True)
        ]
    return found


def runs(attributes: dict[str, Any]) -> bool:
    """Whether ONNX Runtime 1.32 runs a window: with SAME none that is dilated, nor strides larger than the kernel."""
    same = attributes.get("auto_pad", "").startswith("SAME")
    strides = attributes.get("strides", [1] * len(attributes["kernel_shape"]))
    apart = any(stride > size for stride, size in zip(strides, attributes["kernel_shape"], strict=True))
    return not same or not (apart or max(attributes.get("dilations", [1])) > 1)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data(), st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_convolutions(data: st.DataObject, axes: int, group: int, biased: bool) -> None:
    attributes = data.draw(windows(axes))
    assume(runs(attributes))
    spatial = [data.draw(st.integers(6, 9)) for _ in range(axes)]
    values = {"w": floats(1, 2 * group, 3, *attributes["kernel_shape"]), "b": floats(2, 2 * group)}
    names = ["x", "w", "b"] if biased else ["x", "w"]
    node = helper.make_node("Conv", names, ["y"], group=group, **attributes)
    x = floats(3, 2, 3 * group, *spatial)
    assert_same(model_of([node], {"x": x}, ["y"], {name: values[name] for name in names[1:]}), {"x": x})


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data(), st.integers(1, 2), st.integers(1, 2), st.sampled_from(("pads", "shape", *WORDS[1:])))
def test_transposed_convolutions(data: st.DataObject, axes: int, group: int, way: str) -> None:
    draw = lambda low, high: [data.draw(st.integers(low, high)) for _ in range(axes)]  # noqa: E731
    strides, size, dilations = draw(1, 3), draw(1, 3), draw(1, 2)
    spatial, more = draw(2, 5), [data.draw(st.integers(0, stride - 1)) for stride in strides]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "kernel_shape": size}
    whole = [
        stride * (length - 1) + (kernel - 1) * step + 1
        for stride, length, kernel, step in zip(strides, spatial, size, dilations, strict=True)
    ]
    if way == "pads":
        attributes |= {"pads": [min(one, 1) for one in draw(0, 1) + draw(0, 1)], "output_padding": more}
        assume(all(one >= 3 for one in whole))
    elif way == "shape":
        attributes["output_shape"] = [max(one - data.draw(st.integers(0, 2)), 1) for one in whole]
    else:
        attributes["auto_pad"] = way
        assume(all(w >= s * n for w, s, n in zip(whole, strides, spatial, strict=True)))
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], group=group, **attributes)
    x, values = floats(3, 2, 2 * group, *spatial), {"w": floats(1, 2 * group, 2, *size), "b": floats(2, 2 * group)}
    assert_same(model_of([node], {"x": x}, ["y"], values), {"x": x})


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), st.booleans(), st.booleans(), st.booleans())
def test_pools(data: st.DataObject, axes: int, largest: bool, ceil: bool, counted: bool) -> None:
    attributes = data.draw(windows(axes))
    assume(runs(attributes))
    attributes["ceil_mode"] = int(ceil)
    if not largest:
        attributes["count_include_pad"] = int(counted)
    x = floats(3, 1, 2, *[data.draw(st.integers(6, 9)) for _ in range(axes)])
    node = helper.make_node("MaxPool" if largest else "AveragePool", ["x"], ["y"], **attributes)
    assert_same(model_of([node], {"x": x}, ["y"]), {"x": x})


@given(st.booleans(), st.sampled_from(("uint8", "int8")))
def test_pools_of_integers(ceil: bool, kind: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (1, 2, 7, 8)).astype(kind)
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], pads=[1, 0, 1, 1], ceil_mode=int(ceil))
    assert_same(model_of([node], {"x": x}, ["y"]), {"x": x})


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op: str) -> None:
    for shape in ((2, 3, 5), (2, 3, 4, 5), (1, 2, 2, 3, 4)):
        x = floats(0, *shape)
        assert_same(model_of([helper.make_node(op, ["x"], ["y"])], {"x": x}, ["y"]), {"x": x})


PLACED = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


@settings(max_examples=80)
@given(
    st.data(),
    st.sampled_from(("nearest", "linear", "cubic")),
    st.sampled_from(PLACED),
    st.sampled_from(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    st.sampled_from((11, 13, 18, 19)),
)
def test_resize(data: st.DataObject, mode: str, placed: str, rounding: str, opset: int) -> None:
    assume(opset >= 19 or placed != "half_pixel_symmetric")
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": placed}
    if mode == "nearest":
        attributes["nearest_mode"] = rounding
    if mode == "cubic":
        attributes |= {"cubic_coeff_a": -0.5, "exclude_outside": data.draw(st.integers(0, 1))}
    spatial = [data.draw(st.integers(2, 7)) for _ in range(2)]
    x = floats(0, 2, 3, *spatial)
    constants: dict[str, Any]
    if data.draw(st.booleans()):
        sizes = [data.draw(st.integers(1, 14)) for _ in range(2)]
        names, constants = ["x", "r", "none", "sizes"], {"sizes": np.array([2, 3, *sizes], np.int64)}
        constants["none"] = np.zeros(0, np.float32)
    else:
        scales = [data.draw(st.sampled_from((0.5, 1.0, 1.5, 2.0, 2.25, 3.0))) for _ in range(2)]
        names, constants = ["x", "r", "scales"], {"scales": np.array([1, 1, *scales], np.float32)}
    constants["r"] = np.zeros(0, np.float32)
    if opset > 11:  # before, both had to be there
        names = [names[0], "", *("" if name == "none" else name for name in names[2:])]
    node = helper.make_node("Resize", names, ["y"], **attributes)
    constants = {name: value for name, value in constants.items() if name in names}
    assert_same(model_of([node], {"x": x}, ["y"], constants, opset), {"x": x})


@pytest.mark.parametrize(("op", "opset"), [("Resize", 10), ("Upsample", 9)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [2.0, 1.5])
def test_resize_of_old_opsets(op: str, opset: int, mode: str, scale: float) -> None:
    x = floats(0, 1, 2, 4, 6)
    node = helper.make_node(op, ["x", "s"], ["y"], mode=mode)
    assert_same(model_of([node], {"x": x}, ["y"], {"s": np.array([1, 1, scale, 2], np.float32)}, opset), {"x": x})


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resize_of_some_axes(policy: str) -> None:
    x = floats(0, 1, 2, 4, 6)
    attributes = {"axes": [2, 3], "keep_aspect_ratio_policy": policy, "mode": "linear"}
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], **attributes)
    assert_same(model_of([node], {"x": x}, ["y"], {"s": np.array([7, 8], np.int64)}), {"x": x})
