"""QuantizeLinear and DequantizeLinear, in pairs and alone."""

from __future__ import annotations

from qdsl.finished.flow import Flow, Path, clipped, is_dequantize, is_quantize, moves, names, readers_of
from qdsl.finished.parameters import Written, axis_of, block_of, narrowed, same_values
from qdsl.finished.records import Form, Parameters, QuantizedTensor, Role
from qdsl.finished.work import Work
from qdsl.graph.dtypes import type_name
from qdsl.graph.view import NodeView
from qdsl.spec.plan import Reader

_LONGEST = 256
_NAMED = {"FP8": "float8e4m3fn", "FP4": "float4e2m1", "INT4": "int4"}
_UNKNOWN = "uint8"  # what ONNX means where nothing says it


def read_quantizers(work: Work) -> None:
    """Every QuantizeLinear, with what dequantizes its integers."""
    for node in work.view.nodes:
        if is_quantize(node):
            _quantize(work, node)


def read_dequantizers(work: Work) -> None:
    """The DequantizeLinear nodes that belong to nothing that was read before."""
    for node in work.view.nodes:
        if is_dequantize(node) and node.index not in work.dequantized:
            _dequantize(work, node)


def _quantize(work: Work, node: NodeView) -> None:
    written = _of_quantize(work, node)
    work.check(node, node.inputs[0], written, _output_type(work, node))
    own = work.parameters(written)
    flow = work.follower.follow(node.outputs[0], own.axis)
    ways: dict[tuple[int | None, int | None], dict[int, Path]] = {}
    others: list[Reader] = []
    for index, path in flow.dequantized:
        if _belongs(work, work.view.nodes[index], node.inputs[0], own, path):
            ways.setdefault((path.low, path.high), {})[index] = path
        else:
            others.append(Reader(work.view.nodes[index].name, 0))
    work.reached.update(flow.readers)
    for (low, high), pair in ways.items():
        work.dequantized.update(pair)
        work.add(node.index, _pair(work, node, narrowed(own, low, high), pair))
    if not ways:
        work.add(node.index, _alone(work, node, own, [*flow.readers, *others], flow))


def _pair(work: Work, node: NodeView, own: Parameters, pair: dict[int, Path]) -> QuantizedTensor:
    tensor = node.inputs[0]
    dequantizers = names(work.view, set(pair))
    readers = [reader for index in sorted(pair) for reader in _dequantized_readers(work, work.view.nodes[index])]
    constant = tensor in work.fixed
    first = work.view.nodes[min(pair)].outputs[0]
    return QuantizedTensor(
        tensor=tensor,
        role=work.role(first, own.element) if constant else Role.ACTIVATION,
        form=Form.FLOAT_PAIR if constant else _form(work, node, Form.PAIR),
        parameters=own,
        quantizers=(node.name,),
        dequantizers=dequantizers,
        between=names(work.view, {index for path in pair.values() for index in path.between}),
        readers=tuple(readers),
        stored=work.fixed.root(tensor) if constant else "",
        origin=work.origin(node.name, *dequantizers),
    )


def _alone(work: Work, node: NodeView, own: Parameters, readers: list[Reader], flow: Flow) -> QuantizedTensor:
    tensor = node.inputs[0]
    return QuantizedTensor(
        tensor=tensor,
        role=Role.WEIGHT if tensor in work.fixed else Role.ACTIVATION,
        form=_form(work, node, Form.LONE_QUANTIZE),
        parameters=own,
        quantizers=(node.name,),
        between=names(work.view, flow.between),
        readers=tuple(readers),
        stored=work.fixed.root(tensor) if tensor in work.fixed else "",
        origin=work.origin(node.name),
    )


def _form(work: Work, node: NodeView, otherwise: Form) -> Form:
    """A scale that is found while the model runs makes it dynamic."""
    above = work.view.producer(node.inputs[1])
    return Form.DYNAMIC if above is not None and above.op == "DynamicQuantizeLinear" else otherwise


def _belongs(work: Work, node: NodeView, tensor: str, own: Parameters, path: Path) -> bool:
    """Whether a DequantizeLinear means by the integers of `tensor` what the QuantizeLinear meant."""
    written = _of_dequantize(work, node, own.element)
    work.check(node, tensor, written, work.dtype(node.inputs[0]))
    return same_values(own, work.parameters(written), path.axis)


def _dequantize(work: Work, node: NodeView) -> None:
    tensor = node.outputs[0]
    written = _of_dequantize(work, node)
    work.check(node, tensor, written, work.dtype(node.inputs[0]))
    own = work.parameters(written)
    constant = node.inputs[0] in work.fixed
    between, low, high = _before(work, node)
    work.dequantized.add(node.index)
    work.add(
        node.index,
        QuantizedTensor(
            tensor=tensor,
            role=work.role(tensor, own.element) if constant else Role.ACTIVATION,
            form=Form.STORED if constant else Form.LONE_DEQUANTIZE,
            parameters=narrowed(own, low, high),
            dequantizers=(node.name,),
            between=names(work.view, between),
            readers=tuple(_dequantized_readers(work, node)),
            stored=work.fixed.root(node.inputs[0]) if constant else "",
            origin=work.origin(node.name),
        ),
    )


def _before(work: Work, node: NodeView) -> tuple[list[int], int | None, int | None]:
    """What stands on integers from outside before `node` dequantizes them, and what a Clip leaves of them."""
    between: list[int] = []
    low = high = None
    above = work.view.producer(node.inputs[0])
    while above is not None and above.inputs and moves(above, 0, work.view) and len(between) < _LONGEST:
        between.append(above.index)
        if above.op == "Clip":
            low, high = clipped(low, high, above, work.fixed)
        above = work.view.producer(above.inputs[0])
    return between, low, high


def _dequantized_readers(work: Work, node: NodeView) -> list[Reader]:
    return readers_of(work.view, node.outputs[0])


def _of_quantize(work: Work, node: NodeView) -> Written:
    zero = _port(node, 2)
    element = (work.dtype(zero) if zero else None) or _output_type(work, node) or _named(node) or _UNKNOWN
    return Written(
        element,
        _port(node, 1),
        zero,
        axis_of(node.attrs),
        block_of(node.attrs),
        work.shape(*node.inputs[:1], node.outputs[0]),
    )


def _of_dequantize(work: Work, node: NodeView, behind: str | None = None) -> Written:
    """`behind`: the type of the integers where it is known from what wrote them."""
    zero = _port(node, 2)
    element = work.dtype(node.inputs[0]) or (work.dtype(zero) if zero else None) or behind or _named(node) or _UNKNOWN
    return Written(
        element,
        _port(node, 1),
        zero,
        axis_of(node.attrs),
        block_of(node.attrs),
        work.shape(node.inputs[0], node.outputs[0]),
    )


def _output_type(work: Work, node: NodeView) -> str | None:
    """The type that a QuantizeLinear is told to write, beside its zero point."""
    told = node.attrs.get("output_dtype")
    return (type_name(told) if isinstance(told, int) and told else None) or work.dtype(node.outputs[0])


def _named(node: NodeView) -> str | None:
    """The type that the operator's own name says (TRT_FP8QuantizeLinear)."""
    return next((element for word, element in _NAMED.items() if word in node.op), None)


def _port(node: NodeView, port: int) -> str:
    return node.inputs[port] if len(node.inputs) > port else ""
