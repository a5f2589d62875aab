"""A layer between quantized inputs and weights whose result is not quantized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, behind_activation, data_port, reason, standing, weights
from qdsl.auditing.telling import listed, recipe_lines, shown
from qdsl.diag import Severity
from qdsl.graph.view import NodeView

_LOST_BY_IT = frozenset({"output_float", "output_graph", "not_redundant"})
_BIAS = 2
_WRITES = "it computes in floats: its integer kernel writes integers alone"
_FLOAT_BIAS = (
    "it computes in floats: its bias is float, which onnxruntime makes integers of only in front of a QuantizeLinear"
)


class Check:
    id: ClassVar[str] = "output_not_quantized"
    summary: ClassVar[str] = "a layer with quantized inputs and weights writes floats, for which there is no kernel"
    explanation: ClassVar[str] = (
        "ONNX Runtime computes a Conv in integers only where a QuantizeLinear reads its result: the kernel writes "
        "integers. With Q and DQ on inputs and weights alone, as NNCF and files for TensorRT have it, every Conv runs "
        "in floats, on dequantized values. A Gemm or MatMul may write floats; "
        "not so a Gemm with a float bias, which becomes integers only in front of a QuantizeLinear."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        stands = standing(audited)
        for node, weight in weights(audited):
            whole = stands.read(node, weight.port) is not None and stands.read(node, data_port(weight)) is not None
            why = reason(audited, node.name) if whole else ""
            if why == "bias_float" and stands.view.is_constant(node.inputs[_BIAS]):
                yield from self._float_output(audited, node, _FLOAT_BIAS)
            elif why in _LOST_BY_IT:
                yield from self._float_output(audited, node, _WRITES)

    def _float_output(self, audited: Audited, node: NodeView, why: str) -> Iterator[Finding]:
        stands = standing(audited)
        tensor = behind_activation(audited, node)
        readers = [stands.view.nodes[use.node] for use in stands.float_readers(tensor)]
        if tensor in stands.writes or any(_is_half(audited, each) for each in readers):
            return
        names = list(dict.fromkeys(each.name for each in readers))
        by = listed(names) if names else "the caller"
        read = "read" if len(names) > 1 else "reads"
        has = " and has a float bias" if why == _FLOAT_BIAS else ""
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"{shown(node.name)} reads integers{has}, and {by} {read} its result in floats",
            why,
            also=tuple(Place("node", name) for name in names),
            fix=recipe_lines("place { quantize tensor {} }", tensor),
        )


def _is_half(audited: Audited, node: NodeView) -> bool:
    """Whether a reader has Q and DQ at another input: what tells of that tells of both."""
    stands = standing(audited)
    return any(stands.read(node, port) is not None for port in stands.data_ports(node))
