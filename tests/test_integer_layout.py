"""Arrays in the order of ONNX and as stored, and what an interpreter refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integer_cases import conv_case

from qdsl.integer.interpret import run
from qdsl.integer.layout import as_onnx, stored
from qdsl.integer.records import Tensor


@given(st.integers(0, 5).flatmap(lambda rank: st.permutations(range(rank))), st.integers(0, 2**32 - 1))
def test_layouts(axes: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    shape = tuple(int(size) for size in draw.integers(1, 5, len(axes)))
    array = draw.integers(-128, 128, shape).astype(np.int8)
    kept = Tensor("x", tuple(shape[axis] for axis in axes), "int8", tuple(axes))
    there = stored(kept, array)
    assert there.flags.c_contiguous and there.shape == kept.shape
    assert np.array_equal(as_onnx(kept, there), array)
    place = tuple(int(draw.integers(size)) for size in shape)
    assert there[tuple(place[axis] for axis in axes)] == array[place]


PLANE = Tensor("x", (1, 4, 5, 3), "int8", (0, 2, 3, 1))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 3, 4), np.int8), "x: 3 axes instead of 4"),
        (np.zeros((1, 4, 5, 3), np.int8), r"x: int8\[1, 5, 3, 4\] where int8\[1, 4, 5, 3\] is stored"),
        (np.zeros((1, 3, 4, 5), np.uint8), r"x: uint8\[1, 4, 5, 3\] where int8"),
    ],
)
def test_what_is_no_such_tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.int8]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stored(PLANE, array)


def test_feeds_are_checked() -> None:
    graph = conv_case(0).graph
    with pytest.raises(ValueError, match="no values for x"):
        run(graph, {})
    with pytest.raises(ValueError, match="float32"):
        run(graph, {"x": np.zeros(graph.tensors["x"].shape, np.float32)})


def test_every_tensor() -> None:
    case = conv_case(0)
    x = stored(case.graph.tensors["x"], case.feeds["x"])
    found = run(case.graph, {"x": x}, every=True)
    assert set(found) == {"x", "y"} and np.array_equal(found["x"], x)
