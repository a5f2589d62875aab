"""Convolutions and matrices of the integer interpreter, held against ONNX Runtime's to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_cases import Case, conv_case, dense_case, ours, theirs, unlike

from qdsl.integer.interpret_products import exact_type
from qdsl.integer.records import Conv, Requantize, Window

FEW = settings(max_examples=25, deadline=None, derandomize=True)
MANY = settings(max_examples=1500, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
ZEROS = st.tuples(st.integers(-128, 127), st.integers(-128, 127))


@st.composite
def windows(draw: st.DrawFn, size: tuple[int, int], dilates: bool = True) -> Window:
    """That fit a plane of `size`, each with less padding than kernel."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilates else (1, 1)
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(st.tuples(*(st.integers(0, kernel[i % 2] - 1) for i in range(4))))
    reach = [dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2] for i in range(2)]
    if any(reach[i] > size[i] for i in range(2)):
        return Window((1, 1), strides)
    return Window(kernel, strides, dilations, pads)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    depthwise = draw(st.booleans())
    relu = draw(st.booleans())
    x_zero, y_zero = draw(ZEROS)
    return {
        "seed": draw(SEEDS),
        "size": size,
        "channels": (1, 1) if depthwise else draw(st.tuples(st.integers(1, 20), st.integers(1, 20))),
        "groups": draw(st.integers(1, 20)) if depthwise else draw(st.integers(1, 3)),
        "window": draw(windows(size)),
        "per_channel": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "zeros": (x_zero, -128 if relu else y_zero),
        "activation": "Relu" if relu else None,
        "halves": draw(st.booleans()),
    }


@given(convolutions())
@FEW
def test_convolutions(drawn: dict[str, Any]) -> None:
    assert unlike(conv_case(**drawn)) == 0


@pytest.mark.slow
@given(convolutions())
@MANY
def test_many_convolutions(drawn: dict[str, Any]) -> None:
    assert unlike(conv_case(**drawn)) == 0


@given(SEEDS, st.integers(1, 5), st.integers(1, 60), st.integers(1, 20), st.booleans(), ZEROS, st.booleans())
@FEW
def test_matrices(
    seed: int, rows: int, ins: int, outs: int, gemm: bool, zeros: tuple[int, int], per_channel: bool
) -> None:
    for halves in (False, True):
        case = dense_case(
            seed, rows=rows, ins=ins, outs=outs, gemm=gemm, zeros=zeros, per_channel=per_channel, halves=halves
        )
        assert unlike(case) == 0


@given(SEEDS, st.integers(-128, 127), st.integers(-128, 127))
@FEW
def test_limits_narrow_what_is_stored(seed: int, first: int, second: int) -> None:
    """A Clip that the runtime does not fuse: codes are clipped after the rounding, which is the same."""
    low, high = sorted((first, second))
    narrow = conv_case(seed, limits=(low, high))
    wide = theirs(conv_case(seed))["y"]
    assert np.array_equal(ours(narrow)["y"], np.clip(wide, low, high))


def with_weight(case: Case, weight: np.ndarray[Any, Any]) -> Case:
    op = case.graph.ops[0]
    assert isinstance(op, Conv)
    to = Requantize(np.array([1e-5], np.float32))
    return replace(case, graph=replace(case.graph, ops=(replace(op, weight=weight, bias=None, to=to),)))


def test_long_sums_are_exact() -> None:
    """All products at their largest, past what float32 counts."""
    channels = 700
    case = conv_case(0, size=(2, 2), channels=(channels, 1), window=Window((2, 2)), zeros=(-128, 0))
    case = replace(case, feeds={"x": np.full((1, channels, 2, 2), 127, np.int8)})
    weight = np.full((1, 2, 2, channels), 127, np.int8)
    weight[0, 0, 0, 0] = 126
    sums = 255 * 127 * channels * 4 - 255
    assert exact_type(weight, 255) is np.float64 and sums > 2**24
    narrow = Requantize(np.array([1 / 2**20], np.float32))
    op = case.graph.ops[0]
    assert isinstance(op, Conv)
    graph = replace(case.graph, ops=(replace(op, weight=weight, bias=None, to=narrow),))
    expected = np.rint(np.float32(sums) * np.float32(1 / 2**20)) + 0
    assert ours(replace(case, graph=graph))["y"].item() == expected
