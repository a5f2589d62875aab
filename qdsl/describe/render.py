"""The plan as text: one line per node, reasons beside results, totals at the end."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from math import log2
from statistics import median

from qdsl.plan.as_it_is import RAN
from qdsl.plan.cached import shown as cache_words
from qdsl.plan.islands import ops_of, told
from qdsl.spec.plan import AS_IT_IS, Choice, Count, NodePlan, Origin, Plan
from qdsl.spec.words import NAME_WIDEST, mebibytes, percent, plain, shortened, times_smaller

_NOTE_WIDEST = 60
_ISLANDS = 5
_COLOURS = {"+": "\x1b[32m", "!": "\x1b[33m", "=": "\x1b[2m"}
_PLAIN = "\x1b[0m"


def render(plan: Plan, *, rich: bool = False, narrow: bool = False, lock: str = "") -> str:
    """What `qdsl plan` prints; with `rich`, marks are coloured for a terminal, and with `narrow`, long names are cut in
    the middle. `lock` names the lock that has the ranges, which are open without.

    `+` quantized, `!` asked for but stays float (and why), `=` untouched. Names come from an untrusted file: characters
    that steer a terminal are shown as `?`.
    """
    names = [shortened(plain(node.node)) if narrow else plain(node.node) for node in plan.nodes]
    name_width = min(max(map(len, names), default=0), NAME_WIDEST)
    note_width = min(max((len(plain(node.note)) for node in plan.nodes), default=0), _NOTE_WIDEST)
    shown = zip(plan.nodes, names, strict=True) if plan.mode != AS_IT_IS else ()
    lines = [_node(plan, node, name, name_width, note_width, rich) for node, name in shown]
    lines += [*_flags(plan), *_islands(plan)]
    lines += [_count(count, plan.recipe) for count in plan.counts if count.passed]
    lines += [f"allocated: {plain(text)}" for text in plan.assigned]
    lines += [f"tuned: {choice_words(choice, plan.recipe)}" for choice in plan.choices]
    lines += _widened(plan)
    lines += [cache_words(use) for use in plan.caches]
    lines += [_open(plain(text), lock) for text in plan.open]
    return "\n".join([*lines, totals(plan)]) + "\n"


def _widened(plan: Plan) -> list[str]:
    """`exact: 5,145 of 5,396 channels in wider steps, 1.39x in the median (0.48 bits), ..`."""
    wider = [one for one in plan.widened if one.wider]
    if not wider:
        return []
    channels, count = sum(one.channels for one in plan.widened), sum(one.wider for one in wider)
    times = median(chain.from_iterable([one.times] * one.wider for one in wider))
    return [
        f"exact: {count:,} of {channels:,} channels of weights in wider steps, {times:.2f}x in the median "
        f"({log2(times):.2f} bits): no sum saturates on {_named_cpus(plan)}"
    ]


def _named_cpus(plan: Plan) -> str:
    named = [value for fact in plan.facts if fact.kind == "target" for key, value in fact.settings if key == "cpu"]
    return ", ".join(named) if named and "any" not in named else "any CPU"


def _open(text: str, lock: str) -> str:
    if lock and text.startswith(("ranges of ", "biases of ", "weights of ")):
        return f"locked: {text}, from {plain(lock)}"
    return f"open: {text}"


def totals(plan: Plan) -> str:
    """The last line: how much runs in integers, what stays float and why, and the predicted size."""
    heavy = _heavy_counts(plan.nodes)
    if plan.mode == AS_IT_IS:
        known = any(node.prediction.because == RAN for node in plan.nodes)
        ran = f"{heavy} in integers{_share(plan)}" if known else "what runs in integers, `compile` shows"
        return f"the file as it is, {mebibytes(plan.totals.float_bytes)}; {ran}"
    tuned = _tuned_floats(plan)
    asked = plan.totals.kept_float - tuned
    return (
        f"{_halves(plan)}{heavy} in {_multiplied(plan)}{_share(plan)}, {_float_products(plan)}"
        f"{asked} {_nodes(asked)} float by request, {f'{tuned} by tuning, ' if tuned else ''}"
        f"{plan.totals.refused} by target; "
        f"predicted {mebibytes(plan.totals.predicted_bytes)}"
        f" ({times_smaller(plan.totals.float_bytes, plan.totals.predicted_bytes)})"
    )


def _multiplied(plan: Plan) -> str:
    """`integers`, or `integers and float8`: what products are of that do not run in floats."""
    kinds = {node.prediction.multiplies for node in plan.nodes if node.in_integers and node.macs != 0}
    return " and ".join(sorted(kinds, reverse=True)) or "integers"


def _share(plan: Plan) -> str:
    """`(31 % of MACs)`, or which nodes have a part that is not known: then there is no share of the whole."""
    totals = plan.totals
    known = f"{percent(totals.integer_macs, totals.macs)} of " if totals.macs else ""
    if not totals.uncounted:
        return f" ({known}MACs)" if known else ""
    names = [plain(node.node) for node in plan.nodes if node.macs is None]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" ({known and f'{known}the MACs that are known; '}those of {shortened(names[0])}{more} are not known)"


def _float_products(plan: Plan) -> str:
    """`48 MatMul with integer weights and float products, `."""
    counts: dict[str, int] = {}
    for node in plan.nodes:
        if node.prediction.float_products:
            counts[node.op] = counts.get(node.op, 0) + 1
    told = ", ".join(f"{count} {op}" for op, count in sorted(counts.items()))
    return f"{told} with integer weights and float products, " if told else ""


def _tuned_floats(plan: Plan) -> int:
    """How many nodes a measurement put into float32."""
    chosen = {node for choice in plan.choices for node in choice.nodes}
    return sum(node.mark == "=" and node.node in chosen for node in plan.nodes)


def _halves(plan: Plan) -> str:
    """`211 of 233 nodes float16 (36 with a kernel for it, the others ..), `; "" without float16. What multiplies
    integers is not among them, though it writes float16."""
    written = {found.node for found in plan.halves if found.writes}
    half = [node.prediction.runs for node in plan.nodes if node.node in written and not node.in_integers]
    able = len(half) - half.count("float")
    kernels = "" if able == len(half) else f" ({able} with a kernel for it, the others compute in float32)"
    words = f"{len(half)} of {len(plan.nodes)} nodes float16{kernels}, "
    stored = len({weight.tensor for weight in plan.half_weights})
    kept = f"{stored} {'constant' if stored == 1 else 'constants'} stored as float16 for float32 nodes, "
    return (words if half else "") + (kept if stored else "")


def place(origin: Origin, recipe: str) -> str:
    """Where an origin stands, in a few words: `line 24`, `base.q:24` in another file than the recipe's own, or the row
    of a table."""
    return plain(origin.place(recipe)) or ("" if origin.rule == "default" else origin.rule)


def _node(plan: Plan, node: NodePlan, name: str, name_width: int, note_width: int, rich: bool) -> str:
    why = place(node.origin, plan.recipe)
    rule = f"  ({plain(node.origin.rule)})" if node.mark == "=" and node.origin.line else ""
    text = f"{node.mark} {name:<{name_width}}  {plain(node.note):<{note_width}}  {why}{rule}".rstrip()
    return f"{_COLOURS[node.mark]}{text}{_PLAIN}" if rich else text


def _heavy_counts(nodes: Iterable[NodePlan]) -> str:
    """`63 of 64 Conv, 1 of 1 Gemm, 0 of 1 GRU`: the operators that multiply, as far as that is known."""
    counts: dict[str, list[int]] = {}
    for node in nodes:
        if node.macs != 0:
            of = counts.setdefault(node.op, [0, 0])
            of[0] += node.in_integers
            of[1] += 1
    return ", ".join(f"{done} of {all_} {op}" for op, (done, all_) in sorted(counts.items())) or "0 nodes"


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"


def _flags(plan: Plan) -> list[str]:
    lines = []
    for flag in plan.flags:
        lines.append(f"flag[{flag.code}]: {plain(flag.message)}")
        lines += [f"  help: {plain(cure)}" for cure in flag.help]
    return lines


def _islands(plan: Plan) -> list[str]:
    """What each float island costs, worst first: `island: /b1/HardSwish and 2 more (HardSwish, Mul): 612.5 KiB`."""
    ops = {node.node: node.op for node in plan.nodes}
    worst = sorted(plan.islands, key=lambda island: -island.moved)
    lines = []
    for island in worst[:_ISLANDS]:
        more = f" and {len(island.nodes) - 1} more" if len(island.nodes) > 1 else ""
        cost = told(island.moved, known=island.known) or "how much it moves is not known"
        named = ops_of(ops[name] for name in island.nodes)
        lines.append(f"  island: {plain(f'{island.nodes[0]}{more} ({named})')}: {cost}")
    rest = worst[_ISLANDS:]
    if rest:
        cost = told(sum(island.moved for island in rest), known=all(island.known for island in rest))
        lines.append(f"  and {len(rest)} more{f': {cost}' if cost else ''}")
    return lines


def choice_words(choice: Choice, recipe: str) -> str:
    """`stem_float at /model.0/conv/Conv and 2 more: 1.29x [1.27, 1.31], ..   line 21`."""
    more = f" and {len(choice.nodes) - 1} more" if len(choice.nodes) > 1 else ""
    why = place(choice.origin, recipe)
    return plain(f"{choice.alternative} at {choice.nodes[0]}{more}: {choice.evidence}   {why}")


def _count(count: Count, recipe: str) -> str:
    total = count.applied + count.passed
    return (
        f"note: {count.setting} of `{plain(count.origin.rule)}` ({place(count.origin, recipe)}) takes "
        f"{count.applied} of {total} picked"
    )
