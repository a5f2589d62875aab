"""A dynamically quantized node computes what its integers stand for: random shapes, attributes and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dynamic_tools import compared, everything, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

# The sums are exact; what is left is the rounding of the float operator that they are held against.
CLOSE = 2e-5
WEIGHTS = ["8 bit", "uint8 affine per_tensor", "uint8 symmetric per_channel", "int8 per_channel", "int8 per_tensor"]
WEIGHTS += ["uint8 symmetric reduce_range", "6 bit"]


def values(seed: int, *shape: int) -> NDArray[np.float32]:
    """Values that are not centred, so that zero points matter."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * rng.uniform(0.1, 3) + rng.uniform(-1, 1)).astype(np.float32)


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    spatial = draw(st.integers(1, 3))
    group = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = [draw(st.integers(1, 3)) for _ in range(spatial)]
    attrs: dict[str, Any] = {"group": group}
    if draw(st.booleans()):
        attrs["kernel_shape"] = kernel
    attrs["strides"] = [draw(st.integers(1, 2)) for _ in range(spatial)]
    padding = draw(st.sampled_from(["none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "pads":
        attrs["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * spatial)]
    elif padding != "none":
        attrs["auto_pad"] = padding
    if not padding.startswith("SAME"):
        attrs["dilations"] = [draw(st.integers(1, 2)) for _ in range(spatial)]
    size = [draw(st.integers(6, 9)) for _ in range(spatial)]
    channels = (group * draw(st.integers(1, 3)), group * draw(st.integers(1, 3)))
    return {"attrs": attrs, "kernel": kernel, "size": size, "channels": channels, "bias": draw(st.booleans())}


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(convolutions(), st.integers(0, 1 << 16), st.sampled_from(WEIGHTS), st.integers(1, 2))
def test_conv(case: dict[str, Any], seed: int, weights: str, batch: int) -> None:
    inside, outside = case["channels"]
    x = values(seed, batch, inside, *case["size"])
    constants = {"w": values(seed + 1, outside, inside // case["attrs"]["group"], *case["kernel"])}
    if case["bias"]:
        constants["b"] = values(seed + 2, outside)
    proto = one_node("Conv", constants, x, **case["attrs"])
    _, error = compared(proto, x, everything(weights))
    assert error < CLOSE


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([1.0, 0.5, -2.0]),
    st.sampled_from([1.0, 0.25, 0.0]),
    st.sampled_from([None, (1,), (5,), (1, 5), (3, 1), (3, 5)]),
    st.integers(0, 1 << 16),
    st.sampled_from(WEIGHTS),
)
def test_gemm(
    turned: tuple[bool, bool], alpha: float, beta: float, bias: tuple[int, ...] | None, seed: int, weights: str
) -> None:
    x = values(seed, *((4, 3) if turned[0] else (3, 4)))
    constants = {"w": values(seed + 1, *((5, 4) if turned[1] else (4, 5)))}
    if bias is not None:
        constants["b"] = values(seed + 2, *bias)
    proto = one_node("Gemm", constants, x, transA=int(turned[0]), transB=int(turned[1]), alpha=alpha, beta=beta)
    _, error = compared(proto, x, everything(weights))
    assert error < CLOSE


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([(4,), (3, 4), (2, 3, 4), (2, 2, 3, 4)]),
    st.sampled_from([(4, 5), (1, 4, 5), (2, 4, 5)]),
    st.integers(0, 1 << 16),
    st.sampled_from(WEIGHTS),
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], seed: int, weights: str) -> None:
    if len(right) > 2 and len(left) > 2 and left[-3] != right[0] and 1 not in (left[-3], right[0]):
        return
    x = values(seed, *left)
    proto = one_node("MatMul", {"w": values(seed + 1, *right)}, x)
    _, error = compared(proto, x, everything(weights))
    assert error < CLOSE


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("fill", [0.0, 3.5, -2.0])
def test_a_tensor_of_one_value(weights: str, fill: float) -> None:
    x = np.full((1, 3, 5, 5), fill, np.float32)
    proto = one_node("Conv", {"w": values(1, 4, 3, 3, 3), "b": values(2, 4)}, x, pads=[1, 1, 1, 1])
    _, error = compared(proto, x, everything(weights))
    assert error < CLOSE


def test_a_bias_that_is_computed() -> None:
    x, b = values(1, 1, 3, 5, 5), values(2, 4)
    conv = one_node("Conv", {"w": values(3, 4, 3, 3, 3), "b": (4,)}, x)
    assert compared(conv, x, everything(), b=b)[1] < CLOSE
    row = values(4, 2, 3)
    gemm = one_node("Gemm", {"w": values(5, 3, 4), "b": (4,)}, row, beta=0.5)
    assert compared(gemm, row, everything(), b=b)[1] < CLOSE


def test_long_sums_are_exact() -> None:
    """Every product at its largest: the sum comes near what int32 takes, and is right."""
    x = np.full((1, 60000), 4.0, np.float32)
    w = np.full((60000, 3), -1.5, np.float32)
    assert compared(one_node("MatMul", {"w": w}, x), x, everything())[1] < CLOSE
    wide = one_node("Conv", {"w": np.full((2, 60000, 1, 1), 1.5, np.float32)}, x.reshape(1, -1, 1, 1))
    assert compared(wide, x.reshape(1, -1, 1, 1), everything())[1] < CLOSE
