"""Judges nodes by the rows of a target's table, given which edges carry integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qdsl.capability import ABSORBED, COMPUTE, MOVES, Capability, Row
from qdsl.capability.float16 import RUNS_HALF, Float16Row, float16_for
from qdsl.capability.rows import WeightOnly, summed_axis
from qdsl.graph.view import GraphView, NodeView, Use
from qdsl.predict.bounds import ANYTHING, clip_limits, fixed_tensors
from qdsl.predict.edges import INT32, Edges, Quant, Written
from qdsl.spec import DTYPES, DType, Granularity
from qdsl.spec.plan import Prediction

# Limits are compared as integers where a kernel takes the activation in, else as they are (up to float32's precision).
_ROUNDED, _EXACT = 0.499, 1e-6
_CUTS = ("Relu", "Clip")
_FLOATS = ("float32", "float16", "float64", "bfloat16")


# A type as planned and as it runs: an int8 pair may run as uint8.
_Types = tuple[DType, DType]


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a node does not run in integers: a key of the table's reasons, and what to fill in."""

    key: str
    values: tuple[tuple[str, str], ...] = ()


def _miss(key: str, **values: object) -> Miss:
    return Miss(key, tuple((name, str(value)) for name, value in values.items()))


@dataclass(frozen=True, slots=True)
class _Exit:
    """Where a node's result is quantized: the tensor, and the activations folded on the way to it."""

    tensor: str
    folded: tuple[int, ...] = ()


