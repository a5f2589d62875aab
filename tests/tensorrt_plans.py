"""Models planned and written for TensorRT without data, with ranges that no two scales share by accident; and random
plans of random graphs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto
from quantized import Measured, SmallPlan
from random_graphs import random_model

from qdsl.calibrate import Ranges
from qdsl.capability import Row, load
from qdsl.diag import Diagnostics
from qdsl.graph import Model, from_proto, to_proto
from qdsl.graph.view import GraphView, NodeView
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.spec import DTYPES, Granularity, Scheme
from qdsl.spec.plan import Calibration, Origin, Plan, Prediction, Reader, TensorPlan, WeightPlan
from qdsl.targets.tensorrt.emit import emit
from qdsl.targets.tensorrt.runtime import TensorrtRuntime
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

TARGET = "tensorrt"
TABLE = load(TARGET)
MULTIPLY = ("Conv", "Gemm", "MatMul")  # ConvTranspose is float in TensorRT-RTX whatever is planned
_ORIGIN = Origin("random")
RECIPE = """recipe random
model onnx "random.onnx"
data calib from npz "calib.npz"
quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }
target tensorrt
"""
_INT8 = DTYPES["int8"]


@dataclass(frozen=True)
class Written:
    """A plan, the file of it, and the model as it is written there."""

    plan: Plan
    path: Path
    proto: ModelProto


def written(recipe: Path, folder: Path) -> Written:
    """The artifact for TensorRT of a recipe; nothing is calibrated."""
    prepared = prepare(read(recipe, {}))
    (decided,) = decide_all(prepared, TARGET, Diagnostics())
    plan = decided.plan
    emitted = emit(prepared.model, plan, some_ranges(plan), folder)
    return Written(plan, emitted.model, onnx.load(emitted.model))


def random_recipe(seed: int, folder: Path) -> Path:
    """A recipe of a random graph for TensorRT, without its data."""
    onnx.save(random_model(seed), folder / "random.onnx")
    (folder / "random.q").write_text(RECIPE, encoding="utf-8")
    return folder / "random.q"


def some_ranges(plan: Plan) -> Ranges:
    """A range for each tensor of a plan."""
    ends = {one.tensor: 2.0 + number / 64 for number, one in enumerate(plan.tensors)}
    return Ranges({name: -end for name, end in ends.items()}, ends, 1, 1)


# --- random plans -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A random graph, a random plan of it, with a range for each of its tensors."""

    model: Model
    view: GraphView
    plan: SmallPlan
    ranges: dict[str, float]

    def predicted(self) -> dict[str, Prediction]:
        """What each node is said to compute in."""
        tensors = {one.tensor: one for one in self.plan.tensors}
        return TensorrtRuntime().predict(self.view, tensors, self.plan.weights, (), TABLE)

    def inserted(self) -> ModelProto:
        """The model with the pairs of the plan."""
        copy = self.model.copy()
        low = {name: -end for name, end in self.ranges.items()}
        InsertQDQ(self.plan, Measured(low, self.ranges)).apply(copy)
        return to_proto(copy)


def drawn(seed: int) -> Drawn:
    """Most ports that ask for a pair have one, some others have one, too; some weights stay float."""
    model = from_proto(random_model(seed))
    view, rng = model.view(), random.Random(seed * 104_729 + 7)
    leave = rng.choice([0.0, 0.0, 0.03, 0.15, 0.4])
    beside = 0.5 if rng.random() < 0.3 else 0.15
    tensors = _tensors(view, rng, leave, beside)
    weights = tuple(
        _weight(node, row, port, rng)
        for node in view.nodes
        for row in (TABLE.row_for(node, view),)
        for port in row.weight_ports(node, view)
        if rng.random() >= leave / 2
    )
    ends = {group: rng.uniform(1, 4) for group in dict.fromkeys(one.group for one in tensors.values())}
    ranges = {one.tensor: ends[one.group] for one in tensors.values()}
    return Drawn(model, view, SmallPlan(tuple(tensors.values()), weights), ranges)


def _tensors(view: GraphView, rng: random.Random, leave: float, beside: float) -> dict[str, TensorPlan]:
    made: dict[str, TensorPlan] = {}
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant" or tensor.dtype != "float32":
            continue
        readers = []
        for use in tensor.uses:
            node = view.nodes[use.node]
            row = TABLE.row_for(node, view)
            asked = row.computes and use.port in row.activation_ports(node, view)
            if rng.random() < (1 - leave if asked else beside):
                readers.append(Reader(node.name, use.port))
        readers += [Reader("", -1)] if tensor.is_output and rng.random() < 0.1 else []
        if readers:
            group = _group(view, made, name, rng)
            scheme, found = Scheme(_INT8, True), Calibration("minmax", symmetric=True)
            made[name] = TensorPlan(name, scheme, tuple(sorted(readers)), group, True, found, _ORIGIN)
    return made


def _group(view: GraphView, made: dict[str, TensorPlan], name: str, rng: random.Random) -> str:
    """That of what its writer reads, now and then."""
    producer = view.producer(name)
    before = producer.inputs[0] if producer is not None and producer.inputs else ""
    return made[before].group if before in made and rng.random() < 0.3 else name


def _weight(node: NodeView, row: Row, port: int, rng: random.Random) -> WeightPlan:
    able = Granularity.PER_CHANNEL in row.weight_granularities and row.channel_axis is not None
    if able and row.channel_axis is not None and rng.random() < 0.75:
        scheme, axis = Scheme(_INT8, True, Granularity.PER_CHANNEL), row.channel_axis.of(node)
        return WeightPlan(node.name, port, node.inputs[port], scheme, axis, _ORIGIN)
    return WeightPlan(node.name, port, node.inputs[port], Scheme(_INT8, True), None, _ORIGIN)
