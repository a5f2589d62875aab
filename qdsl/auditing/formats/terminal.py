"""The audit in words: what the file is, what runs, then what was found, the grave first, each with its cure.

Of each rule a few findings are told and the others counted, so that there is nothing to scroll past.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from textwrap import wrap

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.formats import engine
from qdsl.auditing.formats.causes import told
from qdsl.auditing.report import LEVELS, AuditReport, NodeFacts, Section, TensorFacts
from qdsl.diag import Severity
from qdsl.spec.words import count, mebibytes, percent, plain, shortened

_SHOWN = 3  # findings of one rule
_LINES = 4  # recipe lines that mend them
_GROUPS = 3  # reasons why nodes stay float
_WIDE = 100
_LABEL = 10
_COLOURS = {Severity.ERROR: "\x1b[31m", Severity.WARNING: "\x1b[33m", Severity.NOTE: "\x1b[36m"}
_PLAIN = "\x1b[0m"
# One selector by name, where a line has no other.
_PICK = re.compile(r'((?:tensor )?"[^"\\]*")')
_HELD = {
    None: "decides nothing here: its waivers count",
    True: "held against the file",
    False: "is about another model, or about other names: the file has none of its nodes",
}


def render(report: AuditReport, *, rich: bool = False) -> str:
    """What `qdsl audit` prints; with `rich`, levels are coloured for a terminal. Names come from an untrusted file:
    characters that steer a terminal are shown as `?`."""
    lines = [*_head(report)]
    for section in report.sections:
        seen = () if section.engine is None else engine.told(section.engine, report.nodes)
        lines += [*_runs(report, section), *seen, *_findings(report, section, rich)]
    if report.causes is not None:
        lines += ["", *told(report.causes)]
    return "\n".join(lines) + "\n"


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL}} {text}"


def _head(report: AuditReport) -> Iterator[str]:
    made = f", by {plain(report.producer)}" if report.producer else ""
    opset = f"opset {report.opsets.get('', 0)}"
    others = sorted(domain for domain in report.opsets if domain and domain != "ai.onnx")
    more = f" and {', '.join(map(plain, others[:3]))}{' ..' if len(others) > 3 else ''}" if others else ""
    name = plain(PurePath(report.file).name)
    nodes = count(len(report.nodes), "node")
    yield _row("model", f"{name}   {nodes} without Q and DQ, {mebibytes(report.bytes)}, {opset}{more}{made}")
    for dialect, because in report.dialects[:_SHOWN]:
        yield _row("dialect", f"{plain(dialect)}: {plain(because)}")
    if not report.quantized:
        yield _row("quantized", "nothing: no tensor of the file is stored or passed in integers")
        return
    for role, title in (("weight", "weights"), ("activation", "activated"), ("bias", "biases")):
        held = [tensor for tensor in report.tensors if tensor.role == role]
        if held:
            yield _row(title, _kinds(held))


def _kinds(held: Sequence[TensorFacts]) -> str:
    """`63 int8 per_channel, 1 uint8 per_tensor`, the most frequent first."""
    found = Counter(f"{each.element} {each.granularity}{_block(each)}{_form(each)}" for each in held)
    told = [f"{number} {kind}" for kind, number in found.most_common(4)]
    left = sum(found.values()) - sum(number for _, number in found.most_common(4))
    groups = len({each.group for each in held})
    shared = f", {count(groups, 'scale')} in all" if groups < len(held) and held[0].role == "activation" else ""
    return ", ".join(told) + (f" and {left} others" if left else "") + shared


def _block(each: TensorFacts) -> str:
    return f" {each.block}" if each.block else ""


def _form(each: TensorFacts) -> str:
    usual = ("pair", "stored")
    return "" if each.form in usual else f" ({each.form.replace('_', ' ')})"


def _runs(report: AuditReport, section: Section) -> Iterator[str]:
    """How much runs in integers on the target, and what does not, and why."""
    yield _row(section.target, _headline(section))
    named = {node.name: node for node in report.nodes}
    floats: dict[tuple[str, str], list[NodeFacts]] = {}
    for name in section.floats:
        verdict = section.runs[name]
        floats.setdefault((verdict.runs, verdict.because), []).append(named[name])
    if not report.quantized:
        return
    ranked = sorted(floats.items(), key=lambda item: -sum(node.macs or 0 for node in item[1]))
    for (runs, because), nodes in ranked[:_GROUPS]:
        ops = _ops(nodes)
        first = shortened(plain(nodes[0].name))
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        yield _row("", f"{ops} in {'float' if runs == 'integer' else runs}: {plain(because)} ({first}{more})")
    if len(ranked) > _GROUPS:
        left = sum(len(nodes) for _, nodes in ranked[_GROUPS:])
        yield _row("", f"and {left} more in float, for other reasons (--json has all)")


def _headline(section: Section) -> str:
    counts = section.counts
    if not counts.weighted:
        return "nothing in the file multiplies by weights"
    told = ", ".join(f"{done} of {whole} {plain(op)}" for op, (done, whole) in counts.ops.items())
    share = f" ({percent(counts.integer_macs, counts.macs)} of the MACs)" if counts.macs else ""
    unknown = f", those of {count(counts.uncounted, 'node')} are not known" if counts.uncounted else ""
    return f"{told} in {section.multiplied}{share}{unknown}, as predicted"


def _ops(nodes: Iterable[NodeFacts]) -> str:
    found = Counter(node.op for node in nodes)
    return ", ".join(f"{number} {plain(op)}" for op, number in found.most_common(4))


def _findings(report: AuditReport, section: Section, rich: bool) -> Iterator[str]:
    if report.recipe:
        name = plain(PurePath(report.recipe).name)
        yield _row("recipe", f"{name}: {_HELD[section.matched]}")
    yield _row("findings", _summary(section))
    if section.unmatched:
        told = count(section.unmatched, "decision")
        yield _row("", f"{told} of the recipe not compared: the file has no such node under that name")
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for found in section.standing:
        groups.setdefault((found.severity, found.rule), []).append(found)
    for (severity, rule), held in groups.items():
        yield ""
        yield from _group(severity, rule, held, rich)
    waived: dict[tuple[str, str], int] = {}
    for found in section.findings:
        if found.waived:
            waived[found.rule, found.waived] = waived.get((found.rule, found.waived), 0) + 1
    if waived:
        yield ""
    for (rule, because), number in waived.items():
        yield _row("waived", f"{rule} ({number}): {plain(because)}")


def _summary(section: Section) -> str:
    standing = Counter(found.severity for found in section.standing)
    told = [count(standing[level], level.value) for level in LEVELS if standing[level]]
    waived = len(section.findings) - len(section.standing)
    return (", ".join(told) or "none") + (f"; {waived} waived" if waived else "")


def _group(severity: Severity, rule: str, held: Sequence[Finding], rich: bool) -> Iterator[str]:
    """One rule's findings: the first few, then what they have in common and what mends them."""
    word = f"{_COLOURS[severity]}{severity.value}{_PLAIN}" if rich else severity.value
    number = f" ({len(held)})" if len(held) > 1 else ""
    yield f"{word}[{rule}]{number}"
    for found in held[:_SHOWN]:
        yield from _indented(f"{_place(found)}{plain(found.message)}", "  ", "    ")
    if len(held) > _SHOWN:
        yield f"  and {len(held) - _SHOWN} more"
    for why in dict.fromkeys(found.why for found in held[:_SHOWN] if found.why):
        yield from _indented(f"why: {plain(why)}", "  ", "       ")
    yield from _fixes(held)


