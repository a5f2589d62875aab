"""Sensitivity of weights by gradients and by curvature, through the executor in torch.

What is said is of weights alone. `gradient` gives a layer the loss score / bits, the objective S / b of the study that
it comes from; `hessian` half the mean of the diagonal times ||Q(W) - W||^2, the second-order rise of the loss where the
errors of rounding are independent of each other (HAWQ-V2, Dong et al. 2020, equation 5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qdsl.causes.records import Heard
from qdsl.data import Dataset, Sample
from qdsl.diag import QdslError
from qdsl.graph import Model
from qdsl.passes.qdq_parameters import weight_key
from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.sensitivity.losses import Task, task_of
from qdsl.sensitivity.seen import Scores
from qdsl.sensitivity.state import SAVE_EVERY, State
from qdsl.sensitivity.units import Unit
from qdsl.sensitivity.wish import Wish
from qdsl.spec.plan import WeightPlan
from qdsl.spec.sensitivity import Row
from qdsl.train.extra import require_torch

if TYPE_CHECKING:
    from qdsl.train import Executor


def weights_of(units: Sequence[Unit]) -> list[str]:
    """Every weight that some unit quantizes, in graph order."""
    return list(dict.fromkeys(each.tensor for unit in units for choice in unit.choices for each in choice.weights))


def measure(
    model: Model, units: Sequence[Unit], dataset: Dataset, wish: Wish, state: State[Scores], heard: Heard
) -> Task:
    """Score each weight on every sample that `state` has not seen; what it was judged by. Raises QdslError:
    torch-absent, executor-lacks, executor-failed, sensitivity-not-finite, sensitivity-outputs, and what reading samples
    raises."""
    require_torch(f"`sensitivity {wish.method}`", model.span)
    task = task_of(model.view(), dataset, wish.classifier)
    if not task.parts:
        raise model.error("sensitivity-outputs", f"no output of {model.name} can be compared")
    from qdsl.sensitivity import directions
    from qdsl.train import Executor

    executor = Executor(model, span=model.span)
    names = weights_of(units)
    scored = directions.hessian if wish.method == "hessian" else directions.gradient
    try:
        with directions.one_thread():
            for index in range(len(dataset)):
                if index not in state.seen:
                    sample = dataset.sample(index)
                    told = scored(directions.Scored(executor, task, sample.arrays, index, names), wish)
                    _require_finite(executor, told, units, sample, dataset)
                    state.seen[index] = Scores(told)
                    state.save(after=SAVE_EVERY)
                heard(f"{wish.method}, sample by sample", index + 1, len(dataset))
    except BaseException:
        state.save()
        raise
    return task


def rows(model: Model, units: Sequence[Unit], method: str, seen: Mapping[int, Scores]) -> tuple[Row, ...]:
    """A row for each way of each unit that has weights."""
    view = model.view()
    found = []
    for unit in units:
        names = weights_of([unit])
        if not names:
            continue
        sizes = {name: math.prod(view.tensors[name].shape or ()) for name in names}  # type: ignore[arg-type]
        own = _mean(seen, dict.fromkeys(names, 1.0))
        if method == "hessian":
            own = _mean(seen, {name: sizes[name] / max(1, sum(sizes.values())) for name in names})
        for choice in unit.choices:
            factors = {each.tensor: _factor(model, each, method) for each in choice.weights}
            loss, error = _mean(seen, factors)
            found.append(
                Row(unit.name, choice.name, max(0.0, loss), error, score=own[0], samples=len(seen) if factors else 0)
            )
    return tuple(found)


def _mean(seen: Mapping[int, Scores], factors: Mapping[str, float]) -> tuple[float, float | None]:
    """The mean over the samples of the scores, each times its factor, and its standard error."""
    if not factors:
        return 0.0, 0.0
    each = []
    for index in sorted(seen):
        trials = seen[index].trials
        each.append(math.fsum(factor * math.fsum(trials[n]) / len(trials[n]) for n, factor in factors.items()))
    mean = math.fsum(each) / len(each)
    if len(each) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((one - mean) ** 2 for one in each) / (len(each) * (len(each) - 1)))


def _factor(model: Model, plan: WeightPlan, method: str) -> float:
    """By what a weight's score is multiplied to be the loss of storing it so."""
    if method == "gradient":
        return 1.0 / (plan.scheme.emulated_bits or plan.scheme.dtype.bits)
    key = weight_key(plan, model.view())
    value = model.values(plan.tensor)
    params = weight_parameters(value, key.scheme, key.axis, key.tensor, key.guard)
    rounded = dequantize(quantize_weight(value, key.scheme, params, key.guard).values, params)
    return 0.5 * float(np.square(rounded.astype(np.float64) - value).sum())


def _require_finite(
    executor: Executor,
    told: Mapping[str, Sequence[float]],
    units: Sequence[Unit],
    sample: Sample,
    dataset: Dataset,
) -> None:
    """Raises QdslError sensitivity-not-finite for the first layer with a gradient that is none."""
    if all(math.isfinite(value) for values in told.values() for value in values):
        return
    raise _not_finite(executor, told, units, sample, dataset)


def _not_finite(
    executor: Executor,
    told: Mapping[str, Sequence[float]],
    units: Sequence[Unit],
    sample: Sample,
    dataset: Dataset,
) -> QdslError:
    for name, values in sample.arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return dataset.error("sensitivity-not-finite", f"input `{name}` of sample {sample.id} is not finite")
    for unit in units:
        for name in weights_of([unit]):
            if not all(math.isfinite(value) for value in told[name]):
                headline = f"the gradient of `{name}` in `{unit.name}` is not finite for sample {sample.id}"
                return dataset.error("sensitivity-not-finite", headline)
    raise AssertionError("some gradient is not finite")
