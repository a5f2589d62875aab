"""Arithmetic, activations, reductions, normalisation and products of the executor against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from test_train_moves import same, whole
from train_tools import assert_gradients, assert_same, floats, model_of

torch = pytest.importorskip("torch")

UNARY = (
    *("Abs", "Neg", "Exp", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Tan", "Atan", "Erf", "Reciprocal"),
    *("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Mish", "HardSwish", "IsNaN", "IsInf", "LeakyRelu", "Elu"),
    *("Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "Gelu"),
)


@pytest.mark.parametrize("op", UNARY)
def test_of_one_tensor(op: str) -> None:
    x = np.concatenate([floats(0, 200), np.float32([0.5, 1.5, -0.5, 30, -30, 1])])
    same(op, x)


def test_of_one_tensor_with_attributes() -> None:
    x = floats(0, 100)
    same("LeakyRelu", x, alpha=0.3)
    same("Elu", x, alpha=0.3)
    same("Celu", x, alpha=2.0)
    same("Selu", x, alpha=1.5, gamma=0.7)
    same("HardSigmoid", x, alpha=0.3, beta=0.4)
    same("Gelu", x, approximate="tanh")
    same("Gelu", x, domain="com.microsoft")
    same("QuickGelu", x, domain="com.microsoft")
    same("FastGelu", (x.reshape(10, 10), floats(1, 10)), domain="com.microsoft")
    same("BiasGelu", (x.reshape(10, 10), floats(1, 10)), domain="com.microsoft")
    same("Log", np.abs(x) + 0.1)
    same("Sqrt", np.abs(x))
    same("IsInf", np.float32([1, np.inf, -np.inf, np.nan]), detect_negative=0)
    same("Not", np.array([True, False]))


SHAPES = st.sampled_from((((2, 3, 4), (3, 1)), ((4,), (2, 1, 4)), ((), (3,)), ((2, 3), (2, 3))))


@given(SHAPES, st.sampled_from(("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Sum", "Mean")))
def test_of_two_tensors(shapes: tuple[tuple[int, ...], tuple[int, ...]], op: str) -> None:
    if op == "PRelu" and shapes != ((2, 3), (2, 3)):  # the slope may not be larger
        shapes = ((2, 3, 4), (3, 1))
    same(op, tuple(np.asarray(floats(at, *shape)) for at, shape in enumerate(shapes)))


def test_integers_and_truths() -> None:
    a, b = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    for op in ("Add", "Sub", "Mul", "Div", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        same(op, (a, b))
    same("Mod", (a, b), fmod=1)
    same("Mod", (floats(0, 5), floats(1, 5)), fmod=1)
    for op in ("And", "Or", "Xor"):
        same(op, (np.array([True, True, False]), np.array([True, False, False])))
    same("Where", (np.array([True, False]), floats(0, 2), floats(1, 2)))
    same("Pow", (np.abs(floats(0, 5)), np.array([2.0], np.float32)))
    same("Pow", (np.array([2, 3]), np.array([0.5, 2], np.float32)))


def test_clips() -> None:
    x = floats(0, 50)
    same("Clip", x)
    same("Clip", x, {"low": np.float32(-1), "high": None})
    same("Clip", x, {"low": None, "high": np.float32(1)})
    same("Clip", x, {"low": np.float32(1), "high": np.float32(-1)})
    same("Clip", x, opset=7, min=-0.5, max=0.5)
    same("Clip", x, opset=7)
    same("Clip", np.arange(-5, 5, dtype=np.int8), {"low": np.int8(-2), "high": np.int8(3)})


REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.sampled_from(REDUCTIONS),
    st.lists(st.integers(-3, 2), max_size=3, unique_by=lambda axis: axis % 3),
    st.booleans(),
    st.booleans(),
)
def test_reductions(op: str, axes: list[int], keep: bool, none: bool) -> None:
    x = np.abs(floats(0, 2, 3, 4)) + 0.1
    same(f"Reduce{op}", x, {"a": whole(*axes)} if axes else None, keepdims=int(keep), noop_with_empty_axes=int(none))
    same(f"Reduce{op}", x, opset=11, keepdims=int(keep), **({"axes": axes} if axes else {}))


def test_what_picks() -> None:
    x = np.random.default_rng(0).integers(0, 4, (3, 7)).astype(np.float32)  # many are equal
    for op in ("ArgMax", "ArgMin"):
        same(op, x, axis=1)
        same(op, x, axis=0, keepdims=0)
        same(op, x, axis=1, select_last_index=1)
    same("TopK", x, {"k": whole(3)}, outputs=2)
    same("TopK", x, {"k": whole(2)}, outputs=2, axis=0, largest=0)
    same("CumSum", x, {"a": np.int64(1)})
    same("CumSum", x, {"a": np.int64(0)}, exclusive=1, reverse=1)


@pytest.mark.parametrize("opset", [9, 11, 13, 21])
def test_softmax_of_each_opset(opset: int) -> None:
    x = floats(0, 2, 3, 4)
    for op in ("Softmax", "LogSoftmax"):
        same(op, x, opset=opset)
        for axis in (0, 1, 2) if opset < 11 else (-1, 0, 1, -2):
            same(op, x, opset=opset, axis=axis)


def test_normalisation() -> None:
    x, one = floats(0, 2, 6, 5, 4), {"s": floats(1, 6), "b": floats(2, 6)}
    same("BatchNormalization", x, {**one, "m": floats(3, 6), "v": np.abs(floats(4, 6))}, epsilon=1e-3)
    same("BatchNormalization", x[:, :, 0, 0], {**one, "m": floats(3, 6), "v": np.abs(floats(4, 6))}, opset=9)
    same("InstanceNormalization", x, one)
    same("GroupNormalization", x, one, num_groups=3)
    same("GroupNormalization", x, {"s": floats(1, 3), "b": floats(2, 3)}, opset=18, num_groups=3)
    same("LayerNormalization", x, {"s": floats(1, 4), "b": floats(2, 4)}, opset=17)
    same("LayerNormalization", x, {"s": floats(1, 5, 4)}, axis=2)
    same("RMSNormalization", x, {"s": floats(1, 4)}, opset=23)
    same("LpNormalization", x, axis=1)
    same("LpNormalization", x, axis=-1, p=1)
    same("LRN", x, size=3, alpha=0.1, beta=0.6, bias=2.0)
    same("LRN", x, size=5, alpha=0.1)
    same("MeanVarianceNormalization", x)


def test_products() -> None:
    a, b = floats(0, 3, 4), floats(1, 4, 5)
    for attributes in ({}, {"alpha": 0.5, "beta": 2.0}):
        same("Gemm", (a, b), {"c": floats(2, 5)}, **attributes)
    same("Gemm", (a.T.copy(), b.T.copy()), transA=1, transB=1)
    same("Gemm", (a, b), {"c": floats(2, 3, 1)}, opset=9)
    for one, other in (((2, 3, 4), (4, 5)), ((4,), (2, 4, 3)), ((5, 1, 2, 3), (2, 3, 2)), ((3,), (3,))):
        same("MatMul", (floats(0, *one), floats(1, *other)))
    same("Einsum", (floats(0, 2, 3, 4), floats(1, 2, 5, 4)), equation="bij,bkj->bik")


DIFFERENTIABLE: tuple[tuple[str, tuple[int, ...], dict[str, Any], dict[str, Any]], ...] = (
    ("Conv", (1, 2, 5, 6), {"w": floats(1, 4, 1, 3, 2)}, {"group": 2, "pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ("ConvTranspose", (1, 2, 3, 4), {"w": floats(1, 2, 3, 2, 3)}, {"strides": [2, 2], "pads": [0, 1, 1, 0]}),
    ("AveragePool", (1, 2, 5, 6), {}, {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1}),
    ("MaxPool", (1, 2, 5, 6), {}, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("Resize", (1, 2, 3, 4), {"r": None, "t": None, "s": whole(1, 2, 5, 7)}, {"mode": "linear"}),
    ("Resize", (1, 2, 3, 4), {"r": None, "t": None, "s": whole(1, 2, 5, 7)}, {"mode": "nearest"}),
    ("LayerNormalization", (2, 5), {"s": floats(1, 5), "b": floats(2, 5)}, {}),
    ("Softmax", (2, 5), {}, {}),
    ("Gelu", (2, 5), {}, {}),
    ("HardSwish", (2, 5), {}, {}),
    ("Gemm", (2, 5), {"w": floats(1, 3, 5), "c": floats(2, 3)}, {"transB": 1, "alpha": 0.5}),
    ("ReduceL2", (2, 5), {"a": whole(1)}, {}),
    ("Pad", (3, 4), {"p": whole(1, 0, 2, 1)}, {"mode": "reflect"}),
)


@pytest.mark.parametrize(("op", "shape", "constants", "attributes"), DIFFERENTIABLE)
def test_gradients(op: str, shape: tuple[int, ...], constants: dict[str, Any], attributes: dict[str, Any]) -> None:
    from qdsl.train import Executor

    names = ["x", *(name if value is not None else "" for name, value in constants.items())]
    stored = {name: value for name, value in constants.items() if value is not None}
    model = model_of([helper.make_node(op, names, ["y"], **attributes)], {"x": floats(0, *shape)}, ["y"], stored)
    executor = Executor(model, double=True)
    x = torch.from_numpy(floats(0, *shape)).double().requires_grad_()
    learned = executor.differentiable(executor.parameters)

    def loss() -> Any:
        y = executor.run({"x": x})["y"]
        return (y * torch.arange(1, y.numel() + 1).reshape(y.shape)).sum()

    assert_gradients(loss, {"x": x, **learned})


def test_types_of_16_bits() -> None:
    x = floats(0, 2, 3).astype(np.float16)
    node = helper.make_node("Add", ["x", "c"], ["y"])
    assert_same(model_of([node], {"x": x}, ["y"], {"c": np.float16(1.5)}), {"x": x}, 1e-3)
