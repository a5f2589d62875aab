"""What the artifact is held against the float model on: calibration data, other data of the recipe, or drawn inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any

from qdsl import data
from qdsl.data import Dataset, ModelInput, Sample
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.lock import complete
from qdsl.ranges.calibrating import requests
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.spec.words import plain
from qdsl.targets.base import Target
from qdsl.targets.results import Emitted, FloatModelError, NotHere, Verification
from qdsl.work.prepared import Prepared, takes

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWN = "drawn inputs"
_LARGEST = 1 << 26  # elements of a drawn input
_SEED = 0
# What a free dimension is drawn as: words and steps of time, then pictures, then what only small inputs fit.
_SIZES = (16, 64, 256, 8, 1)


def samples(
    prepared: Prepared, plan: Plan, datasets: Mapping[str, Dataset], count: int
) -> tuple[Iterable[Sample], str]:
    """At most `count` samples for comparing, and where they come from: the name of a dataset, or DRAWN.

    A plan that needs no calibration needs no data; then any dataset of the recipe whose files are there serves, else
    inputs are drawn, uniform from 0 to 1 and the same on every call. None where dims beside the first are free, or too
    large.
    """
    for name, dataset in datasets.items():
        return islice(dataset, count), name
    if requests(plan):
        return (), ""
    return any_samples(prepared, count)


def any_samples(prepared: Prepared, count: int) -> tuple[Iterable[Sample], str]:
    """At most `count` samples of whatever there is, and their source, as `samples` has it for a plan without needs."""
    found = _readable(prepared)
    if found is not None:
        return islice(found[1], count), found[0]
    return tuple(drawn(takes(prepared), count)), DRAWN


def verified(
    target: Target, prepared: Prepared, emitted: Emitted, plan: Plan, datasets: Mapping[str, Dataset], count: int
) -> Verification | NotHere:
    """The artifact held against the float model. Samples that the recipe did not ask to be used, and that the float
    model does not run on, are left out, and inputs drawn in several sizes; where it runs on none of these, the artifact
    is compared on none (see `uncompared`). A file that is measured as it is is compared with nothing."""
    inner = prepared.model if prepared.model is not prepared.floats else None
    if plan.mode == AS_IT_IS:
        found = target.verify(prepared.floats, emitted, plan, (), count=count)
        return found if isinstance(found, NotHere) else replace(found, outputs=())
    for chosen, source in _tries(prepared, plan, datasets, count):
        try:
            return target.verify(prepared.floats, emitted, plan, chosen, count=count, source=source, inner=inner)
        except FloatModelError:
            if requests(plan):
                raise
    return target.verify(prepared.floats, emitted, plan, (), count=count)


def uncompared(prepared: Prepared, plan: Plan, found: Verification | NotHere) -> Iterator[Diagnostic]:
    """A warning where the artifact of `plan` is compared on nothing."""
    if isinstance(found, NotHere):
        headline = f"the artifact for {plan.target} is not compared with the float model: {plain(found.why)}"
        label = "what it computes, and in which kernels, nothing here has seen"
        yield prepared.model.diagnostic("not-compared", headline, label=label, severity=Severity.WARNING)
        return
    if found.samples or not found.outputs or requests(plan):
        return
    sizes = ", ".join(map(str, _SIZES))
    free = [name for name, one in takes(prepared).items() if any(not isinstance(d, int) for d in one.shape or (None,))]
    tried = f"tried drawn inputs with free dimensions of {sizes}" if free else "the float model runs on no drawn input"
    cures = ['give it data: `data check from npz "FILE"`']
    cures += [f'or fix the shape: `input "{name}" {{ shape [..] }}`' for name in free[:1]]
    headline = f"the artifact for {plan.target} is not compared with the float model: no input is known that it runs on"
    yield prepared.model.diagnostic("not-compared", headline, label=tried, help=cures, severity=Severity.WARNING)


def _tries(
    prepared: Prepared, plan: Plan, datasets: Mapping[str, Dataset], count: int
) -> Iterator[tuple[Iterable[Sample], str]]:
    """What to compare on: what `samples` finds, then inputs drawn with free dimensions of one size or another."""
    chosen, source = samples(prepared, plan, datasets, count)
    if source != DRAWN or chosen:
        yield chosen, source
    if requests(plan) or (chosen and source == DRAWN):
        return
    for size in _SIZES:
        inputs = tuple(drawn(takes(prepared), count, size))
        if inputs:
            yield inputs, DRAWN


def _readable(prepared: Prepared) -> tuple[str, Dataset] | None:
    """The first dataset of the recipe that opens and whose files are all there."""
    for spec in prepared.recipe.data:
        try:
            dataset = data.open(spec, prepared.recipe.inputs, takes(prepared), Diagnostics())
        except QdslError:
            continue
        if complete(dataset):
            return spec.name, dataset
    return None


def drawn(wanted: Mapping[str, ModelInput], count: int, free: int | None = None) -> Iterator[Sample]:
    """Drawn inputs, with dims beside the first that are free of the size `free`; none where that is None."""
    import numpy as np

    draw = np.random.default_rng(_SEED)
    shapes = {name: _shape(one, free) for name, one in wanted.items()}
    if not shapes or any(shape is None for shape in shapes.values()):
        return
    for index in range(count):
        arrays = {name: _array(draw, one.dtype, shapes[name] or ()) for name, one in wanted.items()}
        if any(array is None for array in arrays.values()):
            return
        yield Sample(index, f"drawn {index}", {name: array for name, array in arrays.items() if array is not None})


def _shape(wanted: ModelInput, free: int | None) -> Sequence[int] | None:
    """The shape to draw, a free first dim as 1 and others as `free`; None where that is None, or it is too large."""
    if wanted.shape is None:
        return None
    sizes = [dim if isinstance(dim, int) else free if place else 1 for place, dim in enumerate(wanted.shape)]
    shape = [size for size in sizes if size is not None]
    return shape if len(shape) == len(sizes) and prod(shape) <= _LARGEST else None


def _array(draw: Any, dtype: str, shape: Sequence[int]) -> NDArray[Any] | None:
    """Values from 0 to 1; None for a type that numpy lacks."""
    import numpy as np

    if dtype == "bool":
        return np.asarray(draw.random(shape) < 0.5)
    if dtype.rstrip("0123456789") not in ("int", "uint", "float"):
        return None
    kind = np.dtype(dtype)
    values = draw.random(shape) if kind.kind == "f" else draw.integers(0, 2, shape)
    return np.asarray(values).astype(kind)
