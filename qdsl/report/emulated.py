"""What emitted C did on an emulated core: whether it computes what it should, what it takes, and where."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.harness.measurements import BuildFacts
from qdsl.report import tables, words
from qdsl.report.data import Method
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.emulated import Emulated, EmulatedStep


def part(methods: Sequence[Method]) -> Html:
    """A part for each artifact whose C was run, or was to be; nothing where there is none."""
    shown = [_one(method, method.label if len(methods) > 1 else "") for method in methods]
    return tag("div", *shown) if any(shown) else NOTHING


def side_by_side(methods: Sequence[Method]) -> Html:
    """One row for each artifact whose C was run; nothing where there is none."""
    found = [(method, method.facts.emulated) for method in methods]
    rows = [_compared(method, its) for method, its in found if its is not None]
    columns = ("build", "flash", "RAM", "stack", "instructions", "per multiplication", "to the bit", "counted on")
    return tables.table("C on an emulated core", columns, rows, "cores") if rows else NOTHING


def _compared(method: Method, its: Emulated) -> list[Html]:
    per = its.instructions_per_mac
    return [
        tables.name(method.label),
        *(tables.figure(size, f"{size:,} B") for size in (its.flash, its.ram, its.stack)),
        tables.figure(its.instructions, f"{its.instructions:,}"),
        tables.figure(per, f"{per:.2f}") if per is not None else tables.nothing(),
        tables.words(f"{its.exact} of {its.outputs}"),
        tables.words(its.label),
    ]


def _one(method: Method, label: str) -> Html:
    found, why = method.facts.emulated, method.facts.not_emulated
    head = [tag("h3", label)] if label else []
    if found is not None:
        return tag(
            "div",
            *head,
            tag("p", f"{verdict(found)}.", class_="lead"),
            tables.pairs(_figures(method.facts, found)),
            _steps(found),
        )
    return tag("div", *head, tag("p", f"NOT RUN: {why}.", class_="warning")) if why else NOTHING


def verdict(found: Emulated) -> str:
    """How many values are the interpreter's, in words."""
    told = f"{found.exact} of {words.count(found.outputs, 'value')} of {words.count(found.samples, 'sample')}"
    rest = "" if found.exact == found.outputs else f", the others within {found.apart:.1g} of the largest"
    return f"{told} equal the integer arithmetic to the bit{rest}"


def _figures(facts: BuildFacts, found: Emulated) -> list[tuple[str, str]]:
    per = found.instructions_per_mac
    ratio = f", {per:.2f} per multiplication" if per is not None else ""
    return [
        ("flash", f"{found.flash:,} bytes, by the linker"),
        ("RAM", f"{found.ram:,} bytes, by the linker, and {found.stack:,} of stack, measured"),
        ("instructions", f"{found.instructions:,} per inference{ratio}"),
        *([("MACC", f"{facts.macc:,}, as ST's tool counts")] if facts.macc is not None else []),
        ("counted on", found.label),
        ("built by", found.compiler),
    ]


def _steps(found: Emulated) -> Html:
    rows = [_row(at, step, found) for at, step in enumerate(found.steps)]
    columns = ("step", "nodes", "instructions", "share", "multiplications", "instructions per multiplication")
    return tables.table("Instructions of each step", columns, rows) if rows else NOTHING


def _row(at: int, step: EmulatedStep, found: Emulated) -> list[Html]:
    share = step.instructions / found.instructions if found.instructions else 0.0
    per = step.instructions / step.macs if step.macs else None
    return [
        tables.name(str(at)),
        tables.words(", ".join(step.nodes)),
        tables.figure(step.instructions, f"{step.instructions:,}"),
        tables.figure(share, f"{100 * share:.1f} %"),
        tables.figure(step.macs, f"{step.macs:,}"),
        tables.figure(per, f"{per:.2f}") if per is not None else tables.nothing(),
    ]
