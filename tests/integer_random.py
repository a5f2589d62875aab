"""Float graphs quantized in a few lines, for tests of integer graphs: random ones and those of files."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from integer_models import signed
from numpy.typing import NDArray
from plan_tools import HEAD, decided
from quantized import Measured, SmallPlan
from random_graphs import random_decisions, random_model

from qdsl.calibrate import Ranges
from qdsl.capability import load as load_table
from qdsl.graph import from_proto, to_bytes, to_proto
from qdsl.passes.insert_qdq import InsertQDQ, least_opset
from qdsl.passes.pipeline import canonicalise
from qdsl.rewrite import run
from qdsl.targets.ort.emit import quantize

Array = NDArray[Any]
TABLE = load_table("ort_cpu")


def some_feeds(proto: onnx.ModelProto, seed: int) -> dict[str, Array]:
    """Normal numbers for float inputs, all integers alike for those of 8 bits; free dims are 1."""
    draw = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for info in proto.graph.input:
        shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
        kind = info.type.tensor_type.elem_type
        if kind == onnx.TensorProto.FLOAT:
            found[info.name] = draw.normal(0, 1, shape).astype(np.float32)
        else:
            low, dtype = (-128, np.int8) if kind == onnx.TensorProto.INT8 else (0, np.uint8)
            found[info.name] = draw.integers(low, low + 256, shape).astype(dtype)
    return found


def planned(proto: onnx.ModelProto, feeds: dict[str, Array], rules: str = "") -> onnx.ModelProto:
    """The Q/DQ file that target `ort` makes of a float model, calibrated on `feeds`; int8 for its uint8."""
    model = from_proto(proto)
    canonicalise(model)
    values = {**feeds, **every_tensor(to_proto(model), feeds)}
    plan = decided(model.view(), rules, head=HEAD).plan
    ends = {each.tensor: values.get(each.tensor, np.array([0, 1])) for each in plan.tensors}
    low = {name: min(0.0, float(array.min())) for name, array in ends.items()}
    high = {name: max(1e-3, float(array.max())) for name, array in ends.items()}
    made, _ = quantize(model, plan, Ranges(low, high, 1, 1))
    return signed(onnx.load_from_string(to_bytes(made)))


def randomly_placed(seed: int) -> onnx.ModelProto | None:
    """A random graph with pairs wherever, of mostly one type; None where its opset has not all of them."""
    model = from_proto(random_model(seed))
    chosen = random_decisions(model.view(), TABLE, seed)
    plan = SmallPlan(chosen.tensors, chosen.weights, chosen.biases)
    if least_opset(plan) > model.opset:
        return None
    names = [each.tensor for each in plan.tensors]
    run([InsertQDQ(plan, Measured(dict.fromkeys(names, -2.0), dict.fromkeys(names, 3.0)))], model)
    return signed(to_proto(model))


def every_tensor(proto: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """What a model writes, by name, unoptimized."""
    told = onnx.ModelProto()
    told.CopyFrom(proto)
    names = {name for node in proto.graph.node for name in node.output} - {info.name for info in proto.graph.output}
    told.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in sorted(names))
    return unfused(told, feeds)


def unfused(proto: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime answers node by node, as the file says."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, feeds), strict=True))
