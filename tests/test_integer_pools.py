"""Pools and moves of the integer interpreter, held against ONNX Runtime's to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_cases import Array, Case, average_case, codes, max_case, of_one, unlike
from onnx import helper
from test_integer_between import ENCODINGS, SEEDS
from test_integer_products import windows

from qdsl.integer.records import AveragePool, Encoding, Op, Pad, Reshape, Resize, Slice, Transpose, Window

FEW = settings(max_examples=20, deadline=None, derandomize=True)
MANY = settings(max_examples=1000, deadline=None)


@st.composite
def pools(draw: st.DrawFn, dilates: bool) -> tuple[tuple[int, int, int, int], Window]:
    size = draw(st.tuples(st.integers(3, 9), st.integers(3, 9)))
    return (1, draw(st.integers(1, 20)), *size), draw(windows(size, dilates))


AVERAGES = (SEEDS, ENCODINGS, ENCODINGS, pools(dilates=False), st.booleans(), st.booleans())


def check_average(
    seed: int,
    x: Encoding,
    y: Encoding,
    pool: tuple[tuple[int, int, int, int], Window],
    counts_pads: bool,
    everywhere: bool,
) -> None:
    y = Encoding(float(np.float32(y.scale * x.scale * 8)), y.zero)
    shape, window = pool
    assert unlike(average_case(seed, x, y, shape, None if everywhere else window, counts_pads)) == 0


@given(*AVERAGES)
@settings(FEW, max_examples=40)
def test_averages(
    seed: int,
    x: Encoding,
    y: Encoding,
    pool: tuple[tuple[int, int, int, int], Window],
    counts_pads: bool,
    everywhere: bool,
) -> None:
    check_average(seed, x, y, pool, counts_pads, everywhere)


@pytest.mark.slow
@given(*AVERAGES)
@MANY
def test_many_averages(
    seed: int,
    x: Encoding,
    y: Encoding,
    pool: tuple[tuple[int, int, int, int], Window],
    counts_pads: bool,
    everywhere: bool,
) -> None:
    check_average(seed, x, y, pool, counts_pads, everywhere)


@given(SEEDS, ENCODINGS, pools(dilates=True))
@FEW
def test_largest(seed: int, x: Encoding, pool: tuple[tuple[int, int, int, int], Window]) -> None:
    assert unlike(max_case(seed, x, *pool)) == 0


X = Encoding(0.5, 3)
DRAW = np.random.default_rng(3)
PLANE = codes(DRAW, 1, 3, 4, 5)


def moved(node: onnx.NodeProto, op: Op, **constants: Array) -> Case:
    """`node` moves the dequantized plane; its further inputs are `constants`."""
    return of_one(node, op, {"x": (PLANE, X)}, X, (), further=constants)


def test_nearest_resize() -> None:
    node = helper.make_node(
        "Resize",
        ["x_float", "", "scales"],
        ["y_float"],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    op = Resize("n", ("x",), "y", np.arange(8) // 2, np.arange(15) // 3)
    assert unlike(moved(node, op, scales=np.array([1, 1, 2, 3], np.float32))) == 0


def padding_case() -> Case:
    node = helper.make_node("Pad", ["x_float", "pads", "value"], ["y_float"])
    op = Pad("n", ("x",), "y", (0, 1, 0, 2), (0, 3, 1, 0), 7)
    return moved(node, op, pads=np.array([0, 2, 1, 0, 0, 0, 3, 1]), value=np.array((7 - 3) * 0.5, np.float32))


def test_padding() -> None:
    assert unlike(padding_case()) == 0


def test_slices() -> None:
    node = helper.make_node("Slice", ["x_float", "starts", "ends", "axes", "steps"], ["y_float"])
    op = Slice("n", ("x",), "y", (0, 1, 0, 0), (1, 2, 1, 2))
    limits = {"starts": [0, 1], "ends": [3, 4], "axes": [1, 2], "steps": [2, 2]}
    assert unlike(moved(node, op, **{name: np.array(values) for name, values in limits.items()})) == 0


def test_transposition() -> None:
    """[1, C, H, W] as [1, H, W, C] in ONNX is stored [1, W, C, H], since planes have their second axis last."""
    node = helper.make_node("Transpose", ["x_float"], ["y_float"], perm=[0, 2, 3, 1])
    assert unlike(moved(node, Transpose("n", ("x",), "y", (0, 2, 3, 1)))) == 0


def test_reshape() -> None:
    """Of one pixel, where channels last is the same order."""
    node = helper.make_node("Flatten", ["x_float"], ["y_float"])
    case = of_one(node, Reshape("n", ("x",), "y"), {"x": (PLANE[:, :, :1, :1], X)}, X, ())
    assert unlike(case) == 0


def test_a_window_may_be_all_of_the_plane() -> None:
    """One integer sum then, as for GlobalAveragePool: float32 sums of so many values end beside the ties."""
    y = Encoding(0.1270691454410553, -128)
    shape = (1, 600, 8, 8)
    assert unlike(average_case(1, y, y, shape, Window((8, 8), (8, 8)))) == 0
    case = average_case(1, y, y, shape, None)
    op = AveragePool("n", ("x",), "y", Window((8, 8)))
    assert unlike(replace(case, graph=replace(case.graph, ops=(op,)))) > 0
