"""The integers of one weight, chosen by what its layer multiplies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.quant import QParams, quantize_weight, spread_over
from qdsl.quant.guard import SIGNED_PAIR, UNSIGNED_PAIR, exact, guarded_limits, neighbours
from qdsl.rounding.descent import Problem, descend
from qdsl.rounding.gram import Parted
from qdsl.rounding.patches import Form
from qdsl.spec import Guard, WeightKey

# What pulls each weight towards its own value, as a part of the mean square of an input: from one under which integers
# stay near the nearest, to one that leaves all to the data. Each starts at the integers of the one before, which ends
# lower than any of them from the nearest integers.
PULLS = (3.0, 1.0, 0.3, 0.1, 0.03)
_LEAST = 1e-30
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rounded:
    """`codes`, the integers in the shape of the weight, and how far what the layer writes lies above what rounding adds
    to it, in dB, on the patches that were held out: with each weight rounded to the nearest, and with these."""

    codes: Array
    before: float
    after: float


def choose(
    key: WeightKey, form: Form, weight: Array, params: QParams, patches: Parted, centre: NDArray[np.float64] | None
) -> Rounded:
    """Up or down for each element of `weight` at the scales of `params`, within what `key` allows; `centre`, [groups,
    k], is what a corrected bias takes out of each patch. `patches` are used up.

    On patches that were held out the layer writes no more error than with each weight rounded to the nearest: of the
    integers for each of `PULLS` those are taken that write least there, and where all write more, or none were held
    out, the nearest.
    """
    nearest = quantize_weight(weight, key.scheme, params, key.guard).values
    start = form.rows(nearest.astype(np.float64))
    told = patches.held.count > 0
    problem = _problem(key, form, weight, params, patches.learned.moments(centre))
    judge = replace(problem, hessian=patches.held.moments(centre)) if told else problem
    beside = _partners(form, key.guard)
    # Of pairs that are no two inputs of one output nothing is moved: it could saturate.
    free = told and not (key.guard.pairs and beside is None)
    found = _least(replace(problem, partner=beside), judge, start) if free else start
    codes = form.back(found).astype(nearest.dtype)
    assert exact(codes, key.guard, params.axis).all() or not exact(nearest, key.guard, params.axis).all()
    return Rounded(codes, _decibels(judge, start), _decibels(judge, found))


def _least(problem: Problem, judge: Problem, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of `start` and the integers for each pull on `problem`, those of least error for `judge`; pulls weaker than one
    that made it worse are not tried."""
    diagonal = np.einsum("gkk->gk", problem.hessian)  # a view
    squares = diagonal.copy()
    best, least, at = start, float(judge.error(start).sum()), start
    for pull in PULLS:
        diagonal[...] = squares + pull * squares.mean(axis=1, keepdims=True)
        at = descend(problem, at)
        error = float(judge.error(at).sum())
        if error > least:
            break
        if error < least:
            best, least = at, error
    return best


def _problem(key: WeightKey, form: Form, weight: Array, params: QParams, moments: NDArray[np.float64]) -> Problem:
    scale, zero = (
        form.rows(np.broadcast_to(each, weight.shape).astype(np.float64)) for each in spread_over(params, weight.shape)
    )
    rows = form.rows(weight.astype(np.float64))
    low, high = guarded_limits(key.scheme, key.guard)
    exactly = rows / scale + zero
    return Problem(
        hessian=moments,
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
