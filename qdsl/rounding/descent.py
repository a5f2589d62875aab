"""Integers under which a layer writes what it writes in float, by coordinate descent.

With H = E[x x^T] and w the float weights of a row (output channel), integers q at scale s and zero point z move what it
writes by

    E ((v - w) x)^2 = (v - w) H (v - w)^T,    v = (q - z) s

which is what AdaRound minimises (Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization,
equation 13). It is a quadratic in each coordinate: each in turn is put where the others leave its minimum, rounded,
until none moves (Behdin et al. 2023, QuantEase), here between the two integers around its float weight. All rows go
together, since H is theirs in common.

Every product of matrices here adds over at most `_BLOCK` terms: a library's threads then have nothing to split that
would change a last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_BLOCK = 64
_SWEEPS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """`hessian` [groups, k, k] is H, `weight` [groups, rows, k] is w. `scale`, `zero`, `lowest`, `highest` of the same
    shape say what an integer stands for and which are allowed. A kernel that adds the products of column j and column
    `partner[j]` in 16 bits allows sums of `most` at most; `signed`: those of one sign, each for itself."""

    hessian: Array
    weight: Array
    scale: Array
    zero: Array
    lowest: Array
    highest: Array
    partner: NDArray[np.int64] | None = None
    most: int = 0
    signed: bool = True

    def error(self, q: Array) -> Array:
        """How far integers `q` move each row: [groups, rows]."""
        off = (q - self.zero) * self.scale - self.weight
        return np.asarray((_product(off, self.hessian) * off).sum(axis=2))

    def power(self) -> Array:
        """What each row writes, squared, on average: [groups, rows]."""
        return np.asarray((_product(self.weight, self.hessian) * self.weight).sum(axis=2))


def descend(problem: Problem, start: Array, sweeps: int = _SWEEPS) -> Array:
    """Integers [groups, rows, k] that no change of one of them makes better, or those after `sweeps` rounds. No row is
    worse than in `start`, whose integers are kept to `lowest`, `highest` and `partner` already."""
    q = start.copy()
    slope = _product(problem.weight - (q - problem.zero) * problem.scale, problem.hessian)
    for _ in range(sweeps):
        if not _sweep(problem, q, slope):
            break
    return np.where((problem.error(q) < problem.error(start))[:, :, None], q, start)


def _sweep(problem: Problem, q: Array, slope: Array) -> bool:
    """One round over all columns, in place. Whether any integer moved."""
    size, moved = q.shape[2], False
    for first in range(0, size, _BLOCK):
        block = slice(first, min(first + _BLOCK, size))
        changes = _within(problem, q, slope, block)
        if changes.any():
            moved = True
            slope -= np.matmul(changes, problem.hessian[:, block, :])
    return moved


def _within(problem: Problem, q: Array, slope: Array, block: slice) -> Array:
    """Move the columns of one block, in place; by how much their values changed, [groups, rows, block]. `slope` is left
    as it was: the caller brings it up to date for all of them at once."""
    inside = problem.hessian[:, block, block]
    left = slope[:, :, block].copy()
    changes = np.zeros_like(left)
    for at, column in enumerate(range(block.start, block.stop)):
        scale, old = problem.scale[:, :, column], q[:, :, column]
        curve = inside[:, at, at][:, None] * scale
        step = np.divide(left[:, :, at], curve, out=np.zeros_like(old), where=curve > 0)
        # Half a step gains nothing: it would go back and forth.
        new = np.where(np.abs(step) > 0.5, np.rint(old + step), old)
        new = np.clip(new, *_ends(problem, q, column))
        moved = (new - old) * scale
        if moved.any():
            q[:, :, column] = new
            changes[:, :, at] = moved
            left -= moved[:, :, None] * inside[:, at, None, :]
    return changes


def _ends(problem: Problem, q: Array, column: int) -> tuple[Array, Array]:
    """The integers that a column may take beside those of its partner."""
    low, high = problem.lowest[:, :, column], problem.highest[:, :, column]
    beside = -1 if problem.partner is None else int(problem.partner[column])
    if beside < 0:
        return low, high
    other = q[:, :, beside]
    if not problem.signed:
        return low, np.minimum(high, problem.most - other)
    return (
        np.maximum(low, -problem.most - np.minimum(other, 0)),
        np.minimum(high, problem.most - np.maximum(other, 0)),
    )


def _product(a: Array, b: Array) -> Array:
    """a @ b, batched, in sums of at most `_BLOCK` terms that are added in order."""
    out: NDArray[Any] = np.zeros((*a.shape[:-1], b.shape[-1]))
    for start in range(0, a.shape[-1], _BLOCK):
        out += np.matmul(a[..., start : start + _BLOCK], b[..., start : start + _BLOCK, :])
    return out
