"""Small float models in ONNX's text form, plans for them, and ONNX Runtime, for the tests of inserter and emitter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, numpy_helper

from qdsl.graph import Model, from_proto
from qdsl.spec import DTYPES, UNGUARDED, Granularity, Guard, Scheme
from qdsl.spec.plan import BiasPlan, Calibration, Origin, Reader, TensorPlan, WeightPlan

OUT = ("", -1)
RULE = Origin("quantize static", "example.q", 4)
MINMAX = Calibration("minmax")
PER_TENSOR, PER_CHANNEL, PER_BLOCK = Granularity


def scheme(name: str, symmetric: bool = False, **more: Any) -> Scheme:
    return Scheme(DTYPES[name], symmetric, **more)


U8 = scheme("uint8")
S8 = scheme("int8")
W8 = scheme("int8", True, granularity=PER_CHANNEL)


def model_of(text: str, *, opset: int = 17, ir: int = 8, seed: int = 0, **constants: Any) -> Model:
    """A model from the text of its graph; constants by name are arrays, or shapes to fill at random."""
    proto = onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}]> {text}')
    draw = np.random.default_rng(seed)
    for name, value in constants.items():
        array = draw.standard_normal(value) if isinstance(value, tuple) else value
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    return from_proto(proto)


def tensor(name: str, *readers: tuple[str, int], of: Scheme = U8, **more: Any) -> TensorPlan:
    """A pair on `name`, observed, in a group of its own unless `more` says otherwise."""
    options = {"group": name, "observe": True, "calibration": MINMAX, "origin": RULE} | more
    return TensorPlan(name, of, tuple(Reader(*reader) for reader in readers), **options)


def weight(
    node: str, port: int, name: str, of: Scheme = W8, axis: int | None = 0, guard: Guard = UNGUARDED
) -> WeightPlan:
    return WeightPlan(node, port, name, of, axis, RULE, guard)


def bias(node: str, port: int, name: str, activation: str) -> BiasPlan:
    return BiasPlan(node, port, name, activation, 1, RULE)


@dataclass(frozen=True)
class SmallPlan:
    """The part of a plan that the inserter reads."""

    tensors: tuple[TensorPlan, ...] = ()
    weights: tuple[WeightPlan, ...] = ()
    biases: tuple[BiasPlan, ...] = ()
    float_biases: tuple[BiasPlan, ...] = ()
    recipe: str = "example"
    mode: str = "static"


@dataclass(frozen=True)
class Measured:
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)


def measured(**ranges: tuple[float, float]) -> Measured:
    return Measured({k: v[0] for k, v in ranges.items()}, {k: v[1] for k, v in ranges.items()})


def session(model: ModelProto | bytes | Path, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    source = str(model) if isinstance(model, Path) else model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def runs_as(model: ModelProto | bytes | Path, folder: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime makes of `model`."""
    path = folder / "optimized.onnx"
    session(model, path)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def run(model: ModelProto | bytes | Path, **inputs: Any) -> list[Any]:
    found: list[Any] = session(model).run(None, {name: np.asarray(v, np.float32) for name, v in inputs.items()})
    return found


def origins(nodes: Iterable[onnx.NodeProto]) -> dict[str, str]:
    """The origin that each node carries, by node name."""
    return {n.name: p.value for n in nodes for p in n.metadata_props if p.key == "qdsl.origin"}
