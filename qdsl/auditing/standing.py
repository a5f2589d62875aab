"""Where Q and DQ stand in a file: what the rules of placement ask of a port, a tensor and a node.

Everything is by the names that the file has, on its graph with every Q and DQ in it (`Finished.view`): what a runtime
adds of itself is no placement of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

from qdsl.auditing.rule import Audited
from qdsl.capability import Row
from qdsl.finished.records import Form, QuantizedTensor, Role
from qdsl.graph.integer_operators import computes_in_integers
from qdsl.graph.moves import is_data_port, move_of
from qdsl.graph.neighbours import Weight, weighted
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.spec.plan import Prediction

T = TypeVar("T")

QUANTIZERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
DEQUANTIZERS = frozenset({"DequantizeLinear"})
# Of these forms a float tensor becomes integers while the model runs.
_PASSED = frozenset({Form.PAIR, Form.LONE_QUANTIZE, Form.LONE_DEQUANTIZE, Form.OPERATOR, Form.DYNAMIC, Form.FAKE})
_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64", None})
ORT = "ort"
TENSORRT = "tensorrt"
STM32 = "stm32"


def once_per_audit(compute: Callable[[Audited], T]) -> Callable[[Audited], T]:
    """Keeps a fact beside what it was asked of, as `functools.cached_property` would: rules share it."""
    key = f"{compute.__module__}.{compute.__qualname__}"

    @wraps(compute)
    def cached(audited: Audited) -> T:
        kept = audited.__dict__
        if key not in kept:
            kept[key] = compute(audited)
        found: T = kept[key]
        return found

    return cached


@dataclass(frozen=True, slots=True)
class Standing:
    """`reads`: the record through which a port reads its tensor, by (node, port); a port that is absent reads floats.
    `writes`: the records of an activation, by float tensor. `at`: the record that a Q, a DQ or an operator that holds
    parameters belongs to, by node."""

    view: GraphView
    reads: Mapping[tuple[str, int], QuantizedTensor]
    writes: Mapping[str, tuple[QuantizedTensor, ...]]
    at: Mapping[str, QuantizedTensor]

    def read(self, node: NodeView, port: int) -> QuantizedTensor | None:
        """How `node` reads that port; None where it reads floats."""
        return self.reads.get((node.name, port))

    def float_readers(self, tensor: str) -> tuple[Use, ...]:
        """Where `tensor` is read as it is, without its QuantizeLinear nodes; bodies, which read by name, too."""
        found = self.view.tensors.get(tensor)
        if found is None:
            return ()
        quantizing = {name for record in self.writes.get(tensor, ()) for name in record.quantizers}
        return tuple(use for use in found.uses if self.view.nodes[use.node].name not in quantizing)

    def is_float_output(self, tensor: str) -> bool:
        found = self.view.tensors.get(tensor)
        return found is not None and found.is_output

    def data_ports(self, node: NodeView) -> Iterator[int]:
        """The ports at which `node` reads floats that are computed: neither constants nor shapes."""
        for port, name in enumerate(node.inputs):
            record = self.read(node, port)
            if self._is_float_data(name) if record is None else record.role is Role.ACTIVATION:
                yield port

    def _is_float_data(self, tensor: str) -> bool:
        found = self.view.tensors.get(tensor)
        return found is not None and found.kind != "constant" and found.dtype in _FLOATS


@once_per_audit
def standing(audited: Audited) -> Standing:
    """Where Q and DQ stand in the file that is audited."""
    reads, at = {}, {}
    writes: dict[str, list[QuantizedTensor]] = {}
    for record in audited.finished.tensors:
        reads.update({(each.node, each.port): record for each in record.readers if each.node})
        at.update(dict.fromkeys((*record.quantizers, *record.dequantizers), record))
        if record.role is Role.ACTIVATION:
            writes.setdefault(record.tensor, []).append(record)
    return Standing(audited.finished.view, reads, {name: tuple(held) for name, held in writes.items()}, at)


@once_per_audit
def passes_integers(audited: Audited) -> bool:
    """Whether activations are quantized anywhere: a file of stored weights alone asks for nothing else."""
    return any(each.role is Role.ACTIVATION and each.form in _PASSED for each in audited.finished.tensors)


def unread(view: GraphView, node: NodeView) -> bool:
    """Whether nothing reads anything that `node` writes."""
    written = [view.tensors[name] for name in node.outputs if name in view.tensors]
    return not any(tensor.uses or tensor.is_output for tensor in written)


def weights(audited: Audited) -> Iterator[tuple[NodeView, Weight]]:
    """The nodes that multiply by a stored constant in floats or between Q and DQ, with it, in graph order; operators
    that hold integers themselves are none."""
    view = audited.finished.view
    for index, weight in weighted(view).items():
        if not computes_in_integers(view.nodes[index].op):
            yield view.nodes[index], weight


def left_in_floats(audited: Audited, node: NodeView, weight: Weight) -> bool:
    """Whether nothing of a layer is quantized: not its weights, nor what it reads but for a pair that others have it
    for."""
    stands = standing(audited)
    data, stored = stands.read(node, data_port(weight)), stands.read(node, weight.port)
    if stored is not None or data is None:
        return stored is None
    bias = any(stands.read(node, port) is not None for port in range(2, len(node.inputs)))
    return not bias and len(data.readers) > 1 and runs_in_floats(audited, node.name)


@once_per_audit
def mostly_signed(audited: Audited) -> bool:
    """Whether most activations are int8: then it is the file that has the type, not some of its tensors."""
    passed = [each for each in audited.finished.tensors if each.role is Role.ACTIVATION]
    return 2 * sum(each.parameters.element == "int8" for each in passed) > len(passed)


def is_kept(audited: Audited, node: NodeView, weight: Weight) -> bool:
    """Whether a layer is kept in floats on purpose: a DequantizeLinear with a scale per channel on an activation, which
    no kernel takes, keeps a runtime from quantizing the layer of itself."""
    view = audited.finished.view
    dequantizes = view.producer(node.inputs[data_port(weight)])
    if dequantizes is None or dequantizes.op not in DEQUANTIZERS or len(dequantizes.inputs) < 2:
        return False
    scale = view.tensors.get(dequantizes.inputs[1])
    return scale is not None and (scale.elements or 0) > 1


def data_port(weight: Weight) -> int:
    """The port of what the weight is multiplied with."""
    return 1 if weight.port == 0 else 0


def prediction(audited: Audited, node: str) -> Prediction | None:
    """What the target makes of a node; None for what is no operator of the float graph."""
    return audited.predictions.get(node)


def runs_in_floats(audited: Audited, node: str) -> bool:
    """Whether the target is known to compute the node in floats."""
    found = prediction(audited, node)
    return found is not None and found.runs == "float"


def in_integers(audited: Audited, node: str) -> bool:
    """Whether the target is known to compute or to move the node's values as integers."""
    found = prediction(audited, node)
    return found is not None and found.runs in ("integer", "absorbed") and not found.float_products


