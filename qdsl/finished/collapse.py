"""A finished file as a float graph without its Q and DQ nodes, and the edges that say what these said.

What a runtime computes when it loads a file is a constant here, and its nodes are gone: a Constant, a Shape of what is
known, whatever hangs on them. So are nodes that do nothing, such as Identity. They are `known`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from qdsl.finished.collapsed import Collapsed
from qdsl.finished.loaded import DEQUANTIZE, QUANTIZE, loaded, small_values
from qdsl.finished.quants import Around, bias_fits, quant_of
from qdsl.finished.records import Finished, Form, Parameters
from qdsl.graph.integer_operators import computes_in_integers
from qdsl.graph.view import GraphView, NodeView, TensorView, Use
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import INT32, OUTPUT, Edges, Quant, Written
from qdsl.spec.plan import WIDENING, Prediction

_GONE = Prediction("absorbed", "", "", "the runtime computes it when it loads the file, or takes it out")
_FEW = 8  # elements of constants that are told apart by value
_MEASURES = "DynamicQuantizeLinear"


def collapse(finished: Finished) -> Collapsed:
    """The float graph of a file, and which of its edges carry integers. Linear in the size of the graph.

    A tensor is known by what a QuantizeLinear reads, or by what a DequantizeLinear writes where its integers come from
    elsewhere: a stored constant, a graph input, an integer operator, a QuantizeLinear with other parameters. Where a
    second pair stands behind a first, what stands between the two is a tensor that no node writes, and
    `Edges.repeated` says what it repeats.
    """
    return _Collapsing(finished).done()


@dataclass(frozen=True, slots=True)
class _Value:
    """What a tensor of the file is in the collapsed graph: a tensor there, and how it is read."""

    tensor: str
    quant: Quant | None = None


@dataclass(frozen=True, slots=True)
class _Integers:
    """What a QuantizeLinear writes: of which tensor, and how."""

    tensor: str
    quant: Quant
    key: str


class _Collapsing:
    def __init__(self, finished: Finished) -> None:
        self._file, self._model = finished.view, finished.model
        self._parameters = _by_node(finished)
        self._fakes = {name for each in finished.tensors if each.form is Form.FAKE for name in each.quantizers}
        self._loaded = loaded(finished.model, finished.view)
        self._scales = self._shared()
        self._values: dict[str, _Value] = {}
        self._integers: dict[str, _Integers] = {}
        self._tensors: dict[str, TensorView] = {}
        self._nodes: list[NodeView] = []
        self._places: dict[int, int] = {}
        self._uses: dict[str, list[tuple[Use, Quant | None]]] = {}
        self._writers: dict[str, int] = {}
        self._besides = 0
        self._quants: dict[str, list[Quant]] = {}
        self._repeated: dict[str, tuple[str, Quant]] = {}
        self._known: dict[str, Prediction] = {}
        self._written: dict[str, Parameters] = {}

    def done(self) -> Collapsed:
        for node in self._file.nodes:
            self._take(node)
        outputs = [self._value(name) for name in self._file.outputs]
        view = self._view(dict.fromkeys(each.tensor for each in outputs))
        return Collapsed(view, self._edges(view, outputs), self._known)

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _take(self, node: NodeView) -> None:
        if node.name in self._fakes:
            self._quantize(node, node.outputs[0])
            self._dequantize(node, node.outputs[0])
        elif node.op == QUANTIZE and node.name in self._parameters:
            self._quantize(node, node.outputs[0])
        elif node.op == DEQUANTIZE and node.name in self._parameters:
            self._dequantize(node, node.inputs[0])
        elif node.name in self._loaded.nodes:
            self._known[node.name] = _GONE
            for name in filter(None, node.outputs):
                self._tensors[name] = replace(self._file.tensors[name], kind="constant", producer=None)
        elif node.name in self._loaded.copies:
            self._known[node.name] = _GONE
            self._values[node.outputs[0]] = self._value(self._loaded.copies[node.name])
        else:
            self._keep(node)

    def _quantize(self, node: NodeView, written: str) -> None:
        """Notes a Q: its tensor is what it reads, or, behind another pair, what stands between the two."""
        source, parameters = self._value(node.inputs[0]), self._parameters[node.name]
        tensor = source.tensor
        if source.quant is not None:
            tensor = node.inputs[0]
            if tensor not in self._repeated and tensor != source.tensor:
                self._repeat(tensor, source.tensor, source.quant)
        quant = quant_of(parameters, self._around(node, bare=node.name not in self._fakes and self._bare(written)))
        if quant is None:
            return
        self._written[quant.params] = parameters
        self._integers[written] = _Integers(tensor, quant, parameters.key)
        self._quants.setdefault(tensor, []).append(quant)

    def _repeat(self, tensor: str, source: str, quant: Quant) -> None:
        """`tensor` is what a pair on `source` gives, and a Q reads it."""
        self._read_besides(source, quant)
        self._repeated[tensor] = (source, quant)
        self._tensors[tensor] = replace(self._file.tensors[tensor], kind="activation", producer=None)

    def _read_besides(self, tensor: str, quant: Quant) -> None:
        """A DequantizeLinear that no node reads: nobody does, or another QuantizeLinear. It counts all the same."""
        self._besides += 1
        self._uses.setdefault(tensor, []).append((Use(-1, OUTPUT.port - self._besides), quant))

    def _dequantize(self, node: NodeView, read: str) -> None:
        parameters, output = self._parameters[node.name], node.outputs[0]
        written = self._integers.get(read)
        if written is not None and written.key == parameters.key:
            self._values[output] = _Value(written.tensor, written.quant)
            if not self._read(output):
                self._read_besides(written.tensor, written.quant)
            return
        quant = quant_of(parameters, self._around(node, bare=True))
        if quant is None:
            return
        self._written[quant.params] = parameters
        constant = self._constant(read)
        shape = self._file.tensors[read].shape or self._file.tensors[output].shape
        kind = "constant" if constant else "activation"
        self._tensors[output] = replace(self._file.tensors[output], kind=kind, producer=None, shape=shape)
        self._values[output] = _Value(output, quant)

    def _keep(self, node: NodeView) -> None:
        index = self._places[node.index] = len(self._nodes)
        values = [self._value(name) for name in node.inputs]
        for port, value in enumerate(values):
            if value.tensor:
                self._uses.setdefault(value.tensor, []).append((Use(index, port), value.quant))
        self._writers.update(dict.fromkeys(filter(None, node.outputs), index))
        self._nodes.append(replace(node, index=index, inputs=tuple(value.tensor for value in values)))
        verdict = _known(node)
        if verdict is not None:
            self._known[node.name] = verdict

    # --- what stands around a tensor of the file ------------------------------------------------------------------

    def _value(self, name: str) -> _Value:
        return self._values.get(name) or _Value(name)

    def _constant(self, name: str) -> bool:
        stored = self._file.is_constant(name) and name not in self._model.replaceable
        return stored or name in self._loaded.tensors

    def _around(self, node: NodeView, *, bare: bool) -> Around:
        axis = node.attrs.get("axis", 1)
        constant = all(self._constant(name) for name in node.inputs[1:3] if name)
        scale = node.inputs[1] if len(node.inputs) > 1 else ""  # of some quantizers it is not in the file
        own = bool(scale) and self._scales[self._identity(scale)] == 1
        site = " ".join((node.domain, *node.inputs[2:3]))
        return Around(constant, own, axis if isinstance(axis, int) else 1, bare, site)

    def _shared(self) -> Counter[object]:
        """How many ports of nodes that run read each constant."""
        running = (node for node in self._file.nodes if node.name not in self._loaded.nodes)
        return Counter(
            self._identity(name) for node in running for name in node.inputs if name and self._constant(name)
        )

    def _identity(self, name: str) -> object:
        """What makes two constants one to a runtime: their values where these are few."""
        values, tensor = self._file.small.get(name), self._file.tensors[name]
        return name if values is None or len(values) > _FEW else (tensor.dtype, tensor.shape, values)

    def _read(self, name: str) -> bool:
        found = self._file.tensors[name]
        return bool(found.uses) or found.is_output

    def _bare(self, name: str) -> bool:
        """Whether something other than a DequantizeLinear takes the integers called `name`."""
        found = self._file.tensors[name]
        return found.is_output or any(use.port < 0 or not self._dequantizes(use) for use in found.uses)

    def _dequantizes(self, use: Use) -> bool:
        node = self._file.nodes[use.node]
        return node.op == DEQUANTIZE and use.port == 0

    # --- the result ---------------------------------------------------------------------------------------------------

    def _view(self, outputs: Mapping[str, None]) -> GraphView:
        for name, tensor in self._file.tensors.items():
            for use in tensor.uses:
                self._capture(name, use)
        names = dict.fromkeys((*self._file.inputs, *self._uses, *self._writers, *self._quants, *outputs))
        tensors = {name: self._tensor(name, name in outputs) for name in names if name}
        small = {name: value for name, value in self._file.small.items() if name in tensors}
        small |= small_values(self._model, filter(self._loaded.tensors.__contains__, tensors), tensors)
        return replace(self._file, nodes=tuple(self._nodes), tensors=tensors, outputs=tuple(outputs), small=small)

    def _capture(self, name: str, use: Use) -> None:
        """A body that reads a tensor by its name reads what stands for it."""
        if use.port < 0:
            value = self._value(name)
            self._uses.setdefault(value.tensor, []).append((Use(self._places[use.node], -1), value.quant))

    def _tensor(self, name: str, is_output: bool) -> TensorView:
        found = self._tensors.get(name) or self._file.tensors[name]
        if name in self._model.replaceable and found.kind == "constant":
            found = replace(found, kind="input")
        uses = tuple(use for use, _ in self._uses.get(name, ()) if use.node >= 0)
        return replace(found, producer=self._writers.get(name), uses=uses, is_output=is_output)

    def _edges(self, view: GraphView, outputs: Iterable[_Value]) -> Edges:
        written = {name: Written() for name, tensor in view.tensors.items() if self._writes(tensor)}
        edges = Edges({}, written, repeated=self._repeated)
        for name, quants in self._quants.items():
            for each in quants if name in written else ():
                written[name].add(each, ())
        for name, uses in self._uses.items():
            for use, quant in uses:
                _note(edges, name, use, quant)
        for value in outputs:
            if value.tensor in written and value.quant is None:
                written[value.tensor].graph_output = True
            elif value.quant is not None:
                _note(edges, value.tensor, OUTPUT, value.quant)
        edges.fits = dict(self._fits(view, edges.reads))
        return edges

    def _fits(self, view: GraphView, reads: Mapping[Use, Quant]) -> Iterator[tuple[Use, Interval]]:
        for node in view.nodes:
            weight, bias = (reads.get(Use(node.index, port)) for port in (1, 2))
            if weight is not None and bias is not None and bias.dtype is INT32:
                yield Use(node.index, 2), bias_fits(self._written[weight.params], self._written[bias.params])

    def _writes(self, tensor: TensorView) -> bool:
        """Whether something quantizes the tensor, or may: not where floats are made of integers of elsewhere alone."""
        return tensor.kind != "constant" and (tensor.name not in self._values or tensor.name in self._quants)


def _note(edges: Edges, name: str, use: Use, quant: Quant | None) -> None:
    written = edges.written.get(name)
    if quant is not None and use.port >= 0:
        edges.reads[use] = quant
    if written is None:
        return
    if quant is None:
        written.floats[use] = None
    else:
        written.add(quant, (use,))


def _by_node(finished: Finished) -> dict[str, Parameters]:
    """The parameters of every Q and DQ, by the name of the node."""
    return {
        name: each.parameters for each in finished.tensors for name in (*each.quantizers, *each.dequantizers) if name
    }


def _known(node: NodeView) -> Prediction | None:
    """The verdict on a node that has integers by its own operator."""
    if computes_in_integers(node.op) or node.op in WIDENING:
        return Prediction("integer", node.op, "", "an integer operator in the file itself")
    if node.op == _MEASURES:
        return Prediction("float", node.op, "", "makes integers of floats while the model runs")
    return None
