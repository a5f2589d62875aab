"""Scales of few levels: no other range comes back nearer, and 8 bits are as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from qdsl.quant import (
    QParams,
    by_least_error,
    dequantize,
    least_error_scale,
    limits,
    quantize,
    quantize_weight,
    spread,
    weight_parameters,
)
from qdsl.spec import DTYPES, Granularity, Scheme

PER_TENSOR, PER_CHANNEL, PER_BLOCK = Granularity
LOW = ["int4", "uint4", "int2", "uint2"]
weights = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 3)), elements=st.floats(-4, 4, width=32)
)


def scheme(name: str, where: Granularity = PER_CHANNEL, **more: Any) -> Scheme:
    block = 3 if where is PER_BLOCK else None
    return Scheme(DTYPES[name], name.startswith("int"), where, block, **more)


def error(weight: NDArray[Any], of: Scheme, params: QParams) -> NDArray[np.float64]:
    """The cube of the error of each value."""
    back = dequantize(quantize_weight(weight, of, params).values, params)
    return np.abs(weight.astype(np.float64) - back) ** 3


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=40)
@given(weights, st.sampled_from(LOW), st.sampled_from(Granularity))
def test_what_holds_every_value_is_never_nearer(weight: NDArray[Any], name: str, where: Granularity) -> None:
    of = scheme(name, where)
    axis = None if where is PER_TENSOR else 1
    found = weight_parameters(weight, of, axis)
    if where is PER_TENSOR:
        plain = QParams(*spread(weight.min(), weight.max(), of), of.dtype)
        worst = error(weight, of, found).sum() - error(weight, of, plain).sum()
    else:
        length = 3 if where is PER_BLOCK else 1
        starts = range(0, weight.shape[1], length)
        low = np.concatenate([weight[:, at : at + length].min(1, keepdims=True) for at in starts], 1)
        high = np.concatenate([weight[:, at : at + length].max(1, keepdims=True) for at in starts], 1)
        if where is PER_CHANNEL:
            low, high = weight.min(axis=(0, 2)), weight.max(axis=(0, 2))
        plain = QParams(*spread(low, high, of), of.dtype, 1, 3 if where is PER_BLOCK else None)
        worst = (error(weight, of, found) - error(weight, of, plain)).sum()
    assert worst <= 1e-3 * (1e-3 + float(np.abs(weight).max()) ** 3)


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize("seed", range(3))
def test_no_range_of_a_fine_grid_is_much_nearer(name: str, seed: int) -> None:
    weight, of = normal(1, 400, seed=seed), scheme(name, PER_TENSOR)
    found = error(weight, of, weight_parameters(weight, of, None)).sum()
    low, high = float(weight.min()), float(weight.max())
    grid = np.linspace(0.1, 1.6, 400)
    best = min(error(weight, of, QParams(*spread(low * f, high * f, of), of.dtype)).sum() for f in grid)
    assert found <= 1.1 * best


def test_much_less_is_lost_per_tensor_and_in_two_bits_about_a_middle() -> None:
    weight = normal(16, 300)
    for name, where, least in (("int2", PER_CHANNEL, 3), ("int4", PER_TENSOR, 1.5), ("uint4", PER_TENSOR, 1.5)):
        of = scheme(name, where)
        axis = None if where is PER_TENSOR else 1
        low, high = weight.min(axis=axis), weight.max(axis=axis)
        plain = QParams(*spread(low, high, of), of.dtype, None if axis is None else 0)
        found = weight_parameters(weight, of, plain.axis)
        assert error(weight, of, plain).sum() > least * error(weight, of, found).sum()


@settings(max_examples=40)
@given(weights, st.sampled_from([PER_CHANNEL, PER_BLOCK]), st.sampled_from([3, 4, 6]))
def test_no_value_of_a_symmetric_channel_or_block_is_cut_off_and_one_is_at_an_end(
    weight: NDArray[Any], where: Granularity, bits: int
) -> None:
    weight[np.abs(weight) < 1e-3] = 0  # below the smallest scale there are no steps
    of = scheme("int4", where) if bits == 4 else scheme("int8", where, emulated_bits=bits)
    found = weight_parameters(weight, of, 1)
    low, high = limits(of)
    free = quantize(weight, found, (-128, 127))
    assert low <= free.min() and free.max() <= high
    assert not weight.any() or free.min() == low or free.max() == high


def test_a_lone_value_is_exact_in_a_signed_type() -> None:
    """In steps of twice its width by 15 it would be 7.5 of them."""
    weight = np.array([[0.7], [-0.3]], np.float32)
    of = scheme("int4", PER_BLOCK)
    assert error(weight, of, weight_parameters(weight, of, 1)).max() < 1e-10


@pytest.mark.parametrize("name", LOW)
def test_scales_are_the_same_however_values_are_looked_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, of = normal(6, 50, 3), scheme(name)
    whole = weight_parameters(weight, of, 0)
    monkeypatch.setattr("qdsl.quant.least_error._TOGETHER", 64)
    parts = weight_parameters(weight, of, 0)
    assert whole.scale.tobytes() == parts.scale.tobytes()
    assert whole.zero_point.tobytes() == parts.zero_point.tobytes()


def test_eight_bits_hold_every_value() -> None:
    weight = normal(4, 100)
    of = scheme("int8")
    whole = ("int4", "uint4", "int2", "uint2")
    assert all(by_least_error(scheme(name, PER_TENSOR)) for name in whole)
    assert [by_least_error(scheme(name)) for name in whole] == [False, False, True, False]
    assert by_least_error(scheme("int8", PER_TENSOR, emulated_bits=6))
    assert not any(by_least_error(scheme(name, PER_TENSOR)) for name in ("int8", "float8"))
    expected, _ = spread(weight.min(axis=1), weight.max(axis=1), of)
    np.testing.assert_array_equal(weight_parameters(weight, of, 0).scale, expected)


def test_integers_keep_to_given_ends_and_zeros_to_their_scale() -> None:
    weight = normal(3, 40)
    weight[1] = 0
    of = scheme("int2")
    params = weight_parameters(weight, of, 0)
    assert params.scale[1] == params.scale[[0, 2]].max()
    plain = QParams(*spread(weight.min(axis=1), weight.max(axis=1), of, (-1, 1)), of.dtype, 0)
    narrow = least_error_scale(weight, plain, of, (-1, 1))
    assert narrow.scale[1] == plain.scale[1] and (narrow.scale[[0, 2]] != plain.scale[[0, 2]]).any()
    assert limits(of) == (-2, 1)
