"""The audit as data: what `qdsl audit --json` prints, all of it, with nothing left out for length."""

from __future__ import annotations

import json
from typing import Any

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.formats import causes, engine
from qdsl.auditing.report import AuditReport, Counts, NodeFacts, Section, TensorFacts, Waiver
from qdsl.diag import Span
from qdsl.spec.plan import Prediction

# Goes up where a key changes its meaning or goes; new keys may come.
VERSION = 1


def render(report: AuditReport) -> str:
    """JSON in ASCII, keys sorted, one document."""
    return json.dumps(to_data(report), indent=2, sort_keys=True, allow_nan=False) + "\n"


def to_data(report: AuditReport) -> dict[str, Any]:
    """The report as what JSON knows: mappings, lists, text, numbers. `targets` has a section per target, by name."""
    return {
        "version": VERSION,
        "qdsl": report.version,
        "file": report.file,
        "sha256": report.sha256,
        "bytes": report.bytes,
        "producer": report.producer,
        "quantized": report.quantized,
        "dialects": [{"name": name, "because": because} for name, because in report.dialects],
        "opsets": dict(report.opsets),
        "inputs": list(report.inputs),
        "outputs": list(report.outputs),
        "nodes": [_node(node) for node in report.nodes],
        "tensors": [_tensor(tensor) for tensor in report.tensors],
        "types": dict(report.types),
        "recipe": report.recipe or None,
        "rules": dict(report.explanations),
        "causes": None if report.causes is None else causes.to_data(report.causes),
        "targets": {section.target: _section(section) for section in report.sections},
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "table": section.table,
        "cpus": list(section.cpus),
        "counts": _counts(section.counts),
        "runs": {name: _run(verdict) for name, verdict in section.runs.items()},
        "floats": list(section.floats),
        "findings": [_finding(found) for found in section.findings],
        "waivers": [_waiver(waiver) for waiver in section.waivers],
        "unmatched": section.unmatched,
        "matched": section.matched,
        "engine": None if section.engine is None else engine.to_data(section.engine),
    }


def _counts(counts: Counts) -> dict[str, Any]:
    names = ("nodes", "weighted", "weighted_integer", "macs", "integer_macs", "uncounted")
    ops = {op: {"integer": done, "all": whole} for op, (done, whole) in counts.ops.items()}
    return {**{name: getattr(counts, name) for name in names}, "ops": ops, "runs": dict(counts.runs)}


def _run(verdict: Prediction) -> dict[str, str]:
    return {"runs": verdict.runs, "kernel": verdict.kernel, "row": verdict.row, "because": verdict.because}


def _node(node: NodeFacts) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "domain": node.domain,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "macs": node.macs,
    }


def _tensor(tensor: TensorFacts) -> dict[str, Any]:
    found = {name: getattr(tensor, name) for name in TensorFacts.__slots__}
    readers = [{"node": node, "port": port} for node, port in tensor.readers]
    listed = {name: list(value) for name, value in found.items() if isinstance(value, tuple)}
    return {**found, **listed, "readers": readers}


def _finding(found: Finding) -> dict[str, Any]:
    fix = found.fix
    return {
        "rule": found.rule,
        "severity": found.severity.value,
        "place": _place(found.place),
        "also": [_place(place) for place in found.also],
        "message": found.message,
        "why": found.why,
        "targets": list(found.targets),
        "fix": None if fix is None else {"lines": list(fix.lines), "rewrite": fix.rewrite or None, "exact": fix.exact},
        "origin": found.origin or None,
        "line": _span(found.line),
        "waived": found.waived or None,
    }


def _place(place: Place) -> dict[str, Any]:
    return {"kind": place.kind, "name": place.name, "port": None if place.port < 0 else place.port}


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {
        "rule": waiver.rule,
        "on": waiver.on,
        "because": waiver.because,
        "line": _span(waiver.line),
        "used": waiver.used,
    }


def _span(span: Span | None) -> dict[str, Any] | None:
    names = ("file", "line", "column", "end_line", "end_column")
    return None if span is None else {name: getattr(span, name) for name in names}
