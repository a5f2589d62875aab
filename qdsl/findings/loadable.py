"""Builds that the runtime would refuse to load, told with the plan: before anything is measured for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qdsl.diag import Diagnostic, Diagnostics, Span
from qdsl.findings.cures import Cure, first_cure, names
from qdsl.lang.recipe import TypeRequest
from qdsl.plan import Decisions
from qdsl.plan.apart import emitted_view
from qdsl.predict.edges import edges_of_plan
from qdsl.spec.opset import least_opset
from qdsl.spec.words import plain
from qdsl.targets.ort.predict import refused_tensors
from qdsl.work.prepared import Prepared

_NO_CURE = "write `activations uint8 affine`, or export the model with an older opset"


def require_loadable(prepared: Prepared, decided: Sequence[Decisions], sets: Mapping[str, str] | None) -> None:
    """Raises QdslError `target-cannot` for a plan whose file the runtime would refuse, with a cure that was tried."""
    errors = Diagnostics()
    for one in decided:
        found = refused(one)
        if found:
            errors.add(_told(prepared, one, found, sets or {}))
    errors.raise_errors()


def refused(decided: Decisions) -> tuple[str, ...]:
    """The tensors at which the runtime would refuse the file of a plan; () for one that it loads."""
    plan, context = decided.plan, decided.context
    if plan.mode not in ("static", "float"):
        return ()
    view, tensors = emitted_view(context, {tensor.tensor: tensor for tensor in plan.tensors}, plan.apart)
    edges = edges_of_plan(view, tensors, plan.weights, plan.biases)
    emitted = replace(view, opset=max(view.opset, least_opset(plan)))
    return refused_tensors(emitted, edges, context.capability)


def _told(prepared: Prepared, one: Decisions, found: Sequence[str], sets: Mapping[str, str]) -> Diagnostic:
    title, opset = one.context.capability.title, max(one.context.view.opset, least_opset(one.plan))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    cure = first_cure(list(_candidates(one, found)), prepared, sets, one.plan.target, lambda again: not refused(again))
    return Diagnostic(
        "target-cannot",
        f"{title} would refuse to load this build: it carries a signed Q/DQ pair over to `{plain(found[0])}`{more}",
        _asked(one) or one.context.cascade.mode.span,
        f"signed activations at opset {opset}",
        (f"add `{cure.told}`" if cure is not None else _NO_CURE,),
        ("from opset 21 on, it rewrites such a pair to unsigned and then contradicts itself",),
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
