"""Types of tensors behind operators that ONNX's shape inference does not know, by the rules of ONNX Runtime, written as
operators that it does know.

Each such node is replaced, in a copy of the graph, by stand-ins that write the same type and shape: a Gelu of
`com.microsoft` by Identity, a FusedConv by Conv, a MatMulNBits by MatMul. One walk of inference then knows all that
follows. Nothing is run, and what other nodes of the model are does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, TypeProto, helper

_MS = "com.microsoft"
_QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
_FUSED_ATTRIBUTES = ("activation", "activation_params", "activation_alpha", "activation_beta", "activation_gamma")
_DEFAULT = TensorProto.FLOAT
_NAMED = {"FP8": TensorProto.FLOAT8E4M3FN, "INT4": TensorProto.INT4}  # TRT_FP8QuantizeLinear, ..


@dataclass(slots=True)
class _Graph:
    """The copy while it is rewritten: element types that are known by name, and what stand-ins read beside."""

    elements: dict[str, int]
    ranks: dict[str, int]
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    count: int = 0

    def name(self) -> str:
        self.count += 1
        return f"qdsl stand-in {self.count}"

    def given(self, element: int, shape: Sequence[int]) -> str:
        """A new graph input."""
        name = self.name()
        self.inputs.append(helper.make_tensor_value_info(name, element, list(shape)))
        return name


_Rule = Callable[[NodeProto, _Graph], list[NodeProto]]


def rule_types(skeleton: ModelProto, names: Sequence[str]) -> dict[str, TypeProto]:
    """The types of the tensors called `names`, as far as the rules and ONNX's own inference say. `skeleton` has no
    large weights; it is left as it was."""
    if not any(_rule(node) for node in skeleton.graph.node):
        return {}
    proto = ModelProto()
    proto.CopyFrom(skeleton)
    graph = _Graph(*_known(proto))
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        rule = _rule(node)
        nodes += [node] if rule is None else rule(node, graph)
    made = [_copy(node) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(made)
    proto.graph.input.extend(graph.inputs)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto)
    except Exception:  # the C++ side throws several unrelated types
        return {}
    wanted = set(names)
    infos = (*inferred.graph.value_info, *inferred.graph.output)
    return {info.name: info.type for info in infos if info.name in wanted and _dense(info.type)}


def _copy(node: NodeProto) -> NodeProto:
    made = NodeProto()
    made.CopyFrom(node)
    return made


def _dense(kind: TypeProto) -> bool:
    return kind.HasField("tensor_type") and kind.tensor_type.elem_type != TensorProto.UNDEFINED


def _known(proto: ModelProto) -> tuple[dict[str, int], dict[str, int]]:
    elements = {one.name: one.data_type for one in proto.graph.initializer}
    ranks = {one.name: len(one.dims) for one in proto.graph.initializer}
    for info in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        if info.type.HasField("tensor_type"):
            elements.setdefault(info.name, info.type.tensor_type.elem_type)
            if info.type.tensor_type.HasField("shape"):
                ranks.setdefault(info.name, len(info.type.tensor_type.shape.dim))
    return elements, ranks


# --- rules ------------------------------------------------------------------------------------------------------------


def _as_input(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    """What it writes is like its first input."""
    return [helper.make_node("Identity", node.input[:1], node.output[:1])]


def _skip(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    """A normalized sum and, as its last output, the sum itself; those between are statistics."""
    written = [name for name in (*node.output[:1], *node.output[3:4]) if name]
    return [helper.make_node("Identity", node.input[:1], [name]) for name in written]


def _skip_group(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    return [helper.make_node("Identity", node.input[:1], [name]) for name in node.output[:2] if name]


def _known_as(op: str, inputs: int) -> _Rule:
    """An operator of ONNX with a fused activation."""

    def rule(node: NodeProto, graph: _Graph) -> list[NodeProto]:
        made = helper.make_node(op, node.input[:inputs], node.output[:1])
        made.attribute.extend(a for a in node.attribute if a.name not in _FUSED_ATTRIBUTES)
        return [made]

    return rule


def _matmul(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    """A product whose factors may be read with their last two axes exchanged."""
    made, factors = [], []
    for name, attribute in zip(node.input[:2], ("transA", "transB"), strict=True):
        if _number(node, f"transBatch{attribute[-1]}"):
            return []
        if not _number(node, attribute):
            factors.append(name)
            continue
        rank = graph.ranks.get(name)
        if rank is None or rank < 2:
            return []
        turned = graph.name()
        perm = [*range(rank - 2), rank - 1, rank - 2]
        made.append(helper.make_node("Transpose", [name], [turned], perm=perm))
        factors.append(turned)
    return [*made, helper.make_node("MatMul", factors, node.output[:1])]


def _n_bits(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    rows, columns = _number(node, "K"), _number(node, "N")
    if not 0 < rows < 2**31 or not 0 < columns < 2**31 or len(node.input) < 3:
        return []
    weight = graph.given(graph.elements.get(node.input[2], _DEFAULT), (rows, columns))
    return [helper.make_node("MatMul", [node.input[0], weight], node.output[:1])]


def _dequantize(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    element = graph.elements.get(node.input[1], _DEFAULT) if len(node.input) > 1 else _DEFAULT
    return [_cast(node.input[0], node.output[0], element)]


def _quantize(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    zero = node.input[2] if len(node.input) > 2 else ""
    named = next((kind for word, kind in _NAMED.items() if word in node.op_type), TensorProto.UINT8)
    return [_cast(node.input[0], node.output[0], graph.elements.get(zero, named))]


def _elementwise(second: int) -> _Rule:
    """Two operands of integers: any operator that broadcasts them."""

    def rule(node: NodeProto, graph: _Graph) -> list[NodeProto]:
        if len(node.input) <= second:
            return []
        condition = graph.given(TensorProto.BOOL, ())
        return [helper.make_node("Where", [condition, node.input[0], node.input[second]], node.output[:1])]

    return rule


def _where(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    if len(node.input) < 5:
        return []
    return [helper.make_node("Where", [node.input[0], node.input[1], node.input[4]], node.output[:1])]


def _concat(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    return [helper.make_node("Concat", node.input[2::3], node.output[:1], axis=_number(node, "axis"))]


def _product(scale: int) -> _Rule:
    """Integers that are multiplied and come out as floats of the type of a scale."""

    def rule(node: NodeProto, graph: _Graph) -> list[NodeProto]:
        if len(node.input) <= scale:
            return []
        element = graph.elements.get(node.input[scale], _DEFAULT)
        names = [graph.name(), graph.name()]
        casts = [_cast(name, made, element) for name, made in zip(node.input[:2], names, strict=True)]
        return [*casts, helper.make_node("MatMul", names, node.output[:1])]

    return rule


def _gemm(node: NodeProto, graph: _Graph) -> list[NodeProto]:
    """QGemm: integers where a scale of the output is given, else floats."""
    if len(node.input) < 6:
        return []
    scaled = len(node.input) > 8 and node.input[7]
    element = graph.elements.get(node.input[8], TensorProto.UINT8) if scaled else _DEFAULT
    one, other, sums = graph.name(), graph.name(), graph.name()
    turned = _number(node, "transA"), _number(node, "transB")
    return [
        _cast(node.input[0], one, _DEFAULT),
        _cast(node.input[3], other, _DEFAULT),
        helper.make_node("Gemm", [one, other], [sums], transA=turned[0], transB=turned[1]),
        _cast(sums, node.output[0], element),
    ]


def _cast(source: str, written: str, element: int) -> NodeProto:
    return helper.make_node("Cast", [source], [written], to=element)


def _number(node: NodeProto, name: str) -> int:
    found = (one.i for one in node.attribute if one.name == name and one.type == AttributeProto.INT)
    return next(found, 0)


_AS_INPUT = (
    *("BiasAdd", "BiasGelu", "BiasSoftmax", "FastGelu", "Gelu", "GroupNorm", "LayerNormalization", "QuickGelu"),
    *("RotaryEmbedding", "SimplifiedLayerNormalization", "Trilu"),
    *("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"),
)
_RULES: dict[tuple[str, str], _Rule] = {
    **{(_MS, op): _as_input for op in _AS_INPUT},
    **{(domain, op): _as_input for domain in _QONNX for op in ("Quant", "IntQuant", "BipolarQuant", "Trunc")},
    **{(domain, "FloatQuant"): _as_input for domain in _QONNX},
    ("org.openvinotoolkit", "FakeQuantize"): _as_input,
    ("com.amd.quark", "BFPQuantizeDequantize"): _as_input,
    ("com.amd.quark", "MXQuantizeDequantize"): _as_input,
    **{(f"aimet.customop{end}", "QcQuantizeOp"): _as_input for end in ("", ".cpu", ".cuda")},
    ("", "GroupNormalization"): _as_input,
    ("", "SimplifiedLayerNormalization"): _as_input,
    (_MS, "SkipLayerNormalization"): _skip,
    (_MS, "SkipSimplifiedLayerNormalization"): _skip,
    (_MS, "SkipGroupNorm"): _skip_group,
    (_MS, "FusedConv"): _known_as("Conv", 3),
    (_MS, "FusedGemm"): _known_as("Gemm", 3),
    (_MS, "FusedMatMul"): _matmul,
    (_MS, "FusedMatMulActivation"): _matmul,
    (_MS, "TransposeMatMul"): _matmul,
    (_MS, "MatMulNBits"): _n_bits,
    (_MS, "MatMulBnb4"): _n_bits,
    (_MS, "QuantizeLinear"): _quantize,
    (_MS, "DequantizeLinear"): _dequantize,
    (_MS, "QLinearAdd"): _elementwise(3),
    (_MS, "QLinearMul"): _elementwise(3),
    (_MS, "QLinearWhere"): _where,
    (_MS, "QLinearConcat"): _concat,
    (_MS, "MatMulIntegerToFloat"): _product(2),
    (_MS, "DynamicQuantizeMatMul"): _product(2),
    (_MS, "QGemm"): _gemm,
}
_SUFFIXES: tuple[tuple[str, _Rule], ...] = (("DequantizeLinear", _dequantize), ("QuantizeLinear", _quantize))


def _rule(node: NodeProto) -> _Rule | None:
    if not node.input or not node.output or not node.input[0] or not node.output[0]:
        return None
    domain = "" if node.domain == "ai.onnx" else node.domain
    found = _RULES.get((domain, node.op_type))
    if found is None and domain and "Dynamic" not in node.op_type:
        found = next((rule for end, rule in _SUFFIXES if node.op_type.endswith(end)), None)
    return found
