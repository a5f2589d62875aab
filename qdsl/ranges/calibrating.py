"""From plans to calibration: what is asked of each dataset, and one pass over each that answers it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl import calibrate
from qdsl.calibrate import Ranges, Request, Rows
from qdsl.data import Dataset
from qdsl.diag import Diagnostics, QdslError
from qdsl.graph import Model
from qdsl.lang.recipe import DataSpec
from qdsl.plan.cuts import margin
from qdsl.quant.scales import limits
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.looking import warn_of_samples
from qdsl.spec.plan import Cut, Plan, TensorPlan
from qdsl.work.prepared import Prepared

_NO_EFFECT = "sampling-no-effect"
_SAVED = ".calibration-"
Heard = Callable[[str, int, int, float], None]
Asked = Mapping[str, tuple[Request, ...]]  # by target


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the dataset called `name`: what each target asks of it, `folder` to keep in what was seen so far,
    how many threads take how many samples (None: chosen by the machine), and who is told of each sample."""

    model: Model
    name: str
    asked: Asked
    dataset: Dataset
    folder: Path
    workers: int | None
    batch: int | None
    progress: calibrate.Progress


# The ranges by target. Whoever carries a pass out, they are the same, and those of a target alone.
Calibrator = Callable[[Pass], Mapping[str, Ranges]]


def here(one: Pass) -> Mapping[str, Ranges]:
    """The calibrator that is this process."""
    return calibrate.calibrate_each(
        one.model,
        one.asked,
        one.dataset,
        workers=one.workers,
        batch=one.batch,
        progress=one.progress,
        checkpoint=saved_at(one.folder, one.name),
    )


def requests(plan: Plan) -> dict[str, tuple[Request, ...]]:
    """Dataset name -> the ranges it gives, by tensor name."""
    wanted: dict[str, dict[str, Request]] = {}
    cuts = {cut.tensor: cut for cut in plan.cuts}
    for tensor in (t for t in plan.tensors if t.observe and t.calibration.data is not None):
        assert tensor.calibration.data is not None
        asked = _request(tensor, cuts.get(tensor.tensor))
        wanted.setdefault(tensor.calibration.data, {})[tensor.tensor] = asked
    return {name: tuple(found[t] for t in sorted(found)) for name, found in sorted(wanted.items())}


def by_dataset(plans: Sequence[Plan]) -> dict[str, Asked]:
    """Dataset name -> what each target that needs it asks of it."""
    found: dict[str, dict[str, tuple[Request, ...]]] = {}
    for plan in plans:
        for name, asked in requests(plan).items():
            found.setdefault(name, {})[plan.target] = asked
    return dict(sorted(found.items()))


def _request(plan: TensorPlan, cut: Cut | None) -> Request:
    asked, (qmin, qmax) = plan.calibration, limits(plan.scheme)
    symmetric = plan.scheme.symmetric or asked.symmetric
    levels = qmax - qmin + 1
    found = Request(plan.tensor, asked.method, asked.percentile, symmetric, levels)
    if cut is None or cut.open:
        return replace(found, masked=cut is not None)
    low = -math.inf if cut.low is None or (not found.counted and not cut.rows) else cut.low
    high = math.inf if cut.high is None or not found.counted else cut.high
    rows = tuple(Rows(row.tensor, row.axis, margin(row, levels)) for row in cut.rows)
    return replace(found, low=low, high=high, rows=rows, masked=bool(rows) or cut.low is not None)


def measure(
    prepared: Prepared,
    plans: Sequence[Plan],
    datasets: Mapping[str, Dataset],
    folder: Path,
    heard: Heard,
    diags: Diagnostics,
    *,
    workers: int | None,
    batch: int | None,
    by: Calibrator = here,
) -> TargetRanges:
    """The ranges of each plan, in one pass over each dataset, measured `by` this process or others. What the samples
    themselves show goes to `diags`. What was seen so far is kept in `folder` and taken up again after an interruption.
    `heard` is told (text, samples done, samples in all, samples per second); zeros where it speaks of a whole dataset.
    """
    found: list[Mapping[str, Ranges]] = []
    with _nothing_left(folder):
        for name, asked in by_dataset(plans).items():
            found.append(_measure(prepared, name, asked, datasets[name], folder, heard, workers, batch, by))
            spec = prepared.recipe.dataset(name)
            warn_of_samples(spec, datasets[name], _any(found[-1]), diags)
            _warn_repeats(spec, datasets[name], _every(asked), diags)
    ranges = {plan.target: _joined([part[plan.target] for part in found if plan.target in part]) for plan in plans}
    whole = _joined([_any(part) for part in found])
    return TargetRanges(ranges, whole.samples, whole.settled_after)


