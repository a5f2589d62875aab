"""What a dynamic plan predicts is what runs, node for node and kernel for kernel: random graphs, ONNX Runtime's own
optimized graph."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from dynamic_tools import dynamic_head, everything
from plan_tools import decided
from quantized import session
from random_graphs import Builder, random_model
from seeds import few_of

from qdsl.calibrate import Ranges
from qdsl.diag import QdslError
from qdsl.graph import from_proto
from qdsl.passes.pipeline import canonicalise
from qdsl.targets.ort import reality
from qdsl.targets.ort.emit import emit

CHUNK, GRAPHS = 15, 75
NOTHING = Ranges({}, {}, 0, 0)
RULES = (
    everything(),
    everything("int8 per_tensor"),
    everything("uint8 affine per_tensor"),
    everything() + "layers first 2 of op Conv { activations float32 }\n",
    everything() + "place { leave inputs of last 1 of op [Conv, Gemm] }\n",
    everything("8 bit") + "layers last 1 of op [Conv, Gemm, MatMul] { weights float32 }\n",
    "",
)


def products(seed: int) -> onnx.ModelProto:
    """Rows of numbers through MatMul and Gemm with constant matrices: shared inputs, vectors added, outputs in the
    middle, transposed Gemms, equal nodes."""
    rng = random.Random(seed)
    b = Builder(seed, rng.choice([13, 17, 21]))
    size = rng.choice([2, 16, 24])
    b.shapes["x"] = (3, size)
    known = ["x"]
    for _ in range(rng.randint(2, 8)):
        known += _product(b, rng, known)
    ends = [t for t in known if t not in b.read and t != "x"]
    ends += [t for t in rng.sample(known[1:], rng.choice([0, 0, 1])) if t not in ends]
    outputs = [onnx.helper.make_tensor_value_info(t, 1, b.shapes[t]) for t in ends]
    inputs = [onnx.helper.make_tensor_value_info("x", 1, b.shapes["x"])]
    graph = onnx.helper.make_graph(b.nodes, "products", inputs, outputs, b.constants)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", b.opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def _product(b: Builder, rng: random.Random, known: list[str]) -> list[str]:
    x = rng.choice(known[-3:])
    rows, inside = b.shapes[x]
    out = rng.choice([2, 16, 24])
    if rng.random() < 0.45:
        y = b.one("MatMul", [x, b.weight(inside, out)], (rows, out))
        if rng.random() < 0.6:
            shape = rng.choice([(out,), (out,), (1, out), (1,), (), (rows, out)])
            pair = [y, b.weight(*shape)]
            y = b.one("Add", pair if rng.random() < 0.7 else pair[::-1], (rows, out))
    else:
        turned = rng.random() < 0.5
        more = [b.weight(*rng.choice([(out,), (1, out), (1,), (rows, out)]))] if rng.random() < 0.7 else []
        weight = b.weight(*((out, inside) if turned else (inside, out)))
        attrs = {"alpha": rng.choice([1.0, 0.5]), "beta": rng.choice([1.0, 1.0, 2.0])}
        y = b.one("Gemm", [x, weight, *more], (rows, out), transB=int(turned), **attrs)
    if rng.random() < 0.4:
        y = b.one(rng.choice(["Relu", "Sigmoid", "Tanh"]), [y], (rows, out))
    if rng.random() < 0.15:
        y = b.one("Gemm", [y, b.weight(rows, rows)], (out, rows), transA=1)
    return [y]


def judged(proto: onnx.ModelProto, rules: str, folder: Path) -> int:
    """Holds the prediction against what runs; how many nodes run in integers."""
    model = from_proto(proto)
    canonicalise(model)
    try:
        plan = decided(model.view(), rules, head=dynamic_head()).plan
    except QdslError as error:
        known = {"selector-empty", "selector-too-few", "setting-unused", "nothing-to-quantize", "target-cannot"}
        assert {d.code for d in error.diagnostics} <= known
        return 0
    emit(model, plan, NOTHING, folder)
    path = folder / "ort" / "model.onnx"
    runs = reality.read(path, counts=False).nodes
    said = {n.node: (n.prediction.runs, n.prediction.kernel) for n in plan.nodes}
    real = {n.node: (runs[n.node].runs, runs[n.node].kernel) for n in plan.nodes}
    assert {k: v[0] for k, v in said.items()} == {k: v[0] for k, v in real.items()}
    integer = {name: kernel for name, (what, kernel) in said.items() if what == "integer"}
    assert integer == {name: real[name][1] for name in integer}
    _answers(proto, path)
    return len(integer)


def _answers(proto: onnx.ModelProto, path: Path) -> None:
    """The artifact answers near the float model on one input."""
    rng = np.random.default_rng(0)
    one, other = session(proto), session(path)
    feed = {i.name: rng.normal(size=i.shape).astype(np.float32) for i in one.get_inputs()}
    for expected, got in zip(one.run(None, feed), other.run(None, feed), strict=True):
        assert got.shape == expected.shape
        assert np.isfinite(got).all() or not np.isfinite(expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, GRAPHS, CHUNK), 3))
def test_convolutions(first: int, tmp_path: Path) -> None:
    integer = 0
    for seed in range(first, first + CHUNK):
        integer += judged(random_model(seed), RULES[seed % len(RULES)], tmp_path / str(seed))
    assert integer > CHUNK


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, GRAPHS, CHUNK), 3))
def test_products(first: int, tmp_path: Path) -> None:
    integer = 0
    for seed in range(first, first + CHUNK):
        integer += judged(products(seed), RULES[seed % 3], tmp_path / str(seed))
    assert integer > CHUNK
