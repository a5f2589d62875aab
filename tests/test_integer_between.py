"""What is between convolutions of the integer interpreter, held against ONNX Runtime's to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_cases import (
    Case,
    binary_case,
    concat_case,
    dequantize,
    graph_of,
    model,
    ours,
    parameters,
    quantize,
    softmax_case,
    tensor,
    theirs,
    unlike,
)
from onnx import helper

from qdsl.integer.functions import FUNCTIONS
from qdsl.integer.records import Dequantize, DynamicQuantize, Encoding, Quantize
from qdsl.integer.tables import CODES, table_of

FEW = settings(max_examples=20, deadline=None, derandomize=True)
MANY = settings(max_examples=1000, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
# Powers of two make ties, others make near ones.
SCALES = st.one_of(
    st.integers(-7, 0).map(lambda power: 2.0**power),
    st.floats(2**-8, 0.25, width=32, allow_subnormal=False),
)
ENCODINGS = st.builds(Encoding, SCALES, st.integers(-128, 127))
SHAPES = st.sampled_from(
    [
        ((1, 5, 4, 3), (1, 5, 4, 3)),
        ((1, 5, 4, 3), (1, 5, 1, 1)),
        ((1, 5, 1, 1), (1, 5, 4, 3)),
        ((1, 5, 4, 3), (1, 1, 4, 3)),
        ((1, 1, 1, 1), (1, 5, 4, 3)),
        ((1, 5, 4, 3), (1, 5, 4, 1)),
        ((70,), (70,)),
        ((3, 40), (1, 40)),
        ((3, 40), (3, 1)),
        ((3, 1), (3, 1)),
    ]
)


def coarser(kind: str, y: Encoding, a: Encoding, b: Encoding) -> Encoding:
    """An output that most results fit, at the scale drawn for it relative to the inputs'."""
    natural = 8 * a.scale * b.scale * 16 if kind == "Mul" else max(a.scale, b.scale)
    return Encoding(float(np.float32(natural * y.scale * 4)), y.zero)


def check_binary(seed: int, kind: str, a: Encoding, b: Encoding, y: Encoding, shapes: Any) -> None:
    assert unlike(binary_case(seed, kind, a, b, coarser(kind, y, a, b), shapes)) == 0


BINARY = (SEEDS, st.sampled_from(["Add", "Mul"]), ENCODINGS, ENCODINGS, ENCODINGS, SHAPES)


@given(*BINARY)
@settings(FEW, max_examples=40)
def test_sums_and_products(seed: int, kind: str, a: Encoding, b: Encoding, y: Encoding, shapes: Any) -> None:
    check_binary(seed, kind, a, b, y, shapes)


