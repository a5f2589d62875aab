"""SARIF 2.1.0 (OASIS, errata 01): the form in which code scanning takes findings.

A model has no lines. A finding stands at the line of the recipe that asked for it where that is known, else at line 1
of the model, since code hosts refuse a location without a line; the node or tensor is its logical location.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.formats.told import Told, cures, message, relative, told, whole
from qdsl.auditing.index import RULES, rule_named
from qdsl.auditing.report import AuditReport
from qdsl.diag import Severity, Span
from qdsl.spec.words import plain

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render(report: AuditReport) -> str:
    """One run about one file, as JSON in ASCII: the same text for the same report."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(log, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _run(report: AuditReport) -> dict[str, Any]:
    every = tuple(told(report))
    rules = tuple(dict.fromkeys(each.found.rule for each in every))
    numbers = {rule: number for number, rule in enumerate(rules)}
    driver = {
        "name": "qdsl",
        "semanticVersion": report.version,
        "rules": [_rule(report, rule, [e.found for e in every if e.found.rule == rule]) for rule in rules],
    }
    return {
        "tool": {"driver": {key: value for key, value in driver.items() if value != ""}},
        "columnKind": "unicodeCodePoints",
        "artifacts": list(_artifacts(report, every)),
        "results": [_result(report, each, numbers[each.found.rule]) for each in every],
        "properties": {"targets": [section.target for section in report.sections], "producer": report.producer},
    }


def _rule(report: AuditReport, name: str, found: Iterable[Finding]) -> dict[str, Any]:
    """What a reader is told of a rule; of one that this version does not know, what the report says of it."""
    summary = explanation = report.explanations.get(name, name)
    worst = min((each.severity for each in found), key=list(_LEVELS).index)
    if name in RULES:
        rule = rule_named(name)
        summary, explanation, worst = rule.summary, rule.explanation, rule.severity
    return {
        "id": name,
        "shortDescription": {"text": _text(summary)},
        "fullDescription": {"text": _text(explanation)},
        "help": {"text": _text(explanation)},
        "defaultConfiguration": {"level": _LEVELS[worst]},
        "properties": {"tags": ["quantization"]},
    }


def _artifacts(report: AuditReport, every: Iterable[Told]) -> Iterator[dict[str, Any]]:
    yield {
        "location": {"uri": _uri(report.file)},
        "roles": ["analysisTarget"],
        "hashes": {"sha-256": report.sha256},
        "mimeType": "application/octet-stream",
    }
    recipes = [report.recipe] if report.recipe else []
    recipes += [each.found.line.file for each in every if each.found.line is not None]
    for uri in dict.fromkeys(map(_uri, recipes)):
        yield {"location": {"uri": uri}, "mimeType": "text/plain"}


def _result(report: AuditReport, each: Told, number: int) -> dict[str, Any]:
    found = each.found
    place = {"physicalLocation": _physical(report, found.line)}
    logical = list(_logical(found.place))
    result: dict[str, Any] = {
        "ruleId": found.rule,
        "ruleIndex": number,
        "level": _LEVELS[found.severity],
        "message": {"text": _text(whole(found))},
        "locations": [{**place, "logicalLocations": logical} if logical else place],
        # The first is the one that code scanning matches alerts by; without it, it would take line 1 of the model.
        "partialFingerprints": {"primaryLocationLineHash": f"{each.fingerprint[:16]}:1", "place/v1": each.fingerprint},
        "properties": _properties(each),
    }
    related = list(_related(report, found))
    if related:
        result["relatedLocations"] = related
    if found.waived:
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": _text(plain(found.waived))}
        ]
    return result


def _properties(each: Told) -> dict[str, Any]:
    found = each.found
    more: dict[str, Any] = {"targets": list(each.targets), "summary": message(found), "why": plain(found.why)}
    if cures(found):
        more["cures"] = list(cures(found))
    if found.fix is not None and found.fix.rewrite:
        more["rewrite"], more["exact"] = found.fix.rewrite, found.fix.exact
    if found.origin:
        more["origin"] = plain(found.origin)
    return more


def _related(report: AuditReport, found: Finding) -> Iterator[dict[str, Any]]:
    """The file itself, where the finding stands at a recipe's line, and further places of the same finding."""
    model = {"physicalLocation": _physical(report, None)}
    if found.line is not None:
        yield {"id": 0, **model, "message": {"text": "the audited file"}}
    for number, place in enumerate(found.also, start=1):
        logical = list(_logical(place))
        if logical:
            yield {"id": number, **model, "logicalLocations": logical}


def _physical(report: AuditReport, line: Span | None) -> dict[str, Any]:
    if line is None:
        return {"artifactLocation": {"uri": _uri(report.file)}, "region": {"startLine": 1}}
    region = {
        "startLine": line.line,
        "startColumn": line.column,
        "endLine": line.end_line,
        "endColumn": max(line.end_column, line.column if line.end_line == line.line else 1),
    }
    return {"artifactLocation": {"uri": _uri(line.file)}, "region": region}


def _logical(place: Place) -> Iterator[dict[str, Any]]:
    if place.kind == "file":
        return
    name = plain(place.name)
    more = {"properties": {"input": place.port}} if place.port >= 0 else {}
    yield {"name": name, "fullyQualifiedName": f"{place.kind}:{name}", "kind": place.kind, **more}


def _uri(path: str) -> str:
    return quote(relative(path).encode("utf-8", errors="replace"), safe="/")


def _text(words: str) -> str:
    """Words in which a viewer sees no link: names of an untrusted file may look like one."""
    return words.replace("](", "] (")
