"""What the measured ranges and the weights show once a plan is carried out, each finding with its cure: scales that
starve a tensor, weights that lose channels, ranges by hand that do not fit, verdicts that only ranges decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from qdsl.calibrate import Ranges
from qdsl.cascade.cascade import all_rules
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Severity
from qdsl.findings.coarse_scales import coarse_scales
from qdsl.findings.cures import Cure, first_cure
from qdsl.findings.disparity import SHARE, Disparity, Member, disparities
from qdsl.findings.few_levels import few_levels
from qdsl.findings.hand_ranges import hand_ranges
from qdsl.findings.moved_verdicts import moved_verdicts
from qdsl.findings.weight_disparity import Lost, lost_channels
from qdsl.graph.structure import decode_head
from qdsl.lang.quoting import names
from qdsl.lang.recipe import PlaceRule, Port
from qdsl.plan import Decisions
from qdsl.plan.flags import allowed_nodes
from qdsl.plan.share import joining_rule
from qdsl.ranges.by_target import TargetRanges
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_SHOWN = 3
_MOST = 8
_NO_CURE = "give these tensors scales of their own, or leave what joins them in float"


def findings(
    prepared: Prepared,
    decided: Sequence[Decisions],
    measured: TargetRanges,
    dataset: Dataset | None,
    sets: Mapping[str, str],
) -> tuple[Diagnostic, ...]:
    """Warnings and notes about plans that were carried out with `measured`. Samples of `dataset` show what ranges by
    hand cut off; without it, nothing is said of those. `sets` are the recipe's parameters, as given."""
    told: dict[Diagnostic, None] = {}
    for one in decided:
        ranges = measured.of(one.plan.target)
        told.update(dict.fromkeys(_shared_scales(prepared, one, ranges, sets)))
        told.update(dict.fromkeys(_weights(prepared, one, sets)))
        told.update(dict.fromkeys(few_levels(prepared, one, ranges, sets)))
        told.update(dict.fromkeys(coarse_scales(prepared.model, one, ranges)))
        told.update(dict.fromkeys(hand_ranges(prepared, one, dataset)))
        told.update(dict.fromkeys(moved_verdicts(one, ranges)))
    return tuple(told)


def _shared_scales(prepared: Prepared, one: Decisions, ranges: Ranges, sets: Mapping[str, str]) -> Iterable[Diagnostic]:
    target = next((t for t in prepared.recipe.targets if t.name == one.plan.target), None)
    allowed = {prepared.view.nodes[i].name for i in allowed_nodes(one.context, prepared.recipe, target)}
    found = [d for d in disparities(one.plan, prepared.model, prepared.view, ranges) if not _meant(d, allowed, one)]
    for place, each in enumerate(found[:_MOST]):
        more = len(found) - _MOST if place == _MOST - 1 else 0
        yield _starving(each, prepared, one, ranges, sets, max(0, more))


def _meant(found: Disparity, allowed: set[str], one: Decisions) -> bool:
    writers = (one.context.view.producer(member.tensor) for member in found.starved)
    return bool(allowed & {*found.joins, *(node.name for node in writers if node is not None)})


def _starving(
    found: Disparity, prepared: Prepared, one: Decisions, ranges: Ranges, sets: Mapping[str, str], more: int
) -> Diagnostic:
    rule = _rule(found, prepared, one)
    before = _pairs(disparities(one.plan, prepared.model, prepared.view, ranges))

    def cured(again: Decisions) -> bool:
        return _pairs(disparities(again.plan, prepared.model, prepared.view, ranges)) <= before - _pairs([found])

    cure = first_cure(_candidates(found, prepared, rule), prepared, sets, one.plan.target, cured)
    by = f"joined by {plain(found.joins[0])}" if found.joins else "under one scale"
    worst = found.starved[0]
    rest = f" and {len(found.starved) - 1} more" if len(found.starved) > 1 else ""
    widest = found.widest
    notes = [
        f"one step is {found.step:.3g}, for {plain(widest.tensor)} in {_span(widest)}; "
        f"under 1 in {SHARE} of the {found.levels} levels, a tensor loses 24 dB against a scale of its own"
    ]
    notes += [f"{_words(member, found.levels)}" for member in found.starved[1:_SHOWN]]
    notes += [f"the same holds of {more} more shared scales"] if more else []
    return Diagnostic(
        "range-disparity",
        f"the values of {plain(worst.tensor)}{rest} are lost: {by}, they keep too few steps",
        rule.span if rule is not None else one.context.cascade.mode.span,
        _words(worst, found.levels),
        (cure.told if cure is not None else _NO_CURE,),
        tuple(notes),
        Severity.WARNING,
    )


