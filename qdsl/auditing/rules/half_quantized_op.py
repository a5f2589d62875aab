"""A node of which one factor is quantized and the other is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.carrying import reads_carried
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import (
    ORT,
    TENSORRT,
    data_port,
    is_kept,
    left_in_floats,
    moved,
    passes_integers,
    prediction,
    reason,
    runs_in_floats,
    standing,
    weights,
)
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.neighbours import Weight
from qdsl.graph.view import NodeView

_COMPUTED_IN = frozenset({"int8", "uint8"})
# Of two inputs that are computed: Add and Concat have a rule of their own (`residual_not_quantized`).
_TWO = frozenset({"MatMul", "Mul", "Where"})
_QUANTIZE = "layers {} { weights int8 symmetric per_channel }"


class Check:
    id: ClassVar[str] = "half_quantized_op"
    summary: ClassVar[str] = "one factor of a product is quantized, the other is not"
    explanation: ClassVar[str] = (
        "Integer kernels multiply integers with integers. Where a Conv, a Gemm or a MatMul has quantized activations "
        "and float weights, or the reverse, the runtime dequantizes the half that is there and computes in floats; "
        "TensorRT folds the pair of the weights back into floats without a word. ONNX Runtime makes int8, one scale "
        "per tensor, of a float weight between quantized activations. Weights alone in integers are a form of their "
        "own where the whole file, or the kernel (MatMulNBits), is made for it. For TensorRT it is an error: the layer "
        "is dropped from int8, and nothing else says so."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        if not passes_integers(audited):
            return
        for node, weight in weights(audited):
            yield from self._weighted(audited, node, weight)
        for node in audited.finished.view.nodes:
            if node.op in _TWO:
                yield from self._two(audited, node)

    def _weighted(self, audited: Audited, node: NodeView, weight: Weight) -> Iterator[Finding]:
        stands = standing(audited)
        data, stored = stands.read(node, data_port(weight)), stands.read(node, weight.port)
        if data is not None and stored is None and _is_float_constant(audited, weight):
            if not left_in_floats(audited, node, weight) and not is_kept(audited, node, weight):
                yield self._float_weight(audited, node, weight)
        elif data is None and stored is not None and stored.parameters.element in _COMPUTED_IN:
            yield from self._float_data(audited, node, weight, stored)

    def _float_weight(self, audited: Audited, node: NodeView, weight: Weight) -> Finding:
        why = "the products are computed in floats, on dequantized activations"
        if audited.target == ORT and not runs_in_floats(audited, node.name):
            why = "onnxruntime itself makes int8 of it as it loads the file, with one scale for the whole tensor"
        return Finding(
            self.id,
            _grave(audited),
            Place("node", node.name, weight.port),
            f"{shown(node.name)} reads quantized activations and float weights",
            why,
            fix=recipe_lines(_QUANTIZE, node.name),
        )

    def _float_data(
        self, audited: Audited, node: NodeView, weight: Weight, stored: QuantizedTensor
    ) -> Iterator[Finding]:
        port = data_port(weight)
        source = moved(audited).get(node.inputs[port])
        behind = source if source is not None and _is_dequantized(audited, source.tensor) else None
        if _is_meant(audited, node, port, carried=behind is not None):
            return
        why = "the weights are dequantized at every inference and multiplied in floats"
        if behind is not None:
            why = f"what reaches it is quantized before {shown(behind.node)}, and not behind it; {why}"
        yield Finding(
            self.id,
            _grave(audited),
            Place("node", node.name, port),
            f"{shown(node.name)} has {stored.parameters.element} weights and reads floats",
            why,
            fix=recipe_lines("place { quantize inputs of {} }", node.name),
            origin=stored.origin,
        )

    def _two(self, audited: Audited, node: NodeView) -> Iterator[Finding]:
        stands = standing(audited)
        ports = tuple(stands.data_ports(node))
        bare = [port for port in ports if stands.read(node, port) is None]
        if not bare or len(bare) == len(ports):
            return
        if audited.target == ORT and reason(audited, node.name) != "input_float":
            return
        if audited.target != ORT and node.op != "MatMul":
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name, bare[0]),
            f"{shown(node.name)} reads integers at one input and floats at another",
            "it computes in floats, on dequantized values",
            fix=recipe_lines("place { quantize inputs of {} }", node.name),
        )


def _grave(audited: Audited) -> Severity:
    """TensorRT says nothing of a layer that it drops from int8; ONNX Runtime's optimized graph shows it."""
    return Severity.ERROR if audited.target == TENSORRT else Severity.WARNING


def _is_meant(audited: Audited, node: NodeView, port: int, *, carried: bool) -> bool:
    """Whether stored weights beside floats cost nothing here: TensorRT carries a pair over what only moves values;
    ONNX Runtime does so before some operators, and has a kernel for matrices that is made for float activations."""
    if audited.target == TENSORRT:
        return reads_carried(audited, node, port)
    if audited.target != ORT:
        return carried
    found = prediction(audited, node.name)
    return found is not None and found.runs == "integer" and not (found.float_products and carried)


def _is_float_constant(audited: Audited, weight: Weight) -> bool:
    found = audited.finished.view.tensors.get(weight.tensor)
    return found is not None and found.kind == "constant" and (found.dtype or "").startswith(("float", "bfloat"))


def _is_dequantized(audited: Audited, tensor: str) -> bool:
    writer = audited.finished.view.producer(tensor)
    return writer is not None and writer.op == "DequantizeLinear"
