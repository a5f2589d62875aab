"""Why one node or tensor is planned as it is: the chain of rules, ending in the one that won."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from qdsl.capability.model import EDGES
from qdsl.cascade.cascade import Resolved, Value
from qdsl.describe.equalized import equalized
from qdsl.describe.improved import improved
from qdsl.describe.render import place
from qdsl.diag import Diagnostic, QdslError, nearest
from qdsl.graph.view import NodeView
from qdsl.lang.recipe import Calibrate, FixedRange, KeepRule, TypeRequest
from qdsl.lock import LockedWeight
from qdsl.passes.index import PASSES
from qdsl.plan.build import Decisions
from qdsl.plan.improve import origin
from qdsl.plan.islands import told
from qdsl.plan.shapes import weight_ports
from qdsl.rewrite import Trace
from qdsl.spec.plan import Cut, NodePlan, Origin, TensorPlan
from qdsl.spec.words import plain, shortened

_WIDEST = 72


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an explanation: the setting, what was said of it, by whom. `won`: this is what holds; otherwise a
    later statement overrode it, or it was looked at and does not reach."""

    what: str
    value: str
    origin: Origin
    won: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """`kind` is "node" or "tensor"; `title` its operator and shape; `steps` in the order in which they are read, a
    winner after what it overrode; `verdict` what will run; `recipe` whose lines are named without their file;
    `sensitivity` what quantizing it was measured to cost."""

    name: str
    kind: str
    title: str
    steps: tuple[Step, ...]
    verdict: str
    recipe: str
    sensitivity: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What `qdsl explain` prints."""
        return self.render()

    def render(self, *, narrow: bool = False) -> str:
        """The text; with `narrow`, long values are cut in the middle, for a terminal."""
        values = [shortened(step.value, _WIDEST) if narrow else step.value for step in self.steps]
        width = max(map(len, values), default=0)
        lines = [f"{plain(self.name)}   {plain(self.title)}"]
        for step, value in zip(self.steps, values, strict=True):
            lost = "" if step.won else "  (overridden)" if step.what not in ("considered", "read by") else ""
            lines.append(
                f"  {step.what:<12} {plain(value):<{width}}   {_because(step.origin, self.recipe)}{lost}".rstrip()
            )
        told = [f"  {'sensitivity':<12} {plain(each)}" for each in self.sensitivity]
        return "\n".join([*lines, f"  {'runs':<12} {plain(self.verdict)}", *told]) + "\n"


def explain(
    decisions: Decisions, name: str, trace: Trace | None = None, rounded: Sequence[LockedWeight] = ()
) -> Explanation:
    """The explanation of the node or tensor called `name`. Raises QdslError (unknown-name) with the nearest names.
    `trace` is what was done to the model before it was planned, `rounded` what a lock has of weights."""
    view = decisions.context.view
    if name in view.node_index:
        found = _node(decisions, view.node(name), rounded)
        asked = origin(decisions.context.origins.recipe, decisions.context, "equalize")
        if asked is None or trace is None:
            return found
        told_of = (Step(what, words, asked, won) for what, words, won in equalized(trace, name))
        return replace(found, steps=(*found.steps, *told_of))
    if name in decisions.context.order:
        return _tensor(decisions, name)
    known = [*view.node_index, *decisions.context.order]
    close = nearest(name, known) or tuple(n for n in known if name and name in n)[:3]
    raise QdslError(
        [
            Diagnostic(
                "unknown-name",
                f"no node or tensor is called `{plain(name)[:100]}` in {view.model_name or 'the model'}",
                help=(f"the nearest names are {', '.join(f'`{plain(n)}`' for n in close)}",) if close else (),
            )
        ]
    )


def _node(decisions: Decisions, node: NodeView, rounded: Sequence[LockedWeight]) -> Explanation:
    context = decisions.context
    plan = next(p for p in decisions.plan.nodes if p.node == node.name)
    rules = context.cascade.node_rules[node.index]
    steps: list[Step] = []
    if weight_ports(context, node):
        steps += _chain("weights", context.cascade.resolve("weights", rules), _stored(decisions, node))
    for tensor in _written(decisions, node):
        steps += _tensor_steps(decisions, tensor)
    if not any(step.what == "activations" for step in steps):
        steps += _chain("activations", context.cascade.resolve("activations", rules), "")
    steps += _read(decisions, node)
    if node.index in context.kept:
        steps = _overruled(decisions, node, steps)
    steps += _keeps(decisions, node)
    steps += _in_float16(decisions, node)
    steps += _chosen(decisions, node)
    steps += (Step(*told, True) for told in improved(decisions, node, rounded))
    steps += _exact(decisions, node)
    steps += _island(decisions, node)
    steps += _lowered(decisions, node)
    verdict, recipe = _verdict(decisions, plan), decisions.plan.recipe
    return Explanation(node.name, "node", _title(decisions, node), tuple(steps), verdict, recipe)


def _read(decisions: Decisions, node: NodeView) -> Iterator[Step]:
    """What the node reads behind Q/DQ, of a target whose pairs stand before readers: what it writes tells nothing;
    and which pair the recipe took away from before it."""
    if decisions.context.capability.placement != EDGES:
        return
    for tensor in dict.fromkeys(node.inputs):
        plan = decisions.draft.tensors.get(tensor)
        if plan is not None and any(reader.node == node.name for reader in plan.readers):
            yield Step("reads", f"{tensor} as {plan.scheme}", plan.placed, True)
    for change in decisions.edits:
        if change.slot[0] == node.index and not change.pair:
            yield Step("place", f"no Q/DQ on {change.tensor}", change.origin, True)


def _in_float16(decisions: Decisions, node: NodeView) -> Iterator[Step]:
    """What says that a node that no `keep` speaks of is float16, though its integers come from elsewhere."""
    half = next((half for half in decisions.plan.halves if half.node == node.name), None)
    if half is not None and half.origin == decisions.context.half and half.writes:
        yield Step("writes", "float16", half.origin, True)


def _overruled(decisions: Decisions, node: NodeView, steps: list[Step]) -> list[Step]:
    """What a `keep` leaves of the settings: none on the weights, and none on an output that nobody reads in
    integers."""
    pairs = any(tensor in decisions.draft.tensors for tensor in node.outputs)
    return [step if pairs and step.what != "weights" else replace(step, won=False) for step in steps]


def _tensor(decisions: Decisions, name: str) -> Explanation:
    tensor = decisions.context.view.tensors[name]
    writer = decisions.context.view.producer(name)
    origin = f"written by {writer.name}" if writer else "graph input"
    title = f"{tensor.dtype or 'unknown type'} {_shape(tensor.shape)}, {origin}"
    plan = decisions.draft.tensors.get(name)
    halves = {half.node for half in decisions.plan.halves if half.writes}
    bare = "float16" if writer is not None and writer.name in halves else "float: no Q/DQ pair here"
    verdict = bare if plan is None else f"stored as {plan.scheme}, one scale with `{plan.group}`"
    if plan is not None and plan.group == name:
        verdict = f"stored as {plan.scheme}"
    return Explanation(name, "tensor", title, tuple(_tensor_steps(decisions, name)), verdict, decisions.plan.recipe)


def _tensor_steps(decisions: Decisions, tensor: str) -> list[Step]:
    context = decisions.context
    plan = decisions.draft.tensors.get(tensor)
    speakers = context.speakers(tensor, decisions.draft.tensors)
    steps = _chain("activations", context.asked("activations", tensor, speakers), str(plan.scheme) if plan else "")
    if plan is not None:
        calibration = _chain("calibrate", context.asked("calibrate", tensor, speakers), "")
        fixed = _chain("range", context.asked("range", tensor, speakers), "")
        winner = "range" if plan.calibration.method == "fixed" else "calibrate"
        steps += [Step(s.what, s.value, s.origin, s.won and s.what == winner) for s in calibration + fixed]
        how = "at run time" if plan.calibration.method == "dynamic" else "Q/DQ"
        steps.append(Step("placed", f"{how}, {_readers(plan)}", plan.placed, True))
        steps += [Step("cut", _cut(cut), cut.origin, True) for cut in decisions.plan.cuts if cut.tensor == tensor]
    for change in decisions.edits:
        if change.tensor == tensor and (plan is None or change.origin != plan.placed):
            where = "the graph output" if change.slot[0] < 0 else context.view.nodes[change.slot[0]].name
            steps.append(Step("place", f"{'Q/DQ' if change.pair else 'no Q/DQ'} before {where}", change.origin, True))
    return steps


def _cut(cut: Cut) -> str:
    """Which values nothing reads."""
    ends = [f"below {cut.low:g}"] if cut.low is not None else []
    ends += [f"above {cut.high:g}"] if cut.high is not None else []
    ends += ["far below the largest of a row"] if cut.rows else []
    ends += ["beyond what the ranges behind it hold"] if cut.open else []
    return f"nothing is read {' or '.join(ends)}"


def _readers(plan: TensorPlan) -> str:
    names = [reader.node or "graph output" for reader in plan.readers]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"read by {', '.join(names[:3])}{more}"


def _chain(what: str, asked: Resolved, result: str) -> list[Step]:
    """Everything said of `what`, the winner last, with what it came to where that is known."""
    steps = [Step(what, _words(voice.value), voice.origin, False) for voice in asked.voices]
    if not steps:
        return [Step(what, result, Origin("the target's default"), True)] if result else []
    last = steps[-1]
    return [*steps[:-1], Step(what, result or last.value, last.origin, True)]


def _keeps(decisions: Decisions, node: NodeView) -> Iterable[Step]:
    for spoken in decisions.context.cascade.spoken:
        if not isinstance(spoken.rule, KeepRule):
            continue
        if node.index in spoken.nodes:
            yield Step("keep", spoken.rule.dtype.name, spoken.origin, True)
        else:
            yield Step("considered", f"{spoken.origin.rule}: not in it", spoken.origin, False)


def _chosen(decisions: Decisions, node: NodeView) -> Iterable[Step]:
    """What measurements chose for the node, with what showed it."""
    for choice in decisions.plan.choices:
        if node.name in choice.nodes:
            yield Step("tuned", choice.evidence, choice.origin, True)


def _exact(decisions: Decisions, node: NodeView) -> Iterable[Step]:
    """What it costs that the node's sums are exact on every CPU that the target names."""
    table = decisions.context.capability
    for one in decisions.plan.widened:
        if one.node == node.name:
            cost = f"{one.wider} of {one.channels} channels in wider steps, {one.times:.2f}x in the median"
            told = cost if one.wider else "no channel can saturate: its steps are as they would be"
            yield Step("exact", told, Origin(f"{table.name}.toml, sums"), True)


