"""Whether the constants that a plan stores as float16 survive it: what overflows is refused, what becomes 0 is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qdsl.diag import Diagnostic, Severity, Span
from qdsl.plan import Decisions
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_SHOWN = 3
_PIECE = 1 << 22  # elements looked at together


@dataclass(frozen=True, slots=True)
class _Fate:
    """What float16 makes of one constant: its largest finite size, how many values become infinite and how many 0."""

    largest: float
    infinite: int
    zero: int


def float16_losses(prepared: Prepared, decided: Decisions) -> Iterator[Diagnostic]:
    """Errors for constants past float16's range, and one warning for values that become 0. Reads those constants."""
    readers = _readers(decided)
    fates = {name: _fate(prepared, name) for name in readers}
    for name, fate in fates.items():
        if fate.infinite:
            yield _overflow(name, readers[name], fate, _place(decided, readers[name]))
    flushed = {name: fate for name, fate in fates.items() if fate.zero}
    if flushed:
        yield _flushed(prepared, flushed, _place(decided, readers[next(iter(flushed))]))


def _readers(decided: Decisions) -> dict[str, str]:
    """The constants stored as float16, each with the first node that reads it so; in graph order."""
    view = decided.context.view
    integers = {(weight.node, weight.port) for weight in decided.plan.weights}
    found: dict[str, str] = {}
    for half in decided.plan.halves:
        for port in half.reads:
            if (half.node, port) in integers:
                continue
            name = view.node(half.node).inputs[port]
            if view.is_constant(name):
                found.setdefault(name, half.node)
    for weight in decided.plan.half_weights:
        found.setdefault(weight.tensor, weight.node)
    return found


def _fate(prepared: Prepared, name: str) -> _Fate:
    import numpy as np

    values = prepared.model.values(name).reshape(-1)
    largest, infinite, zero = 0.0, 0, 0
    for start in range(0, values.size, _PIECE):
        piece = np.asarray(values[start : start + _PIECE])
        with np.errstate(over="ignore"):
            half = piece.astype(np.float16)
        finite = np.isfinite(piece)
        largest = max(largest, float(np.abs(piece[finite]).max(initial=0.0)))
        infinite += int((finite & np.isinf(half)).sum())
        zero += int(((piece != 0) & (half == 0)).sum())
    return _Fate(largest, infinite, zero)


def _place(decided: Decisions, node: str) -> Span:
    """The line that asked: a `keep`, a `layers` rule, or the mode."""
    context = decided.context
    index = context.view.node_index[node]
    kept = context.cascade.kept(index)
    if kept is not None:
        return kept.rule.span
    asked = context.weight(index).span if context.rows[index].weights else None
    return asked or context.cascade.mode.span


def _overflow(name: str, node: str, fate: _Fate, span: Span) -> Diagnostic:
    return Diagnostic(
        "float16-overflow",
        f"constant `{plain(name)[:80]}` holds {fate.largest:g}, past float16's largest value, 65504",
        span,
        f"{fate.infinite} of its values would become infinite",
        (f'leave the node that reads it in float32: `keep "{plain(node)}" in float32`',),
    )


def _flushed(prepared: Prepared, fates: Mapping[str, _Fate], span: Span) -> Diagnostic:
    count = sum(fate.zero for fate in fates.values())
    worst = sorted(fates, key=lambda name: (-fates[name].zero, name))[:_SHOWN]
    sizes = {name: prepared.view.tensors[name].elements or 0 for name in worst}
    notes = [f"{plain(name)[:80]}: {fates[name].zero} of {sizes[name]} values" for name in worst]
    notes += [f"and {len(fates) - _SHOWN} more"] if len(fates) > _SHOWN else []
    values = "1 value becomes" if count == 1 else f"{count} values become"
    return Diagnostic(
        "float16-flushed",
        f"{values} 0 in float16: smaller than 3e-08, half of its smallest step",
        span,
        notes=tuple(notes),
        severity=Severity.WARNING,
    )
