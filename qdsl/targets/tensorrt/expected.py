"""What each node of an emitted model has to compute in, with the pairs that make it so: `quant_manifest.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from qdsl.spec import DTYPES
from qdsl.spec.engine import MANIFEST_FORMAT, ManifestNode, ManifestPair, QuantManifest
from qdsl.spec.plan import WIDENING, Fact, NodePlan, Plan
from qdsl.targets.tensorrt.asked import release_of
from qdsl.targets.tensorrt.devices import NARROW, device_named
from qdsl.version import __version__

# What multiplies: of these an engine says what they compute in.
MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTIZE, _DEQUANTIZE, _CAST = "QuantizeLinear", "DequantizeLinear", "Cast"
_ZERO_POINT = 2  # the port
_STRONG = (DTYPES["int4"], DTYPES["float8"])
_EXPECTED = {"integer": "int8", "float": "float32", "float16": "float16"}


def quant_manifest(plan: Plan, proto: ModelProto, folder: Path, sha256: str) -> QuantManifest:
    """The manifest of `proto`, emitted for `plan` into `folder` (where its external data lies), whose file has that
    SHA-256."""
    graph = _Graph(proto, folder)
    settings = _settings(plan)
    planned = {node.node: node for node in plan.nodes}
    nodes = tuple(_node(plan, planned[n.name], n, graph) for n in proto.graph.node if _is_held(n, planned))
    typing = "strong" if _typed(plan, settings, graph) else "weak"
    boundary = tuple(node.name for node in proto.graph.node if node.op_type == _QUANTIZE and graph.from_outside(node))
    return QuantManifest(
        format=MANIFEST_FORMAT,
        qdsl=__version__,
        recipe=plan.recipe,
        model="model.onnx",
        sha256=sha256,
        version=settings.get("version", ""),
        device=settings.get("device", ""),
        typing=typing,
        nodes=nodes,
        boundary=boundary,
        capability=_capability(plan, settings.get("device")),
    )


def _capability(plan: Plan, device: str | None) -> str:
    if device is not None:
        found: tuple[int, int] | None = device_named(device).capability
    else:
        schemes = (*(tensor.scheme for tensor in plan.tensors), *(weight.scheme for weight in plan.weights))
        stored = {scheme.dtype.name for scheme in schemes} - {"int8"}  # which every GPU from here on has
        found = max((each.least for each in NARROW if each.dtype in stored), default=None)
    return "" if found is None else ".".join(map(str, found))


def _settings(plan: Plan) -> dict[str, str]:
    facts: Iterator[Fact] = (fact for fact in plan.facts if fact.kind == "target" and fact.name == plan.target)
    return {name: value for fact in facts for name, value in fact.settings}


def _typed(plan: Plan, settings: Mapping[str, str], graph: _Graph) -> bool:
    """Whether the types of the graph have to hold, where the version has networks in which they do: it holds float16,
    or a type whose flag a weak build lacks (int4 in 10.0) or refuses beside that of int8 (float8), or the recipe says
    what the floats are."""
    schemes = (*(tensor.scheme for tensor in plan.tensors), *(weight.scheme for weight in plan.weights))
    narrow = any(scheme.dtype in _STRONG for scheme in schemes)
    said = narrow or graph.has_float16_scales() or bool(plan.halves) or "high_precision" in settings
    return said and release_of(settings.get("version"), settings.get("device")).strong


def _is_held(node: NodeProto, planned: Mapping[str, NodePlan]) -> bool:
    return node.name in planned and node.op_type in MULTIPLYING


def _node(plan: Plan, said: NodePlan, node: NodeProto, graph: _Graph) -> ManifestNode:
    prediction = said.prediction
    expect = "weights" if prediction.kernel in WIDENING else _EXPECTED.get(prediction.runs, "float32")
    expect = "fp8" if prediction.multiplies == "float8" else expect
    return ManifestNode(
        node=node.name,
        op=node.op_type,
        expect=expect,
        because=prediction.because or said.note,
        line=said.origin.told(plan.recipe),
        pairs=tuple(graph.pairs(node)),
    )


class _Graph:
    """Looks up pairs before the ports of nodes."""

    def __init__(self, proto: ModelProto, folder: Path) -> None:
        self._writers = {name: node for node in proto.graph.node for name in node.output if name}
        self._constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._inputs = {value.name for value in proto.graph.input} - self._constants.keys()
        self._folder = folder

    def pairs(self, node: NodeProto) -> Iterator[ManifestPair]:
        for port, name in enumerate(node.input):
            found = self._before(name)
            if found is not None:
                yield self._pair(port, found)

    def from_outside(self, quantizer: NodeProto) -> bool:
        """Whether a Q reads a graph input: it then runs by itself."""
        return quantizer.input[0] in self._inputs

    def has_float16_scales(self) -> bool:
        names = {node.input[1] for node in self._writers.values() if node.op_type in (_QUANTIZE, _DEQUANTIZE)}
        found = (self._constants[name].data_type for name in names if name in self._constants)
        return any(kind == TensorProto.FLOAT16 for kind in found)

    def _before(self, name: str) -> NodeProto | None:
        """The DequantizeLinear that `name` is read through, past a Cast."""
        node = self._writers.get(name)
        if node is not None and node.op_type == _CAST:
            node = self._writers.get(node.input[0])
        found = node is not None and node.op_type == _DEQUANTIZE and len(node.input) > _ZERO_POINT
        return node if found and node is not None and {*node.input[1:]} <= self._constants.keys() else None

    def _pair(self, port: int, dequantizer: NodeProto) -> ManifestPair:
        quantizer = self._writers.get(dequantizer.input[0])
        paired = quantizer is not None and quantizer.op_type == _QUANTIZE
        attributes = {each.name: helper.get_attribute_value(each) for each in dequantizer.attribute}
        scale = numpy_helper.to_array(self._constants[dequantizer.input[1]], base_dir=str(self._folder))
        zero = self._constants[dequantizer.input[2]]
        return ManifestPair(
            port=port,
            tensor=quantizer.input[0] if paired and quantizer is not None else dequantizer.input[0],
            quantize=quantizer.name if paired and quantizer is not None else "",
            dequantize=dequantizer.name,
            type=onnx.TensorProto.DataType.Name(zero.data_type).lower(),
            scale=tuple(float(value) for value in scale.reshape(-1)),
            axis=attributes.get("axis") if scale.ndim else None,
            block=attributes.get("block_size"),
        )