@pytest.mark.slow
@given(*BINARY)
@MANY
def test_many_sums_and_products(seed: int, kind: str, a: Encoding, b: Encoding, y: Encoding, shapes: Any) -> None:
    check_binary(seed, kind, a, b, y, shapes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_every_pair_of_codes(kind: str) -> None:
    """Where sums are rounded in between decides one result in some hundred thousand."""
    draw = np.random.default_rng(7)
    for _ in range(100):
        a, b = (Encoding(float(np.float32(draw.uniform(0.01, 0.1))), int(draw.integers(-128, 128))) for _ in range(2))
        y = Encoding(float(np.float32(draw.uniform(0.02, 0.2))), int(draw.integers(-128, 128)))
        along, across = np.tile(CODES, (256, 1)), CODES[:, None]
        for first, second in ((along, across), (across, along), (along, along.T.copy())):
            case = binary_case(0, kind, a, b, y, (first.shape, second.shape))
            assert unlike(Case(case.proto, case.graph, {"a": first, "b": second}, case.kinds)) == 0


@given(SEEDS, st.lists(st.tuples(ENCODINGS, st.integers(1, 5)), min_size=2, max_size=4), st.booleans(), ENCODINGS)
@FEW
def test_joins(seed: int, inputs: Sequence[tuple[Encoding, int]], same: bool, y: Encoding) -> None:
    y = inputs[0][0] if same else y
    assert unlike(concat_case(seed, [one for one, _ in inputs], y, [size for _, size in inputs])) == 0


OUTPUTS = st.builds(
    Encoding, st.sampled_from([1 / 256, float(np.float32(1 / 255)), 0.0009, 0.0037, 0.01]), st.integers(-128, -100)
)


@given(SEEDS, ENCODINGS, OUTPUTS, st.integers(1, 4), st.integers(1, 40))
@FEW
def test_softmax(seed: int, x: Encoding, y: Encoding, rows: int, length: int) -> None:
    assert unlike(softmax_case(seed, x, y, (rows, length))) == 0


def through(function: str, x: Encoding, y: Encoding, attributes: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The codes that ONNX Runtime makes of all 256."""
    name = "Gelu" if function == "GeluTanh" else function
    attributes = attributes | ({"approximate": "tanh"} if function == "GeluTanh" else {})
    nodes = [
        dequantize("x", "x_float", "x"),
        helper.make_node(name, ["x_float"], ["y_float"], **attributes),
        quantize("y_float", "y", "y"),
    ]
    proto = model(nodes, {"x": CODES}, {"y": "int8"}, parameters("x", x) | parameters("y", y), opset=20)
    graph = graph_of([], [tensor("x", (256,), x)], tensor("y", (256,), y))
    return theirs(Case(proto, graph, {"x": CODES}))["y"]


ATTRIBUTES: dict[str, dict[str, float]] = {
    "LeakyRelu": {"alpha": 0.1},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "ThresholdedRelu": {"alpha": 0.7},
    "Elu": {"alpha": 1.3},
    "Celu": {"alpha": 1.5},
    "Selu": {"alpha": 1.7, "gamma": 1.1},
}
# Swish is younger than the opset of these files; Clip takes its limits as inputs.
TOLD = sorted(FUNCTIONS.keys() - {"Swish", "Clip"})


def drawn_encodings(draw: np.random.Generator, function: str) -> tuple[Encoding, Encoding]:
    x = Encoding(float(np.float32(np.exp(draw.uniform(-6, -1.5)))), int(draw.integers(-128, 128)))
    reach = (
        2.0
        if function in ("Sigmoid", "Tanh", "Erf", "HardSigmoid", "Softsign", "Sin", "Cos", "Sign")
        else 256 * x.scale
    )
    return x, Encoding(float(np.float32(reach / 255 * draw.uniform(0.5, 2))), int(draw.integers(-128, 128)))


def steps_apart(function: str, seed: int, tries: int) -> tuple[int, int]:
    """(how many entries differ from the runtime's, by how much at most)."""
    draw = np.random.default_rng(seed)
    differ = most = 0
    for _ in range(tries):
        x, y = drawn_encodings(draw, function)
        attributes = ATTRIBUTES.get(function, {})
        apart = np.abs(
            table_of(function, attributes, x, y).astype(int) - through(function, x, y, attributes).astype(int)
        )
        differ, most = differ + int(np.count_nonzero(apart)), max(most, int(apart.max()))
    return differ, most


@pytest.mark.parametrize("function", TOLD)
def test_tables(function: str) -> None:
    assert steps_apart(function, 1, 3) == (0, 0)


# Of the C library, and rounded otherwise in float32: of 102,400 entries one may be one step away. None of this seed is.
NEARLY = ("Celu", "Elu", "Selu", "Mish", "Softplus", "Erf", "Exp", "Log", "Sin", "Cos", "Gelu", "GeluTanh")


@pytest.mark.slow
@pytest.mark.parametrize("function", TOLD)
def test_many_tables(function: str) -> None:
    differ, most = steps_apart(function, 2, 400)
    assert (differ, most) <= ((1, 1) if function in NEARLY else (0, 0))


def into_and_out(x: np.ndarray[Any, Any], y: Encoding) -> Case:
    nodes = [quantize("x", "q", "y"), dequantize("q", "y", "y")]
    proto = model(nodes, {"x": x}, {"y": "float32"}, parameters("y", y))
    ops = [Quantize("q", ("x",), "q"), Dequantize("d", ("q",), "y")]
    shape = tuple(x.shape)
    graph = graph_of(
        ops, [tensor("x", shape, None, "float32")], tensor("y", shape, None, "float32"), [tensor("q", shape, y)]
    )
    return Case(proto, graph, {"x": x})


@given(SEEDS, ENCODINGS)
@FEW
def test_into_integers_and_out(seed: int, y: Encoding) -> None:
    draw = np.random.default_rng(seed)
    x = (draw.integers(-600, 600, 300) * y.scale / 2).astype(np.float32)
    assert unlike(into_and_out(np.append(x, [np.inf, -np.inf, np.nan, 3e38, -0.0]).astype(np.float32), y)) == 0


def dynamic_case(x: np.ndarray[Any, Any]) -> Case:
    outputs = {"q": "uint8", "scale": "float32", "zero": "uint8"}
    proto = model([helper.make_node("DynamicQuantizeLinear", ["x"], list(outputs))], {"x": x}, outputs, {})
    op = DynamicQuantize("n", ("x",), "q", "found")
    found = tensor("found", (2,), None, "float32")
    graph = graph_of([op], [tensor("x", x.shape, None, "float32")], tensor("q", x.shape, None, "uint8"), [found])
    return Case(proto, graph, {"x": x})


def check_dynamic(x: np.ndarray[Any, Any]) -> None:
    case = dynamic_case(x)
    mine, expected = ours(case, every=True), theirs(case)
    assert np.array_equal(mine["q"], expected["q"])
    assert mine["found"].tolist() == [expected["scale"].item(), expected["zero"].item()]


@given(SEEDS, st.floats(-3, 3), st.floats(0.01, 100))
@FEW
def test_run_time_encodings(seed: int, centre: float, width: float) -> None:
    draw = np.random.default_rng(seed)
    check_dynamic((draw.normal(centre, 1, 200) * width).astype(np.float32))


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 2.0], [-1.0, -2.0], [-0.5, 127.0], [1e-42, 0.0]])
def test_odd_ranges(values: list[float]) -> None:
    check_dynamic(np.array(values, np.float32))
