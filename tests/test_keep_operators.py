"""What a recipe keeps in float runs in float, although Q/DQ pairs stand around it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from plan_tools import HEAD, planned
from random_graphs import random_model
from seeds import few_of
from test_plan_reality import BELONGS_TO_OTHERS, measured

from qdsl.diag import QdslError
from qdsl.graph import Model, from_proto
from qdsl.passes.pipeline import canonicalise
from qdsl.spec.plan import Plan
from qdsl.targets.ort import reality
from qdsl.targets.ort.emit import emit

KEPT_BY = "keep op Sigmoid, line 11"
MOVERS = {"Slice", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "MaxPool", "Resize", "Gather", "Flatten"}
HEADS = (HEAD, HEAD.replace("uint8 affine", "int8 affine"))


def kept_at_random(seed: int) -> tuple[Model, Plan | None, tuple[str, ...]]:
    """A random graph, a plan that keeps a third of its nodes in float, and which."""
    model = from_proto(random_model(seed))
    canonicalise(model)
    view = model.view()
    rng = random.Random(seed)
    names = tuple(node.name for node in view.nodes if rng.random() < 0.34)
    quoted = ", ".join(f'"{name}"' for name in names)
    try:
        return model, planned(view, f"keep [{quoted}] in float32\n" if names else "", head=HEADS[seed % 2]), names
    except QdslError as error:
        assert {d.code for d in error.diagnostics} <= set(BELONGS_TO_OTHERS)
        return model, None, names


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, 240, 40), 1))
def test_kept_nodes_run_in_float_as_predicted(first: int, tmp_path: Path) -> None:
    apart = 0
    for seed in range(first, first + 40):
        model, plan, names = kept_at_random(seed)
        if plan is None:
            continue
        emit(model, plan, measured(model, plan, seed), tmp_path)
        runs = reality.read(tmp_path / "ort" / "model.onnx", counts=False).nodes
        said = {node.node: node.prediction.runs for node in plan.nodes}
        # The same values have the same range, so what moves them between two pairs may move integers: data decides.
        firm = [n for n in said if said[n] != "moves" and (runs[n].runs, runs[n].kernel) != ("integer", "Reshape")]
        assert [said[name] for name in firm] == [runs[name].runs for name in firm], f"seed {seed}"
        kernels = {runs[name].kernel for name in names if said[name] == "integer"}
        assert kernels <= MOVERS, f"seed {seed}"
        apart += len(plan.apart)
    assert apart > 2


def build(tmp_path: Path, rules: str) -> tuple[Plan, onnx.ModelProto]:
    text = """
    demo (float[1,4,8,8] x) => (float[1,8,8,8] y) <float[8,4,1,1] w, float[8,8,1,1] v> {
      [stem] c = Conv(x, w)
      [gate] s = Sigmoid(c)
      [silu] m = Mul(c, s)
      [last] y = Conv(m, v)
    }"""
    graph = onnx.parser.parse_graph(text)
    rng = np.random.default_rng(0)
    for info in list(graph.initializer):
        graph.initializer.remove(info)
    for name, shape in (("w", (8, 4, 1, 1)), ("v", (8, 8, 1, 1))):
        graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    model = from_proto(proto)
    canonicalise(model)
    plan = planned(model.view(), rules)
    emitted = emit(model, plan, measured(model, plan, 1), tmp_path)
    return plan, onnx.load(emitted.model)


def test_a_kept_sigmoid_reads_a_copy_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    plan, made = build(tmp_path, "keep op Sigmoid in float32\n")
    (copy,) = [node for node in made.graph.node if node.op_type == "Max"]
    gate = next(node for node in made.graph.node if node.name == "gate")
    assert list(gate.input) == list(copy.output) and len(copy.input) == 1
    assert {p.key: p.value for p in copy.metadata_props} == {"qdsl.origin": KEPT_BY}
    runs = reality.read(tmp_path / "ort" / "model.onnx", counts=False).nodes
    assert {name: ran.runs for name, ran in runs.items()} == {
        "stem": "integer",
        "gate_kept": "float",
        "gate": "float",
        "silu": "integer",
        "last": "integer",
    }
    assert [(place.node, place.port) for place in plan.apart] == [("gate", 0)]
    assert "copy" in next(node.prediction.because for node in plan.nodes if node.node == "gate")


def test_the_copy_changes_no_float(tmp_path: Path) -> None:
    _, made = build(tmp_path, "keep op Sigmoid in float32\n")
    values = {}
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        drawn = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
        values[level] = session.run(None, {"x": drawn})[0]
    np.testing.assert_allclose(*values.values(), atol=1e-4)


def test_without_keep_there_is_no_copy(tmp_path: Path) -> None:
    plan, made = build(tmp_path, "")
    assert not plan.apart and "Max" not in {node.op_type for node in made.graph.node}