def reason(audited: Audited, node: str) -> str:
    """The key of the table's sentence that says why a node runs in floats; "" where none of them does."""
    found = prediction(audited, node)
    if found is None or found.runs != "float":
        return ""
    known = _told(audited)
    if found.because not in known:
        known[found.because] = _key(audited, found.because)
    return known[found.because]


@once_per_audit
def _told(audited: Audited) -> dict[str, str]:
    """Keys by sentence, as they are asked for: many nodes run in floats for one reason."""
    return {}


def _key(audited: Audited, because: str) -> str:
    return next((key for key, said in _sentences(audited).items() if said.fullmatch(because)), "")


@once_per_audit
def _sentences(audited: Audited) -> Mapping[str, re.Pattern[str]]:
    """The reasons that say something by themselves, as patterns; those that begin with what they are given say none."""
    told = audited.capability.reasons.items()
    return {key: _pattern(text) for key, text in told if not text.startswith("{because}")}


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", sentence)
    return re.compile(".+?".join(map(re.escape, parts)))


def row_of(audited: Audited, node: NodeView) -> Row:
    """The row of the target's table that speaks of `node`."""
    return audited.capability.row_for(node, audited.finished.view)


def behind_activation(audited: Audited, node: NodeView) -> str:
    """What the node writes, or the Relu or Clip behind it that would be part of its kernel."""
    view, tensor = audited.finished.view, node.outputs[0]
    after = view.users(tensor)
    if len(after) != 1 or view.is_open(tensor) or after[0].op not in row_of(audited, node).absorbs:
        return tensor
    return after[0].outputs[0]


@dataclass(frozen=True, slots=True)
class Moved:
    """The tensor whose values another one holds, and the node that moved them first."""

    tensor: str
    node: str


@once_per_audit
def moved(audited: Audited) -> Mapping[str, Moved]:
    """Every tensor that holds values of another one as they are, by name. A DequantizeLinear makes a tensor of its
    own."""
    found: dict[str, Moved] = {}
    for node in audited.finished.view.nodes:
        if move_of(node) is None or not node.inputs or not is_data_port(node, 0):
            continue
        source = found.get(node.inputs[0], Moved(node.inputs[0], node.name))
        found.update(dict.fromkeys(filter(None, node.outputs), source))
    return found
