"""What the audit says about TensorRT of a file, held against what TensorRT-RTX makes of it, node by node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from audit_tools import audited, found, named
from onnx import ModelProto
from rtx_engine import DROPPED, INT8, examine, refused_nodes, with_names

from qdsl.auditing.finding import Finding
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import standing, weights
from qdsl.diag import Severity
from qdsl.finished.records import Parameters

# Whose findings say of every node that they name that the parser refuses it.
_REFUSING = frozenset({"zero_point_not_zero", "bias_in_integers"})
# Whose findings say that a node computes in floats.
_FLOATS = frozenset(
    [
        *("half_quantized_op", "activation_per_channel", "weights_along_inputs", "axis_not_written"),
        *("float_weights_left", "scale_as_vector", "deconvolution_quantized"),
    ]
)


@dataclass(frozen=True)
class Held:
    """Where TensorRT-RTX ends, and what disagrees: nodes that it refuses and no error names; nodes that are said to be
    refused and are not; layers with quantized weights that compute in floats and nothing says so; layers that compute
    in int8 and are said to compute in floats."""

    stage: str
    refused_unsaid: frozenset[str]
    said_not_refused: frozenset[str]
    dropped_unsaid: frozenset[str]
    said_not_dropped: frozenset[str]


def held(model: ModelProto) -> Held:
    model = with_names(model)
    seen = audited(model, "tensorrt")
    findings = found(seen)
    engine = examine(model)
    refused = set(refused_nodes(model))
    told = _nodes(seen, (each for each in findings if each.severity is Severity.ERROR))
    refusing = _quantizing(seen) & _nodes(seen, (each for each in findings if each.rule in _REFUSING))
    in_floats = {name for each in findings if each.rule in _FLOATS for name in named(each)}
    quantized = {node.name for node, weight in weights(seen) if standing(seen).read(node, weight.port) is not None}
    dropped = {name for name, verdict in engine.verdicts.items() if verdict == DROPPED}
    integers = {name for name, verdict in engine.verdicts.items() if verdict == INT8}
    return Held(
        engine.stage,
        frozenset(refused - told),
        frozenset(_without_their_quantizers(seen, refusing, refused)),
        frozenset(dropped & quantized - in_floats),
        frozenset(integers & in_floats),
    )


def _quantizing(seen: Audited) -> set[str]:
    """The Q and DQ that the parser refuses by themselves: of what has a zero point, or is int32. Of other types it
    refuses the constants, and names no node."""
    refused = (each for each in seen.finished.tensors if _is_refused(each.parameters))
    return {name for record in refused for name in (*record.quantizers, *record.dequantizers)}


def _is_refused(made: Parameters) -> bool:
    return made.element == "int32" or (made.element in ("int8", "uint8") and bool(np.any(made.zero_point)))


def _nodes(seen: Audited, findings: Iterator[Finding]) -> set[str]:
    """The nodes of which findings speak, with the Q and DQ of the tensors and ports that they name."""
    names = set()
    for finding in findings:
        names |= named(finding)
        records = [each for each in seen.finished.tensors if each.tensor == finding.place.name]
        if finding.place.port >= 0:
            records += [
                each
                for each in seen.finished.tensors
                if any((to.node, to.port) == (finding.place.name, finding.place.port) for to in each.readers)
            ]
        names |= {name for record in records for name in (*record.quantizers, *record.dequantizers)}
    return names


def _without_their_quantizers(seen: Audited, said: set[str], refused: set[str]) -> set[str]:
    """Of a pair the parser refuses the first node, and does not come to the others."""
    for record in seen.finished.tensors:
        nodes = {*record.quantizers, *record.dequantizers}
        if nodes & refused:
            said = said - nodes
    return said - refused
