"""Model-local functions are expanded on loading: everything after sees plain operators."""

from __future__ import annotations

from collections.abc import Sequence

import onnx.inliner
from onnx import ModelProto, NodeProto

from qdsl.diag import Diagnostic, Span
from qdsl.graph.checks import bodies
from qdsl.graph.limits import Limits
from qdsl.graph.problems import note, problem

_Key = tuple[str, str, str]


def inline_functions(
    model: ModelProto, limits: Limits, span: Span | None = None
) -> tuple[ModelProto, Sequence[Diagnostic]]:
    """The model with its functions expanded. Raises `model-functions` when they call each other in a circle, grow
    beyond `limits.nodes`, or cannot be expanded."""
    if not model.functions:
        return model, ()
    size = _expanded(model, span)
    if size > limits.nodes:
        raise problem(
            span, "model-functions", f"the model's functions expand to {size} nodes; {limits.nodes} are allowed"
        )
    count = len(model.functions)
    try:
        inlined = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the C++ side throws several unrelated types
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise problem(span, "model-functions", f"the model's functions cannot be expanded: {text}") from None
    return inlined, (note(span, "model-functions", f"model-local functions were expanded: {count}"),)


def _expanded(model: ModelProto, span: Span | None) -> int:
    """How many nodes the graph has once every call is replaced by its body."""
    table = {(f.domain, f.name, f.overload): _calls(f.node) for f in model.functions}
    sizes: dict[_Key, int] = {}
    for start in table:
        stack, open_now = [start], set()
        while stack:
            here = stack[-1]
            open_now.add(here)
            waiting = next((call for call in table[here] if call in table and call not in sizes), None)
            if waiting is None:
                sizes[here] = _sum(table[here], sizes)
                open_now.discard(stack.pop())
            elif waiting in open_now:
                raise problem(span, "model-functions", f"function `{waiting[1][:80]}` calls itself")
            else:
                stack.append(waiting)
    return _sum(_calls(model.graph.node), sizes)


def _calls(nodes: Sequence[NodeProto]) -> list[_Key]:
    found = [(node.domain, node.op_type, node.overload) for node in nodes]
    for node in nodes:
        for body in bodies(node.attribute):
            found += _calls(body.node)
    return found


def _sum(calls: Sequence[_Key], sizes: dict[_Key, int]) -> int:
    return sum(sizes.get(call, 1) for call in calls)
