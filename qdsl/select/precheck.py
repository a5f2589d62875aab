"""What selectors can be told without a model: whether an operator exists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from qdsl.diag import Diagnostic, Diagnostics, Severity, nearest
from qdsl.lang.recipe import Recipe
from qdsl.lang.selectors import Op
from qdsl.select.operators import OPERATORS


def selector_problems(recipe: Recipe) -> tuple[Diagnostic, ...]:
    """Warnings for operators that are none of ONNX, since a model may have some of its own. In source order."""
    diags = Diagnostics()
    for part in _parts(recipe):
        _operators(part, diags)
    return diags.sorted()


def _parts(value: Any) -> Iterator[Op]:
    """Every `op` in a recipe, wherever it stands, once."""
    stack, seen = [value], set()
    while stack:
        at = stack.pop()
        if isinstance(at, tuple):
            stack.extend(at)
        elif is_dataclass(at) and not isinstance(at, type) and id(at) not in seen:
            seen.add(id(at))
            if isinstance(at, Op):
                yield at
            else:
                stack.extend(getattr(at, field.name) for field in fields(at))


@cache
def _lower() -> dict[str, str]:
    return {name.lower(): name for name in sorted(OPERATORS)}


def _operators(part: Op, diags: Diagnostics) -> None:
    for name, span in part.names:
        if name in OPERATORS:
            continue
        close = [_lower()[found] for found in nearest(name.lower(), _lower())]
        help = [f"did you mean {' or '.join(f'`{one}`' for one in close)}?"] if close else []
        headline, label = f"`{name[:80]}` is no ONNX operator", "fine only where the model has an operator of this name"
        diags.add(Diagnostic("unknown-op", headline, span, label, tuple(help), severity=Severity.WARNING))
