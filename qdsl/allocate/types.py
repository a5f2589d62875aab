"""The types that `allocate layers` chooses among, on one target: that of `quantize`, and those that others may have
instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.allocate.task import Task
from qdsl.allocate.units import Groups
from qdsl.cascade.assigned import with_assigned
from qdsl.cascade.carried import request_text
from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.lang.recipe import Allocate, TypeRequest
from qdsl.plan import Decisions
from qdsl.spec.assigned import Assigned
from qdsl.work.deciding import decide_one

FLOATS = ("float32", "float16")
_BITS = 8


@dataclass(frozen=True, slots=True)
class Types:
    """`usual` is the type that means "as `quantize` says"; `instead` are the others that the target computes in, each
    with its plan where every layer has it (None: the float model itself)."""

    usual: str
    instead: Mapping[str, Decisions | None]


def types_of(task: Task, groups: Groups) -> Types:
    """The types of the statement. Those that would only run as another one of them are told and left out. Raises
    QdslError allocate-types, target-cannot."""
    spec = task.spec
    usual = [choice for choice in spec.choices if _bits(choice) == _usual_bits(task)]
    others = [choice for choice in spec.choices if choice not in usual]
    if _by_size(spec):
        others.sort(key=_stored_bits)  # of those that may stand instead, the smallest costs least
    if len(usual) != 1:
        named = "none is" if not usual else f"{' and '.join(f'`{request_text(one)}`' for one in usual)} both are"
        headline = f"of the types to choose among {named} the one of `quantize`, where one has to be"
        raise _types(spec, headline, f"write `from [int{_usual_bits(task)}, float32]`")
    instead: dict[str, Decisions | None] = {}
    for choice in others:
        name = request_text(choice)
        try:
            plan = _everywhere(task, groups, name)
        except QdslError as error:
            if name in FLOATS:
                raise
            task.diags.add(_dominated(task, name, error.diagnostics[0].label or error.diagnostics[0].headline))
            continue
        if name in FLOATS or (plan is not None and plan.plan.totals.integer_macs):
            instead[name] = plan
        else:
            task.diags.add(_dominated(task, name, "such layers would run in float, and lose more than in float"))
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


def _usual_bits(task: Task) -> int:
    mode = task.decided.context.cascade.mode
    asked = mode.settings.activations
    return (_bits(asked) if asked is not None else None) or _BITS


def _everywhere(task: Task, groups: Groups, name: str) -> Decisions | None:
    """The plan with this type in every group; None where that is the float model."""
    if name == "float32":
        return None
    rows = assigned(groups, dict.fromkeys(range(len(groups.groups)), name))
    own = replace(task.prepared, recipe=with_assigned(task.prepared.recipe, rows))
    return decide_one(own, task.target)


def _dominated(task: Task, name: str, why: str) -> Diagnostic:
    title = task.decided.context.capability.title
    headline = f"{title} does not multiply in {name}: no layer gets it"
    help = (f"take {name} out of the list",)
    return Diagnostic("allocate-dominated", headline, task.spec.header, why, help, severity=Severity.WARNING)


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
