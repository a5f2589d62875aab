"""QuantizeLinear and DequantizeLinear of the executor: values as ONNX Runtime's, gradients straight through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from train_tools import Array, assert_same, by_executor, by_runtime, floats, model_of

torch = pytest.importorskip("torch")

KINDS = ("int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2")
CHANNELS, LENGTH = 3, 8


def ends(kind: str) -> tuple[int, int]:
    bits = int(kind.lstrip("uint"))
    return (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def zero_points(kind: str, values: Array) -> TensorProto:
    element = TensorProto.DataType.Value(kind.upper())
    return helper.make_tensor("z", element, values.shape, values.reshape(-1).tolist())


def pair(
    kind: str, scale: Array, zero: Array, between: tuple[Any, ...] = (), domain: str = "", **attrs: Any
) -> ModelProto:
    """x -> QuantizeLinear -> what stands between -> DequantizeLinear -> y"""
    quantize = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q0"], domain=domain, **attrs)
    last = f"q{len(between)}"
    dequantize = helper.make_node("DequantizeLinear", [last, "s", "z"], ["y"], domain=domain, **attrs)
    x = floats(0, 2, CHANNELS, LENGTH)
    opset = 17 if domain else 25 if "int2" in kind else 21
    nodes = [quantize, *between, dequantize]
    return model_of(nodes, {"x": x}, ["y"], {"s": scale, "z": zero_points(kind, zero)}, opset)


def parameters(kind: str, shape: tuple[int, ...], seed: int = 0) -> tuple[Array, Array]:
    """Scales that cut off some of what is normally distributed, and zero points inside the range."""
    rng, (low, high) = np.random.default_rng(seed), ends(kind)
    scale = (rng.uniform(0.7, 1.3, shape) * 6 / (high - low)).astype(np.float32)
    zero = np.zeros(shape, int) if kind[0] == "i" else rng.integers((high + 1) // 3, (high + 1) // 2 + 1, shape)
    return scale, zero


def assert_pair(model: ModelProto, largest_step: float) -> None:
    x = floats(5, 2, CHANNELS, LENGTH)
    ours, theirs = by_executor(model, {"x": x})["y"], by_runtime(model, {"x": x})["y"]
    apart = np.abs(ours - theirs)
    assert apart.max() <= largest_step * 1.001
    assert (apart > 1e-4 * np.abs(theirs).max()).sum() <= apart.size // 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "attrs"), [((), {}), ((CHANNELS,), {"axis": 1}), ((LENGTH,), {"axis": -1})])
def test_values_per_tensor_and_channel(kind: str, shape: tuple[int, ...], attrs: dict[str, int]) -> None:
    scale, zero = parameters(kind, shape)
    assert_pair(pair(kind, scale, zero, **attrs), float(scale.max()))


@pytest.mark.parametrize("kind", KINDS[:6])
def test_values_by_blocks(kind: str) -> None:
    scale, zero = parameters(kind, (2, CHANNELS, 2))
    assert_pair(pair(kind, scale, zero, axis=2, block_size=4), float(scale.max()))


@pytest.mark.parametrize("kind", ["int16", "uint16"])
def test_16_bits_of_the_contrib_domain(kind: str) -> None:
    scale, zero = parameters(kind, ())
    assert_pair(pair(kind, scale, zero, domain="com.microsoft"), float(scale))


def test_stored_integers_and_their_own_type() -> None:
    x, scale, zero = floats(0, 4, 5), np.float32(0.05), np.uint8(100)
    quantize = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
    assert_same(model_of([quantize], {"x": x}, ["q"], {"s": np.asarray(scale), "z": np.asarray(zero)}), {"x": x})
    bias = np.random.default_rng(0).integers(-(2**31), 2**31, 7).astype(np.int32)
    dequantize = helper.make_node("DequantizeLinear", ["b", "s"], ["y"])
    assert_same(model_of([dequantize], {"b": bias}, ["y"], {"s": np.asarray(np.float32(1e-4))}), {"b": bias})
    q = np.arange(-8, 8).astype(np.int8)
    assert_same(model_of([dequantize], {"b": q}, ["y"], {"s": np.asarray(scale)}), {"b": q})


def test_a_dynamic_quantization() -> None:
    x = floats(0, 3, 4)
    w = np.random.default_rng(0).integers(-50, 51, (4, 5)).astype(np.int8)  # no two products saturate without VNNI
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "zero"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    stored = {"w": w, "zero": np.array([3, -2, 0, 1, 7], np.int8)}
    assert_same(model_of(nodes, {"x": x}, ["y", "q", "z"], stored), {"x": x})
    found, _ = gradient(model_of(nodes, {"x": x}, ["y"], stored), x)
    wanted = (w.astype(np.float32) - stored["zero"]).sum(1)  # as if nothing had been rounded
    np.testing.assert_allclose(found, np.broadcast_to(wanted, x.shape), rtol=1e-4)


def test_a_dynamic_convolution() -> None:
    x, w = floats(0, 1, 2, 5, 6), np.random.default_rng(0).integers(-50, 51, (4, 1, 3, 3)).astype(np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("ConvInteger", ["q", "w", "z"], ["i"], group=2, pads=[1, 0, 0, 2], strides=[2, 1]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    assert_same(model_of(nodes, {"x": x}, ["y", "i"], {"w": w}), {"x": x})


MOVES = {
    "transposed": helper.make_node("Transpose", ["q0"], ["q1"], perm=[2, 0, 1]),
    "pooled": helper.make_node("MaxPool", ["q0"], ["q1"], kernel_shape=[3], pads=[1, 1], strides=[2]),
    "clipped": helper.make_node("Clip", ["q0", "low", "high"], ["q1"]),
}


def clipped(kind: str, low: int, high: int) -> ModelProto:
    """A width of fewer bits inside a type, as recipes say it."""
    scale, zero = parameters(kind, ())
    model = pair(kind, scale, zero, (MOVES["clipped"],))
    for name, value in (("low", low), ("high", high)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.DataType.Value(kind.upper()), (), [value]))
    return model


def gradient(model: ModelProto, x: Array) -> tuple[Array, Array]:
    from qdsl.train import Executor

    fed = torch.from_numpy(x).requires_grad_()
    y = Executor(model).run({"x": fed})["y"]
    y.backward(torch.ones_like(y))
    return fed.grad.numpy(), y.detach().numpy()


@settings(max_examples=40)
@given(st.sampled_from(KINDS), st.sampled_from(("", "channel", "block")), st.integers(0, 9))
def test_the_gradient_is_1_inside_and_0_outside(kind: str, per: str, seed: int) -> None:
    shape, attrs = {
        "": ((), {}),
        "channel": ((CHANNELS,), {"axis": 1}),
        "block": ((2, CHANNELS, 2), {"axis": 2, "block_size": 4}),
    }[per]
    scale, zero = parameters(kind, shape, seed)
    x, (low, high) = floats(seed, 2, CHANNELS, LENGTH), ends(kind)
    found, _ = gradient(pair(kind, scale, zero, **attrs), x)
    spread = {"": lambda one: one, "channel": lambda one: one[:, None], "block": lambda one: np.repeat(one, 4, 2)}[per]
    inside = (x / spread(scale) >= low - spread(zero)) & (x / spread(scale) <= high - spread(zero))
    np.testing.assert_array_equal(found, inside.astype(np.float32))  # exactly, whatever the scale is
    assert kind in ("int16", "uint16") or not inside.all()


def test_a_clip_of_an_emulated_width_narrows_the_range() -> None:
    x = floats(1, 2, CHANNELS, LENGTH)
    model = clipped("int8", -8, 7)
    assert_pair(model, 0.0)
    found, y = gradient(model, x)
    scale = float(parameters("int8", ())[0])
    np.testing.assert_array_equal(found, (np.abs(np.rint(x / scale) + 0.5) < 8).astype(np.float32))
    assert len(np.unique(y)) <= 16


@pytest.mark.parametrize("way", ["transposed", "pooled"])
def test_gradients_through_what_moves_integers(way: str) -> None:
    scale, zero = parameters("uint8", ())
    model = pair("uint8", scale, zero, (MOVES[way],))
    assert_pair(model, float(scale))
    x = floats(1, 2, CHANNELS, LENGTH)
    found, y = gradient(model, x)
    assert set(np.unique(found)) <= {0.0, 1.0, 2.0}  # a maximum may be that of two windows
    assert found.sum() <= y.size


def test_two_scales_give_the_gradient_of_their_ratio() -> None:
    """Integers that are read with another scale than they were written with: the values are stretched."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "t", "z"], ["y"]),
    ]
    stored = {"s": np.asarray(np.float32(0.1)), "t": np.asarray(np.float32(0.3)), "z": np.asarray(np.int8(0))}
    model = model_of(nodes, {"x": floats(0, 5)}, ["y"], stored)
    found, _ = gradient(model, floats(0, 5))
    np.testing.assert_allclose(found, 3.0, rtol=1e-6)