def _pairs(found: Iterable[Disparity]) -> set[tuple[str, str]]:
    """(scale, tensor that it starves)."""
    return {(each.group, member.tensor) for each in found for member in each.starved}


def _words(member: Member, levels: int) -> str:
    return f"{plain(member.tensor)} in {_span(member)} keeps {member.steps:.2g} of {levels} steps"


def _span(member: Member) -> str:
    return f"[{member.low:.4g}, {member.high:.4g}]"


def _rule(found: Disparity, prepared: Prepared, one: Decisions) -> PlaceRule | None:
    """The rule of the recipe that put the starved tensors under this scale."""
    target = next((t for t in prepared.recipe.targets if t.name == one.plan.target), None)
    rules = [r for r in all_rules(prepared.recipe, target) if isinstance(r, PlaceRule)]
    index = prepared.view.node_index
    placement = {
        t.tensor: {(index.get(r.node, -1), r.port): t.placed for r in t.readers} for t in one.draft.tensors.values()
    }
    group = {t.tensor for t in one.plan.tensors if t.group == found.group}
    return joining_rule(one.context, rules, placement, group)


def _candidates(found: Disparity, prepared: Prepared, rule: PlaceRule | None) -> list[Cure]:
    view = prepared.view
    head = decode_head(view)
    lines = ["keep decode_head in float32"] if any(view.node_index[n] in head for n in found.joins) else []
    if joins := names(found.joins) if found.joins else None:
        lines.append(f"keep {joins} in float32")
    outputs = [name for join in found.joins for name in view.node(join).outputs]
    for tensors in (outputs, [member.tensor for member in found.starved], [found.widest.tensor]):
        if quoted := names(tensors) if tensors else None:
            lines.append(f"layers tensor {quoted} {{ activations float32 }}")
    edits = _without(found, prepared, rule) if rule is not None else []
    both = [replace(edit, add=line) for edit in edits for line in lines]
    return [*edits, *(Cure(line) for line in lines), *both]


def _without(found: Disparity, prepared: Prepared, rule: PlaceRule) -> list[Cure]:
    """The rule again without the nodes it goes wrong at, or nothing in its place."""
    span = rule.where.span
    if isinstance(rule.where, Port) or span.line != span.end_line:
        return [Cure(instead=rule.span)]
    line = prepared.recipe.sources[span.file].split("\n")[span.line - 1]
    writers = [prepared.view.producer(member.tensor) for member in found.starved]
    nodes = names(found.joins or [node.name for node in writers if node is not None])
    picks = line[span.column - 1 : span.end_column - 1]
    return [
        *([Cure("", rule.span, f"share scale across ({picks}) and not {nodes}")] if nodes else []),
        Cure("", rule.span),
    ]


def _weights(prepared: Prepared, one: Decisions, sets: Mapping[str, str]) -> Iterable[Diagnostic]:
    found = lost_channels(prepared.model, one)
    if not found:
        return
    quoted = names([each.node for each in found])
    told = {each.node for each in found}

    def cured(again: Decisions) -> bool:
        return not any(each.node in told for each in lost_channels(prepared.model, again))

    setting = f"weights {found[0].dtype} per_channel"
    ops = sorted({one.context.view.node(each.node).op for each in found})
    # All of an operator first: it costs nothing, and their neighbours lose less than whole channels, but do lose.
    picks = [f"op {ops[0]}" if len(ops) == 1 else f"op [{', '.join(ops)}]", *([quoted] if quoted else [])]
    cures = [Cure(f"layers {each} {{ {setting} }}") for each in picks]
    cure = first_cure(cures, prepared, sets, one.plan.target, cured)
    worst = found[0]
    more = f" and of {len(found) - 1} more" if len(found) > 1 else ""
    yield Diagnostic(
        "weight-disparity",
        f"the weights of {plain(worst.node)}{more} lose channels under one scale per tensor",
        worst.span or one.context.cascade.mode.span,
        _channels(worst),
        (cure.told if cure is not None else "give these weights a scale per channel",),
        tuple(f"{plain(each.node)}: {_channels(each)}" for each in found[1:_SHOWN]),
        Severity.WARNING,
    )


def _channels(found: Lost) -> str:
    few = f"{found.lost} of {found.channels} channels {'is' if found.lost == 1 else 'are'}"
    return f"{few} over 100 times smaller than the largest, up to {found.ratio:.0f}"
