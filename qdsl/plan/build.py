"""Makes the plan: cascade, placement, sharing, then the predictor's verdict, until both agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from qdsl.capability import FLOAT, Capability, load
from qdsl.capability.model import EDGES
from qdsl.capability.sums import named
from qdsl.cascade import cascade as cascades
from qdsl.cascade.assigned import assigned_floats, assigned_rules
from qdsl.cascade.carried import carried, limit_text, request_text
from qdsl.cascade.dynamic_schemes import DynamicSchemes
from qdsl.cascade.rule_words import Origins
from qdsl.cascade.schemes import Schemes
from qdsl.diag import Diagnostics
from qdsl.graph.collector import collector_paused
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Mode, PlaceRule, Recipe, Target
from qdsl.plan import dynamic, float16, improve, weight_only
from qdsl.plan.as_it_is import check as check_as_it_is
from qdsl.plan.as_it_is import untouched
from qdsl.plan.cached import missing_in_caches, read_caches, uses
from qdsl.plan.calibration import missing_data
from qdsl.plan.choices import in_order, tell_untunable, with_choices
from qdsl.plan.conflicts import check_conflicts
from qdsl.plan.context import Context
from qdsl.plan.counts import Counter, check_mode
from qdsl.plan.cuts import cuts, opened
from qdsl.plan.draft import Draft
from qdsl.plan.dynamic_verdicts import verdicts as dynamic_verdicts
from qdsl.plan.flags import cautions, equalize_costs, flags, newer_opset
from qdsl.plan.float16 import Float16Parts
from qdsl.plan.float16_verdicts import with_float16
from qdsl.plan.gate import (
    all_requires,
    find_target,
    quantized,
    refuse_absent,
    refuse_lacking,
    refuse_quantized,
    tell_block,
)
from qdsl.plan.guards import check_option
from qdsl.plan.islands import island_flags, islands
from qdsl.plan.nothing import nothing_quantized
from qdsl.plan.place import Edit, edits
from qdsl.plan.settle import Settled, Settling
from qdsl.plan.slow_weights import slow_types, slow_weights
from qdsl.plan.unused import Again
from qdsl.plan.verdicts import REFUSED, Verdicts
from qdsl.provenance.making import foreseen_bytes
from qdsl.select.selection import Selection
from qdsl.spec.plan import (
    AS_IT_IS,
    AUTO,
    PLAN_VERSION,
    TRIED,
    Choice,
    Count,
    Flag,
    Island,
    NodePlan,
    Origin,
    Plan,
    Prediction,
    Totals,
)
from qdsl.targets import target_of
from qdsl.targets.base import Runtime


@dataclass(frozen=True)
class Decisions:
    """A plan with what it was decided from, so that a node or tensor can be explained without planning again."""

    plan: Plan
    context: Context
    draft: Draft
    edits: tuple[Edit, ...]
    predictions: Mapping[str, Prediction]
    rules: tuple[PlaceRule, ...]


def make(
    recipe: Recipe,
    view: GraphView,
    target: str,
    *,
    float_bytes: int,
    diags: Diagnostics,
    capability: Capability | None = None,
) -> Plan:
    """The plan of `recipe` for one model and target. Needs no data; `float_bytes` is the size of the float model.

    Warnings go to `diags`. Raises QdslError with every error found.
    """
    return decide(recipe, view, target, float_bytes=float_bytes, diags=diags, capability=capability).plan


def decide(
    recipe: Recipe,
    view: GraphView,
    target: str,
    *,
    float_bytes: int,
    canonical_bytes: int | None = None,
    diags: Diagnostics,
    capability: Capability | None = None,
    choices: tuple[Choice, ...] = (),
) -> Decisions:
    """As `make`, with everything that `explain` needs. `choices` are the alternatives that measurements chose.
    `canonical_bytes` is the size of the model in canonical form, from which the emitted size is predicted; None: the
    same as `float_bytes`."""
    sizes = _Sizes(float_bytes, float_bytes if canonical_bytes is None else canonical_bytes)
    with collector_paused():
        return _decide(recipe, view, target, sizes, diags, capability, choices)


class _Sizes(NamedTuple):
    """Bytes of the float model: the file as given, and in canonical form."""

    given: int
    canonical: int


def _decide(
    recipe: Recipe,
    view: GraphView,
    target: str,
    sizes: _Sizes,
    diags: Diagnostics,
    capability: Capability | None,
    choices: tuple[Choice, ...],
) -> Decisions:
    block = find_target(recipe, target)
    refuse_absent(recipe, target, block)
    backend = target_of(target)
    if block is not None:
        tell_block(backend.problems(block), diags)
    table = capability or backend.fitted(load(backend.table), block)
    mode = _mode(recipe, block)
    if mode.kind == AS_IT_IS:
        stored = any(node.op == "DequantizeLinear" for node in view.nodes)
        check_as_it_is(recipe, block, mode, diags, quantized=stored or bool(quantized(view)))
    else:
        refuse_quantized(recipe, view)
    refuse_lacking(recipe, block, backend.runtime.lacks(view, table))
    if mode.kind == "dynamic":
        dynamic.require_rules(table, mode)
    if mode.kind == "static":
        tell_untunable(recipe, table, diags)
    choices = in_order(choices, view)
    context = with_choices(_context(recipe, block, view, backend.runtime, table, diags), choices)
    rules = tuple(r for r in cascades.all_rules(recipe, block) if isinstance(r, PlaceRule))
    changes = edits(context, rules)
    bare = _bare(context)
    check_conflicts(context, changes, bare)
    settled = _settled(context, rules, changes, bare)
    halves = float16.decide(context, settled.draft)
    settled = replace(settled, draft=float16.with_float16_scales(context, settled.draft, halves))
    if block is not None:
        check_option(context, settled.draft.weights, block.span)
    counts = _check_settled(context, settled, halves, partial(_redrafted, rules, changes))
    plan = replace(_plan(recipe, block, target, context, settled, halves, sizes), counts=counts, choices=choices)
    plan = untouched(plan) if mode.kind == AS_IT_IS else plan
    plan = replace(plan, open=(*plan.open, *backend.opens(plan)))
    if block is not None:
        tell_block(backend.unfit(block, plan, all_requires(recipe, block)), diags)
    return Decisions(plan, context, settled.draft, changes, settled.predictions, rules)


def _settled(
    context: Context, rules: tuple[PlaceRule, ...], changes: tuple[Edit, ...], bare: frozenset[str]
) -> Settled:
    if context.cascade.mode.kind == "dynamic":
        return dynamic.settle(context, rules, changes)
    return Settling(context, rules, changes, bare).run()


def _redrafted(rules: tuple[PlaceRule, ...], changes: tuple[Edit, ...], context: Context) -> Draft:
    return _settled(context, rules, changes, _bare(context)).draft


def _verdicts(context: Context, settled: Settled) -> tuple[NodePlan, ...]:
    if isinstance(settled, dynamic.DynamicSettled):
        return dynamic_verdicts(context, settled)
    return Verdicts(context, settled.draft, settled.predictions, settled.refused).all()


def _flags(
    recipe: Recipe, block: Target | None, context: Context, settled: Settled, between: tuple[Island, ...]
) -> tuple[Flag, ...]:
    draft = settled.draft
    found = newer_opset(context) + flags(context, recipe, block, draft.tensors)
    found += cautions(context, draft.tensors.values(), draft.weights) + equalize_costs(context, recipe, draft.weights)
    if context.cascade.mode.kind == "dynamic":
        return (*found, *slow_types(context, draft.weights))
    slow = slow_weights(context, draft.weights, settled.predictions)
    slow += context.runtime.flags(context.view, settled.predictions)
    return (*found, *slow, *island_flags(context, between))


def _between(context: Context, settled: Settled) -> tuple[Island, ...]:
    """The float islands; in a dynamic build every tensor comes as floats, and where pairs stand on edges all but what
    multiplies is meant to be float."""
    if context.cascade.mode.kind == "dynamic" or context.capability.placement == EDGES:
        return ()
    return islands(context, settled.draft, settled.predictions)


def _plan(
    recipe: Recipe,
    block: Target | None,
    target: str,
    context: Context,
    settled: Settled,
    halves: Float16Parts,
    sizes: _Sizes,
) -> Plan:
    draft = settled.draft
    biases = improve.with_corrections(recipe, context, draft)
    weights = improve.with_rounding(recipe, context, draft)
    verdicts = with_float16(context, halves, _verdicts(context, settled))
    cut = cuts(context, draft) if draft.tensors else ()
    between = _between(context, settled)
    plan = Plan(
        version=PLAN_VERSION,
        recipe=recipe.name,
        model=context.view.model_name,
        target=target,
        mode=context.cascade.mode.kind,
        nodes=verdicts,
        tensors=tuple(sorted(draft.tensors.values(), key=lambda plan: plan.tensor)),
        weights=tuple(sorted(weights, key=lambda plan: (plan.node, plan.port))),
        biases=tuple(sorted(biases.stored, key=lambda plan: (plan.node, plan.port))),
        flags=_flags(recipe, block, context, settled, between),
        totals=_totals(context, verdicts, sizes),
        open=(*_open(recipe, draft), *opened(cut), *improve.opened((*biases.stored, *biases.moved_floats), weights)),
        facts=carried(recipe, block),
        halves=tuple(halves.nodes.values()),
        half_weights=halves.weights,
        apart=settled.apart,
        cuts=cut,
        islands=between,
        paired_weights=context.capability.paired_weights and bool(draft.weights),
        caches=uses(context, draft.tensors.values()),
        float_biases=tuple(sorted(biases.moved_floats, key=lambda plan: (plan.node, plan.port))),
    )
    origins = foreseen_bytes(recipe, plan, context.cpus)
    size = context.runtime.file_bytes(plan, context.view, context.capability, sizes.canonical, origins)
    return replace(plan, totals=replace(plan.totals, predicted_bytes=size))


def _check_settled(context: Context, settled: Settled, halves: Float16Parts, again: Again) -> tuple[Count, ...]:
    """How far each rule reached; `again` drafts for other rules. Raises everything found so far; then what only a
    sound draft can show."""
    context.diags.raise_errors()
    missing_data(context, settled.draft.tensors.values())
    missing_in_caches(context, settled.draft.tensors)
    if not isinstance(settled, dynamic.DynamicSettled):
        weight_only.check(context, settled.draft.weights, settled.draft.tensors)
    draft = settled.draft
    counts = Counter(context, draft, halves, _reasons(context, settled.refused), again).all()
    float16.check(context, halves)
    some = draft.tensors or draft.weights or halves.nodes or halves.weights
    if context.cascade.mode.kind != AS_IT_IS and not some and not assigned_floats(context.origins.recipe):
        floats = {node: prediction.because for node, prediction in settled.refused.items()}
        nothing_quantized(context, floats | {node: why for node, (why, _) in halves.refused.items()})
    check_mode(context, draft)
    context.diags.raise_errors()
    return counts


def _context(
    recipe: Recipe, block: Target | None, view: GraphView, runtime: Runtime, table: Capability, diags: Diagnostics
) -> Context:
    mode = _mode(recipe, block)
    origins = Origins(recipe)
    selection = Selection(view, diags, dict(recipe.selects))
    for _, picks in recipe.selects:
        selection.nodes_and_tensors(picks)  # one that no rule uses has to match something, too
    cascade = cascades.build(recipe, block, mode, view, selection)
    kept: dict[int, Origin] = {}
    for node in range(len(view.nodes)):
        rule = cascade.kept(node)
        if rule is not None:
            kept[node] = rule.origin
    float_mode = origins.of_mode(mode, mode.span) if mode.kind in ("float", AS_IT_IS) else None
    context = Context(
        view=view,
        capability=table,
        runtime=runtime,
        cascade=cascade,
        schemes=_schemes(mode)(table, diags, float_mode),
        selection=selection,
        origins=origins,
        diags=diags,
        rows=tuple(table.row_for(node, view) for node in view.nodes),
        kept=kept,
        cpus=named(table.cpus, block.cpus if block else ()),
        by_option=block is not None and block.exact == "session",
        half=_half(block, table, origins),
        caches=read_caches(cascade, origins, diags),
    )
    _check_keeps(context)
    return context


def _half(block: Target | None, table: Capability, origins: Origins) -> Origin | None:
    """What puts the floats of a graph into float16."""
    word = block.high_precision if block is not None else None
    asked = block is not None and word is not None and word.name == "float16" and table.half_scales
    return origins.of_high_precision(block) if asked and block is not None else None


def _mode(recipe: Recipe, block: Target | None) -> Mode:
    over = block.mode if block else None
    mode = cascades.merge_modes(recipe.mode, over) if recipe.mode else over
    assert mode is not None
    return mode


def _schemes(mode: Mode) -> type[Schemes]:
    return DynamicSchemes if mode.kind == "dynamic" else Schemes


def _check_keeps(context: Context) -> None:
    for spoken in context.cascade.spoken:
        dtype = getattr(spoken.rule, "dtype", None)
        if dtype is None or dtype.name == "float32" or (dtype.name == "float16" and context.capability.halves):
            continue
        row = context.capability.type_row(dtype)
        context.diags.error(
            "target-cannot",
            f"{context.capability.title} does not compute in {dtype}",
            spoken.rule.span,
            label=row.because if row else f"the target's table has no {dtype}",
            help=["write `in float32`"],
        )


def _bare(context: Context) -> frozenset[str]:
    """Tensors whose activations are float32 by request."""
    return frozenset(
        tensor
        for tensor in context.order
        if context.quantizable(tensor) and context.activation(tensor, context.speakers(tensor, ())).scheme is None
    )


def _reasons(context: Context, refused: Mapping[int, Prediction]) -> dict[int, str]:
    """Why nodes stay float on this target, by node."""
    floats = {i: row.because for i, row in enumerate(context.rows) if row.kind == FLOAT}
    return floats | {node: prediction.because for node, prediction in refused.items()}


def _totals(context: Context, nodes: tuple[NodePlan, ...], sizes: _Sizes) -> Totals:
    """Of everything but the emitted size, which follows from the whole plan."""
    integer = [node for node in nodes if node.in_integers]
    return Totals(
        nodes=len(nodes),
        integer_nodes=len(integer),
        kept_float=len(context.kept),
        refused=sum(node.mark == REFUSED for node in nodes),
        macs=sum(node.macs or 0 for node in nodes),
        integer_macs=sum(node.macs or 0 for node in integer),
        float_bytes=sizes.given,
        predicted_bytes=0,
        uncounted=sum(node.macs is None for node in nodes),
    )


def _open(recipe: Recipe, draft: Draft) -> tuple[str, ...]:
    """What only data can decide, with its bounds."""
    observed: dict[str, int] = {}
    for plan in draft.tensors.values():
        if plan.observe and plan.calibration.measured:
            how = f"{plan.calibration.words} on {plan.calibration.data}"
            how += f" (one of {_tried()} for each)" if plan.calibration.method == AUTO else ""
            observed[how] = observed.get(how, 0) + 1
    found = [f"ranges of {count} tensor{'s' * (count > 1)}: {how}" for how, count in sorted(observed.items())]
    if recipe.allocate is not None and not assigned_rules(recipe):
        choices = ", ".join(map(request_text, recipe.allocate.choices))
        bounds = ", ".join(map(limit_text, recipe.allocate.limits))
        found.append(f"widths of {recipe.allocate.what}: from {choices}" + (f" under {bounds}" if bounds else ""))
    return tuple(found)


def _tried() -> str:
    """The methods that `auto` tries, in words."""
    return ", ".join(method if share is None else f"{method} {share:g}" for method, share in TRIED)
