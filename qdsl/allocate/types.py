"""The types that `allocate layers` chooses among, on one target: that of `quantize`, and those that others may have
instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.allocate.units import Groups
from qdsl.cascade.assigned import with_assigned
from qdsl.cascade.carried import request_text
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.lang.recipe import Allocate, TypeRequest
from qdsl.plan import Decisions
from qdsl.spec.assigned import Assigned
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import Prepared

FLOATS = ("float32", "float16")
_BITS = 8


@dataclass(frozen=True, slots=True)
class Types:
    """`usual` is the type that means "as `quantize` says"; `instead` are the others that the target computes in, each
    with its plan where every layer has it (None: the float model itself)."""

    usual: str
    instead: Mapping[str, Decisions | None]


def require_goal(spec: Allocate, decided: Decisions) -> None:
    """Raise QdslError allocate-nothing, allocate-goal where `allocate layers` has nothing to choose, or no goal."""
    mode = decided.plan.mode
    if mode != "static":
        headline = f"`allocate layers` has nothing to choose under `quantize {mode}`"
        help = ("it belongs to `quantize static`, where layers are in integers or not",)
        raise QdslError([Diagnostic("allocate-nothing", headline, spec.header, help=help)])
    if spec.minimize is None:
        headline = "`allocate layers` does not say what is to be small"
        help = ("write `minimize latency under METRIC drop <= 1 pp on DATA` into its block",)
        raise QdslError([Diagnostic("allocate-goal", headline, spec.header, help=help)])


def types_of(prepared: Prepared, decided: Decisions, groups: Groups, diags: Diagnostics) -> Types:
    """The types of the statement, for the target that `decided` plans for. Those that would only run as another one of
    them are told and left out. Raises QdslError allocate-types, target-cannot."""
    spec, bits = prepared.recipe.allocate, _usual_bits(decided)
    assert spec is not None, "the caller has seen to it"
    usual = [choice for choice in spec.choices if _bits(choice) == bits]
    others = [choice for choice in spec.choices if choice not in usual]
    if _by_size(spec):
        others.sort(key=_stored_bits)  # of those that may stand instead, the smallest costs least
    if len(usual) != 1:
        named = "none is" if not usual else f"{' and '.join(f'`{request_text(one)}`' for one in usual)} both are"
        headline = f"of the types to choose among {named} the one of `quantize`, where one has to be"
        raise _types(spec, headline, f"write `from [int{bits}, float32]`")
    instead: dict[str, Decisions | None] = {}
    for choice in others:
        name = request_text(choice)
        try:
            plan = _everywhere(prepared, decided, groups, name)
        except QdslError as error:
            if name in FLOATS:
                raise
            first = error.diagnostics[0]
            diags.add(_dominated(spec, decided, name, first.label or first.headline))
            continue
        if name in FLOATS or (plan is not None and plan.plan.totals.integer_macs):
            instead[name] = plan
        else:
            diags.add(_dominated(spec, decided, name, "such layers would run in float, and lose more than in float"))
    if not instead:
        raise _types(spec, "there is nothing to choose but the type of `quantize`", "add `float32` to the list")
    return Types(request_text(usual[0]), instead)


def assigned(groups: Groups, chosen: Mapping[int, str]) -> tuple[Assigned, ...]:
    """The rows for the groups that have another type than the usual one."""
    return tuple(sorted(Assigned(name, kind) for at, kind in chosen.items() for name in groups.groups[at].nodes))


def _bits(choice: TypeRequest) -> int | None:
    if choice.bits is not None:
        return choice.bits
    dtype = choice.dtype
    return dtype.bits if dtype is not None and dtype.integer else None


def _by_size(spec: Allocate) -> bool:
    """Whether bytes are what a type costs."""
    bounded = any(limit.require.metric.name == "size" for limit in spec.limits)
    return spec.minimize == "size" or (spec.minimize == "loss" and bounded)


def _stored_bits(choice: TypeRequest) -> int:
    return choice.bits or (choice.dtype.bits if choice.dtype is not None else 0)


def _usual_bits(decided: Decisions) -> int:
    mode = decided.context.cascade.mode
    asked = mode.settings.activations
    return (_bits(asked) if asked is not None else None) or _BITS


def _everywhere(prepared: Prepared, decided: Decisions, groups: Groups, name: str) -> Decisions | None:
    """The plan with this type in every group; None where that is the float model."""
    if name == "float32":
        return None
    rows = assigned(groups, dict.fromkeys(range(len(groups.groups)), name))
    own = replace(prepared, recipe=with_assigned(prepared.recipe, rows))
    return decide_one(own, decided.plan.target)


def _dominated(spec: Allocate, decided: Decisions, name: str, why: str) -> Diagnostic:
    title = decided.context.capability.title
    headline = f"{title} does not multiply in {name}: no layer gets it"
    help = (f"take {name} out of the list",)
    return Diagnostic("allocate-dominated", headline, spec.header, why, help, severity=Severity.WARNING)


def _types(spec: Allocate, headline: str, *help: str) -> QdslError:
    return QdslError([Diagnostic("allocate-types", headline, spec.header, help=help)])


def labels(groups: Groups, types: Types, spec: Allocate) -> dict[int, str]:
    """The types that pins give, by group. Raises QdslError allocate-pin for others."""
    known: Sequence[str] = (types.usual, *types.instead)
    found = {at: group.pinned for at, group in enumerate(groups.groups) if group.pinned is not None}
    for kind in found.values():
        if kind not in known:
            span = next(pin.span for pin in spec.pins if request_text(pin.request) == kind)
            headline = f"`{kind}` is none of the types to choose among"
            raise QdslError([Diagnostic("allocate-pin", headline, span, help=(f"they are {', '.join(known)}",))])
    return found
