"""Builds that the runtime would refuse to load, told with the plan: before anything is measured for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qdsl.diag import Diagnostic, Diagnostics, Span
from qdsl.findings.cures import Cure, first_cure
from qdsl.lang.quoting import names
from qdsl.lang.recipe import TypeRequest
from qdsl.plan import Decisions
from qdsl.plan.apart import emitted_view
from qdsl.spec.opset import least_opset
from qdsl.spec.words import plain
from qdsl.targets.base import Refusal
from qdsl.work.prepared import Prepared

_NO_CURE = "write `activations uint8 affine`, or export the model with an older opset"


def require_loadable(prepared: Prepared, decided: Sequence[Decisions], sets: Mapping[str, str] | None) -> None:
    """Raises QdslError `target-cannot` for a plan whose file the runtime would refuse, with a cure that was tried."""
    errors = Diagnostics()
    for one in decided:
        found = refused(one)
        if found is not None:
            errors.add(_told(prepared, one, found, sets or {}))
    errors.raise_errors()


def refused(decided: Decisions) -> Refusal | None:
    """Why the runtime would refuse the file of a plan; None for one that it loads."""
    plan, context = decided.plan, decided.context
    if plan.mode not in ("static", "float"):
        return None
    view, tensors = emitted_view(context, {tensor.tensor: tensor for tensor in plan.tensors}, plan.apart)
    emitted = replace(view, opset=max(view.opset, least_opset(plan)))
    return context.runtime.refuses(emitted, tensors, plan.weights, plan.biases, context.capability)


def _told(prepared: Prepared, one: Decisions, found: Refusal, sets: Mapping[str, str]) -> Diagnostic:
    title, tensors = one.context.capability.title, found.tensors
    more = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
    candidates = list(_candidates(one, tensors))
    cure = first_cure(candidates, prepared, sets, one.plan.target, lambda again: refused(again) is None)
    return Diagnostic(
        "target-cannot",
        f"{title} would refuse to load this build: {found.does} `{plain(tensors[0])}`{more}",
        _asked(one) or one.context.cascade.mode.span,
        found.given,
        (f"add `{cure.told}`" if cure is not None else _NO_CURE,),
        (found.because,),
    )


def _candidates(one: Decisions, found: Sequence[str]) -> Iterable[Cure]:
    """Quantize what the pair is carried over, which keeps the recipe's types, else give up the sign."""
    writers = [one.context.view.producer(tensor) for tensor in found]
    quoted = names([node.name for node in writers if node is not None]) if all(writers) else None
    if quoted is not None:
        yield Cure(f"place {{ quantize outputs of {quoted} }}")
    yield Cure("layers all { activations uint8 affine }")


def _asked(one: Decisions) -> Span | None:
    """Where the mode asks for its activations."""
    said = one.context.cascade.mode.settings.activations
    return said.span if isinstance(said, TypeRequest) else None
