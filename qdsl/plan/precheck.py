"""What selectors can be told without a model: whether an operator exists, and whether a regular expression can be
used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from qdsl.diag import Diagnostic, Report, Severity, nearest
from qdsl.lang.recipe import Recipe
from qdsl.lang.selectors import Matching, Op
from qdsl.plan.operators import OPERATORS
from qdsl.plan.select_regex import Regex, RegexError


def selector_problems(recipe: Recipe) -> tuple[Diagnostic, ...]:
    """Errors for regular expressions that cannot be used; warnings for operators that are none of ONNX, since a model
    may have some of its own. In source order."""
    report = Report()
    for part in _parts(recipe):
        if isinstance(part, Matching):
            _regex(part, report)
        elif isinstance(part, Op):
            _operators(part, report)
    return report.sorted()


def _parts(value: Any) -> Iterator[Op | Matching]:
    """Every such selector in a recipe, wherever it stands."""
    stack = [value]
    while stack:
        at = stack.pop()
        if isinstance(at, (Op, Matching)):
            yield at
        elif isinstance(at, tuple):
            stack.extend(at)
        elif is_dataclass(at) and not isinstance(at, type):
            stack.extend(getattr(at, field.name) for field in fields(at))


def _regex(part: Matching, report: Report) -> None:
    try:
        Regex(part.pattern)
    except RegexError as fault:
        headline = "this regular expression cannot be used"
        report.error("selector-regex", headline, part.span, label=f"{fault} (at character {fault.at + 1})")


def _operators(part: Op, report: Report) -> None:
    lower = {name.lower(): name for name in sorted(OPERATORS)}
    for name, span in part.names:
        if name in OPERATORS:
            continue
        close = [lower[found] for found in nearest(name.lower(), lower)]
        help = [f"did you mean {' or '.join(f'`{one}`' for one in close)}?"] if close else []
        headline, label = f"`{name[:80]}` is no ONNX operator", "fine only where the model has an operator of this name"
        report.add(Diagnostic("unknown-op", headline, span, label, tuple(help), severity=Severity.WARNING))
