"""`quantize dynamic`: which nodes read activations that are quantized while the model runs, and as what.

There is nothing to calibrate and no pair to place: a tensor is quantized where a kernel reads it, by the range that it
has then, and what the kernel writes is float again. So one look at each node decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from qdsl.capability import Capability, Dynamic
from qdsl.cascade.dynamic_schemes import WeightSchemes
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph.view import GraphView, NodeView
from qdsl.lang.recipe import LayersRule, Mode, PlaceRule
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.plan.guards import guard
from qdsl.plan.place import Edit
from qdsl.plan.settle import Settled
from qdsl.spec import Granularity, Scheme
from qdsl.spec.plan import Calibration, Origin, Prediction, Reader, TensorPlan, WeightPlan
from qdsl.spec.words import count

AT_RUN_TIME = "dynamic"
_DATA, _WEIGHT = 0, 1


@dataclass(frozen=True)
class DynamicSettled(Settled):
    """`left` are the nodes that could run in integers and stay float by request: the words, and the rule."""

    left: Mapping[int, tuple[str, Origin]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Able:
    """A node that a kernel could compute: the rule of the table, and the weight's scheme with its origin."""

    node: NodeView
    rule: Dynamic
    scheme: Scheme
    origin: Origin


def require_rules(table: Capability, mode: Mode) -> None:
    """Raises QdslError target-cannot for a target that quantizes nothing while the model runs."""
    if table.dynamic:
        return
    raise QdslError(
        [
            Diagnostic(
                "target-cannot",
                f"{table.title} quantizes nothing while the model runs",
                mode.span,
                "the target's table has no rules for `quantize dynamic`",
                ("write `quantize static`, for this target alone in its own block: `target .. { quantize static }`",),
            )
        ]
    )


def check_settings(context: Context, rules: Iterable[PlaceRule]) -> None:
    """Report what has no meaning where ranges are found at run time."""
    mode = context.cascade.mode.settings
    for said, word in ((mode.calibrate, "calibrate"), (mode.range, "range")):
        if said is not None:
            _no_range(context, word, said.span)
    for spoken in context.cascade.spoken:
        settings = spoken.rule.settings if isinstance(spoken.rule, LayersRule) else None
        for said, word in ((settings.calibrate, "calibrate"), (settings.range, "range")) if settings else ():
            if said is not None:
                _no_range(context, word, said.span)
    for rule in rules:
        if rule.action == "share":
            _no_range(context, "share scale across", rule.where.span)
    _nothing_to_tune(context)


def _nothing_to_tune(context: Context) -> None:
    recipe = context.origins.recipe
    if recipe.tune is None or recipe.mode is None or recipe.mode.kind != "dynamic":
        return
    context.diags.error(
        "setting-unused",
        f"`tune {recipe.tune.goal}` has nothing to choose in a dynamic build",
        recipe.tune.span,
        label="the alternatives of a target's table are changes of static plans",
        help=["take it out, or write `quantize static`"],
    )


def _no_range(context: Context, word: str, span: Span) -> None:
    context.diags.error(
        "dynamic-range",
        f"`{word}` has nothing to decide in a dynamic build",
        span,
        label="each tensor takes the range that it has when the model runs",
        help=["take it out, or write `quantize static`"],
    )


def settle(context: Context, rules: Iterable[PlaceRule], changes: Iterable[Edit]) -> DynamicSettled:
    """The decision for every node, and what will run. `changes` are what the `place` rules do."""
    rules = tuple(rules)
    check_settings(context, rules)
    schemes = WeightSchemes(context.capability, context.diags)
    able: dict[int, _Able] = {}
    left: dict[int, tuple[str, Origin]] = {}
    refused: dict[int, Prediction] = {}
    for node in context.view.nodes:
        rule = context.capability.dynamic_for(node)
        if rule is None or node.index in context.kept:
            continue
        found = _judge(context, node, rule, schemes)
        if isinstance(found, _Able):
            able[node.index] = found
        elif isinstance(found, str):
            refused[node.index] = Prediction("float", node.op, rule.name, found)
        else:
            left[node.index] = found
    placed, idle = _placed(context, able, changes, left)
    for origin in idle:
        _unreached(context, origin, rules, len(able))
    draft = _draft(context, able, placed)
    predictions = context.runtime.predict_dynamic(context.view, draft.tensors, draft.weights, context.capability)
    return DynamicSettled(draft, {**predictions, **_named(context, refused)}, refused, left=left)


def _named(context: Context, refused: Mapping[int, Prediction]) -> dict[str, Prediction]:
    return {context.view.nodes[node].name: prediction for node, prediction in refused.items()}


def _judge(context: Context, node: NodeView, rule: Dynamic, schemes: WeightSchemes) -> _Able | str | tuple[str, Origin]:
    """How `node` runs in integers; why the target leaves it in float; or the rule that does."""
    asked = context.cascade.resolve("weights", context.cascade.node_rules[node.index])
    chosen = schemes.weight(rule, asked)
    if chosen.scheme is None:
        return "float32 weights", chosen.origin
    reasons = context.capability.reasons
    if len(node.inputs) <= _WEIGHT or not node.inputs[_DATA] or not context.quantizable(node.outputs[0]):
        return reasons["dynamic_input"]
    if not _is_weight(context.view, node):
        return reasons["dynamic_weight"]
    data = node.inputs[_DATA]
    if not context.quantizable(data):
        return reasons["dynamic_input"]
    if (why := _too_large_or_small(context, node, rule, explicit=chosen.explicit)) is not None:
        return why
    activation = context.activation(data, context.speakers(data, ()))
    if activation.scheme is None:
        return "input float32", activation.origin
    return _Able(node, rule, chosen.scheme, chosen.origin)


