"""From plans to calibration: what is asked of each dataset, and one pass over each that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qdsl import calibrate
from qdsl.api.prepare import Prepared, model_span, placed_at
from qdsl.calibrate import Ranges, Request
from qdsl.data import Dataset
from qdsl.plan import Plan
from qdsl.plan.types import TensorPlan
from qdsl.quant.scales import limits

Heard = Callable[[str, int, int, float], None]


def requests(plans: Sequence[Plan]) -> dict[str, tuple[Request, ...]]:
    """Dataset name -> the ranges it gives, over all targets, by tensor name."""
    wanted: dict[str, dict[str, Request]] = {}
    for tensor in (t for plan in plans for t in plan.tensors if t.observe):
        if tensor.calibration.data is not None:
            wanted.setdefault(tensor.calibration.data, {})[tensor.tensor] = _request(tensor)
    return {name: tuple(found[t] for t in sorted(found)) for name, found in sorted(wanted.items())}


def _request(plan: TensorPlan) -> Request:
    asked, (qmin, qmax) = plan.calibration, limits(plan.scheme)
    symmetric = plan.scheme.symmetric or asked.symmetric
    return Request(plan.tensor, asked.method, asked.percentile, symmetric, qmax - qmin + 1)


def measure(
    prepared: Prepared,
    plans: Sequence[Plan],
    datasets: Mapping[str, Dataset],
    folder: Path,
    heard: Heard,
    *,
    workers: int | None,
    batch: int | None,
) -> Ranges:
    """The ranges of all plans. What was seen so far is kept in `folder` and taken up again after an interruption.
    `heard` is told (text, samples done, samples in all, samples per second); zeros where it speaks of a whole dataset.
    """
    found: dict[str, Ranges] = {}
    for name, asked in requests(plans).items():
        how = f"{_words(asked)} on {name}"

        def progress(done: int, total: int, rate: float, how: str = how) -> None:
            heard(how, done, total, rate)

        model_line, data_line = model_span(prepared), prepared.recipe.dataset(name).span
        with placed_at(data_line), placed_at(model_line, "calibration-load", "calibration-tensor"):
            found[name] = calibrate.calibrate(
                prepared.model,
                asked,
                datasets[name],
                workers=workers,
                batch=batch,
                progress=progress,
                checkpoint=folder / f".calibration-{name}.json",
            )
        heard(f"{how}   {found[name].samples} samples, ranges settled after {found[name].settled_after}", 0, 0, 0.0)
    return _together(tuple(found.values()))


def _together(found: Sequence[Ranges]) -> Ranges:
    low = {name: value for ranges in found for name, value in ranges.low.items()}
    high = {name: value for ranges in found for name, value in ranges.high.items()}
    samples = sum(ranges.samples for ranges in found)
    settled = max((ranges.settled_after for ranges in found), default=0)
    return Ranges(dict(sorted(low.items())), dict(sorted(high.items())), samples, settled)


def named(ranges: Ranges, plans: Sequence[Plan]) -> Ranges:
    """The same ranges, each with the method and the dataset that the plans say it has."""
    asked = {r.tensor: f"{r} on {data}" for data, found in requests(plans).items() for r in found}
    return replace(ranges, methods={name: asked[name] for name in ranges.low if name in asked})


def _words(asked: Sequence[Request]) -> str:
    """The methods, each once: "minmax", "entropy, minmax"."""
    return ", ".join(sorted({str(request) for request in asked}))
