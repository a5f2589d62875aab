"""Prediction equals reality, node for node: random graphs, random decisions, ONNX Runtime's own optimized graph."""

from __future__ import annotations

import math
import random

import pytest
from quantized import Measured, SmallPlan
from random_graphs import random_decisions, random_model
from seeds import few_of

from qdsl.capability import load
from qdsl.graph import Model, from_proto, to_bytes
from qdsl.graph.view import GraphView
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.predict.bounds import Interval, bounds
from qdsl.predict.edges import edges_of_plan
from qdsl.spec.plan import Prediction
from qdsl.targets.ort.predict import predict, refused_tensors
from qdsl.targets.ort.reality import read
from qdsl.targets.results import Ran

TABLE = load("ort_cpu")
GRAPHS, CHUNK = 300, 30
Ranges = dict[str, Interval]


def wide_ranges(view: GraphView, seed: int) -> Ranges:
    """Ranges as the graph promises them: wide where it says nothing, all of it where it bounds a tensor. No two tensors
    have the same by accident."""
    rng = random.Random(seed)
    found = {}
    for name, (low, high) in bounds(view).items():
        low = -rng.uniform(7, 9) if math.isinf(low) else low
        high = low + rng.uniform(9, 11) if math.isinf(high) else high
        shrink = 1.0 if _clipped(view, name) else rng.uniform(0.998, 0.9999)
        found[name] = (low * shrink, high * shrink)
    return found


def any_ranges(view: GraphView, seed: int) -> Ranges:
    """Ranges as data may give them: anywhere inside the bounds, some of one sign by accident."""
    rng = random.Random(seed)
    found = {}
    for name, (low, high) in bounds(view).items():
        low = -rng.uniform(0.5, 4) if math.isinf(low) else low
        high = max(low, 0.0) + rng.uniform(0.5, 4) if math.isinf(high) else high
        if rng.random() < 0.6:
            width = high - low
            low += width * rng.uniform(0, 0.7) * (rng.random() < 0.5)
            high -= width * rng.uniform(0, 0.25)
        shrink = 1.0 if _clipped(view, name) else rng.uniform(0.9, 0.999)
        found[name] = (low * shrink, high * shrink)
    return found


def _clipped(view: GraphView, tensor: str) -> bool:
    producer = view.producer(tensor)
    return producer is not None and producer.op == "Clip"


def written(model: Model, plan: SmallPlan, ranges: Ranges) -> bytes:
    copy = model.copy()
    low, high = ({name: ends[side] for name, ends in ranges.items()} for side in (0, 1))
    InsertQDQ(plan, Measured(low, high)).apply(copy)
    return to_bytes(copy)


def planned(seed: int) -> tuple[Model, GraphView, SmallPlan]:
    model = from_proto(random_model(seed))
    view = model.view()
    decided = random_decisions(view, TABLE, seed)
    return model, view, SmallPlan(decided.tensors, decided.weights, decided.biases)


def predicted(view: GraphView, plan: SmallPlan, ranges: Ranges | None = None) -> dict[str, Prediction]:
    return predict(view, {t.tensor: t for t in plan.tensors}, plan.weights, plan.biases, TABLE, ranges)


def really(view: GraphView, plan: SmallPlan, data: bytes) -> dict[str, Ran] | None:
    """What runs; None when the runtime refuses the file, which the predictor must have said."""
    edges = edges_of_plan(view, {t.tensor: t for t in plan.tensors}, plan.weights, plan.biases)
    if refused_tensors(view, edges, TABLE):
        with pytest.raises(Exception, match="output_dtype"):
            read(data, counts=False)
        return None
    return dict(read(data, counts=False).nodes)


def difference(view: GraphView, said: dict[str, Prediction], runs: dict[str, Ran]) -> list[str]:
    return [
        f"{node.op} {node.name}: predicted {said[node.name].runs} ({said[node.name].because}), runs {runs[node.name]}"
        for node in view.nodes
        if said[node.name].runs != runs[node.name].runs
        or (said[node.name].runs == "integer" and said[node.name].kernels[-1:] != (runs[node.name].kernel,))
    ]


@pytest.mark.parametrize("first", few_of(range(0, GRAPHS, CHUNK), 3))
def test_the_plan_alone_predicts_what_runs(first: int) -> None:
    judged = 0
    for seed in range(first, first + CHUNK):
        model, view, plan = planned(seed)
        runs = really(view, plan, written(model, plan, wide_ranges(view, seed)))
        if runs is None:
            continue
        found = difference(view, predicted(view, plan), runs)
        assert not found, f"seed {seed}:\n" + "\n".join(found)
        judged += len(runs)
    assert judged > 5 * CHUNK


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(1000, 1000 + GRAPHS // 2, CHUNK), 3))
def test_measured_ranges_make_it_exact(first: int) -> None:
    for seed in range(first, first + CHUNK):
        model, view, plan = planned(seed)
        ranges = any_ranges(view, seed)
        runs = really(view, plan, written(model, plan, ranges))
        if runs is None:
            continue
        found = difference(view, predicted(view, plan, ranges), runs)
        assert not found, f"seed {seed}:\n" + "\n".join(found)


@pytest.mark.slow
def test_ranges_only_add_integers() -> None:
    """What the plan alone promises holds whatever the data: ranges turn floats into integers, never the reverse."""
    for seed in range(2000, 2150):
        _, view, plan = planned(seed)
        before, after = predicted(view, plan), predicted(view, plan, any_ranges(view, seed))
        lost = [name for name in before if before[name].runs != "float" and after[name].runs == "float"]
        assert not lost, f"seed {seed}: {lost}"


@pytest.mark.slow
def test_the_random_graphs_reach_every_verdict() -> None:
    seen = {(p.runs, p.kernel) for seed in range(GRAPHS) for p in predicted(*planned(seed)[1:]).values()}
    assert {runs for runs, _ in seen} == {"integer", "float", "absorbed"}
    kernels = {kernel for runs, kernel in seen if runs == "integer"}
    assert {row.kernel for row in TABLE.rows if row.computes and not row.lowered} - {"QLinear{op}"} <= kernels
    assert {"QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax", "MatMulNBits"} <= kernels
    assert {"MaxPool", "Reshape", "Transpose", "Resize", "Split", "Slice"} <= kernels
