"""Orders of axes: which are the same bytes, and what a change of shape or a transposition makes of them."""

from __future__ import annotations

from itertools import permutations
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.integer.lower_layout import CHANNELS_LAST, reshaped, same_bytes, stored_shape, transposed

SIZES = st.sampled_from([1, 1, 2, 3, 4])
FEW = settings(max_examples=200, deadline=None)


@st.composite
def lying(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape and an order of its axes."""
    shape = tuple(draw(st.lists(SIZES, min_size=1, max_size=4)))
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@st.composite
def shapes_of(draw: st.DrawFn, elements: int) -> tuple[int, ...]:
    """A shape of so many elements."""
    dims: list[int] = []
    while elements > 1 and len(dims) < 4:
        dims.append(draw(st.sampled_from([d for d in range(1, elements + 1) if elements % d == 0])))
        elements //= dims[-1]
    return (*dims, elements) if elements > 1 or not dims else tuple(dims)


def stored(array: np.ndarray, axes: tuple[int, ...]) -> list[int]:
    found: list[int] = array.transpose(axes).reshape(-1).tolist()
    return found


@pytest.mark.slow
@given(lying(), st.data())
@FEW
def test_a_reshaped_order_is_the_same_bytes_and_none_is_missed(
    given_: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, axes = given_
    target = data.draw(shapes_of(prod(shape)))
    array = np.arange(prod(shape)).reshape(shape)
    found = reshaped(shape, axes, target)
    orders = [found] if found is not None else [tuple(order) for order in _orders(len(target))]
    same = [order for order in orders if stored(array.reshape(target), order) == stored(array, axes)]
    assert bool(same) == (found is not None), (shape, axes, target, found)


def _orders(rank: int) -> list[tuple[int, ...]]:
    return list(permutations(range(rank)))


@given(lying(), st.data())
@FEW
def test_a_transposed_order_is_the_same_bytes(
    given_: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, axes = given_
    perm = data.draw(st.permutations(range(len(shape))))
    array = np.arange(prod(shape)).reshape(shape)
    assert stored(array.transpose(perm), transposed(axes, perm)) == stored(array, axes)


@given(lying(), st.data())
@FEW
def test_orders_are_the_same_bytes_exactly_where_arrays_are(
    given_: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, axes = given_
    other = tuple(data.draw(st.permutations(range(len(shape)))))
    array = np.arange(prod(shape)).reshape(shape)
    assert same_bytes(shape, axes, other) == (stored(array, axes) == stored(array, other))


def test_planes_of_detectors_stay_where_they_are() -> None:
    """[1, 85, H, W] with channels last, flattened to [1, 85, H W] and turned, is [1, H W, 85] in ONNX's order."""
    shape, flat = (1, 85, 4, 6), (1, 85, 24)
    axes = reshaped(shape, CHANNELS_LAST, flat)
    assert axes == (0, 2, 1)
    assert stored_shape(flat, axes) == (1, 24, 85)
    assert transposed(axes, (0, 2, 1)) == (0, 1, 2)


def test_what_flatten_makes_of_channels_last_lies_in_no_order() -> None:
    assert reshaped((1, 8, 2, 2), CHANNELS_LAST, (1, 32)) is None
    assert reshaped((1, 8, 1, 1), CHANNELS_LAST, (1, 8)) == (0, 1)
    assert reshaped((1, 1, 2, 2), CHANNELS_LAST, (1, 4)) == (0, 1)
