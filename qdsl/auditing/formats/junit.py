"""JUnit XML: every rule a test, so that a CI server shows which began to fail.

A suite is a target, a case one of its rules. A case fails where a finding of at least a warning is not waived, is
skipped where all that it found is, and passes otherwise; notes are its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from qdsl.auditing.finding import Finding
from qdsl.auditing.formats.told import relative, whole
from qdsl.auditing.index import rules
from qdsl.auditing.report import AuditReport, Section
from qdsl.diag import Severity
from qdsl.spec.words import count, plain


def render(report: AuditReport) -> str:
    """The suites of all targets. Times are left out: nothing here is measured."""
    root = Element("testsuites", name="qdsl audit")
    for section in report.sections:
        _suite(root, report, section)
    for key in ("tests", "failures", "skipped", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    indent(root)
    text: str = tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(root: Element, report: AuditReport, section: Section) -> None:
    file = plain(relative(report.file))
    held: dict[str, list[Finding]] = {rule.id: [] for rule in rules(section.target)}
    for found in section.findings:
        held.setdefault(found.rule, []).append(found)
    suite = SubElement(root, "testsuite", name=f"{file} on {plain(section.target)}")
    for rule, every in held.items():
        case = SubElement(suite, "testcase", classname=f"{file}.{plain(section.target)}", name=plain(rule))
        _verdict(case, every)
    suite.set("tests", str(len(held)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("errors", "0")


def _verdict(case: Element, found: Sequence[Finding]) -> None:
    standing = [each for each in found if not each.waived]
    grave = [each for each in standing if each.severity is not Severity.NOTE]
    waived = [each for each in found if each.waived]
    if grave:
        worst = "error" if any(each.severity is Severity.ERROR for each in grave) else "warning"
        failure = SubElement(case, "failure", type=worst, message=_first(grave))
        failure.text = "\n\n".join(whole(each) for each in grave)
    elif waived and not standing:
        SubElement(case, "skipped", message=f"waived: {plain(waived[0].waived)}")
    rest = [each for each in (*standing, *waived) if each not in grave]
    if rest:
        SubElement(case, "system-out").text = "\n\n".join(f"{each.severity.value}: {whole(each)}" for each in rest)


def _first(found: Sequence[Finding]) -> str:
    more = f", and {count(len(found) - 1, 'more finding')}" if len(found) > 1 else ""
    return f"{plain(found[0].message)}{more}"
