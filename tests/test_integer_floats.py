"""What the integer interpreter computes in float32, and integers quantized while the model runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_cases import LAST, Case, codes, dequantize, graph_of, model, ours, parameters, quantize, tensor, theirs
from onnx import helper
from test_integer_between import ENCODINGS, SEEDS
from test_integer_products import windows

from qdsl.integer.functions import FUNCTIONS
from qdsl.integer.records import (
    AveragePool,
    Binary,
    Conv,
    Dense,
    DynamicQuantize,
    Encoding,
    FloatConv,
    FloatDense,
    Floats,
    Op,
    Softmax,
    Tensor,
    Unary,
    Window,
)

FEW = settings(max_examples=15, deadline=None, derandomize=True)
F32 = np.float32


def close(case: Case, within: float) -> None:
    """Every output to `within` of its largest value."""
    mine, expected = ours(case), theirs(case)
    for name, values in expected.items():
        assert mine[name].shape == values.shape and mine[name].dtype == values.dtype
        assert np.abs(mine[name] - values).max(initial=0) <= within * np.abs(values).max(initial=0)


def floats(name: str, shape: tuple[int, ...]) -> Tensor:
    return tensor(name, shape, None, "float32")


PLANES = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
    lambda size: st.tuples(st.just(size), windows(size), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
)


def placed(window: Window, groups: int) -> dict[str, Any]:
    return {
        "kernel_shape": window.kernel,
        "strides": window.strides,
        "dilations": window.dilations,
        "pads": window.pads,
        "group": groups,
    }


@given(SEEDS, PLANES)
@FEW
def test_convolutions_quantized_at_run_time(seed: int, plane: Any) -> None:
    """To the bit: every step is one operator of the runtime."""
    size, window, groups, ins, outs = plane
    draw = np.random.default_rng(seed)
    x = draw.normal(draw.uniform(-2, 2), 1, (1, ins * groups, *size)).astype(F32)
    weight = draw.integers(-127, 128, (outs * groups, ins, *window.kernel)).astype(np.int8)
    scale, bias = draw.uniform(0.001, 0.1, len(weight)).astype(F32), draw.normal(0, 3, len(weight)).astype(F32)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("ConvInteger", ["q", "w", "z"], ["i"], **placed(window, groups)),
        helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("Mul", ["s", "ws"], ["sw"]),
        helper.make_node("Mul", ["f", "sw"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    constants = {"w": weight, "ws": scale.reshape(1, -1, 1, 1), "b": bias.reshape(1, -1, 1, 1)}
    proto = model(nodes, {"x": x}, {"y": "float32"}, constants)
    kernels = np.ascontiguousarray(weight.transpose(LAST))
    ops = [
        DynamicQuantize("d", ("x",), "q", "found"),
        Conv("c", ("q", "found"), "y", kernels, None, window, Floats(scale, bias), groups),
    ]
    made = theirs(Case(proto, graph_of([], [], floats("y", (1, 1))), {"x": x}))["y"]
    between = [tensor("q", x.shape, None, "uint8"), floats("found", (2,))]
    graph = graph_of(ops, [floats("x", x.shape)], floats("y", made.shape), between)
    assert np.array_equal(ours(Case(proto, graph, {"x": x}))["y"], made)


@given(SEEDS, st.integers(1, 4), st.integers(1, 50), st.integers(1, 10), st.booleans())
@FEW
def test_matrices_quantized_at_run_time(seed: int, rows: int, ins: int, outs: int, per_channel: bool) -> None:
    """Weights to +-63: neighbouring products beyond saturate on CPUs without VNNI."""
    draw = np.random.default_rng(seed)
    x = draw.normal(1, 2, (rows, ins)).astype(F32)
    weight = draw.integers(-63, 64, (outs, ins)).astype(np.int8)
    scale, bias = draw.uniform(0.001, 0.1, outs).astype(F32), draw.normal(0, 3, outs).astype(F32)
    scale = scale if per_channel else scale[:1]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("Mul", ["s", "ws"], ["sw"]),
        helper.make_node("Mul", ["f", "sw"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    proto = model(nodes, {"x": x}, {"y": "float32"}, {"w": weight.T.copy(), "ws": scale, "b": bias})
    ops = [
        DynamicQuantize("d", ("x",), "q", "found"),
        Dense("c", ("q", "found"), "y", weight, None, Floats(scale, bias)),
    ]
    between = [tensor("q", x.shape, None, "uint8"), floats("found", (2,))]
    close(Case(proto, graph_of(ops, [floats("x", x.shape)], floats("y", (rows, outs)), between), {"x": x}), 1e-6)


@given(SEEDS, PLANES)
@FEW
def test_float_convolutions(seed: int, plane: Any) -> None:
    size, window, groups, ins, outs = plane
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 1, (1, ins * groups, *size)).astype(F32)
    weight = draw.normal(0, 1, (outs * groups, ins, *window.kernel)).astype(F32)
    bias = draw.normal(0, 1, len(weight)).astype(F32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **placed(window, groups)),
        helper.make_node("Clip", ["c", "low", "high"], ["y"]),
    ]
    constants = {"w": weight, "b": bias, "low": np.array(-1, F32), "high": np.array(2, F32)}
    proto = model(nodes, {"x": x}, {"y": "float32"}, constants)
    made = theirs(Case(proto, graph_of([], [], floats("y", (1, 1))), {"x": x}))["y"]
    op = FloatConv("c", ("x",), "y", np.ascontiguousarray(weight.transpose(LAST)), bias, window, groups, -1.0, 2.0)
    close(Case(proto, graph_of([op], [floats("x", x.shape)], floats("y", made.shape)), {"x": x}), 5e-6)


def one(node: Any, op: Op, x: Any, constants: Any = None, opset: int = 17) -> Case:
    proto = model([node], {"x": x}, {"y": "float32"}, constants or {}, opset)
    made = theirs(Case(proto, graph_of([], [], floats("y", (1, 1))), {"x": x}))["y"]
    return Case(proto, graph_of([op], [floats("x", x.shape)], floats("y", made.shape)), {"x": x})


X = np.random.default_rng(4).normal(0, 2, (1, 3, 6, 5)).astype(F32)


def test_float_matrix() -> None:
    draw = np.random.default_rng(5)
    weight, bias = draw.normal(0, 1, (4, 5)).astype(F32), draw.normal(0, 1, 4).astype(F32)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    close(one(node, FloatDense("n", ("x",), "y", weight, bias), X[0, 0], {"w": weight, "b": bias}), 1e-6)


def test_float_softmax() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], axis=-1)
    close(one(node, Softmax("n", ("x",), "y"), X[0, 0] * 20), 1e-6)


@pytest.mark.parametrize("counts_pads", [False, True])
def test_float_averages(counts_pads: bool) -> None:
    window = Window((2, 3), (2, 1), (1, 1), (1, 0, 0, 2))
    node = helper.make_node(
        "AveragePool",
        ["x"],
        ["y"],
        kernel_shape=window.kernel,
        strides=window.strides,
        pads=window.pads,
        count_include_pad=int(counts_pads),
    )
    close(one(node, AveragePool("n", ("x",), "y", window, counts_pads), X), 1e-6)
    whole = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    close(one(whole, AveragePool("n", ("x",), "y", None), X), 0)


@pytest.mark.parametrize("function", sorted(FUNCTIONS.keys() - {"Swish", "Clip", "GeluTanh"}))
def test_functions(function: str) -> None:
    x = np.abs(X[0, 0]) + F32(0.1) if function in ("Sqrt", "Log", "Reciprocal") else X[0, 0]
    close(one(helper.make_node(function, ["x"], ["y"]), Unary("n", ("x",), "y", function), x, opset=20), 1e-6)


@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div"])
def test_two_float_tensors(kind: Any) -> None:
    other = np.random.default_rng(6).uniform(1, 2, (1, 3, 1, 1)).astype(F32)
    proto = model([helper.make_node(kind.capitalize(), ["x", "z"], ["y"])], {"x": X, "z": other}, {"y": "float32"}, {})
    inputs = [floats("x", X.shape), floats("z", other.shape)]
    graph = graph_of([Binary("n", ("x", "z"), "y", kind)], inputs, floats("y", X.shape))
    close(Case(proto, graph, {"x": X, "z": other}), 0)


@given(SEEDS, st.sampled_from(["sub", "div"]), ENCODINGS, ENCODINGS, ENCODINGS)
@FEW
def test_differences_and_quotients_of_codes(seed: int, kind: Any, a: Encoding, b: Encoding, y: Encoding) -> None:
    """The runtime has no integer kernel of them either: floats between its DequantizeLinear and QuantizeLinear."""
    draw = np.random.default_rng(seed)
    feeds = {"a": codes(draw, 60), "b": codes(draw, 60)}
    feeds["b"][feeds["b"] == b.zero] = b.zero - 1 if b.zero > 0 else b.zero + 1
    nodes = [
        dequantize("a", "af", "a"),
        dequantize("b", "bf", "b"),
        helper.make_node(kind.capitalize(), ["af", "bf"], ["yf"]),
        quantize("yf", "y", "y"),
    ]
    constants = parameters("a", a) | parameters("b", b) | parameters("y", y)
    graph = graph_of(
        [Binary("n", ("a", "b"), "y", kind)], [tensor("a", (60,), a), tensor("b", (60,), b)], tensor("y", (60,), y)
    )
    case = Case(model(nodes, feeds, {"y": "int8"}, constants), graph, feeds)
    assert np.array_equal(ours(case)["y"], theirs(case)["y"])