def lsq(x: Array, scale: Array, zero: Array, kind: str, shared: int) -> Array:
    """Esser et al. 2020, eq. 3 and section 2.2, element by element, scale by scale (along axis 1 or for all)."""
    low, high = ends(kind)
    ratio = x.astype(np.float64) / scale
    inside = (ratio > low - zero) & (ratio < high - zero)
    by_element = np.where(inside, np.rint(ratio) - ratio, np.where(ratio < 0, low - zero, high - zero))
    return by_element / np.sqrt(shared * high)


def test_learned_scales_are_those_of_lsq() -> None:
    from qdsl.train import Executor

    x = floats(3, 2, CHANNELS, LENGTH)
    for kind in ("int8", "uint8", "int4"):
        scale, zero = parameters(kind, ())
        executor = Executor(pair(kind, scale, zero), learned_scales=True)
        assert executor.scales == {"s": ("s",)}
        learned = executor.differentiable(executor.scales)["s"]
        executor.run({"x": x})["y"].sum().backward()
        wanted = lsq(x, scale, zero, kind, CHANNELS * LENGTH).sum()
        assert float(learned.grad) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_learned_scales_per_channel() -> None:
    from qdsl.train import Executor

    x = floats(3, 2, CHANNELS, LENGTH)
    scale, zero = parameters("int8", (CHANNELS,))
    executor = Executor(pair("int8", scale, zero, axis=1), learned_scales=True)
    learned = executor.differentiable(["s"])["s"]
    executor.run({"x": x})["y"].sum().backward()
    wanted = lsq(x, scale[:, None], zero[:, None], "int8", LENGTH).sum((0, 2))
    np.testing.assert_allclose(learned.grad.numpy(), wanted, rtol=1e-3, atol=1e-5)


