"""The estimates that lead the trials: measured times or counts of layers, and what each rounding alone costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qdsl.allocate import costs as tables
from qdsl.allocate.costs import Table
from qdsl.allocate.evaluating import Evaluator
from qdsl.allocate.hull import Estimates as Labels
from qdsl.allocate.losses import Loss, losses
from qdsl.allocate.task import Task
from qdsl.allocate.types import Types
from qdsl.allocate.units import Groups
from qdsl.data import Dataset
from qdsl.plan import Decisions
from qdsl.spec.allocation import Estimates, Layer, Rounding
from qdsl.spec.dtypes import DTYPES
from qdsl.spec.plan import Plan
from qdsl.targets.base import Bench, Feed
from qdsl.targets.results import LayerTimes, NotHere

BLOCKS = 7  # of the two builds in turns; the least counts
RUNS = 24  # of each build that layers are timed in; the least counts
COUNTED = "ms, multiplications in float three times more"
COUNT = 3.0  # times what all multiplications take in float, on those in float: they decide, conversions count too
TIMES = 6  # that so many runs are timed, at most, where other programs were in the way


def estimated(task: Task, groups: Groups, types: Types, evaluator: Evaluator) -> tuple[Estimates, str]:
    """The estimates, and the type that layers have where they are not as `quantize` says. Raises QdslError as building,
    running and reading samples do."""
    table, instead = _table(task, groups, types, evaluator)
    found = losses(task, groups, _dataset(task, evaluator))
    layers = tuple(
        Layer(group.name, len(group.nodes), group.macs, *pair)
        for group, pair in zip(groups.groups, table.groups, strict=True)
    )
    roundings = tuple(Rounding(each.noise, each.groups) for each in found)
    return Estimates(table.unit, layers, roundings, table.quantize, table.dequantize), instead


def _dataset(task: Task, evaluator: Evaluator) -> Dataset:
    """What the bounds are held on, else what calibrates."""
    return next((each.dataset for each, _ in evaluator.expected), next(iter(task.datasets.values())))


def _table(task: Task, groups: Groups, types: Types, evaluator: Evaluator) -> tuple[Table, str]:
    """What layers cost, and the type instead: of several the one that costs least where every layer has it, of those of
    one cost the first that the recipe names."""
    spec, first = task.spec, next(iter(types.instead))
    if spec.minimize == "size" or (spec.minimize == "loss" and _bounded(task, "size")):
        return tables.sized(groups, _bytes_more(task, first, types.instead[first])), first
    bench = evaluator.bench if spec.minimize == "latency" or _bounded(task, "latency", "throughput") else None
    if bench is None or isinstance(bench, NotHere):
        return tables.counted(groups), first
    return _timed(task, groups, types, bench, evaluator)


def _timed(task: Task, groups: Groups, types: Types, bench: Bench, evaluator: Evaluator) -> tuple[Table, str]:
    task.heard("layers timed", 0, 1 + len(types.instead))
    found: list[tuple[Table, str]] = []
    for name, decided in types.instead.items():
        task.heard("layers timed", 1 + len(found), 1 + len(types.instead))
        plan = decided.plan if decided is not None else None
        whole = _whole(task, bench, plan, evaluator)
        integers = undisturbed(bench, task.decided.plan, evaluator.feed, whole[0])
        floats = undisturbed(bench, plan, evaluator.feed, whole[1])
        found.append((tables.timed(groups, integers, floats, whole), name))
    task.heard("layers timed", 1 + len(found), 1 + len(found))
    return min(found, key=lambda pair: sum(of_float for _, of_float in pair[0].groups))


def undisturbed(bench: Bench, plan: Plan | None, feed: Feed, whole: float) -> LayerTimes:
    """What layers take in a build. Its kernels cannot take longer than the `whole` run: while they do, other programs
    were in the way, and it is timed again."""
    found = bench.layers(plan, feed, RUNS)
    for _ in range(TIMES - 1):
        if found.total is None or found.total <= whole:
            break
        found = tables.least(found, bench.layers(plan, feed, RUNS))
    return found


def _whole(task: Task, bench: Bench, instead: Plan | None, evaluator: Evaluator) -> tuple[float, float]:
    """The least milliseconds of a run with everything in integers, and with nothing."""
    pair = bench.load(instead), bench.load(task.decided.plan)
    floats, integers = bench.race(*pair, evaluator.feed, BLOCKS, lambda done: None)
    return min(integers), min(floats)


def _bounded(task: Task, *names: str) -> bool:
    return any(limit.require.metric.name in names for limit in task.spec.limits)


def _bytes_more(task: Task, instead: str, decided: Decisions | None) -> dict[str, float]:
    """By node what its weights take more where layers are `instead`, as `decided` has it (None: in the float model)."""
    view, found = task.prepared.view, dict.fromkeys((node.name for node in task.prepared.view.nodes), 0.0)
    stored = () if decided is None else decided.plan.weights
    others = {(each.node, each.port): each.scheme.dtype.bits for each in stored}
    floats = DTYPES["float16" if instead == "float16" else "float32"].bits  # a width (`16 bit`) names no type
    for weight in task.decided.plan.weights:
        bits = others.get((weight.node, weight.port), floats) - weight.scheme.dtype.bits
        found[weight.node] += bits * (view.tensors[weight.tensor].elements or 0) / 8
    return found


def labels_of(groups: Groups, estimates: Estimates, pinned: Mapping[int, bool]) -> Labels:
    """The estimates as costs of labels."""
    pairs = tuple((each.in_integers, each.in_float) for each in estimates.layers)
    table = Table(pairs, estimates.quantize, estimates.dequantize, estimates.unit)
    found = tuple(Loss(each.noise, each.layers) for each in estimates.roundings)
    return Labels(tables.costs(groups, table), found, pinned)


def with_counts(estimates: Estimates) -> Estimates:
    """The same with multiplications in float counted beside milliseconds, each as `COUNT` times its part of all."""
    taken, macs = sum(each.in_float for each in estimates.layers), sum(each.macs for each in estimates.layers)
    share = COUNT * taken / (macs or 1)
    layers = tuple(replace(each, in_float=each.in_float + share * each.macs) for each in estimates.layers)
    return replace(estimates, unit=COUNTED, layers=layers)
