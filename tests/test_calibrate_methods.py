"""mean_minmax, entropy, percentile and mse against numpy and brute force, and on graphs in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import graph_of, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper
from test_calibrate import WANTED, every_value, noise, rows

from qdsl.calibrate import Request, calibrate
from qdsl.calibrate.histogram import BINS, Distribution, count, from_counts
from qdsl.calibrate.maps import apply
from qdsl.calibrate.request import COUNTED
from qdsl.calibrate.sources import sources
from qdsl.calibrate.thresholds import exact_error, find
from qdsl.diag import QdslError
from qdsl.graph import from_proto

FLOATS = arrays.arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-1000, 1000, width=32, allow_subnormal=False)
)
WITHIN_A_BIN = 2.0**-7


def counted(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found = np.zeros(BINS, np.int64)
    count(values, found)
    return found


def distribution(values: np.ndarray[Any, Any]) -> Distribution:
    return Distribution((from_counts(counted(values), float(values.min()), float(values.max())),))


def normal(size: int, *extra: float) -> np.ndarray[Any, Any]:
    return np.r_[np.random.default_rng(4).normal(size=size), extra].astype(np.float32)


@pytest.mark.slow
@given(FLOATS, st.integers(0, 200))
def test_counts_of_parts_add_up_to_those_of_the_whole(values: np.ndarray[Any, Any], at: int) -> None:
    parts = counted(values[:at]) + counted(values[at:][::-1])
    np.testing.assert_array_equal(parts, counted(values))
    assert parts.sum() == values.size


@pytest.mark.slow
@given(FLOATS)
def test_every_value_lies_in_its_bin(values: np.ndarray[Any, Any]) -> None:
    (bins,) = distribution(values).parts
    assert bins.counts.sum() == values.size
    assert (bins.left[0], bins.right[-1]) == (values.min(), values.max())
    assert np.all(bins.right[:-1] <= bins.left[1:])
    for value in values[np.abs(values) > 1e-37]:
        inside = (bins.left <= value) & (value <= bins.right)
        assert inside.any()
        assert np.all((bins.right - bins.left)[inside] <= WITHIN_A_BIN * abs(value) * (1 + WITHIN_A_BIN))


@given(FLOATS, st.floats(51, 100))
def test_percentiles_are_within_a_bin_of_the_values_at_that_rank(values: np.ndarray[Any, Any], share: float) -> None:
    found = find(Request("t", "percentile", share), distribution(values))
    tail = (100 - share) / 200
    for end, rank, method in ((found[0], tail, "lower"), (found[1], 1 - tail, "higher")):
        # The neighbours of the rank; how to place a rank between two values is a matter of convention.
        wide = [max(0.0, rank - 1 / values.size), min(1.0, rank + 1 / values.size)]
        low, high = np.quantile(values, wide[0], method="lower"), np.quantile(values, wide[1], method="higher")
        slack = WITHIN_A_BIN * max(abs(low), abs(high)) + 1e-30
        assert low - slack <= end <= high + slack, method


@pytest.mark.parametrize("share", [90, 99, 99.9, 99.99, 100])
@pytest.mark.parametrize("shape", [normal(40000), np.maximum(normal(40000), 0), normal(40000, 60.0)])
def test_percentiles_agree_with_numpy(share: float, shape: np.ndarray[Any, Any]) -> None:
    values = distribution(shape)
    tail = (100 - share) / 200
    both = find(Request("t", "percentile", share), values)
    np.testing.assert_allclose(both, np.quantile(shape, [tail, 1 - tail]), rtol=0.02)
    magnitude = np.quantile(np.abs(shape), share / 100)
    absolute = find(Request("t", "percentile", share, True), values)
    assert absolute == (max(absolute[0], float(shape.min())), min(absolute[1], float(shape.max())))
    np.testing.assert_allclose(max(-absolute[0], absolute[1]), magnitude, rtol=0.01)


def test_entropy_cuts_an_outlier_that_minmax_keeps() -> None:
    values = normal(20000, 60.0)
    assert values.max() == 60
    low, high = find(Request("t", "entropy"), distribution(values))
    assert low == pytest.approx(values.min(), rel=0.1) and 3 < high < 5
    low, high = find(Request("t", "entropy", symmetric=True, levels=255), distribution(values))
    assert 3 < high < 5 and -5 < low < -3


def divergence(values: np.ndarray[Any, Any], threshold: float, levels: int, bins: int) -> float:
    """KL(P || Q) for absolute values, written out: no running sums, no vectors."""
    histogram, _ = np.histogram(values[values > 0], bins, (0, float(values.max())))
    last = round(threshold / float(values.max()) * bins)
    kept = histogram[:last].astype(float)
    clipped = kept.copy()
    clipped[-1] += histogram[last:].sum()
    quantized = np.zeros(last)
    for level in range(levels):
        start, end = (int(np.rint(last * k / levels)) for k in (level, level + 1))
        used = kept[start:end] > 0
        if used.any():
            quantized[start:end] = np.where(used, kept[start:end].sum() / used.sum(), 0)
    if clipped[-1] > 0 and quantized[-1] == 0:
        return float("inf")
    p, q = clipped / clipped.sum(), quantized / quantized.sum()
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


@pytest.mark.slow
@pytest.mark.parametrize("outliers", [(), (20.0,), tuple(np.linspace(8, 30, 40))])
def test_entropy_is_as_good_as_brute_force(outliers: tuple[float, ...]) -> None:
    values = np.abs(normal(200_000, *outliers))
    _, found = find(Request("t", "entropy", symmetric=True, levels=255), distribution(values))
    grid = np.linspace(128, 2048, 100) / 2048 * float(values.max())
    costs = [divergence(values, t, 127, 2048) for t in grid]
    # A sparse tail has empty bins, at which brute force cannot end: look at the nearest where it can.
    near = found + np.arange(-16, 17) * float(values.max()) / 2048
    best = min(costs)
    assert (
        min(divergence(values, t, 127, 2048) for t in near if t <= values.max())
        <= best + 0.1 * (costs[-1] - best) + 1e-3
    )
    if outliers:
        assert found < 8


def quantization_error(values: np.ndarray[Any, Any], low: float, high: float, steps: int) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / steps
    kept = np.clip(values.astype(np.float64), low, high)
    inside = kept == values
    return float(np.sum((np.where(inside, np.rint(kept / step) * step, kept) - values) ** 2))


@pytest.mark.parametrize("levels", [256, 16])
@pytest.mark.parametrize(
    "values",
    [
        normal(30000),
        normal(30000, 60.0),
        np.maximum(normal(30000), 0),
        np.random.default_rng(1).laplace(size=30000).astype(np.float32),
    ],
    ids=["normal", "outlier", "relu", "laplace"],
)
def test_mse_is_as_good_as_brute_force(values: np.ndarray[Any, Any], levels: int) -> None:
    low, high = find(Request("t", "mse", levels=levels), distribution(values))
    found = quantization_error(values, low, high, levels - 1)
    whole = float(values.min()), float(values.max())
    shrinks = np.linspace(0.02, 1, 30)
    best = min(quantization_error(values, whole[0] * a, whole[1] * b, levels - 1) for a in shrinks for b in shrinks)
    assert found <= best * 1.03
    assert found <= quantization_error(values, *whole, levels - 1) * 1.0001


@given(FLOATS, st.integers(8, 255))
def test_the_error_of_rounding_is_the_one_of_its_values_in_narrow_bins(
    values: np.ndarray[Any, Any], steps: int
) -> None:
    """Bins of no width hold one value each: the integral is then the plain sum."""
    from qdsl.calibrate.histogram import Bins

    unique, counts = np.unique(values.astype(np.float64), return_counts=True)
    low, high = min(float(values.min()), 0.0) * 0.9, max(float(values.max()), 0.0) * 0.9
    if high - low > 1e-3:
        exact = exact_error(Bins(unique, unique, counts), low, high, steps)
        np.testing.assert_allclose(exact, quantization_error(values, low, high, steps), rtol=1e-6, atol=1e-9)


@settings(max_examples=50)
@given(FLOATS)
@pytest.mark.parametrize("method", COUNTED)
@pytest.mark.parametrize("symmetric", [False, True])
def test_no_search_leaves_the_range_of_the_values(method: str, symmetric: bool, values: np.ndarray[Any, Any]) -> None:
    low, high = find(Request("t", method, 99.0, symmetric), distribution(values))
    assert values.min() <= low <= high <= values.max()


MAPS = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Silu": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("op", MAPS)
def test_a_mapped_distribution_is_that_of_the_mapped_values(op: str) -> None:
    values = normal(50000) * np.float32(3)
    found, made = apply((op, 0.0, 0.0), distribution(values)), MAPS[op](values.astype(np.float64))
    assert found.total == values.size
    np.testing.assert_allclose((found.low, found.high), (made.min(), made.max()), rtol=1e-4, atol=1e-6)
    at = np.quantile(made, np.linspace(0.02, 0.98, 40))
    share = found.below(at) / values.size
    np.testing.assert_allclose(share[at != 0], np.linspace(0.02, 0.98, 40)[at != 0], atol=0.01)


def test_what_follows_from_others_is_not_counted() -> None:
    found = sources(from_proto(small_net()).view(), WANTED)
    # SiLU and its Sigmoid follow from conv1, both halves of the Split are its source, Relu from conv2.
    assert found.counted == ("images", "c1", "p", "q", "c2", "a", "pool", "c3", "probabilities")
    assert dict(found.terms["cat"]) == {("c1", (("Silu", 0.0, 0.0),)): 1, ("a", ()): 1}
    assert dict(found.terms["flat_out"]) == {("c3", ()): 1}


def test_distributions_that_follow_hold_every_element(tmp_path: Path) -> None:
    samples = noise(4, 3, 32, 32)
    model = from_proto(small_net())
    together = calibrate(model, [Request(t, "percentile", 99.5) for t in WANTED], rows(tmp_path, samples))
    for name, values in every_value(small_net(), WANTED[1:], samples).items():
        width = float(values.max() - values.min())
        expected = np.quantile(values, [0.0025, 0.9975])
        np.testing.assert_allclose((together.low[name], together.high[name]), expected, atol=0.02 * width, err_msg=name)


def test_mean_minmax_is_the_mean_of_each_samples_ends(tmp_path: Path) -> None:
    samples = noise(7, 3, 32, 32)
    found = calibrate(from_proto(small_net()), [Request(t, "mean_minmax") for t in WANTED], rows(tmp_path, samples))
    for name, values in every_value(small_net(), WANTED[1:], samples).items():
        flat = values.reshape(len(values), -1).astype(np.float64)
        np.testing.assert_allclose(found.low[name], flat.min(1).mean(), rtol=2e-6, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(found.high[name], flat.max(1).mean(), rtol=2e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", COUNTED)
def test_non_finite_values_in_counted_tensors_are_named(tmp_path: Path, value: float, method: str) -> None:
    nodes = [
        helper.make_node("Div", ["k", "images"], ["d"], name="div"),
        helper.make_node("Relu", ["d"], ["y"], name="relu"),
    ]
    top = np.zeros((1, 3, 8, 8), np.float32) if np.isnan(value) else np.ones((1, 3, 8, 8), np.float32)
    samples = np.abs(noise(5, 3, 8, 8)) + 1
    samples[3, 1, 5, 2] = 0
    model = from_proto(graph_of(nodes, ["y"], constants={"k": top}))
    with pytest.raises(QdslError) as caught:
        calibrate(model, [Request(t, method, 99.0) for t in ("d", "y")], rows(tmp_path, samples))
    (found,) = caught.value.diagnostics
    kind = "NaN" if np.isnan(value) else "infinity"
    assert found.code == "calibration-non-finite"
    assert found.headline == f"tensor d holds {kind} for sample calib.npz[3]"