def _island(decisions: Decisions, node: NodeView) -> Iterable[Step]:
    """What it costs that the node stays float between integers."""
    table = decisions.context.capability
    row = decisions.predictions[node.name].row
    for island in decisions.plan.islands:
        if node.name in island.nodes:
            others = [name for name in island.nodes if name != node.name]
            among = f"with {others[0]}{f' and {len(others) - 1} more' if len(others) > 1 else ''}, " if others else ""
            cost = told(island.moved, known=island.known) or "an unknown amount"
            value = f"{among}float between integers: Q and DQ move {cost} a sample"
            yield Step("island", value, Origin(f"{table.name}.toml, row {row}"), True)


def _lowered(decisions: Decisions, node: NodeView) -> Iterable[Step]:
    """What the target's lowerings will make of the node, and why one of them leaves it alone."""
    context = decisions.context
    for step in context.runtime.foresees(decisions.plan, context.view, context.capability).steps:
        origin = Origin(f"lowering {step.word}")
        if any(node.name in fired.nodes for fired in step.outcome.fired):
            yield Step("rewritten", PASSES[step.word].summary, origin, True)
        for refused in step.outcome.refused:
            if refused.node == node.name:
                yield Step("considered", f"left alone: {refused.reason}", origin, False)


def _stored(decisions: Decisions, node: NodeView) -> str:
    ports = weight_ports(decisions.context, node)
    found = [w.scheme for w in decisions.draft.weights if w.node == node.name and w.port in ports]
    return str(found[0]) if found else ""


