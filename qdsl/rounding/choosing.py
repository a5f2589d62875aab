"""The integers of one weight, chosen by what its layer multiplies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.quant import QParams, quantize_weight, spread_over
from qdsl.quant.guard import SIGNED_PAIR, UNSIGNED_PAIR, exact, guarded_limits, neighbours
from qdsl.rounding.descent import Problem, descend
from qdsl.rounding.gram import Gram
from qdsl.rounding.patches import Form
from qdsl.spec import Guard, WeightKey

# Of the mean square of an input: what pulls each weight towards its own value where the data says nothing.
_PULL = 0.01
_LEAST = 1e-30
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rounded:
    """`codes`, the integers in the shape of the weight, and how far what the layer writes lies above what rounding adds
    to it, in dB: with each weight rounded to the nearest, and with these."""

    codes: Array
    before: float
    after: float


def choose(
    key: WeightKey, form: Form, weight: Array, params: QParams, gram: Gram, centre: NDArray[np.float64] | None
) -> Rounded:
    """Up or down for each element of `weight` at the scales of `params`, within what `key` allows; `centre`, [groups,
    k], is what a corrected bias takes out of each patch. No row (output channel) writes more error than with each
    weight rounded to the nearest."""
    nearest = quantize_weight(weight, key.scheme, params, key.guard).values
    start = form.rows(nearest.astype(np.float64))
    problem = _problem(key, form, weight, params, gram.about(centre))
    beside = _partners(form, key.guard)
    if key.guard.pairs and beside is None:
        found = start  # pairs that are no two inputs of one output: nothing is moved that could saturate
    else:
        found = descend(replace(problem, partner=beside), start)
    codes = form.back(found).astype(nearest.dtype)
    assert exact(codes, key.guard, params.axis).all() or not exact(nearest, key.guard, params.axis).all()
    return Rounded(codes, _decibels(problem, start), _decibels(problem, found))


def _problem(key: WeightKey, form: Form, weight: Array, params: QParams, moments: NDArray[np.float64]) -> Problem:
    pull = _PULL * np.einsum("gkk->gk", moments).mean(axis=1)
    scale, zero = (
        form.rows(np.broadcast_to(each, weight.shape).astype(np.float64)) for each in spread_over(params, weight.shape)
    )
    rows = form.rows(weight.astype(np.float64))
    low, high = guarded_limits(key.scheme, key.guard)
    exactly = rows / scale + zero
    return Problem(
        hessian=moments + pull[:, None, None] * np.eye(form.size),
        weight=rows,
        scale=scale,
        zero=zero,
        lowest=np.clip(np.floor(exactly), low, high),
        highest=np.clip(np.ceil(exactly), low, high),
        most=SIGNED_PAIR if params.dtype.signed else UNSIGNED_PAIR,
        signed=params.dtype.signed,
    )


def _partners(form: Form, guard: Guard) -> NDArray[np.int64] | None:
    """For each column the one whose product a kernel adds to its own in 16 bits, -1 for none; None where nothing is
    paired, or not columns of one row."""
    if not guard.pairs:
        return None
    shape = (form.groups, form.outputs // form.groups, form.size)
    columns = np.broadcast_to(np.arange(1, form.size + 1), shape)
    rows = np.broadcast_to(np.arange(1, form.outputs + 1).reshape(shape[0], shape[1], 1), shape)
    first, second = (each.reshape(-1) for each in neighbours(form.back(columns), guard))
    above, below = (each.reshape(-1) for each in neighbours(form.back(rows), guard))
    both = second > 0
    if (above != below)[both].any():
        return None
    found = np.full(form.size, -1, np.int64)
    found[first[both] - 1], found[second[both] - 1] = second[both] - 1, first[both] - 1
    alike = (found[first[both] - 1] == second[both] - 1) & (found[second[both] - 1] == first[both] - 1)
    return found if alike.all() else None


def _decibels(problem: Problem, q: NDArray[np.float64]) -> float:
    """What is written above what rounding adds to it, in dB; the same for no error at all as for the smallest."""
    power, error = float(problem.power().sum()), float(problem.error(q).sum())
    return float(np.float32(round(float(10 * np.log10(max(power, _LEAST) / max(error, _LEAST))), 2)))
