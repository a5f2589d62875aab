"""Ranges along an axis: every method for every slice, against numpy, in any number of parts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_calibrate import every_value, noise, rows
from test_calibrate_methods import distribution

from qdsl.calibrate import Observations, Request, Ways, calibrate, merged, observe, plan_ways, running
from qdsl.calibrate.channels import slices
from qdsl.calibrate.shortcuts import Shortcuts
from qdsl.calibrate.sources import Sources
from qdsl.calibrate.thresholds import find
from qdsl.data import Dataset, Sample
from qdsl.diag import QdslError
from qdsl.graph import from_proto
from qdsl.graph.sessions import Session

METHODS = ("minmax", "mean_minmax", "entropy", "percentile", "mse")
SAMPLES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
)


def request(method: str, axis: int = 1, tensor: str = "t", symmetric: bool = False) -> Request:
    return Request(tensor, method, 99.0 if method == "percentile" else None, symmetric, axis=axis)


def naive(asked: Request, values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """The range of one slice; `values` are [samples, elements]."""
    lows, highs = values.min(axis=1), values.max(axis=1)
    if asked.method == "minmax":
        return float(lows.min()), float(highs.max())
    if asked.method == "mean_minmax":
        ends = ([Fraction(float(v)) for v in part] for part in (lows, highs))
        low, high = (float(sum(part) / len(values)) for part in ends)
        return low, high
    return find(asked, distribution(values.reshape(-1)))


def state_of(asked: Request, samples: np.ndarray[Any, Any], numbers: list[int]) -> Observations:
    state = Observations("key", len(samples))
    for index in numbers:
        state.done.add(index)
        state.add_slices(index, asked, slices(asked, samples[index]))
    return state


def answer(asked: Request, state: Observations) -> tuple[tuple[float, float], ...]:
    nothing = Ways((), Shortcuts({}, (), {}, ()), Sources((), {}), (asked,))
    assert asked.axis is not None
    return state.ranges(nothing).channels["t", asked.axis]


@given(SAMPLES, st.sampled_from(METHODS), st.integers(0, 2), st.booleans(), st.randoms())
@settings(max_examples=60, deadline=None)
def test_every_slice_has_the_range_numpy_finds_in_any_order_and_parts(
    samples: np.ndarray[Any, Any], method: str, axis: int, symmetric: bool, random: Any
) -> None:
    asked = request(method, axis, symmetric=symmetric)
    order = list(range(len(samples)))
    random.shuffle(order)
    cut = random.randint(0, len(order))
    parts = [state_of(asked, samples, order[:cut]), state_of(asked, samples, order[cut:])]
    found = answer(asked, merged([Observations.from_json(part.to_json()) for part in parts]))
    moved = np.moveaxis(samples, axis + 1, 0)
    expected = tuple(naive(asked, part.reshape(len(samples), -1)) for part in moved)
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_channels_of_a_graph(method: str, tmp_path: Path) -> None:
    samples = noise(5, 3, 32, 32)
    dataset = rows(tmp_path, samples)
    asked = [request(method, 1, name) for name in ("images", "c1", "cat")] + [request(method, 2, "c1")]
    found = calibrate(from_proto(small_net()), asked, dataset, workers=2).channels
    values = {"images": samples[:, None], **every_value(small_net(), ["c1", "cat"], samples)}
    assert set(found) == {("images", 1), ("c1", 1), ("cat", 1), ("c1", 2)}
    for (name, axis), ranges in found.items():
        whole = np.moveaxis(values[name][:, 0], axis, 0).reshape(values[name].shape[axis + 1], len(samples), -1)
        expected = [naive(request(method), part) for part in whole]
        # the optimised graph adds products in another order; a value may then fall into the next bin
        slack = 1e-5 if method in ("minmax", "mean_minmax") else 0.03
        np.testing.assert_allclose(ranges, expected, rtol=slack, atol=slack * np.abs(whole).max())


def test_both_kinds_in_one_pass_change_nothing_in_each_other(tmp_path: Path) -> None:
    dataset = rows(tmp_path, noise(4, 3, 32, 32))
    alone = calibrate(from_proto(small_net()), [Request("c1"), Request("a", "mse")], dataset)
    asked = [Request("c1"), request("entropy", 1, "c2"), Request("a", "mse"), request("minmax", 1, "images")]
    both = calibrate(from_proto(small_net()), asked, dataset)
    for name in ("c1", "a"):
        np.testing.assert_allclose(
            (both.low[name], both.high[name]), (alone.low[name], alone.high[name]), rtol=2e-6, atol=2e-6
        )
    assert sorted(both.low) == ["a", "c1"] and sorted(both.channels) == [("c2", 1), ("images", 1)]
    assert len(both.channels["images", 1]) == 3


@pytest.mark.slow
def test_the_same_for_any_workers_batch_and_shards_and_after_an_interruption(tmp_path: Path) -> None:
    model, dataset = from_proto(small_net()), rows(tmp_path, noise(7, 3, 32, 32))
    asked = [request(method, 1, name) for method, name in zip(METHODS, ("c1", "a", "c2", "p", "cat"), strict=True)]
    whole = calibrate(model, asked, dataset, workers=1).channels
    assert calibrate(model, asked, dataset, workers=3, batch=3).channels == whole
    parts = [observe(model, [asked], dataset, shard=(i, 5)) for i in range(5)]
    assert merged(parts[::-1]).ranges(plan_ways(model, asked)).channels == whole
    kept = tmp_path / "state.json"

    def stop(done: int, total: int, rate: float) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(model, asked, dataset, progress=stop, checkpoint=kept, workers=1)
    assert kept.exists()
    assert calibrate(model, asked, dataset, checkpoint=kept).channels == whole


@pytest.mark.parametrize("axis", [4, -1])
def test_an_axis_that_is_not_there_is_refused(axis: int, tmp_path: Path) -> None:
    with pytest.raises(QdslError, match=f"calibration-tensor.*has no axis {axis}"):
        calibrate(from_proto(small_net()), [request("minmax", axis, "c1")], rows(tmp_path, noise(1, 3, 32, 32)))


def test_a_value_that_is_not_finite_is_named(tmp_path: Path) -> None:
    samples = noise(2, 3, 32, 32)
    samples[1] = 3e38
    with pytest.raises(QdslError, match="calibration-non-finite"):
        calibrate(from_proto(small_net()), [request("minmax", 1, "c1")], rows(tmp_path, samples))


def test_without_slices_nothing_more_leaves_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[str, ...]] = []
    fetch = running._fetch

    def heard(loaded: Session, names: tuple[str, ...], sample: Sample, dataset: Dataset) -> dict[str, np.ndarray]:
        fetched.append(names)
        return fetch(loaded, names, sample, dataset)

    monkeypatch.setattr(running, "_fetch", heard)
    calibrate(from_proto(small_net()), [Request("c1")], rows(tmp_path, noise(1, 3, 32, 32)))
    assert fetched and not any("c1" in names for names in fetched)
