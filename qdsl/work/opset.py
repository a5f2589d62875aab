"""Which opset of a model a recipe cannot do without, and which it gains by.

An operator of a later opset may have an integer kernel where the older one has none (a row's `min_opset`), and the
nodes that carry out a plan exist from some opset on. What is wanted is known before anything is planned, so that the
plan speaks of the graph that is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from qdsl.capability import FLOAT, Capability, load
from qdsl.cascade.carried import request_text
from qdsl.cascade.cascade import all_rules
from qdsl.diag import Span
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import KeepRule, LayersRule, Mode, Recipe, Target, TypeRequest
from qdsl.spec import DType, Granularity
from qdsl.spec.opset import DYNAMIC_OPSET, FLOAT16_SCALES_OPSET, QDQ_OPSET, opset_of_types
from qdsl.targets import TARGETS, target_of

_HALF = "float16"


class Wanted(NamedTuple):
    """`needed`: the opset below which nothing can be carried out; `gained`: the one at which more runs in integers."""

    needed: int
    gained: int


def wanted_opset(recipe: Recipe, view: GraphView) -> Wanted:
    """What the recipe wants of `view` over all its targets; the opset of `view` itself where that will do."""
    needed = gained = view.opset
    for target in recipe.targets:
        if target.name not in TARGETS:
            continue
        backend = target_of(target.name)
        table = backend.fitted(load(backend.table), target)
        modes = [mode for mode in (recipe.mode, target.mode) if mode is not None]
        needed = max(needed, _needed(recipe, target, modes, table))
        if any(mode.kind == "static" for mode in modes):
            gained = max(gained, _gained(table, view))
        if table.half_scales and _asks_float16(recipe, target, modes):
            gained = max(gained, FLOAT16_SCALES_OPSET)
    return Wanted(needed, max(needed, gained))


def _needed(recipe: Recipe, target: Target, modes: list[Mode], table: Capability) -> int:
    needed = _needed_of(_requests(recipe, target, modes), table)
    if not table.any_opset:
        return max(table.min_opset, needed)
    return max(DYNAMIC_OPSET if any(mode.kind == "dynamic" for mode in modes) else QDQ_OPSET, needed)


def _needed_of(requests: Iterable[tuple[str, TypeRequest]], table: Capability) -> int:
    """What the types of these requests need; without a domain of its own the runtime takes every type and form in
    ONNX's operators."""
    asked = [(role, request, _stored(role, request, table)) for role, request in requests]
    types = [dtype for role, _, dtype in asked if dtype is not None and not _refused(role, dtype, table)]
    blocks = any(_in_blocks(role, request, dtype, table) for role, request, dtype in asked)
    own = () if table.any_opset else (dtype.qdq_opset or 0 for dtype in types)
    return max(QDQ_OPSET, opset_of_types(types, blocks), *own)


class Raising(NamedTuple):
    """A type that needs an opset ("weights int4 per_block 32"), where it stands, and for which target."""

    words: str
    span: Span
    target: str


def raising(recipe: Recipe, opset: int) -> Raising | None:
    """The first type of a recipe that needs a model of more than that opset; None where none does."""
    for target in recipe.targets:
        if target.name not in TARGETS:
            continue
        backend = target_of(target.name)
        table = backend.fitted(load(backend.table), target)
        modes = [mode for mode in (target.mode or recipe.mode,) if mode is not None]
        for role, request in _requests(recipe, target, modes):
            if _needed_of([(role, request)], table) > opset:
                return Raising(f"{role}s {request_text(request)}", request.span, target.name)
    return None


def _asks_float16(recipe: Recipe, target: Target, modes: list[Mode]) -> bool:
    """Whether float16 nodes may come to stand beside pairs: what the plan then needs is known only with it."""
    whole = target.high_precision is not None and target.high_precision.name == _HALF
    kept = (rule.dtype for rule in all_rules(recipe, target) if isinstance(rule, KeepRule))
    asked = (request.dtype for _, request in _requests(recipe, target, modes))
    return whole or any(dtype is not None and dtype.name == _HALF for dtype in (*kept, *asked))


def _requests(recipe: Recipe, target: Target, modes: list[Mode]) -> Iterator[tuple[str, TypeRequest]]:
    """Every type that the recipe asks for, with its role."""
    rules = (rule.settings for rule in all_rules(recipe, target) if isinstance(rule, LayersRule))
    for settings in (*(mode.settings for mode in modes), *rules):
        for role, request in (("weight", settings.weights), ("activation", settings.activations)):
            if request is not None:
                yield role, request
    spec = recipe.allocate
    if spec is not None and spec.what != "layers":
        pinned = (pin.request for pin in spec.pins)
        yield from ((spec.what.removesuffix("s"), request) for request in (*spec.choices, *pinned))


def _refused(role: str, dtype: DType, table: Capability) -> bool:
    """Whether a target does not even read a type: the plan tells so, of the graph as it is."""
    row = table.type_row(dtype)
    return row is not None and row.role(role).runs == "no"


def _in_blocks(role: str, request: TypeRequest, dtype: DType | None, table: Capability) -> bool:
    """Whether a request asks for blocks, and the target takes them in that type: by its row, or in a kernel that reads
    weights alone as integers."""
    if request.granularity is not Granularity.PER_BLOCK:
        return False
    row = None if dtype is None else table.type_row(dtype)
    alone = (kernel for each in table.rows if (kernel := each.weight_only) is not None and dtype in kernel.types)
    return (
        row is None
        or Granularity.PER_BLOCK in row.role(role).granularities
        or any(Granularity.PER_BLOCK in kernel.granularities for kernel in alone)
    )


def _stored(role: str, request: TypeRequest, table: Capability) -> DType | None:
    if request.dtype is not None or request.bits is None:
        return request.dtype
    return table.widths.get(role, {}).get(request.bits)


def _gained(table: Capability, view: GraphView) -> int:
    """The opset at which the last of the operators here that can gain a kernel has it."""
    left = [node for node in view.nodes if table.row_for(node, view).kind == FLOAT]
    later = {row.when.min_opset for row in table.rows if row.when.min_opset is not None}
    found = view.opset
    for opset in sorted(opset for opset in later if opset > view.opset):
        then = replace(view, opset=opset)
        if any(table.row_for(node, then).kind != FLOAT for node in left):
            found = opset
    return found