class Judge:
    """Holds one graph, its edges and one table while its nodes are judged, in graph order."""

    def __init__(self, view: GraphView, edges: Edges, capability: Capability) -> None:
        self._view = view
        self._edges = edges
        self._capability = capability
        self._rows = tuple(capability.row_for(node, view) for node in view.nodes)
        self._absorbed: dict[int, str] = {}
        self._fixed = fixed_tensors(view)

    def all(self) -> dict[str, Prediction]:
        """The prediction of every node, by name, in graph order."""
        found = {node.name: self._node(node) for node in self._view.nodes if node.outputs}
        for index, host in self._absorbed.items():
            node = self._view.nodes[index]
            found[node.name] = Prediction("absorbed", host, self._rows[index].name, self._say("folded"))
        return found

    def _node(self, node: NodeView) -> Prediction:
        row = self._rows[node.index]
        if not self._has_float_data(node):
            return Prediction("moves", node.op, row.name, self._say("no_float"))
        half = self._widened(node)
        if half is not None:
            return Prediction("float", node.op, half.name, half.because)
        if row.kind == COMPUTE and row.lowered and not self._edges.lowered:
            return self._verdict(node, row, _miss("not_lowered"), "")
        if row.kind == COMPUTE:
            return self._compute(node, row)
        if row.kind == MOVES:
            miss = self._moves(node, row)
            return self._verdict(node, row, miss, row.kernel_for(node))
        if row.kind == ABSORBED:
            return self._activation(node, row)
        return Prediction("float", node.op, row.name, row.because)

    def _verdict(self, node: NodeView, row: Row, miss: Miss | None, kernel: str, because: str = "") -> Prediction:
        if miss is None:
            return Prediction("integer", kernel, row.name, because or row.because)
        return Prediction("float", node.op, row.name, self._say(miss.key, **dict(miss.values)))

    def _say(self, key: str, **values: str) -> str:
        return self._capability.reasons[key].format(**values)

    def _has_float_data(self, node: NodeView) -> bool:
        """Whether the node reads or writes float data; unknown types count as float."""
        names = (*node.inputs[:1], *node.outputs)
        kinds = [self._view.tensors[name].dtype for name in names if name in self._view.tensors]
        return any(kind is None or kind in _FLOATS for kind in kinds)

    def _widened(self, node: NodeView) -> Float16Row | None:
        """Why float16 values stand between the node and its Q and DQ: the runtime has no kernel for them, and Casts."""
        kinds = [self._view.tensors[name].dtype for name in (*node.inputs[:1], *node.outputs[:1]) if name]
        half = float16_for(self._capability.halves, node) if "float16" in kinds else None
        return half if half is not None and half.runs != RUNS_HALF else None

    # --- rows that compute ------------------------------------------------------------------------------------------

    def _compute(self, node: NodeView, row: Row) -> Prediction:
        miss = self._inputs(node, row)
        if miss is not None:
            return self._weight_only(node, row, miss)
        found = self._exit(node, row)
        if isinstance(found, Miss) and row.reads_alone:
            found = None
        if isinstance(found, Miss):
            return self._verdict(node, row, found, "")
        miss = self._types(node, row, found.tensor if found else None) or self._bias(node, row, found)
        kernel = row.kernel_for(node) if found else row.float_output_kernel or row.kernel_for(node)
        if miss is None and found is not None:
            self._absorbed.update(dict.fromkeys(found.folded, kernel))
        if row.beyond_kernel and found is not None and not self._within_unit(found.tensor):
            kernel = row.beyond_kernel
        verdict = self._verdict(node, row, miss, kernel)
        bare = [port for port in row.weight_ports(node, self._view) if Use(node.index, port) not in self._edges.reads]
        if miss is not None or not bare:
            return verdict
        return replace(verdict, because=self._say("runtime_weight", because=row.because, type=str(row.runtime_weight)))

    def _within_unit(self, tensor: str) -> bool:
        """Whether what is stored of `tensor` lies in [0, 1], give or take half a step."""
        quant = next(iter(self._edges.written[tensor].quants))
        return quant.lowest_zero and quant.reach is not None and quant.reach[1] - _ROUNDED * quant.step <= 1

    def _inputs(self, node: NodeView, row: Row) -> Miss | None:
        """Every data and weight port must read integers of a type the kernel takes."""
        view = self._view
        alpha = node.attrs.get("alpha", 1.0)
        if "rises" in row.requires and isinstance(alpha, int | float) and alpha <= 0:
            return _miss("rises")
        weights = row.weight_ports(node, view)
        for port in row.activation_ports(node, view) + row.constant_ports(node, view) + weights:
            quant = self._edges.reads.get(Use(node.index, port))
            if quant is None and self._runtime_stores(node, row, port, weights):
                continue
            if quant is None:
                return _miss("weight_float") if port in weights else _miss("input_float", port=port)
            if port in row.weights:
                miss = _weight_fits(row, quant) or self._stacked(node, row, port, quant)
            else:
                miss = None if quant.dtype in row.activation_types else _miss("activation_type", type=quant.dtype)
            if miss is not None:
                return miss
        return None

    def _exit(self, node: NodeView, row: Row) -> _Exit | Miss | None:
        """Where the result is quantized; None when the kernel writes floats; a Miss when neither works."""
        if row.output == "float":
            return None
        written = self._edges.written[node.outputs[0]]
        first = self._foldable(row, written)
        if first is not None:
            folded = self._fold(first, _ROUNDED, anywhere=row.clamps)
            return folded if folded is not None else _miss("not_redundant", op=first.op)
        if written.quants:
            return _Exit(node.outputs[0]) if written.only_quant else _shared(written)
        if row.output == "optional":
            return None
        return _miss("output_graph" if written.graph_output and not written.floats else "output_float")

    def _foldable(self, row: Row, written: Written) -> NodeView | None:
        """The Relu or Clip that alone reads the result and is alone with its own reader."""
        if len(written.floats) != 1 or written.quants:
            return None
        reader = self._view.nodes[next(iter(written.floats)).node]
        if reader.op not in row.absorbs:
            return None
        after = self._edges.written[reader.outputs[0]]
        return reader if after.edges == 1 and not after.graph_output else None

    def _fold(self, node: NodeView, slack: float, *, anywhere: bool = False) -> _Exit | None:
        """The QuantizeLinear right behind an activation, when it makes the activation redundant; `anywhere`: or the
        kernel before cuts off what the activation does."""
        quant = self._edges.written[node.outputs[0]].only_quant
        if quant is None:
            return None
        known = node.op == "Relu" or clip_limits(node, self._view) is not None
        if not (anywhere and known) and not self._redundant(node, quant, slack):
            return None
        return _Exit(node.outputs[0], (node.index,))

    def _redundant(self, node: NodeView, quant: Quant, slack: float) -> bool:
        """Whether the QuantizeLinear after a Relu or Clip cuts off at least what the node cuts off, give or take
        `slack` steps."""
        if node.op == "Relu":
            return quant.lowest_zero
        limits = clip_limits(node, self._view)
        if limits is None or quant.reach is None:
            return False
        slack *= quant.step
        return limits[0] <= quant.reach[0] + slack and quant.reach[1] - slack <= limits[1]

    def _types(self, node: NodeView, row: Row, output: str | None) -> Miss | None:
        ports = row.activation_ports(node, self._view) + row.constant_ports(node, self._view)
        stored = [port for port in ports if port not in row.weights and Use(node.index, port) in self._edges.reads]
        inputs = [self._read_as(node, port) for port in stored]
        outputs = [] if output is None else [self._written_as(output)]
        if "zero_point" in row.requires and not self._zeros(node, (*stored, *row.weights)):
            return _miss("zero_point")
        if "scalars" in row.requires and not self._scalar(node, stored, output):
            return _miss("scalars")
        if row.same_type and len({run for _, run in inputs}) > 1:
            return _mixed("type_mix", inputs)
        if row.same_type and len({run for _, run in (*inputs, *outputs)}) > 1:
            return _mixed("output_types", [inputs[0], *outputs])
        return self._signed(node, row, inputs[0][1])

    def _zeros(self, node: NodeView, ports: Iterable[int]) -> bool:
        """Whether the zero points of what comes in integers are written."""
        quants = (self._edges.reads.get(Use(node.index, port)) for port in ports)
        return all(quant is None or quant.zero for quant in quants)

    def _scalar(self, node: NodeView, ports: list[int], output: str | None) -> bool:
        quants = [self._edges.reads[Use(node.index, port)] for port in ports]
        quants += [] if output is None else list(self._edges.written[output].quants)
        return all(quant.scalar for quant in quants)

    def _signed(self, node: NodeView, row: Row, data: DType) -> Miss | None:
        """Kernels of this target that read int8 activations: some not at all, some with int8 weights only."""
        if not self._capability.signed_pairs or not data.signed:
            return None
        if "unsigned" in row.requires:
            return _miss("unsigned")
        for port in row.weights:
            quant = self._edges.reads.get(Use(node.index, port))
            dtype = quant.dtype if quant else row.runtime_weight
            if dtype is not None and not dtype.signed:
                return _miss("signed_weight", type=dtype)
        return None

    def _read_as(self, node: NodeView, port: int) -> _Types:
        quant = self._edges.reads[Use(node.index, port)]
        return quant.dtype, self._as_run(quant, node.inputs[port])

    def _written_as(self, tensor: str) -> _Types:
        """The types of a tensor that has one QuantizeLinear."""
        quant = next(iter(self._edges.written[tensor].quants))
        return quant.dtype, self._as_run(quant, tensor)

    def _as_run(self, quant: Quant, tensor: str) -> DType:
        """An int8 pair becomes uint8 where one Q feeds one DQ, on targets that rewrite it; of what the runtime computes
        when it loads the file it has the integers by then, and no pair."""
        written = self._edges.written.get(tensor)
        if written is None or not self._capability.signed_pairs or quant.dtype is not DTYPES["int8"]:
            return quant.dtype
        single = len(written.quants[quant]) == 1 and tensor not in self._fixed
        turned = single and quant.fixed and not quant.bare and quant.granularity is Granularity.PER_TENSOR
        return DTYPES["uint8"] if turned else quant.dtype

    def _bias(self, node: NodeView, row: Row, found: _Exit | None) -> Miss | None:
        """A bias is int32, or float and quantized by the runtime itself in front of a QuantizeLinear."""
        if row.bias is None or row.bias >= len(node.inputs) or not node.inputs[row.bias]:
            return None
        quant = self._edges.reads.get(Use(node.index, row.bias))
        if row.float_bias:
            return _miss("bias_type") if quant is not None and quant.dtype is INT32 else None
        if "unit_factors" in row.requires and {node.attrs.get(key, 1) for key in ("alpha", "beta")} != {1}:
            return _miss("unit_factors")
        if quant is not None and quant.dtype is not INT32:
            return _miss("bias_type")
        if quant is not None:
            return None if "bias_scale" not in row.requires or self._fits(node, row.bias) else _miss("bias_scale")
        if "column_bias" in row.requires and self._by_channel(node, row) and bias_of_rows(node, row, self._view):
            return _miss("column_bias")
        if row.reads_alone:
            return None
        stored = found is not None or self._comes_to_quantizer(node)
        if not stored or not self._view.is_constant(node.inputs[row.bias]):
            return _miss("bias_float")
        return None

    def _fits(self, node: NodeView, bias: int) -> bool:
        """Whether the stored bias has the steps of the products, as far as they are known."""
        data, (low, high) = (
            self._edges.reads.get(Use(node.index, 0)),
            self._edges.fits.get(Use(node.index, bias), ANYTHING),
        )
        return low <= high and (data is None or not data.step or low <= data.step <= high)

    def _stacked(self, node: NodeView, row: Row, port: int, quant: Quant) -> Miss | None:
        """A stack of matrices with a scale per channel, for a kernel that takes that of a matrix alone."""
        shape = self._view.tensors[node.inputs[port]].shape
        stack = shape is not None and len(shape) > 2 and quant.granularity is not Granularity.PER_TENSOR
        return _miss("matrix_channels") if stack and "matrix_channels" in row.requires else None

    def _by_channel(self, node: NodeView, row: Row) -> bool:
        quants = (self._edges.reads.get(Use(node.index, port)) for port in row.weights)
        return any(quant is not None and quant.granularity is Granularity.PER_CHANNEL for quant in quants)

    def _runtime_stores(self, node: NodeView, row: Row, port: int, weights: tuple[int, ...]) -> bool:
        """Whether the runtime itself makes integers of the float constant at `port`."""
        if port in weights:
            return self._runtime_stores_weight(node, row)
        if not row.runtime_scalars or not self._view.is_constant(node.inputs[port]):
            return False
        if self._view.tensors[node.inputs[port]].shape != ():
            return False
        found = self._exit(node, row)
        others = [self._edges.reads.get(Use(node.index, other)) for other in row.activations if other != port]
        if not isinstance(found, _Exit) or found.folded or None in others:
            return False
        # The scalar takes the type of the other input, which must be the output's before anything is rewritten.
        types = {quant.dtype for quant in (*others, *self._edges.written[found.tensor].quants) if quant}
        return len(types) == 1

    def _runtime_stores_weight(self, node: NodeView, row: Row) -> bool:
        """Whether the runtime itself makes integers of this node's float weight: input and output must be quantized,
        and a bias must still be float. Never where the emitter keeps it from that (`keep_weights`)."""
        if row.runtime_weight is None or self._edges.lowered:
            return False
        bias_is_stored = row.bias is not None and Use(node.index, row.bias) in self._edges.reads
        found = self._exit(node, row)
        return not bias_is_stored and (isinstance(found, _Exit) or (found is None and self._comes_to_quantizer(node)))

    def _comes_to_quantizer(self, node: NodeView) -> bool:
        """Whether a QuantizeLinear alone reads what the node writes, or what a Relu or Clip makes of it, beside the
        caller: the runtime then stores the constants that the node reads, whatever runs in the end."""
        written = self._edges.written[node.outputs[0]]
        while written.edges == 1 and not written.quants:
            reader = self._view.nodes[next(iter(written.floats)).node]
            if reader.op not in _CUTS:
                return False
            written = self._edges.written[reader.outputs[0]]
        return written.edges == 1

    def _weight_only(self, node: NodeView, row: Row, miss: Miss) -> Prediction:
        """Integer weights with float activations: a kernel of its own, when nothing folds into the output."""
        only = row.weight_only
        if only is None or miss.key not in ("input_float", "activation_type"):
            return self._verdict(node, row, miss, "")
        port = row.weights[0]
        quant = self._edges.reads.get(Use(node.index, port))
        # What the emitter writes to suit the kernel are weights beside floats.
        lowered = self._edges.lowered and miss.key == "input_float"
        if quant is None or not only.takes(node, self._view, port, quant, lowered=lowered):
            return self._verdict(node, row, self._untaken(node, only, quant) or miss, "")
        if not lowered and not self._stands_plainly(node, port, quant, any_axis=only.any_axis):
            return self._verdict(node, row, miss, "")
        if miss.key == "activation_type":
            return self._beside(node, row, only, miss)
        return self._verdict(node, row, miss if self._taken_up(node, row) else None, only.kernel, only.because)

    def _untaken(self, node: NodeView, only: WeightOnly, quant: Quant | None) -> Miss | None:
        """What a kernel for weights of that type asks of a matrix, where it asks for more than a size of blocks."""
        if quant is None or quant.dtype not in only.types or not only.least_blocks:
            return None
        blocks, types = ", ".join(map(str, only.blocks)), ", ".join(dtype.name for dtype in only.types)
        return _miss("weight_only", op=node.op, kernel=only.kernel, types=types, blocks=blocks)

    def _beside(self, node: NodeView, row: Row, only: WeightOnly, miss: Miss) -> Prediction:
        """The same beside activations that are stored in a wider type: floats are made of them, and of what the kernel
        writes the type that they had."""
        read = self._edges.reads[Use(node.index, row.activations[0])]
        if read.dtype not in only.beside:
            return self._verdict(node, row, miss, "")
        found = self._exit(node, row)
        if isinstance(found, Miss):
            return self._verdict(node, row, found, "")
        types = [(read.dtype, read.dtype), *([self._written_as(found.tensor)] if found else [])]
        if len(set(types)) > 1:
            return self._verdict(node, row, _mixed("output_types", types), "")
        self._absorbed.update(dict.fromkeys(found.folded if found else (), only.kernel))
        return self._verdict(node, row, None, only.kernel, only.because)

    def _stands_plainly(self, node: NodeView, port: int, quant: Quant, *, any_axis: bool) -> bool:
        """Whether a stored weight is written as its kernel takes it: scales along the columns, blocks along the rows
        (or along `any_axis`), and nobody else reads it."""
        summed = summed_axis(node)
        if any_axis and quant.granularity is Granularity.PER_BLOCK and quant.axis is not None:
            summed = quant.axis
        along = {Granularity.PER_TENSOR: quant.axis, Granularity.PER_CHANNEL: 1 - summed, Granularity.PER_BLOCK: summed}
        shared = [use for use in self._view.tensors[node.inputs[port]].uses if self._edges.reads.get(use) == quant]
        single = quant.scalar or quant.granularity is not Granularity.PER_TENSOR
        return single and quant.plain and quant.constant and quant.axis == along[quant.granularity] and len(shared) == 1

    def _taken_up(self, node: NodeView, row: Row) -> bool:
        """Whether the runtime first joins what reads the result to the node: a QuantizeLinear, or an activation that
        would fold into it; never where kernels write floats. A Relu before floats is none where the emitter writes it
        as a Max (`weights_only`)."""
        if row.output == "float":
            return False
        written = self._edges.written[node.outputs[0]]
        first = self._foldable(row, written)
        if first is None or written.quants:
            return bool(written.quants)
        return not self._edges.lowered or first.op != "Relu" or bool(self._edges.written[first.outputs[0]].quants)

    # --- rows that move, and activations ----------------------------------------------------------------------------

    def _moves(self, node: NodeView, row: Row) -> Miss | None:
        port = row.activations[0]
        read = self._edges.reads.get(Use(node.index, port))
        if read is None:
            return _miss("input_float", port=port)
        if read.dtype not in row.activation_types:
            return _miss("activation_type", type=read.dtype)
        if not read.fixed or read.granularity is not Granularity.PER_TENSOR:
            return _miss("zero_point" if not read.zero else "computed_scale" if not read.constant else "many_scales")
        held = filter(None, node.outputs) if row.output_quantized and not row.reads_alone else ()
        for name in map(self._behind, held):
            written = self._edges.written[name]
            if written.only_quant is None:
                return _shared(written)
            if not written.only_quant.zero:
                return _miss("zero_point")
            if written.only_quant.params != read.params:
                return _miss("scale_differs")
            types = [self._read_as(node, port), self._written_as(name)]
            if types[0][1] != types[1][1]:
                return _mixed("output_types", types)
        return None

    def _written_fixed(self, tensor: str) -> bool:
        return next(iter(self._edges.written[tensor].quants)).fixed

    def _behind(self, tensor: str) -> str:
        """`tensor`, or what an activation that is removed makes of it."""
        use = self._edges.written[tensor].only_float
        if use is None or self._rows[use.node].kind != ABSORBED:
            return tensor
        found = self._fold(self._view.nodes[use.node], _EXACT)
        return tensor if found is None or not self._written_fixed(found.tensor) else found.tensor

    def _activation(self, node: NodeView, row: Row) -> Prediction:
        from_outside = self._view.producer(node.inputs[0]) is None and Use(node.index, 0) not in self._edges.reads
        if from_outside and "on_graph_input" in row.requires:
            return Prediction("float", node.op, row.name, self._say("on_graph_input"))
        if row.alone and self._stands_between(node, row):
            return Prediction("integer", row.alone, row.name, row.because)
        found = self._fold(node, _EXACT)
        if found is not None and self._written_fixed(found.tensor):
            return Prediction("absorbed", "QuantizeLinear", row.name, self._say("folded"))
        return Prediction("float", node.op, row.name, row.because)

    def _stands_between(self, node: NodeView, row: Row) -> bool:
        """Whether a node reads integers and nothing but a QuantizeLinear reads what it writes."""
        read, written = self._edges.reads.get(Use(node.index, 0)), self._edges.written[node.outputs[0]].only_quant
        return all(quant is not None and quant.dtype in row.activation_types for quant in (read, written))


