"""Activation functions, as one operator or spelled out: SiLU, hard-swish, Mish, GELU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdsl.graph.neighbours import constant_operand, once_per_view, other_operand, readers, regular, scalar, writer
from qdsl.graph.view import GraphView, NodeView

# Element-wise nonlinearities. Softmax is none: it normalises along an axis.
ACTIVATIONS = frozenset(
    [
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "Tanh",
        "HardSigmoid",
        "HardSwish",
        "Softplus",
        "Softsign",
        "Mish",
        "Elu",
        "Selu",
        "Celu",
        "ThresholdedRelu",
        "Gelu",
        "FastGelu",
        "BiasGelu",
        "QuickGelu",
        "Swish",
        "Silu",
        "Erf",
    ]
)
_GELU_OPS = frozenset({"Gelu", "FastGelu", "BiasGelu", "QuickGelu"})
_SILU_OPS = frozenset({"Swish", "Silu"})
_CUBIC = frozenset({"Mul", "Div", "Add", "Pow"})


@dataclass(frozen=True, slots=True)
class Spelled:
    """An activation of `tensor` spelled out in `nodes`, which read nothing else: `op` is the one operator for it, or
    its gate ("Sigmoid" for x * sigmoid(x))."""

    tensor: str
    nodes: frozenset[int]
    op: str


@once_per_view
def spelled(view: GraphView) -> tuple[Spelled, ...]:
    """The gated activations of `view` that several nodes make up."""
    found = [(frozenset({g.index, p.index}), g.op) for g, p in _gated(view, frozenset({"Sigmoid", "HardSigmoid"}))]
    for node in regular(view):
        if node.op == "Clip":
            found.append((frozenset(_hard_swish(view, node)), "HardSwish"))
        elif node.op == "Tanh":
            found.append((frozenset(_mish(view, node)), "Mish"))
        if node.op in {"Erf", "Tanh"}:
            found.append((frozenset(_spelled_gelu(view, node)), "Gelu"))
    sources = ((nodes, op, _sources(view, nodes)) for nodes, op in found if nodes)
    return tuple(Spelled(min(tensors), nodes, op) for nodes, op, tensors in sources if len(tensors) == 1)


def _sources(view: GraphView, nodes: frozenset[int]) -> set[str]:
    """The computed tensors that `nodes` read and do not write."""
    written = {name for index in nodes for name in view.nodes[index].outputs}
    read = {name for index in nodes for name in view.nodes[index].inputs if name and not view.is_constant(name)}
    return read - written


@once_per_view
def silu(view: GraphView) -> frozenset[int]:
    """The Sigmoid and the Mul of x * sigmoid(x) (Elfwing et al. 2017), and operators that are one SiLU."""
    found = {node.index for node in regular(view) if node.op in _SILU_OPS}
    for gate, product in _gated(view, frozenset({"Sigmoid"})):
        found |= {gate.index, product.index}
    return frozenset(found)


@once_per_view
def gelu(view: GraphView) -> frozenset[int]:
    """GELU (Hendrycks and Gimpel 2016): the operator, and every node of 0.5 x (1 + f(x)), f by Erf or Tanh."""
    found = {node.index for node in regular(view) if node.op in _GELU_OPS}
    for node in regular(view):
        if node.op in {"Erf", "Tanh"}:
            found |= _spelled_gelu(view, node)
    return frozenset(found)


@once_per_view
def activation(view: GraphView) -> frozenset[int]:
    """Every element-wise nonlinearity, with the Mul that a gated one ends in.

    A Sigmoid on a detector's scores or inside a squeeze-and-excitation gate is one as well (the gate's Mul is not);
    write `activation and not decode_head` for those between layers.
    """
    found = {node.index for node in regular(view) if node.op in ACTIVATIONS}
    found |= silu(view) | gelu(view)
    for gate, product in _gated(view, frozenset({"Sigmoid", "HardSigmoid"})):
        found |= {gate.index, product.index}
    for node in regular(view):
        if node.op == "Clip":
            found |= _hard_swish(view, node)
        elif node.op == "Tanh":
            found |= _mish(view, node)
    return frozenset(found)


def _gated(view: GraphView, gates: frozenset[str]) -> Iterator[tuple[NodeView, NodeView]]:
    """Pairs (gate, Mul) of x * gate(x)."""
    for gate in regular(view):
        if gate.op not in gates or not gate.inputs:
            continue
        for product in readers(view, gate.outputs[0]):
            if product.op == "Mul" and other_operand(product, gate.outputs[0]) == gate.inputs[0]:
                yield gate, product


def _hard_swish(view: GraphView, clip: NodeView) -> set[int]:
    """x * Clip(x + 3, 0, 6) / 6 (Howard et al. 2019), whichever of the product and the division comes first."""
    shift = writer(view, clip.inputs[0])
    if shift is None or shift.op != "Add" or _value_beside(view, shift) != 3.0:
        return set()
    x = _data(view, shift)
    path, tensor = [shift.index, clip.index], clip.outputs[0]
    for _ in range(2):
        user = _only_user(view, tensor)
        if user is None or user.op not in {"Mul", "Div"}:
            break
        path.append(user.index)
        if other_operand(user, tensor) == x:
            last = _only_user(view, user.outputs[0])
            scales = last is not None and last.op in {"Mul", "Div"} and _sixth(view, last)
            return {*path, *([last.index] if last is not None and scales and len(path) == 3 else [])}
        if not _sixth(view, user):
            break
        tensor = user.outputs[0]
    return set()


def _mish(view: GraphView, tanh: NodeView) -> set[int]:
    """x * tanh(softplus(x)) (Misra 2019)."""
    inner = writer(view, tanh.inputs[0])
    if inner is None or inner.op != "Softplus":
        return set()
    for product in readers(view, tanh.outputs[0]):
        if product.op == "Mul" and other_operand(product, tanh.outputs[0]) == inner.inputs[0]:
            return {inner.index, tanh.index, product.index}
    return set()


def _spelled_gelu(view: GraphView, curve: NodeView) -> set[int]:
    plus = _only_user(view, curve.outputs[0])
    if plus is None or plus.op != "Add" or _value_beside(view, plus) != 1.0:
        return set()
    path, tensor, halved = [curve.index, plus.index], plus.outputs[0], False
    for _ in range(2):
        user = _only_user(view, tensor)
        if user is None or user.op != "Mul":
            return set()
        path.append(user.index)
        if constant_operand(view, user) is None:
            return _closed_gelu(view, curve, user, tensor, path, halved)
        halved, tensor = True, user.outputs[0]
    return set()


def _closed_gelu(
    view: GraphView, curve: NodeView, product: NodeView, tensor: str, path: list[int], halved: bool
) -> set[int]:
    """The whole pattern when the product's other factor is the x under the curve, or x times a constant."""
    factor = other_operand(product, tensor)
    if factor is None:
        return set()
    scaler = writer(view, factor)
    scaled = scaler is not None and scaler.op in {"Mul", "Div"} and constant_operand(view, scaler) is not None
    for x, extra in ((factor, None), (_data(view, scaler) if scaled and scaler else None, scaler)):
        inside = None if x is None else _under_curve(view, curve, x)
        if inside is None:
            continue
        found = {*path, *inside, *([extra.index] if extra else [])}
        last = _only_user(view, product.outputs[0])
        if not halved and extra is None and last is not None and last.op == "Mul" and _value_beside(view, last) == 0.5:
            found.add(last.index)
        return found
    return set()