def _any(found: Mapping[str, Ranges]) -> Ranges:
    """The ranges of one target: what a pass says of the samples is the same for all."""
    return next(iter(found.values()))


def _every(asked: Asked) -> list[Request]:
    return [request for requests in asked.values() for request in requests]


def _measure(
    prepared: Prepared,
    name: str,
    asked: Asked,
    dataset: Dataset,
    folder: Path,
    heard: Heard,
    workers: int | None,
    batch: int | None,
    by: Calibrator,
) -> Mapping[str, Ranges]:
    """One pass over one dataset."""
    how = f"{_words(_every(asked))} on {name}"

    def progress(done: int, total: int, rate: float) -> None:
        heard(how, done, total, rate)

    found = by(Pass(prepared.model, name, asked, dataset, folder, workers, batch, progress))
    one = _any(found)
    count = "1 sample" if one.samples == 1 else f"{one.samples} samples"
    heard(f"{how}   {count}, {settled_words(one)}", 0, 0, 0.0)
    return found


def settled_words(found: Ranges) -> str:
    """Whether more samples may still move a range. That none did is only known after some that could have: the last
    quarter."""
    if 4 * found.settled_after <= 3 * found.samples:
        return f"ranges settled after {found.settled_after}"
    return f"ranges had not settled: one still grew at sample {found.settled_after}, and more samples may widen them"


def _warn_repeats(spec: DataSpec, dataset: Dataset, asked: Sequence[Request], diags: Diagnostics) -> None:
    """Repeats alone move no minimum and no maximum."""
    word = "oversample" if spec.oversample else "ratio" if spec.ratio else "balance classes" if spec.balance else ""
    if not word or dataset.skipped or any(request.method != "minmax" for request in asked):
        return
    where = spec.at("oversample", "ratio", "balance")
    if any(found.code == _NO_EFFECT and found.span == where for found in diags):
        return
    drawn = len(dataset) if spec.oversample else len(set(dataset.ids))
    if drawn < dataset.available or len(set(dataset.ids)) == len(dataset):
        return
    headline = f"`{word}` of dataset {spec.name} changes no range: it leaves no picture out"
    label = "`calibrate minmax` takes the smallest and the largest value, however often they occur"
    help = ["leave it out, or calibrate by `mean_minmax`, `entropy`, `percentile` or `mse`"]
    diags.warning(_NO_EFFECT, headline, where, label=label, help=help)


def saved_at(folder: Path, dataset: str, shard: tuple[int, int] | None = None) -> Path:
    """Where a calibration keeps what it saw so far; `shard` is (number, of how many)."""
    part = "" if shard is None else f"-{shard[0]}-of-{shard[1]}"
    return folder / f"{_SAVED}{dataset}{part}.json"


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Take away checkpoints, and the folders made for them, when the data or the model turn out to be wrong: what cures
    that makes a checkpoint useless. An interruption leaves them, to go on from."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except QdslError:
        for path in sorted(folder.glob(f"{_SAVED}*")):
            path.unlink(missing_ok=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


def _joined(found: Sequence[Ranges]) -> Ranges:
    """What several datasets gave, each for tensors of its own."""
    low = {name: value for ranges in found for name, value in ranges.low.items()}
    high = {name: value for ranges in found for name, value in ranges.high.items()}
    samples = sum(ranges.samples for ranges in found)
    settled = max((ranges.settled_after for ranges in found), default=0)
    tried = {name: each for ranges in found for name, each in ranges.tried.items()}
    chosen = {name: each for ranges in found for name, each in ranges.chosen.items()}
    ends = dict(sorted(low.items())), dict(sorted(high.items()))
    return Ranges(*ends, samples, settled, tried=tried, chosen=chosen)


def named(ranges: Ranges, plan: Plan) -> Ranges:
    """The same ranges, each with the method and the dataset that the plan says it has."""
    asked = how_measured(plan)
    return replace(ranges, methods={name: asked[name] for name in ranges.low if name in asked})


def how_measured(plan: Plan) -> dict[str, str]:
    """For each tensor that is observed, by which method and on which data: `minmax on calib`."""
    return {r.tensor: f"{r} on {data}{_rows(r)}" for data, found in requests(plan).items() for r in found}


def _rows(request: Request) -> str:
    """That values far below the largest of a row do not count."""
    return f", cut {max(row.margin for row in request.rows):.3g} below the largest of a row" if request.rows else ""


def _words(asked: Iterable[Request]) -> str:
    """The methods, each once: "minmax", "entropy, minmax"."""
    return ", ".join(sorted({str(request) for request in asked}))
