"""What `allocate activations` decides: tensors that take one width together, and the plan of each width on all of
them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.allocate.goals import nothing
from qdsl.allocate.weight_choices import at_choice, requests, under, without_improving
from qdsl.cascade.assigned import nameable
from qdsl.cascade.carried import request_text
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Allocate, TypeRequest
from qdsl.lang.selectors import Picks
from qdsl.plan import Decisions
from qdsl.plan.context import Context
from qdsl.predict.bits import stored
from qdsl.select.selection import Selection
from qdsl.spec.assigned import Assigned
from qdsl.spec.plan import TensorPlan
from qdsl.work.prepared import Prepared


@dataclass(frozen=True)
class Width:
    """One choice of the recipe, in the words that `Assigned` takes, and the plan with it on every open tensor."""

    words: str
    request: TypeRequest
    decisions: Decisions
    tensors: Mapping[str, TensorPlan]

    @classmethod
    def of(cls, request: TypeRequest, decisions: Decisions) -> Width:
        return cls(request_text(request), request, decisions, {each.tensor: each for each in decisions.plan.tensors})


@dataclass(frozen=True)
class Widths:
    """The choices, and the tensors that each unit decides, in graph order; a unit is called by the first of them that
    memory holds."""

    choices: tuple[Width, ...]
    units: Mapping[str, tuple[str, ...]]

    def decides(self, unit: str, words: str) -> tuple[str, ...]:
        """The tensors of a unit that have a pair where it takes a choice."""
        width = next(width for width in self.choices if width.words == words)
        return tuple(name for name in self.units[unit] if name in width.tensors)


def widths(prepared: Prepared, decided: Decisions) -> Widths:
    """What there is to choose on one target; `decided` is its plan without any choice. Raises QdslError
    allocate-nothing, allocate-types, and, at the place of a choice, what planning with it raises."""
    spec = prepared.recipe.allocate
    assert spec is not None, "the caller has seen to it"
    _require_static(spec, decided)
    free = _open(decided)
    if not free:
        raise nothing(spec, "no activation is quantized that rules leave open, so `allocate` has none")
    choices = tuple(_width(prepared, decided, free, request) for request in _requests(spec))
    _require_alike(spec, choices)
    return Widths(choices, _units(choices, free))


def _require_static(spec: Allocate, decided: Decisions) -> None:
    mode = decided.plan.mode
    if mode != "static":
        headline = f"`allocate activations` has nothing to choose under `quantize {mode}`"
        help = ("it belongs to `quantize static`, where activations have ranges that data decides",)
        raise QdslError([Diagnostic("allocate-nothing", headline, spec.header, help=help)])


def _requests(spec: Allocate) -> tuple[TypeRequest, ...]:
    return tuple({request_text(each): each for each in requests(spec)}.values())


def _open(decided: Decisions) -> tuple[str, ...]:
    """Tensors that a width may be given to, in graph order: none of which a rule of the recipe speaks, alone or through
    one that shares its scale, since rules are decisions."""
    context = decided.context
    planned = {each.tensor for each in decided.plan.tensors}
    ruled = {name for name in context.order if not nameable(name) or _is_ruled(context, name, planned)}
    closed = {
        name for joined in _joined(context, [decided], context.order) if ruled.intersection(joined) for name in joined
    }
    return tuple(name for name in context.order if context.quantizable(name) and name not in closed) if planned else ()


def _is_ruled(context: Context, name: str, planned: set[str]) -> bool:
    return context.activation(name, context.speakers(name, planned)).explicit


def _joined(context: Context, decided: Sequence[Decisions], names: Iterable[str]) -> list[list[str]]:
    """Names together that have one scale in some plan, or of which one is what a layer writes and the other what the
    activation makes of it that folds into the layer; in graph order."""
    owner = {name: name for name in names}

    def first(name: str) -> str:
        while owner[name] != name:
            name = owner[name]
        return name

    def join(one: str, other: str) -> None:
        if one in owner and other in owner:
            early, late = sorted((first(one), first(other)), key=context.order.__getitem__)
            owner[late] = early

    for plan in (each.plan for each in decided):
        for tensor in plan.tensors:
            join(tensor.group, tensor.tensor)
    for name in list(owner):
        folded = context.folded(name)
        if folded is not None:
            join(name, folded)
    found: dict[str, list[str]] = {}
    for name in owner:
        found.setdefault(first(name), []).append(name)
    return list(found.values())


def _width(prepared: Prepared, decided: Decisions, free: Sequence[str], request: TypeRequest) -> Width:
    dtype, words = request.dtype, request_text(request)
    if dtype is not None and not dtype.quantized:
        help = (f"take {words} out of the list; `allocate layers` decides which layers stay in float",)
        raise QdslError([Diagnostic("allocate-types", f"`{words}` is no width of integers", request.span, help=help)])
    try:
        given = [Assigned(name, words) for name in free]
        return Width.of(request, under(without_improving(prepared), decided.plan.target, given)[1])
    except QdslError as error:
        raise QdslError(
            [_narrower(at_choice(prepared, each, request), request) for each in error.diagnostics]
        ) from None


def _narrower(found: Diagnostic, request: TypeRequest) -> Diagnostic:
    """A type of few bits binds, where a width would be emulated."""
    dtype = request.dtype
    if found.code != "target-cannot" or dtype is None or not dtype.integer or dtype.bits >= 8:
        return found
    return replace(found, help=(f"write `{dtype.bits} bit`: it is emulated in a wider type", *found.help))


def _require_alike(spec: Allocate, choices: Sequence[Width]) -> None:
    """Raise QdslError allocate-types for choices that differ in more than the width: kernels read and write one type,
    and which node runs in integers may not hang on what its neighbours were given."""
    first = choices[0]
    folded = first.decisions.context.folded
    memory = stored(first.tensors, folded)
    for other in choices[1:]:
        pairs = ((first.tensors[name], other.tensors[name]) for name in first.tensors if name in other.tensors)
        for one, two in pairs:
            if replace(one.scheme, emulated_bits=None) != replace(two.scheme, emulated_bits=None):
                headline = f"`{first.words}` and `{other.words}` differ in more than the width"
                label = f"{one.scheme}, {two.scheme}"
                help = ("a width (`6 bit`) is emulated in the type of 8 bits: `from [8 bit, 6 bit, 4 bit]`",)
                raise QdslError([Diagnostic("allocate-types", headline, other.request.span, label, help)])
        if stored(other.tensors, folded) != memory:
            headline = f"with `{other.words}` other tensors are quantized than with `{first.words}`"
            help = (f"take {other.words} out of the list",)
            raise QdslError([Diagnostic("allocate-types", headline, other.request.span, help=help)])


def _units(choices: Sequence[Width], free: Sequence[str]) -> dict[str, tuple[str, ...]]:
    context = choices[0].decisions.context
    planned = {name for each in choices for name in each.tensors}
    names = [name for name in free if name in planned]
    held = set(stored(choices[0].tensors, context.folded))
    joined = _joined(context, [each.decisions for each in choices], names)
    return {next((name for name in one if name in held), one[0]): tuple(one) for one in joined}


def picked(widths: Widths, context: Context, selection: Selection, picks: Picks) -> Iterator[str]:
    """The units that a selector speaks of: tensors by name, and what nodes write."""
    nodes, tensors = selection.nodes_and_tensors(picks)
    chosen, named = set(nodes), set(tensors)
    for unit, members in widths.units.items():
        writers = {node for name in members for node in context.speakers(name, ())}
        if writers & chosen or named.intersection(members):
            yield unit
