"""`activations 6 bit`: integers that no type has are held to their limits, and the kernels stay the integer ones."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from plan_tools import planned
from random_graphs import random_model
from seeds import few_of
from test_plan_reality import measured

from qdsl.graph import from_proto, to_bytes
from qdsl.passes.pipeline import canonicalise
from qdsl.spec.plan import Plan
from qdsl.targets.ort import emit
from qdsl.targets.ort.layers import layers
from qdsl.targets.ort.reality import read

WIDTHS = {"6 bit": (0, 63), "7 bit symmetric": (0, 127), "5 bit reduce_range": (0, 15)}


def _carried_out(seed: int, width: str) -> tuple[Plan, bytes]:
    model = from_proto(random_model(seed))
    canonicalise(model)
    plan = planned(model.view(), f"layers all {{ activations {width} }}\n")
    quantized, _ = emit.quantize(model, plan, measured(model, plan, seed))
    return plan, to_bytes(quantized)


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("first", few_of(range(0, 40, 10), 1))
def test_prediction_is_reality(width: str, first: int) -> None:
    integers = 0
    for seed in range(first, first + 10):
        plan, data = _carried_out(seed, width)
        ran = read(data, counts=False).nodes
        wrong = [
            (node.node, node.prediction, ran[node.node])
            for node in plan.nodes
            if node.prediction.runs not in (ran[node.node].runs, "moves")
        ]
        assert not wrong, f"seed {seed}"
        integers += sum(node.prediction.runs == "integer" for node in plan.nodes)
    assert integers > 25


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_the_integers_keep_to_their_width(width: str) -> None:
    """Values three times as large as those measured are cut off at the ends of the width."""
    low, high = WIDTHS[width]
    most = 0
    for seed in range(12):
        plan, data = _carried_out(seed, width)
        proto = onnx.load_from_string(data)
        narrow = {tensor.tensor for tensor in plan.tensors if tensor.scheme.emulated_bits}
        found = layers(proto, narrow)
        assert len(found) == len(narrow) >= len(plan.tensors) - 1, "all but the graph input"
        exposed = [layer.exposed for layer in found if layer.scale is not None]
        known = {output.name for output in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in exposed if name not in known)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        drawn = np.random.default_rng(seed).normal(0, 3, session.get_inputs()[0].shape).astype(np.float32)
        for values in session.run(exposed, {session.get_inputs()[0].name: drawn}):
            assert values.dtype == np.uint8
            assert low <= values.min() and values.max() <= high
            most = max(most, int(values.max()))
    assert most == high
