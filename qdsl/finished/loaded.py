"""What a runtime makes of a file when it loads it: constants computed, nodes that do nothing taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qdsl.graph import Model
from qdsl.graph.folded import folded
from qdsl.graph.view import GraphView, NodeView, TensorView

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_CONSTANT = "Constant"
_RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")
_MEASURED = frozenset({"Shape", "Size"})
_CAST = "Cast"
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}
_SMALL_ELEMENTS = 64
_COPIES = frozenset({"Identity", "Dropout"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """By name: `nodes` that are computed when the file is loaded, `tensors` that these write, and `copies`, nodes that
    hand on a tensor as it is, each with its name."""

    nodes: frozenset[str]
    tensors: frozenset[str]
    copies: Mapping[str, str]


def loaded(model: Model, view: GraphView) -> Loaded:
    """What is made of `model`, of which `view` is the graph. Linear in its size. A DequantizeLinear is not computed, so
    that kernels find the integers."""
    return _Loading(model, view).found()


class _Loading:
    def __init__(self, model: Model, view: GraphView) -> None:
        self._model = model
        self._view = view
        self._nodes: set[str] = set()
        self._tensors: set[str] = set()
        self._copies: dict[str, str] = {}

    def found(self) -> Loaded:
        for node in self._view.nodes:
            if self._computed(node):
                self._nodes.add(node.name)
                self._tensors.update(filter(None, node.outputs))
            elif (source := self._copied(node)) is not None:
                self._copies[node.name] = source
        return Loaded(frozenset(self._nodes), frozenset(self._tensors), self._copies)

    def _constant(self, name: str) -> bool:
        return name in self._tensors or (self._view.is_constant(name) and name not in self._model.replaceable)

    def _computed(self, node: NodeView) -> bool:
        if node.op == DEQUANTIZE or node.op.startswith(_RANDOM) or node.bodies or not _plain(node):
            return False
        if any(self._view.tensors[name].is_output for name in node.outputs if name):
            return False
        if node.op == _CONSTANT:
            return True
        read = [name for name in node.inputs if name]
        if node.op in _MEASURED and _fixed_shape(self._view, read[:1]):
            return True
        return bool(read) and all(map(self._constant, read))

    def _copied(self, node: NodeView) -> str | None:
        """What a node between two tensors of the graph hands on as it is: an Identity, a Dropout whose mask nobody
        reads, the addition of 0, a Cast to the type that is there."""
        whole = _plain(node) and any(node.inputs[:1]) and any(node.outputs[:1])
        if not whole or self._view.tensors[node.outputs[0]].is_output:
            return None
        if node.op in _COPIES:
            mask = node.outputs[1] if len(node.outputs) > 1 else ""
            read = mask and (self._view.tensors[mask].uses or self._view.tensors[mask].is_output)
            return None if read else node.inputs[0]
        if node.op == _CAST:
            types = [self._view.tensors[name].dtype for name in (node.inputs[0], node.outputs[0])]
            return node.inputs[0] if types[0] is not None and types[0] == types[1] else None
        return self._neutral(node) if node.op in _NEUTRAL else None

    def _neutral(self, node: NodeView) -> str | None:
        """The other operand of the addition of 0, or the product with 1, where a node writes it."""
        if len(node.inputs) != 2 or not all(node.inputs):
            return None  # of com.microsoft: nobody has checked it
        for port in (0, 1) if node.op in ("Add", "Mul") else (1,):
            name, other = node.inputs[port], node.inputs[1 - port]
            rank, most = _rank(self._view, name), _rank(self._view, other)
            fits = rank is not None and most is not None and rank <= most
            fits = fits and self._view.producer(other) is not None
            if fits and self._constant(name) and not self._constant(other) and self._only(name) == _NEUTRAL[node.op]:
                return other
        return None

    def _only(self, name: str) -> float | None:
        """The value of a constant of one element."""
        if self._view.tensors[name].elements != 1:
            return None
        value = self._view.small.get(name) or small_values(self._model, [name], self._view.tensors).get(name)
        return float(value[0]) if value else None


def _rank(view: GraphView, name: str) -> int | None:
    shape = view.tensors[name].shape
    return None if shape is None else len(shape)


def _plain(node: NodeView) -> bool:
    return node.domain in ("", "ai.onnx", "com.microsoft")


def _fixed_shape(view: GraphView, names: Iterable[str]) -> bool:
    shapes = [view.tensors[name].shape for name in names]
    return all(shape is not None and all(isinstance(dim, int) for dim in shape) for shape in shapes)


def small_values(
    model: Model, names: Iterable[str], tensors: Mapping[str, TensorView]
) -> dict[str, tuple[int | float | bool, ...]]:
    """The values of few elements among computed tensors, flattened, as `GraphView.small` has those that are stored."""
    found = {}
    for name in names:
        elements = tensors[name].elements
        value = folded(model, name) if elements is not None and elements <= _SMALL_ELEMENTS else None
        if value is not None and value.dtype.kind in "biuf":
            found[name] = tuple(value.reshape(-1).tolist())
    return found
