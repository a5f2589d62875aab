"""Attributes of a node in words: those that say something else than the operator's own defaults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import onnx

from qdsl.graph.view import GraphView, NodeView

_LONGEST = 60


def attributes(node: NodeView, opset: int) -> Iterator[tuple[str, str]]:
    """Each (name, value), by name; a body as a digest of its nodes, a tensor as `(a tensor)`."""
    defaults = {} if node.domain else _defaults(node.op, opset)
    for name, value in sorted(node.attrs.items()):
        if name in node.bodies or (value is not None and defaults.get(name) == value):
            continue
        yield name, _shown(value)
    for name, body in sorted(node.bodies.items()):
        yield name, f"a graph of {len(body.nodes):,} nodes, {_digest(body)}"


def _shown(value: Any) -> str:
    if value is None:
        return "(a tensor)"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        text = " ".join(map(_shown, value))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}.. {_short(text)}"
    return str(value)


def _digest(body: GraphView) -> str:
    facts = [(n.op, n.domain, n.inputs, n.outputs, sorted(n.attrs.items(), key=lambda a: a[0])) for n in body.nodes]
    return _short(repr((facts, sorted(body.small.items()))))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()[:12]


@lru_cache(maxsize=512)
def _defaults(op: str, opset: int) -> Mapping[str, Any]:
    """Values that an exporter may write or leave out: both mean the same."""
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return {}
    found = {}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name:
            value = onnx.helper.get_attribute_value(attribute.default_value)
            found[name] = (
                value.decode() if isinstance(value, bytes) else tuple(value) if isinstance(value, list) else value
            )
    return found