def test_scales_that_are_not_learned_get_no_gradient() -> None:
    from qdsl.train import Executor

    executor = Executor(pair("int8", *parameters("int8", ())))
    learned = executor.differentiable(["s"])["s"]
    x = torch.from_numpy(floats(3, 2, CHANNELS, LENGTH)).requires_grad_()
    executor.run({"x": x})["y"].sum().backward()
    assert learned.grad is None and executor.scales == {}


def test_equal_constants_of_a_pair_are_one_learned_scale() -> None:
    from qdsl.train import Executor

    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "t", "z"], ["y"]),
    ]
    one = np.asarray(np.float32(0.1))
    model = model_of(nodes, {"x": floats(0, 5)}, ["y"], {"s": one, "t": one, "z": np.asarray(np.int8(0))})
    executor = Executor(model, learned_scales=True)
    assert executor.scales == {"s": ("s", "t")}
    executor.parameters["s"] = torch.tensor(0.2)
    steps = executor.run({"x": floats(0, 5)})["y"] / 0.2
    np.testing.assert_allclose(steps, steps.round(), atol=1e-5)


def test_joined_integers_are_one_group() -> None:
    """Two pairs of one scale whose integers are joined let gradients through as one; with two scales neither does as it
    is, since what reads the joined integers stretches one of them."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("QuantizeLinear", ["x", "t", "z"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=0),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    for other, wanted in ((0.1, 2.0), (0.05, 3.0)):
        stored = {"s": np.float32(0.1), "t": np.float32(other), "z": np.int8(0)}
        x = floats(0, 5) / 2
        model = model_of(nodes, {"x": x}, ["y"], {name: np.asarray(value) for name, value in stored.items()})
        found, _ = gradient(model, x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
