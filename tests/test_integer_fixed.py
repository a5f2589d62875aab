"""Fixed point of the integer interpreter: what LiteRT's reference kernels have answered, how far it is from exact."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integer_cases import average_case, conv_case, ours

from qdsl.integer.interpret import run
from qdsl.integer.records import Binary, Conv, Encoding, IntegerGraph, Requantize, Tensor, Window
from qdsl.integer.rounding import multiplier, scaled_fixed

TOLD = json.loads((Path(__file__).parent / "data/litert_int8.json").read_text(encoding="utf-8"))


def int8(values: Any) -> Any:
    return np.array(values, np.int8)


@pytest.mark.parametrize("told", TOLD["conv"])
def test_convolutions(told: dict[str, Any]) -> None:
    x, y = int8(told["x"]), int8(told["y"])
    tensors = {
        "x": Tensor("x", x.shape, "int8", (0, 1, 2, 3), Encoding(1.0, told["x_zero"])),
        "y": Tensor("y", y.shape, "int8", (0, 1, 2, 3), Encoding(1.0, told["y_zero"])),
    }
    to = Requantize(np.array(told["scale"], np.float32))
    op = Conv("c", ("x",), "y", int8(told["weight"]), np.array(told["bias"], np.int32), Window((3, 3)), to)
    graph = IntegerGraph("g", ("x",), ("y",), tensors, (op,))
    assert np.array_equal(run(graph, {"x": x}, rounding="tflite")["y"], y)


@pytest.mark.parametrize("told", TOLD["binary"])
def test_sums_and_products(told: dict[str, Any]) -> None:
    feeds = {"a": int8(told["a"]), "b": int8(told["b"])}
    encodings = [Encoding(scale, zero) for scale, zero in zip(told["scales"], told["zeros"], strict=True)]
    shape = feeds["a"].shape
    tensors = {name: Tensor(name, shape, "int8", (0,), one) for name, one in zip("aby", encodings, strict=True)}
    graph = IntegerGraph("g", ("a", "b"), ("y",), tensors, (Binary("n", ("a", "b"), "y", told["kind"]),))
    assert np.array_equal(run(graph, feeds, rounding="tflite")["y"], int8(told["y"]))


@pytest.mark.slow
@given(st.floats(2**-30, 2**3, width=32), st.lists(st.integers(-(2**26), 2**26), min_size=1, max_size=20))
def test_two_roundings(scale: float, sums: list[int]) -> None:
    """Each is off by a half at most."""
    found = scaled_fixed(np.array(sums, np.int32), np.array([scale], np.float32))
    for one, y in zip(sums, found.tolist(), strict=True):
        assert abs(Fraction(scale) * one - y) <= 1 or abs(Fraction(scale) * one) > 2**28


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(0.5, (2**30, 0)), (1.0, (2**30, 1)), (0.75, (3 * 2**29, 0)), (1 - 2**-33, (2**30, 1)), (2.0**-40, (0, 0))],
)
def test_multipliers(scale: float, expected: tuple[int, int]) -> None:
    assert multiplier(scale) == expected


def test_rounding_twice() -> None:
    """The first rounding takes halves up, so that a quarter may become 1; the second takes them away from zero."""
    sums = np.array([-6, -3, -2, -1, 1, 2, 3, 6], np.int32)
    assert scaled_fixed(sums, np.array([0.25], np.float32)).tolist() == [-2, -1, -1, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_both_roundings_are_near(seed: int) -> None:
    window = Window((2, 3), (1, 2), (1, 1), (1, 0, 0, 1))
    x, y = Encoding(0.0625, seed), Encoding(0.125, -seed)
    for case in (
        conv_case(seed, halves=bool(seed % 2)),
        average_case(seed, x, y, (1, 5, 6, 7), window, counts_pads=bool(seed % 2)),
        average_case(seed, x, y, (1, 5, 6, 7), None),
    ):
        fixed, floating = ours(case, rounding="tflite")["y"], ours(case)["y"]
        assert np.abs(fixed.astype(int) - floating).max() <= 1
