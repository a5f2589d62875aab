"""The graph for Model Explorer (google-ai-edge/model-explorer): a graph collection, to be opened as a JSON file there.

Nodes are the operators of the float graph, coloured by what they run as on the first target; what is known of each is
among its attributes. `model_explorer_data` makes what can be laid over it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from qdsl.auditing.formats.told import relative
from qdsl.auditing.formats.wiring import OUTSIDE, Edge, Wiring
from qdsl.auditing.report import AuditReport, NodeFacts, Section
from qdsl.spec.words import plain

# Background and text by what a node runs as; readable on one another, light.
COLOURS = {
    "integer": ("#bfe5d8", "#0b3d2e"),
    "float": ("#f3dfb3", "#4a3200"),
    "float16": ("#f0d0e2", "#5a1f43"),
    "absorbed": ("#d9ebe4", "#0b3d2e"),
    "moves": ("#e4e8ec", "#2b333b"),
}
_DEEPEST = 12  # layers that a name may open: one per component of its path


def render(report: AuditReport) -> str:
    """A graph collection with one graph, as JSON in ASCII."""
    wiring = Wiring(report)
    inside: dict[int, list[Edge]] = {}
    for edge in wiring.edges:
        inside.setdefault(edge.target, []).append(edge)
    sources, sinks = outside_names(report)
    nodes = [_inputs(report, sources)]
    nodes += [_node(wiring, number, node, inside.get(number, []), sources) for number, node in enumerate(report.nodes)]
    nodes.append(
        {
            "id": sinks,
            "label": "GraphOutputs",
            "namespace": "",
            "incomingEdges": _incoming(wiring, inside.get(OUTSIDE, []), sources),
        }
    )
    graph = {"id": graph_id(report), "nodes": nodes, "groupNodeAttributes": {"": dict(_about(report))}}
    return json.dumps({"label": graph_id(report), "graphs": [graph]}, indent=1, allow_nan=False) + "\n"


def graph_id(report: AuditReport) -> str:
    return plain(relative(report.file))


def outside_names(report: AuditReport) -> tuple[str, str]:
    """Ids of the nodes that stand for the graph's inputs and outputs, which no node of the file has."""
    taken = {node.name for node in report.nodes}
    end = ""
    while taken & {f"GraphInputs{end}", f"GraphOutputs{end}"}:
        end += "_"
    return f"GraphInputs{end}", f"GraphOutputs{end}"


def _about(report: AuditReport) -> Iterator[tuple[str, str]]:
    yield "made by", plain(report.producer) or "not said"
    for name, because in report.dialects:
        yield f"dialect {plain(name)}", plain(because)
    for section in report.sections:
        yield f"findings on {section.target}", str(len(section.standing))


def _inputs(report: AuditReport, name: str) -> dict[str, Any]:
    outputs = [_metadata(report, port, tensor) for port, tensor in enumerate(report.inputs)]
    return {"id": name, "label": "GraphInputs", "namespace": "", "outputsMetadata": outputs}


def _node(wiring: Wiring, number: int, node: NodeFacts, edges: list[Edge], sources: str) -> dict[str, Any]:
    report = wiring.report
    outputs = [_metadata(report, port, tensor) for port, tensor in enumerate(node.outputs) if tensor]
    made: dict[str, Any] = {
        "id": node.name,
        "label": plain(node.op),
        "namespace": "/".join(filter(None, plain(node.name).split("/")[:-1][: _DEEPEST + 1])),
        "attrs": [{"key": key, "value": value} for key, value in _attributes(wiring, number, node)],
        "incomingEdges": _incoming(wiring, edges, sources),
        "outputsMetadata": outputs,
    }
    if report.sections:
        back, _ = COLOURS.get(report.sections[0].runs[node.name].runs, ("", ""))
        made["style"] = {"backgroundColor": back}
    return made


def _incoming(wiring: Wiring, edges: list[Edge], sources: str) -> list[dict[str, str]]:
    return [
        {
            "sourceNodeId": sources if edge.source == OUTSIDE else wiring.report.nodes[edge.source].name,
            "sourceNodeOutputId": str(edge.output),
            "targetNodeInputId": str(edge.port),
        }
        for edge in edges
    ]


def _metadata(report: AuditReport, port: int, tensor: str) -> dict[str, Any]:
    attributes = {"tensor_name": tensor, "tensor_shape": report.types.get(tensor, "")}
    return {
        "id": str(port),
        "attrs": [{"key": key, "value": plain(value)} for key, value in attributes.items() if value],
    }


def _attributes(wiring: Wiring, number: int, node: NodeFacts) -> Iterator[tuple[str, str]]:
    yield "name", plain(node.name)
    if node.macs:
        yield "multiply-accumulates", f"{node.macs:,}"
    for section in wiring.report.sections:
        yield from _runs(section, node)
    for held in wiring.held.get(number, ()):
        tensor = wiring.report.tensors[held]
        scale = "" if tensor.scale_low is None else f", scale {tensor.scale_low:.6g}"
        many = "" if tensor.scale_low == tensor.scale_high else f" to {tensor.scale_high:.6g}"
        yield (
            f"{tensor.role} {plain(tensor.tensor or tensor.stored)}",
            f"{tensor.element} {tensor.granularity}{scale}{many}",
        )
    for found in wiring.findings.get(number, ()):
        yield f"{found.severity.value}: {found.rule}", plain(found.message)


def _runs(section: Section, node: NodeFacts) -> Iterator[tuple[str, str]]:
    verdict = section.runs[node.name]
    yield f"runs on {section.target}", verdict.runs
    if verdict.kernel:
        yield f"kernel on {section.target}", plain(verdict.kernel)
    if verdict.because:
        yield f"because ({section.target})", plain(verdict.because)
