"""A build that takes longer than the float model: what it spends the time on, by name, and what to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from qdsl.diag import Diagnostic, Severity, Span
from qdsl.graph.view import GraphView, NodeView
from qdsl.harness import FLOAT
from qdsl.harness.profiles import Profile
from qdsl.plan.islands import ops_of, told
from qdsl.search import LEAST_BLOCKS, compare
from qdsl.spec.plan import Island, NodePlan, Plan

_CALL = 2e-4  # seconds: what the runtime takes to call some dozen kernels more, whatever they compute
_ISLANDS, _NAMED = 3, 12
# Multiplications of floats that take about as long as a Q or DQ does: for each byte that it moves, and for its call.
_WORTH, _WORTH_CALL = 0.25, 20_000


def slower(found: Profile, span: Span, plan: Plan | None = None, view: GraphView | None = None) -> Iterable[Diagnostic]:
    """A warning where `found` took longer than the float model, beyond noise, and a run is more than a call. `plan` is
    that of the build and `view` the graph that it speaks of, where they are known: then the float islands that cost
    most are named, with neighbours whose integers are not worth them."""
    floats, ours = found.of(FLOAT), found.of(found.target)
    turns = [[1e3 * time for time in build.turns] for build in (floats, ours)]
    if len(turns[0]) < LEAST_BLOCKS or len(turns[0]) != len(turns[1]):
        return
    if ours.latency() - floats.latency() < _CALL:
        return
    ratio = compare(*turns)
    if ratio.high >= 1.0:
        return
    headline = (
        f"{found.target} is slower than the float model here: {1e3 * ours.latency():.3g} ms instead of "
        f"{1e3 * floats.latency():.3g} ms"
    )
    yield Diagnostic(
        "build-slower",
        headline,
        span,
        f"{ratio.ratio:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]",
        tuple(_cures(plan, view)),
        tuple(_islands(plan)),
        severity=Severity.WARNING,
    )


def _islands(plan: Plan | None) -> Iterator[str]:
    """The islands that move most, and how many more there are."""
    if plan is None or not plan.islands:
        return
    ops = {node.node: node.op for node in plan.nodes}
    worst = _worst(plan)
    for island in worst[:_ISLANDS]:
        more = f" and {len(island.nodes) - 1} more" if len(island.nodes) > 1 else ""
        moved = told(island.moved, known=island.known)
        cost = f": its Q and DQ move {moved} a sample" if moved else ""
        named = ops_of(ops[name] for name in island.nodes)
        yield f"float between integers: `{island.nodes[0][:80]}`{more} ({named}){cost}"
    rest = worst[_ISLANDS:]
    if rest:
        moved = told(sum(island.moved for island in rest), known=all(island.known for island in rest))
        yield f"and {len(rest)} more such places{f', which move {moved}' if moved else ''}"


def _worst(plan: Plan) -> list[Island]:
    return sorted(plan.islands, key=lambda island: -island.moved)


def _cures(plan: Plan | None, view: GraphView | None) -> Iterator[str]:
    mode = plan.mode if plan is not None else "static"
    if mode == "dynamic":
        yield "`quantize static` measures ranges once, from data: a dynamic build finds them anew in every run"
    elif mode == "static":
        around = _small_neighbours(plan, view) if plan is not None and view is not None else []
        if around:
            listed = ", ".join(f'"{name}"' for name in around)
            yield f"try joining such places with what computes little beside them: `keep [{listed}] in float32`"
        if plan is not None and plan.islands:
            first = _worst(plan)[0].nodes[0][:80]
            yield f'`qdsl explain RECIPE "{first}"` says why it stays float; an export with another operator may not'
        yield "write `tune latency`: it times the alternatives that the target has, and keeps what helps"
    if mode != "float":
        yield "where size alone counts, `quantize float { weights float16 }` costs no time in integers"
    else:
        yield "a float build is for size: this runtime computes most of it in float32; `quantize static` is for speed"


def _small_neighbours(plan: Plan, view: GraphView) -> list[str]:
    """Integer nodes at the sides of islands, those that move most first, whose multiplications weigh less than the Q
    and DQ between them and the island."""
    nodes = {node.node: node for node in plan.nodes}
    found: dict[str, None] = {}
    for island in _worst(plan):
        beside = [node.name for node in _beside(view, island) if _is_small(nodes.get(node.name), island)]
        found.update(dict.fromkeys(beside))
    return list(found)[:_NAMED]


def _is_small(node: NodePlan | None, island: Island) -> bool:
    """Whether a node could as well be float: it runs in integers, and computes little."""
    if node is None or node.prediction.runs != "integer" or not island.known:
        return False
    return 0 < (node.macs or 0) <= _WORTH * island.moved + _WORTH_CALL


def _beside(view: GraphView, island: Island) -> Sequence[NodeView]:
    """The nodes that write what enters the island, and those that read what leaves it, in graph order."""
    inside = set(island.nodes)
    writers: Mapping[str, NodeView | None] = {name: view.producer(name) for name in island.enter}
    readers = [node for name in island.leave for node in view.consumers(name)]
    found = {node.index: node for node in (*writers.values(), *readers) if node is not None and node.name not in inside}
    return [found[at] for at in sorted(found)]
