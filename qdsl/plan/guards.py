"""What a stored weight keeps to, so that its kernel adds exactly on every CPU that the target names."""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.diag import Span
from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.spec import UNGUARDED, Granularity, Guard, Scheme
from qdsl.spec.plan import WeightPlan
from qdsl.spec.words import count
from qdsl.targets.sums import needed_guard


def guard(context: Context, node: NodeView, port: int, kernel: str, scheme: Scheme) -> Guard:
    """The guard of the weight at `port` of `node`, computed in `kernel`; none where nothing can go wrong, or where the
    runtime's own option sees to it."""
    if scheme.granularity is Granularity.PER_BLOCK or scheme.storage_only:
        return UNGUARDED
    sums = context.capability.sums_of(kernel, scheme.dtype)
    if sums is None:
        return UNGUARDED
    one_zero = scheme.symmetric or scheme.granularity is not Granularity.PER_CHANNEL
    shape = context.view.tensors[node.inputs[port]].shape or ()
    groups, turned = node.attrs.get("group", 1), node.op == "Gemm" and bool(node.attrs.get("transB", 0))
    needed = needed_guard(sums, context.cpus, shape, groups=groups, turned=turned, one_zero=one_zero)
    # A symmetric scheme leaves the lowest integer out by itself.
    return Guard(
        () if context.by_option and sums.option else needed.pairs,
        needed.lowest and not (scheme.symmetric and scheme.dtype.signed),
    )


def check_option(context: Context, weights: Iterable[WeightPlan], span: Span) -> None:
    """Report a weight that two nodes read where the runtime's own option is to keep sums exact: it rewrites each weight
    in place, and then refuses the file."""
    if not context.by_option:
        return
    readers: dict[str, list[str]] = {}
    for weight in weights:
        readers.setdefault(weight.tensor, []).append(weight.node)
    for tensor, nodes in readers.items():
        if len(nodes) > 1:
            context.diags.error(
                "target-cannot",
                f"{context.capability.title} does not load weight `{tensor[:80]}` with `exact session`",
                span,
                label=f"read by {count(len(nodes), 'node')}: {', '.join(nodes[:3])}",
                help=["write `exact weights`, which needs no session option"],
            )
