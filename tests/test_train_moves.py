"""What the executor moves, reshapes and computes shapes with, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from train_tools import Array, assert_same, floats, model_of

pytest.importorskip("torch")


def same(
    op: str, x: Array | tuple[Array, ...], constants: dict[str, Any] | None = None, opset: int = 21, **attrs: Any
) -> None:
    """One node over arrays x0, x1, .. and constants (None for an input that is left out)."""
    arrays = {f"x{at}": one for at, one in enumerate(x if isinstance(x, tuple) else (x,))}
    given_ = constants or {}
    names = [*arrays, *(name if value is not None else "" for name, value in given_.items())]
    outputs = [f"y{at}" for at in range(attrs.pop("outputs", 1))]
    node = helper.make_node(op, names, outputs, **attrs)
    stored = {name: np.asarray(value) for name, value in given_.items() if value is not None}
    assert_same(model_of([node], arrays, outputs, stored, opset), arrays)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


@settings(max_examples=60)
@given(st.data())
def test_slices(data: st.DataObject) -> None:
    x = floats(0, *[data.draw(st.integers(1, 6)) for _ in range(3)])
    axes = data.draw(st.lists(st.integers(-3, 2), min_size=1, max_size=3, unique_by=lambda axis: axis % 3))
    starts = [data.draw(st.integers(-8, 8)) for _ in axes]
    steps = [data.draw(st.sampled_from((1, 1, 2, 3, -1, -2))) for _ in axes]
    far = [2**63 - 1 if step > 0 else -(2**63) + 1 for step in steps]  # to the end, whichever way
    stops = [data.draw(st.one_of(st.integers(-8, 8), st.just(one))) for one in far]
    same("Slice", x, {"s": whole(*starts), "e": whole(*stops), "a": whole(*axes), "t": whole(*steps)})


def test_slices_of_old_opsets() -> None:
    same("Slice", floats(0, 4, 5), opset=9, starts=[1, -2], ends=[9, 5])
    same("Slice", floats(0, 4, 5), opset=9, axes=[1], starts=[-3], ends=[-1])


@given(st.integers(-3, 2), st.sampled_from(((), (4,), (2, 3))), st.sampled_from((np.int64, np.int32)))
def test_gather(axis: int, shape: tuple[int, ...], kind: type) -> None:
    x = floats(0, 4, 5, 6)
    length = x.shape[axis]
    indices = np.random.default_rng(1).integers(-length, length, shape).astype(kind)
    same("Gather", (x, indices), axis=axis)


def test_gather_of_elements_and_points() -> None:
    x = floats(0, 2, 3, 4)
    same("GatherElements", (x, np.random.default_rng(1).integers(-3, 3, (2, 5, 4))), axis=1)
    same("GatherND", (x, np.random.default_rng(1).integers(0, 2, (5, 2))))
    same("GatherND", (x, np.random.default_rng(1).integers(0, 3, (2, 1))), batch_dims=1)


def test_scattering() -> None:
    x, updates = floats(0, 4, 5), floats(1, 2, 5)
    rows = np.array([[0, 1, -1, 3, 2], [1, 2, 0, 0, 1]])
    same("ScatterElements", (x, rows, updates))
    same("ScatterElements", (x, rows, updates), reduction="add")
    same("ScatterND", (x, whole(2, 0).reshape(2, 1), updates))
    same("ScatterND", (x, whole(2, 2).reshape(2, 1), updates), reduction="add")


@settings(max_examples=40)
@given(st.data(), st.sampled_from(("constant", "reflect", "edge", "wrap")))
def test_pads(data: st.DataObject, mode: str) -> None:
    x = floats(0, 3, 4, 5)
    low = -1 if mode == "constant" else 0
    pads = [data.draw(st.integers(low, 2)) for _ in range(6)]
    same("Pad", x, {"p": whole(*pads), "v": np.float32(1.5)}, mode=mode)
    same("Pad", x, {"p": whole(*pads[:4]), "v": None, "a": whole(0, -1)}, mode=mode)


def test_pads_of_old_opsets_and_of_integers() -> None:
    same("Pad", floats(0, 1, 2, 3, 3), opset=10, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=-2.0)
    same("Pad", np.arange(6).reshape(2, 3), {"p": whole(1, 0, 0, 1), "v": np.int64(7)})


def test_splits() -> None:
    x = floats(0, 6, 5)
    same("Split", x, outputs=3, num_outputs=3)
    same("Split", x, outputs=2, axis=-1, num_outputs=2)
    same("Split", x, {"s": whole(1, 5)}, outputs=2)
    same("Split", x, opset=11, outputs=2, axis=1, split=[2, 3])
    same("Split", x, opset=11, outputs=2)


def test_joining_and_repeating() -> None:
    same("Concat", (floats(0, 2, 3), floats(1, 2, 1), floats(2, 2, 2)), axis=-1)
    same("Tile", floats(0, 2, 3), {"r": whole(2, 1)})
    same("Expand", floats(0, 3, 1), {"s": whole(2, 1, 4)})
    same("Expand", floats(0, 3, 4), {"s": whole(1, 1)})


def test_shapes() -> None:
    x = floats(0, 2, 3, 4)
    same("Reshape", x, {"s": whole(0, -1)})
    same("Reshape", x, {"s": whole(4, 0, -1)}, allowzero=0)
    same("Reshape", np.zeros((0, 3), np.float32), {"s": whole(3, 0)}, allowzero=1)
    for axis in (-1, 0, 1, 3):
        same("Flatten", x, axis=axis)
    same("Transpose", x)
    same("Transpose", x, perm=[1, 2, 0])
    same("Squeeze", floats(0, 1, 3, 1), {"a": whole(-1)})
    same("Squeeze", floats(0, 1, 3, 1))
    same("Squeeze", floats(0, 1, 3, 1), opset=11, axes=[0])
    same("Unsqueeze", x, {"a": whole(0, -1)})
    same("Unsqueeze", x, opset=11, axes=[1, 3])
    same("Shape", x)
    same("Shape", x, start=1, end=-1)
    same("Size", x)
    same("Identity", x)
    same("Dropout", x)


def test_depth_and_space() -> None:
    x = floats(0, 2, 8, 3, 4)
    same("DepthToSpace", x, blocksize=2)
    same("DepthToSpace", x, blocksize=2, mode="CRD")
    same("SpaceToDepth", floats(0, 1, 2, 4, 6), blocksize=2)


def test_making() -> None:
    same("ConstantOfShape", whole(2, 3))
    filled = helper.make_tensor("v", TensorProto.INT64, [1], [7])
    same("ConstantOfShape", whole(2, 3), value=filled)
    same("Range", tuple(np.array(one, np.float32) for one in (1, 2.4, 0.3)))
    same("Range", tuple(np.array(one) for one in (5, -2, -2)))
    same("Trilu", floats(0, 3, 4), {"k": np.int64(1)})
    same("Trilu", floats(0, 2, 3, 4), upper=0)
    same("OneHot", (np.array([0, 2, -1, 7]), np.array(3), floats(1, 2)), axis=0)
    same("NonZero", np.array([[0, 1], [2, 0]], np.float32))


@pytest.mark.parametrize("to", ["FLOAT", "DOUBLE", "INT64", "INT32", "BOOL", "UINT8"])
def test_casts(to: str) -> None:
    same("Cast", np.array([0, 1.5, 2.5, 7], np.float32), to=TensorProto.DataType.Value(to))
    same("CastLike", (whole(1, 2), floats(0, 1)))


def test_shapes_computed_while_running() -> None:
    """As exporters write a flatten that keeps the batch free, and a Resize to the size of another tensor."""
    x, other = floats(0, 2, 3, 4, 6), floats(1, 2, 5, 9, 7)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["y"]),
        helper.make_node("Shape", ["o"], ["so"]),
        helper.make_node("Slice", ["so", "two", "four", "axis"], ["hw"]),
        helper.make_node("Slice", ["s", "axis", "two", "axis"], ["nc"]),
        helper.make_node("Concat", ["nc", "hw"], ["size"], axis=0),
        helper.make_node("Resize", ["x", "", "", "size"], ["z"], mode="linear"),
        helper.make_node("Cast", ["hw"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["s"], ["all"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["real", "half"], ["ratio"]),
    ]
    constants = {"zero": np.int64(0), "axis": whole(0), "rest": whole(-1), "two": whole(2), "four": whole(4)}
    model = model_of(nodes, {"x": x, "o": other}, ["y", "z", "ratio"], {**constants, "half": np.float32(2)})
    assert_same(model, {"x": x, "o": other})