def bias_of_rows(node: NodeView, row: Row, view: GraphView) -> bool:
    """Whether the bias of `node` differs from row to row of what it writes."""
    port = row.bias_port(node, view)
    shape = () if port is None else view.tensors[node.inputs[port]].shape or ()
    return len(shape) > 1 and shape[0] != 1


def _weight_fits(row: Row, quant: Quant) -> Miss | None:
    if quant.dtype not in row.weight_types:
        return _miss("weight_type", type=quant.dtype)
    if quant.granularity not in row.weight_granularities:
        return _miss("weight_granularity", granularity=quant.granularity.value)
    return None


def _shared(written: Written) -> Miss:
    if not written.quants:
        return _miss("output_float")
    if len(written.quants) > 1:
        return _miss("output_twice")
    return _miss("output_graph" if written.graph_output and not written.floats else "output_shared")


def _mixed(key: str, types: list[_Types]) -> Miss:
    """Types differ; where they do so only as they run, an int8 tensor with several readers is why."""
    planned = list(dict.fromkeys(plan.name for plan, _ in types))
    return _miss("signed_shared") if len(planned) == 1 else _miss(key, types=", ".join(planned))


def judge(view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
    """What will run, per node name; nodes without outputs are passed over. `edges` must hold the pairs that the runtime
    adds itself: what predicts for it (`Runtime.predict`) adds them first."""
    return Judge(view, edges, capability).all()
