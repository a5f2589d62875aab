"""What goes into an emulated network and comes out of it, and how that is held against the interpreter."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from qdsl.diag import QdslError
from qdsl.integer.records import Dequantize, Encoding, IntegerGraph, Op, Tensor, Unary
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.spec.emulated import Emulated, EmulatedStep
from qdsl.targets.stm32.emulated.network import Network, held, told
from qdsl.targets.stm32.golden import given
from qdsl.targets.stm32.holding import Compared

CODES = Tensor("x", (1, 2, 1, 3), "int8", (0, 2, 3, 1), Encoding(0.5, 3))  # channels last: three channels, two rows
FIGURES = Emulated(
    label="emulated Cortex-M7 (QEMU mps2-an500), instructions, not cycles",
    compiler="arm-none-eabi-gcc 12.2.1, QEMU 7.2.22",
    flash=235172,
    ram=201712,
    stack=424,
    instructions=98_700_000,
    macs=40_774_784,
    samples=20,
    outputs=40,
    exact=39,
    apart=0.25,
    steps=(EmulatedStep(("conv", "relu"), 90, 45),),
)


def network(*ops: Op, last: str = "y") -> Network:
    floats = Tensor("y", (1, 4), "float32", (0, 1))
    tensors = {"x": Tensor("x", (1, 4), "int8", (0, 1), Encoding(0.5, 3)), "y": floats, "z": floats}
    return Network(Path(), IntegerGraph("net", ("x",), (last,), tensors, ops), ())


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


def test_a_sample_is_stored_as_the_network_reads_it() -> None:
    array = np.array([[[[0.0], [1.0]], [[2.0], [3.0]], [[-200.0], [200.0]]]], np.float32)  # [1, 3, 2, 1]
    codes = given(CODES, array)
    assert codes.tolist() == [[[[3, 7, -128]], [[5, 9, 127]]]]
    assert given(CODES, np.full((1, 3, 2, 1), 130, np.uint8)).tolist() == [[[[2] * 3]] * 2]
    assert told(CODES, codes)[0, 1].tolist() == [[2.0], [3.0]]


def test_a_sample_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="x: int8"):
        given(CODES, np.zeros((1, 3, 2, 2), np.float32))


def test_integers_are_the_same_to_the_bit_or_the_c_is_wrong() -> None:
    exact = network(Dequantize("dq", ("x",), "y"))
    golden = exact.golden(bytes([3, 4, 5, 6]))
    assert golden == floats(0.0, 0.5, 1.0, 1.5)
    assert held(exact, [golden] * 3, [golden] * 3) == Compared(12, 12, 0.0)
    with pytest.raises(QdslError, match=r"c-differs.*1 of 4 values"):
        held(exact, [golden], [floats(0.0, 0.5, 1.0, float(np.nextafter(np.float32(1.5), np.float32(2))))])
    with pytest.raises(QdslError, match=r"c-differs"):  # other bits, though they compare equal
        held(exact, [golden], [floats(-0.0, 0.5, 1.0, 1.5)])


def test_floats_may_round_otherwise_and_no_more() -> None:
    rounding = network(Dequantize("dq", ("x",), "z"), Unary("sigmoid", ("z",), "y", "Sigmoid"))
    golden = floats(0.25, -2.0, 1.0, 0.5)
    found = held(rounding, [golden], [floats(0.25 + 1e-5, -2.0, 1.0, 0.5)])
    assert (found.values, found.exact) == (4, 3) and found.apart == pytest.approx(5e-6, rel=0.1)
    for wrong in (0.25 + 1e-4, float("nan")):
        with pytest.raises(QdslError, match="c-differs"):
            held(rounding, [golden], [floats(wrong, -2.0, 1.0, 0.5)])


def test_figures_stand_in_a_file_and_are_read_back() -> None:
    plain = json.loads(json.dumps(asdict(FIGURES)))
    assert decode(Emulated, json_data(json.dumps(plain))) == FIGURES
    assert FIGURES.instructions_per_mac == pytest.approx(2.4206, abs=1e-4)
    with pytest.raises(UnfitError, match="stack"):
        decode(Emulated, {**plain, "stack": -1})
    with pytest.raises(UnfitError, match="exact"):
        decode(Emulated, {**plain, "exact": 41})