def _written(decisions: Decisions, node: NodeView) -> list[str]:
    """The tensors that the node's rules speak of: its own outputs, or what is behind the activation it absorbs."""
    context = decisions.context
    found = []
    for tensor in filter(None, node.outputs):
        folded = None if tensor in decisions.draft.tensors else context.folded(tensor)
        found.append(tensor if folded is None else folded)
    return found


def _verdict(decisions: Decisions, plan: NodePlan) -> str:
    prediction = plan.prediction
    table = f"({decisions.context.capability.name}.toml, row {prediction.row})"
    table += "; how often it multiplies is not known" if plan.macs is None else ""
    if plan.mark == "=" or any(half.node == plan.node for half in decisions.plan.halves):
        return f"{plan.note} {table}"
    if prediction.float_products:
        return f"in floats, with integer weights, on {decisions.plan.target}: {prediction.kernel} {table}"
    if prediction.runs == "integer":
        return f"in {prediction.multiplies} on {decisions.plan.target}: {prediction.kernel} {table}"
    if prediction.runs == "absorbed":
        return f"nowhere: {prediction.because or f'folds into {prediction.kernel}'} {table}"
    if prediction.runs == "moves":
        return f"on integers as they come: {prediction.kernel} {table}"
    return f"in float on {decisions.plan.target}: {prediction.because} {table}"