def _is_weight(view: GraphView, node: NodeView) -> bool:
    weight = view.tensors[node.inputs[_WEIGHT]]
    return weight.kind == "constant" and weight.dtype == "float32" and bool(weight.elements)


def _too_large_or_small(context: Context, node: NodeView, rule: Dynamic, *, explicit: bool) -> str | None:
    dims = tuple(int(dim or 0) for dim in context.view.tensors[node.inputs[_WEIGHT]].shape or ())
    reasons = context.capability.reasons
    if len(dims) < 2:
        return reasons["dynamic_vector"]
    if node.op == "Conv":
        groups = node.attrs.get("group", 1)
        per_group = dims[0] // groups if isinstance(groups, int) and groups > 0 else dims[0]
        least, products = min(dims[1], per_group), prod(dims[1:])
    else:
        least = min(dims[-2:])
        turned = bool(node.attrs.get("transB", 0)) and node.op == "Gemm"
        products, columns = (dims[-1], dims[-2]) if turned else (dims[-2], dims[-1])
        if columns < 2:
            return reasons["dynamic_vector"]
    if products > rule.most_products:
        return reasons["dynamic_long"].format(products=products, most=rule.most_products)
    return rule.small_because if least < rule.least_channels and not explicit else None


def _placed(
    context: Context, able: Mapping[int, _Able], changes: Iterable[Edit], left: dict[int, tuple[str, Origin]]
) -> tuple[dict[int, Origin], list[Origin]]:
    """The nodes that read integers with the rule or row that says so (those that can, less what `place` leaves), and
    the rules that speak of none of them."""
    placed = {i: Origin(f"{context.capability.name}.toml, dynamic {one.rule.name}") for i, one in able.items()}
    reached: dict[Origin, bool] = {}
    for change in changes:
        hit = change.slot[0] in able and change.slot[1] == _DATA
        reached[change.origin] = reached.get(change.origin, False) or hit
        if not hit:
            continue
        node = change.slot[0]
        if change.pair:
            placed[node] = change.origin
            left.pop(node, None)
        else:
            placed.pop(node, None)
            left[node] = (context.capability.reasons["dynamic_left"], change.origin)
    return placed, [origin for origin, hit in reached.items() if not hit]


def _unreached(context: Context, origin: Origin, rules: Iterable[PlaceRule], able: int) -> None:
    ops = ", ".join(sorted({op for rule in context.capability.dynamic for op in rule.ops}))
    context.diags.error(
        "setting-unused",
        f"`{origin.rule}` reaches no input that is quantized at run time",
        next((rule.where.span for rule in rules if context.origins.of_place(rule) == origin), None),
        label=f"only the data inputs of {ops} with constant weights are: {count(able, 'node')} here",
        help=["a dynamic build has no Q/DQ pairs: what no kernel reads in integers stays float"],
    )


def _draft(context: Context, able: Mapping[int, _Able], placed: Mapping[int, Origin]) -> Draft:
    readers: dict[str, list[int]] = {}
    for node in sorted(placed):
        readers.setdefault(able[node].node.inputs[_DATA], []).append(node)
    tensors = {name: _tensor(context, name, nodes, placed) for name, nodes in readers.items()}
    return Draft(tensors, tuple(_weight(context, able[node]) for node in sorted(placed)), ())


def _tensor(context: Context, name: str, nodes: list[int], placed: Mapping[int, Origin]) -> TensorPlan:
    chosen = context.activation(name, context.speakers(name, ()))
    assert chosen.scheme is not None, "a node that reads float32 is not able"
    ruled = [placed[node] for node in nodes if placed[node].line]
    mode = context.cascade.mode
    return TensorPlan(
        tensor=name,
        scheme=chosen.scheme,
        readers=tuple(Reader(context.view.nodes[node].name, _DATA) for node in nodes),
        group=name,
        observe=False,
        calibration=Calibration(AT_RUN_TIME, origin=context.origins.of_mode(mode, mode.span)),
        origin=chosen.origin,
        placed=ruled[-1] if ruled else placed[nodes[0]],
    )


def _weight(context: Context, able: _Able) -> WeightPlan:
    node, scheme = able.node, able.scheme
    row = context.rows[node.index]
    axis: int | None = None
    if scheme.granularity is Granularity.PER_CHANNEL:
        shape = context.view.tensors[node.inputs[_WEIGHT]].shape or ()
        axis = len(shape) - 1 if node.op == "MatMul" else row.channel_axis.of(node) if row.channel_axis else 0
    held = guard(context, node, _WEIGHT, able.rule.kernel, scheme)
    return WeightPlan(node.name, _WEIGHT, node.inputs[_WEIGHT], scheme, axis, able.origin, held)
