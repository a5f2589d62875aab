"""Multiply-accumulates of attention in one node: scores of every query with every key, and the values they weigh."""

from __future__ import annotations

from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.macs_shapes import dim, given, shape, times, total


def attention(view: GraphView, node: NodeView) -> int | None:
    """ONNX Attention (opset 23): Q, K, V as [batch, sequence, heads x size] or [batch, heads, sequence, size]."""
    query, key, value = (shape(view, given(node, port)) for port in range(3))
    if query is None or key is None or value is None or not len(query) == len(key) == len(value):
        return None
    keys = _with_past(view, given(node, 4), key[-2])
    if len(query) == 4:
        weighed = times(query[1], value[3])
    elif len(query) == 3:
        heads, groups = node.attrs.get("q_num_heads"), node.attrs.get("kv_num_heads")
        if not isinstance(heads, int) or not isinstance(groups, int) or value[2] is None or not groups:
            return None
        weighed = heads * (value[2] // groups)
    else:
        return None
    return total((times(*query, keys), times(query[0], query[-2], keys, weighed)))


def joint_attention(view: GraphView, node: NodeView) -> int | None:
    """Attention and QAttention of com.microsoft: the projections of one input, then attention on itself."""
    taken, weights = shape(view, given(node, 0)), shape(view, given(node, 1), -1)
    if taken is None or weights is None or len(taken) != 3 or len(weights) != 2 or weights[1] is None:
        return None
    widths = node.attrs.get("qkv_hidden_sizes")
    parts = widths if isinstance(widths, tuple) and len(widths) == 3 else (weights[1] // 3,) * 3
    past = given(node, 8 if node.op == "QAttention" else 4)
    keys = taken[1] if not past else _sum(taken[1], dim(view, past, 3))
    projected = times(*taken, weights[1])
    return total((projected, *(times(taken[0], taken[1], keys, int(parts[at])) for at in (0, 2))))


def multi_head_attention(view: GraphView, node: NodeView) -> int | None:
    """MultiHeadAttention of com.microsoft, with separate queries [batch, sequence, size]; packed forms are not
    known."""
    query, key, value = (shape(view, given(node, port)) for port in range(3))
    if query is None or key is None or value is None or len(query) != 3 or len(key) != len(value):
        return None
    if len(key) == 3:
        count, width = key[1], value[2]
    elif len(key) == 4:  # [batch, heads, sequence, size]
        count, width = key[2], times(value[1], value[3])
    else:
        return None
    keys = _with_past(view, given(node, 6), count)
    return total((times(*query, keys), times(query[0], query[1], keys, width)))


def _with_past(view: GraphView, past: str, count: int | None) -> int | None:
    """The keys that are looked at: those given and those kept from before, [batch, heads, past, size]."""
    return _sum(count, dim(view, past, 2)) if past else count


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