def _title(decisions: Decisions, node: NodeView) -> str:
    view = decisions.context.view
    shapes = [_shape(view.tensors[t].shape) for t in (node.inputs[:1] + node.outputs[:1]) if t in view.tensors]
    kernel = node.attrs.get("kernel_shape")
    size = " " + "x".join(str(k) for k in kernel) if isinstance(kernel, tuple) else ""
    return f"{node.op}{size}, {' -> '.join(shapes)}"


def _shape(shape: tuple[int | str | None, ...] | None) -> str:
    return "?" if shape is None else "x".join("?" if dim is None else str(dim) for dim in shape) or "scalar"


def _words(value: Value) -> str:
    """A request in the words of the recipe."""
    if isinstance(value, FixedRange):
        return f"[{value.low:g}, {value.high:g}]"
    if isinstance(value, Calibrate) and value.cache is not None:
        return f'from cache "{plain(value.cache)}"'
    if isinstance(value, Calibrate):
        words = [value.method]
        words += [f"{value.percentile:g}"] if value.percentile is not None else []
        words += ["symmetric"] if value.symmetric else []
        return " ".join(words + ([f"on {value.data}"] if value.data else []))
    return _type_words(value)


def _type_words(value: TypeRequest) -> str:
    words = [str(value.dtype)] if value.dtype else [f"{value.bits} bit"] if value.bits else []
    if value.symmetric is not None:
        words.append("symmetric" if value.symmetric else "affine")
    if value.granularity is not None:
        words.append(value.granularity.value + (f" {value.block}" if value.block else ""))
    words += ["reduce_range"] if value.reduce_range else []
    return " ".join(words + (["storage_only"] if value.storage_only else []))


def _because(origin: Origin, recipe: str) -> str:
    where = place(origin, recipe)
    return origin.rule if where == origin.rule or not where else f"{origin.rule}, {where}"