def _under_curve(view: GraphView, curve: NodeView, x: str) -> set[int] | None:
    """The nodes between `x` and the curve, when the curve's input is computed from x and constants alone; for Tanh
    there has to be a power of x among them."""
    found: set[int] = set()
    waiting, cubic = [curve.inputs[0]], False
    while waiting:
        tensor = waiting.pop()
        if tensor == x or view.is_constant(tensor):
            continue
        node = writer(view, tensor)
        if node is None or node.op not in _CUBIC or len(found) > 8:
            return None
        if node.index not in found:
            found.add(node.index)
            waiting += node.inputs
            cubic = cubic or node.op == "Pow" or (node.op == "Mul" and constant_operand(view, node) is None)
    return found if cubic or curve.op == "Erf" else None


def _only_user(view: GraphView, tensor: str) -> NodeView | None:
    users = readers(view, tensor)
    return users[0] if len(users) == 1 else None


def _data(view: GraphView, node: NodeView) -> str | None:
    """The operand beside the constant of a two-operand node."""
    constant = constant_operand(view, node)
    return None if constant is None else other_operand(node, constant)


def _value_beside(view: GraphView, node: NodeView) -> float | None:
    constant = constant_operand(view, node)
    return None if constant is None else scalar(view, constant)


def _sixth(view: GraphView, node: NodeView) -> bool:
    """Whether the node divides by six."""
    value = _value_beside(view, node)
    if value is None:
        return False
    return abs(value - 6.0) < 1e-6 if node.op == "Div" else abs(value - 1 / 6) < 1e-4
