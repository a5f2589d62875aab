"""An off-by-one in a kernel of the integer interpreter shows in the comparison with ONNX Runtime, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from integer_cases import (
    Array,
    Case,
    average_case,
    binary_case,
    concat_case,
    conv_case,
    dense_case,
    max_case,
    ours,
    softmax_case,
    theirs,
)
from test_integer_between import dynamic_case, into_and_out, through
from test_integer_pools import padding_case

from qdsl.integer import interpret_between, interpret_moves, interpret_pools, interpret_products, rounding, windows
from qdsl.integer.records import Encoding, Window
from qdsl.integer.tables import table_of
from qdsl.integer.values import Values

PADDED = Window((3, 3), (2, 1), (1, 1), (1, 0, 1, 2))
X, Y = Encoding(0.5, 3), Encoding(1.0, -5)
SPACE = (1, 4, 7, 6)
SMALL = Window((2, 2), (2, 1), (1, 1), (1, 0, 0, 1))


def largest() -> Case:
    """Nearly everything at the least code, which is what padding is."""
    case = max_case(0, X, SPACE, replace(PADDED, dilations=(1, 1)))
    x = case.feeds["x"]
    return replace(case, feeds={"x": np.where(x % 9, np.int8(-128), x)})


CASES: dict[str, Callable[[], list[Case]]] = {
    "convolution": lambda: [conv_case(1, window=PADDED, halves=halves) for halves in (False, True)],
    "depthwise": lambda: [conv_case(2, channels=(1, 1), groups=8, window=PADDED, halves=one) for one in (False, True)],
    "groups": lambda: [conv_case(3, groups=2, window=PADDED, per_channel=False, halves=half) for half in (False, True)],
    "gemm": lambda: [dense_case(4, rows=20, halves=halves) for halves in (False, True)],
    "matmul": lambda: [dense_case(5, rows=20, gemm=False, halves=halves) for halves in (False, True)],
    "add": lambda: [binary_case(6, "Add", X, X, y, (SPACE, SPACE)) for y in (Y, Encoding(0.25, 5))],
    "sub": lambda: [binary_case(12, "Sub", X, Encoding(0.25, 1), y, (SPACE, SPACE)) for y in (X, Y)],
    "div": lambda: [binary_case(13, "Div", X, Encoding(0.25, -128), Encoding(1.0, 2), (SPACE, SPACE))],
    "mul": lambda: [binary_case(7, "Mul", X, Encoding(0.25, 1), Encoding(8.0, 2), (SPACE, SPACE))],
    "concat": lambda: [concat_case(8, [X, Encoding(0.25, 9), Encoding(1.0, 9)], Encoding(0.5, -9), [7, 8, 9])],
    "softmax": lambda: [softmax_case(9, Encoding(0.02, 0), Encoding(y, -128), (9, 30)) for y in (2**-8, 2**-13)],
    "average": lambda: [
        average_case(10, X, Encoding(y, 4), SPACE, SMALL, both) for both in (False, True) for y in (0.25, 1.0)
    ],
    "whole plane": lambda: [average_case(11, X, Encoding(0.25, 4), (1, 90, 2, 2), None)],
    "largest": lambda: [largest()],
    "padding": lambda: [padding_case()],
    "quantize": lambda: [into_and_out(np.arange(-300, 300).astype(np.float32) / 4, X)],
    "run time": lambda: [
        dynamic_case(np.array([least, 0.5, 1.5, 2.5, 255 + least], np.float32)) for least in (-1, 0, -2.5)
    ],
}  # fmt: skip
PADS = {"convolution", "depthwise", "groups", "average", "largest"}
KEEPS = {"largest", "padding"}  # codes as they are


@cache
def answers(kernel: str) -> list[tuple[Case, dict[str, Array]]]:
    return [(case, theirs(case)) for case in CASES[kernel]()]


def shows(kernel: str) -> bool:
    for case, expected in answers(kernel):
        mine = ours(case)
        if any(not np.array_equal(mine[name], expected[name]) for name in mine):
            return True
    return False


def half_up(values: Array) -> Array:
    return np.floor(values + np.float32(0.5))


def half_down(values: Array) -> Array:
    return np.ceil(values - np.float32(0.5))


def shifted(of: str) -> Callable[[Values, str], Encoding]:
    """Values.encoding that is off by one for inputs or outputs."""
    honest = Values.encoding

    def encoding(self: Values, name: str) -> Encoding:
        found = honest(self, name)
        ends = self.graph.inputs if of == "inputs" else self.graph.outputs
        return replace(found, zero=found.zero + 1) if name in ends else found

    return encoding


def off(function: Callable[..., Array], place: int, by: int = 1) -> Callable[..., Array]:
    """`function` with the argument at `place` off by one."""

    def other(*arguments: Any) -> Array:
        changed = list(arguments)
        changed[place] += by
        return function(*changed)

    return other


@pytest.mark.parametrize("kernel", CASES)
def test_without_a_fault_nothing_differs(kernel: str) -> None:
    assert not shows(kernel)


@pytest.mark.parametrize("fault", [half_up, half_down])
@pytest.mark.parametrize("kernel", sorted(CASES.keys() - KEEPS - {"softmax"}))
def test_ties(kernel: str, fault: Callable[[Array], Array], monkeypatch: pytest.MonkeyPatch) -> None:
    """Softmax has none."""
    monkeypatch.setattr(rounding, "rint", fault)
    assert shows(kernel)


@pytest.mark.parametrize("fault", [np.floor, np.ceil])
@pytest.mark.parametrize("kernel", sorted(CASES.keys() - KEEPS))
def test_rounding(kernel: str, fault: Callable[[Array], Array], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "rint", fault)
    assert shows(kernel)


@pytest.mark.parametrize("kernel", sorted(PADS))
def test_value_of_padding(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "padded", off(windows.padded, 2))
    assert shows(kernel)


def test_value_of_a_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpret_moves, "bordered", off(interpret_moves.bordered, 2))
    assert shows("padding")


@pytest.mark.parametrize("of", ["inputs", "outputs"])
@pytest.mark.parametrize("kernel", sorted(CASES.keys() - KEEPS - {"quantize", "run time"}))
def test_zero_points(kernel: str, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Values, "encoding", shifted(of))
    assert shows(kernel) != (kernel == "softmax" and of == "inputs")  # which has no use for the input's


@pytest.mark.parametrize("name", ["to_codes", "centred"])
def test_zero_points_of_quantize(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, name, off(getattr(rounding, name), 1))
    assert shows("quantize")


@pytest.mark.parametrize(("place", "by"), [(1, 1), (2, -1)], ids=["low", "high"])
@pytest.mark.parametrize("kernel", sorted(CASES.keys() - KEEPS - {"softmax"}))
def test_limits(kernel: str, place: int, by: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "clipped", off(rounding.clipped, place, by))
    assert shows(kernel)


def test_upper_limit_of_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "clipped", off(rounding.clipped, 2, -1))
    assert shows("softmax")


@pytest.mark.parametrize("kernel", ["convolution", "gemm"])
def test_bias(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = interpret_products.with_bias
    monkeypatch.setattr(interpret_products, "with_bias", lambda sums, bias: honest(sums, bias) + 1)
    assert shows(kernel)


def test_divisors(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = interpret_pools.divisors_of
    monkeypatch.setattr(interpret_pools, "divisors_of", lambda *arguments: honest(*arguments) + 1)
    assert shows("average")


def test_places_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.array_equal(through("LeakyRelu", X, X, {"alpha": 0.1}), table_of("LeakyRelu", {"alpha": 0.1}, X, X))
    monkeypatch.setattr(interpret_between, "looked_up", lambda codes, table: np.roll(table, 1)[codes.astype(int) + 128])
    assert shows("concat")