def _place(found: Finding) -> str:
    """The place, where the message does not name it already; the recipe's line before it."""
    line = f"{plain(PurePath(found.line.file).name)}:{found.line.line}: " if found.line is not None else ""
    origin = f" [{plain(found.origin)}]" if found.origin and found.line is None else ""
    name = _named(found.place)
    return f"{line}{name}{origin}: " if name and found.place.name not in found.message else line


def _named(place: Place) -> str:
    if place.kind == "file":
        return ""
    port = f" input {place.port}" if place.port >= 0 else ""
    return f"{plain(place.name)}{port}"


def _fixes(held: Sequence[Finding]) -> Iterator[str]:
    lines = _joined(dict.fromkeys(line for found in held if found.fix is not None for line in found.fix.lines))
    rewrites = dict.fromkeys((f.fix.rewrite, f.fix.exact) for f in held if f.fix is not None and f.fix.rewrite)
    for line in lines[:_LINES]:
        yield f"  fix: {plain(line)}"
    if len(lines) > _LINES:
        yield f"  and {len(lines) - _LINES} more such lines (--json has all)"
    for rewrite, exact in rewrites:
        yield f"  fix: `--fix` carries out {rewrite}{', to the bit' if exact else ''}"


def _joined(lines: Iterable[str]) -> list[str]:
    """Lines that differ in what they pick alone as one that picks all of it, as long as that stays readable."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        parts = _PICK.split(line)
        before, picked, after = parts if len(parts) == 3 else (line, "", "")
        found.setdefault((before, after), []).append(picked)
    told = []
    for (before, after), picks in found.items():
        while picks:
            take = 1
            while take < len(picks) and len(", ".join(picks[: take + 1])) < _WIDE:
                take += 1
            told.append(f"{before}{', '.join(picks[:take])}{after}")
            picks = picks[take:]
    return told


def _indented(text: str, first: str, later: str) -> list[str]:
    """Paragraphs no wider than a page; names stay whole."""
    return wrap(
        text, _WIDE, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
