"""Spell HardSigmoid in one way.

Rules, on float32 tensors and scalar constants, where nobody else reads what stands between:

    Clip(Add(x, c), 0, d) / d          ->  HardSigmoid(x, alpha = 1 / d, beta = c / d)     relu6(x + 3) / 6
    x * Clip(Add(x, c), 0, d) / d      ->  x * HardSigmoid(x, ..)                          HardSwish before opset 14
    Clip(Add(Mul(x, a), b), 0, 1)      ->  HardSigmoid(x, alpha = a, beta = b)             a > 0

A division may be a multiplication by the inverse. The third is left where x comes from a convolution or Gemm that is
read by nothing else: factor and term then fold into its weights, which costs nothing.
Refuses nothing: what differs from these is another function.
Guarantees that the last node keeps its name and its output; the same function, rounded in another order (1e-6 of 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.bounds import bounds
from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import become, fresh_tensor_name, remove_node, rename_tensor
from qdsl.graph.model import Model
from qdsl.graph.walk import only_reader, only_writer
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_CLOSE = 1e-5  # exporters write 1/6 with six digits and more
_FOLDS = ("Conv", "ConvTranspose", "Gemm")


class _Gate(NamedTuple):
    """HardSigmoid of `data`; `gone` are the nodes that it stands for, but for `at`, which becomes it. `product` is the
    node that then multiplies by x, None where nothing does."""

    data: gs.Tensor
    alpha: float
    beta: float
    at: gs.Node
    gone: tuple[gs.Node, ...]
    product: gs.Node | None = None


@dataclass(frozen=True, slots=True)
class NormaliseHard(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_hard"
    summary: ClassVar[str] = "spell HardSigmoid in one way"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            gate = _gate(model, node) if is_op(node, "Clip") and node.outputs else None
            if gate is None:
                continue
            changes.fire("hard_sigmoid", [one.name for one in (*gate.gone, gate.at)])
            _rewrite(model, gate)
        return changes.outcome()


def _gate(model: Model, clip: gs.Node) -> _Gate | None:
    ends, added = bounds(clip), _by_scalar(only_writer(model, clip.inputs[0]), "Add")
    if ends is None or added is None or ends[0] != 0 or not 0 < ends[1] < np.inf or not _float32(clip.outputs[0]):
        return None
    add, data, term = added
    return _divided(model, clip, add, data, term, ends[1]) or (
        _scaled(model, clip, add, data, term) if ends[1] == 1 else None
    )


def _divided(model: Model, clip: gs.Node, add: gs.Node, data: gs.Tensor, term: float, high: float) -> _Gate | None:
    """The first two rules."""
    reader = only_reader(model, clip.outputs[0])
    if reader is not None and _divides(reader, clip.outputs[0], high):
        return _Gate(data, 1 / high, term / high, reader, (add, clip))
    gated = reader is not None and is_op(reader, "Mul") and any(tensor is data for tensor in reader.inputs)
    last = only_reader(model, reader.outputs[0]) if gated and reader is not None else None
    if last is None or reader is None or not _divides(last, reader.outputs[0], high):
        return None
    return _Gate(data, 1 / high, term / high, clip, (add, reader), last)


def _scaled(model: Model, clip: gs.Node, add: gs.Node, data: gs.Tensor, term: float) -> _Gate | None:
    """The third rule."""
    found = _by_scalar(only_writer(model, data), "Mul", "Div")
    if found is None:
        return None
    scale, inner, factor = found
    alpha = 1 / factor if scale.op == "Div" and factor else factor
    source = inner.inputs[0] if inner.inputs else None
    folds = source is not None and is_op(source, *_FOLDS) and len(inner.outputs) == 1 and not model.is_output(inner)
    if folds or alpha <= 0 or (scale.op == "Div" and scale.inputs[0] is not inner):
        return None
    return _Gate(inner, alpha, term, clip, (scale, add))


def _by_scalar(node: gs.Node | None, *ops: str) -> tuple[gs.Node, gs.Tensor, float] | None:
    """One of `ops` by a scalar constant: the node, what else it reads, and the number."""
    if node is None or not is_op(node, *ops) or len(node.inputs) != 2:
        return None
    for data, other in (node.inputs, reversed(node.inputs)):
        if isinstance(data, gs.Constant) or not isinstance(other, gs.Constant):
            continue
        shape = lazy_of(other).shape
        if np.prod(shape) == 1 and data.shape is not None and len(shape) <= len(data.shape):
            return node, data, float(lazy_of(other).load().reshape(-1)[0])
    return None


def _divides(node: gs.Node, tensor: gs.Tensor, by: float) -> bool:
    """Whether a node divides `tensor` by a number, or multiplies by its inverse."""
    found = _by_scalar(node, "Div", "Mul")
    if found is None or found[1] is not tensor or (node.op == "Div" and node.inputs[0] is not tensor):
        return False
    number = found[2] if node.op == "Div" else 1 / found[2] if found[2] else np.inf
    return abs(number / by - 1) <= _CLOSE


def _float32(tensor: gs.Tensor) -> bool:
    return not isinstance(tensor, gs.Constant) and tensor.dtype == np.float32


def _rewrite(model: Model, gate: _Gate) -> None:
    become(model, gate.at, "HardSigmoid", [gate.data], {"alpha": gate.alpha, "beta": gate.beta})
    if gate.product is not None:
        held = gate.at.outputs[0]
        rename_tensor(model, held, fresh_tensor_name(model, f"{held.name}_gate"))
        become(model, gate.product, "Mul", [gate.data, held])
    for node in gate.gone:
        remove_node(model, node)
