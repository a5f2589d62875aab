"""Every change to a graph. Nothing else touches `node.inputs`, `node.outputs`, `tensor.inputs` or `tensor.outputs`.

graphsurgeon's own lists find what to drop by comparing nodes deeply; these functions compare by identity and move
whole lists, so that an edit costs what it touches. Nodes may be added in any order: `Model.sort` brings them to their
readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Constant, Deferred, Held, Lazy
from qdsl.graph.dtypes import number_of, type_number
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.graph.naming import fresh

ElementType = str | int | np.dtype[Any] | type


def fresh_tensor_name(model: Model, base: str) -> str:
    """`base`, or `base_2`, ...: a tensor name not in use."""
    return fresh(base, model._tensors)  # type: ignore[arg-type]


def fresh_node_name(model: Model, base: str) -> str:
    """`base`, or `base_2`, ...: a node name never used in this model."""
    return fresh(base, model._node_names)


def add_variable(
    model: Model,
    name: str,
    element_type: ElementType | None = None,
    shape: Sequence[int | str | None] | None = None,
) -> gs.Variable:
    """A new activation tensor; its name gets a number when taken."""
    number = None if element_type is None else _number(element_type)
    made = gs.Variable(fresh_tensor_name(model, name), number, None if shape is None else tuple(shape))
    model._tensors[made.name] = made
    return made


def add_constant(
    model: Model,
    name: str,
    values: np.ndarray[Any, Any] | np.generic | Lazy,
    element_type: ElementType | None = None,
) -> gs.Constant:
    """A new constant; its name gets a number when taken.

    `element_type` says what an array stands for when that is not its own type: an int8 array as "int4" is packed on
    save.
    """
    if not isinstance(values, Lazy):
        array = np.asarray(values)
        values = Held(array, number_of(array.dtype) if element_type is None else _number(element_type))
    made = Constant(fresh_tensor_name(model, name), values)
    model._tensors[made.name] = made
    return made


def add_deferred(
    model: Model,
    name: str,
    element_type: ElementType,
    shape: Sequence[int],
    compute: Callable[[], np.ndarray[Any, Any]],
) -> gs.Constant:
    """A constant computed when it is read or saved, each time anew: `compute` must always give the same array."""
    return add_constant(model, name, Deferred(_number(element_type), tuple(shape), compute))


def add_node(
    model: Model,
    op: str,
    inputs: Sequence[gs.Tensor | None],
    outputs: int | Sequence[gs.Variable | None] = 1,
    *,
    name: str | None = None,
    output_name: str | None = None,
    attrs: Mapping[str, Any] | None = None,
    domain: str = "",
    like: gs.Tensor | None = None,
    element_type: ElementType | None = None,
    metadata: Mapping[str, str] | None = None,
) -> gs.Node:
    """A new node at the end of the list. None among inputs or outputs is an absent optional one.

    `outputs` are tensors that nobody writes yet, or how many to make: called `output_name` (with a number when taken),
    with the shape and, unless `element_type` is given, the element type of `like`. `metadata` goes into the file's
    `metadata_props`.
    """
    called = fresh_node_name(model, name or op)
    if isinstance(outputs, int):
        shape = None if like is None else like.shape
        kind = element_type if element_type is not None else (None if like is None else like.dtype)
        outputs = [add_variable(model, output_name or f"{called}_output", kind, shape) for _ in range(outputs)]
    taken = [tensor.name for tensor in outputs if tensor is not None and tensor.inputs]
    if taken:
        raise ValueError(f"{called}: {taken} already have a producer")
    node = gs.Node(op, called, dict(attrs or {}), domain=domain)
    for tensor in inputs:
        _link_input(node, gs.Variable.empty() if tensor is None else tensor)
    for tensor in outputs:
        _link_output(node, gs.Variable.empty() if tensor is None else tensor)
    meta_of(node).metadata = dict(metadata or {})
    model._node_names.add(called)
    model.graph.nodes.append(node)
    return node


def remove_node(model: Model, node: gs.Node) -> None:
    """Take a node out. Its outputs stay in the model without a producer: give their readers another tensor first."""
    for tensor in node.inputs:
        _drop(tensor.outputs, node)
    for tensor in node.outputs:
        _drop(tensor.inputs, node)
    list.clear(node.inputs)
    list.clear(node.outputs)
    model._removed.add(id(node))


def replace_input(model: Model, node: gs.Node, port: int, tensor: gs.Tensor | None) -> None:
    """Let one input port read `tensor`; None leaves an optional input out. A port past the end is filled up to."""
    while len(node.inputs) <= port:
        _link_input(node, gs.Variable.empty())
    _drop(node.inputs[port].outputs, node)
    new = gs.Variable.empty() if tensor is None else tensor
    list.__setitem__(node.inputs, port, new)
    list.append(new.outputs, node)


def replace_all_uses(model: Model, old: gs.Tensor, new: gs.Tensor) -> int:
    """Let every node that reads `old` read `new`; returns how many ports changed. Graph outputs and bodies, which refer
    by name, stay on `old`."""
    if old is new:
        return 0
    readers, changed = list(old.outputs), 0
    for node in {id(node): node for node in readers}.values():
        for port, tensor in enumerate(node.inputs):
            if tensor is old:
                list.__setitem__(node.inputs, port, new)
                changed += 1
    list.clear(old.outputs)
    list.extend(new.outputs, readers)
    return changed


def replace_readers(model: Model, new: gs.Tensor, readers: Iterable[tuple[gs.Node, int]]) -> int:
    """Let each (node, port) read `new`; returns how many changed."""
    changed = 0
    for node, port in readers:
        replace_input(model, node, port, new)
        changed += 1
    return changed


def readers_of(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    """Every (node, port) that reads a tensor, in list order of the nodes' links."""
    nodes = {id(node): node for node in tensor.outputs}.values()
    return [(node, port) for node in nodes for port, found in enumerate(node.inputs) if found is tensor]


def replace_output(model: Model, old: gs.Tensor, new: gs.Variable) -> None:
    """Make `new` the graph output that `old` is, under the same public name; `old` gets another one."""
    if not any(old is tensor for tensor in model.graph.outputs):
        raise ValueError(f"{old.name} is not a graph output")
    public = old.name
    if model.captured(old):
        raise ValueError(f"{public} is read by name inside a body")
    rename_tensor(model, old, fresh_tensor_name(model, f"{public}_before"))
    rename_tensor(model, new, public)
    model.graph.outputs[:] = [new if tensor is old else tensor for tensor in model.graph.outputs]


def move_outputs(model: Model, source: gs.Node, target: gs.Node) -> None:
    """Let `target` write the tensors that `source` writes, by port, in place of its own: how a fused node takes over
    names, readers and graph outputs. `source` is left without outputs."""
    for tensor in target.outputs:
        _drop(tensor.inputs, target)
    list.clear(target.outputs)
    for tensor in list(source.outputs):
        _drop(tensor.inputs, source)
        _link_output(target, tensor)
    list.clear(source.outputs)


def exchange_outputs(model: Model, one: gs.Node, other: gs.Node) -> None:
    """Let each of two nodes write what the other wrote: how a node hands its public tensors to the end of a chain that
    it now begins."""
    before, after = list(one.outputs), list(other.outputs)
    for node, written in ((one, before), (other, after)):
        for tensor in written:
            _drop(tensor.inputs, node)
        list.clear(node.outputs)
    for node, written in ((one, after), (other, before)):
        for tensor in written:
            _link_output(node, tensor)


def bypass(model: Model, node: gs.Node) -> None:
    """Take out a node whose first output equals its first input. A graph output keeps its name: the tensor before takes
    it over, which must then be written by a node and be no output itself. Bodies must not read the output by name."""
    source, target = node.inputs[0], node.outputs[0]
    public = target.name if model.is_output(target) else None
    remove_node(model, node)
    replace_all_uses(model, target, source)
    if public is None:
        return
    if source.shape is None:
        source.shape = target.shape
    model._tensors.pop(public)
    target.name = ""
    rename_tensor(model, source, public)
    model.graph.outputs[:] = [source if tensor is target else tensor for tensor in model.graph.outputs]


def to_constant(model: Model, variable: gs.Variable, value: Lazy | np.ndarray[Any, Any]) -> gs.Constant:
    """A constant that takes the place and the name of `variable` for nodes, bodies and graph outputs. The producer
    loses its link and should be removed."""
    if isinstance(value, np.ndarray):
        value = Held(value, number_of(value.dtype))
    name = variable.name
    made = Constant(name, value)
    replace_all_uses(model, variable, made)
    for node in list(variable.inputs):
        ports = [i for i, tensor in enumerate(node.outputs) if tensor is variable]
        for port in ports:
            list.__setitem__(node.outputs, port, gs.Variable.empty())
    list.clear(variable.inputs)
    model.graph.outputs[:] = [made if tensor is variable else tensor for tensor in model.graph.outputs]
    model._tensors[name] = made
    return made


def become(
    model: Model,
    node: gs.Node,
    op: str,
    inputs: Sequence[gs.Tensor | None],
    attrs: Mapping[str, Any] | None = None,
    domain: str = "",
) -> None:
    """Turn a node into another operator, of ai.onnx or of `domain`, with other inputs and attributes; its name, outputs
    and metadata stay."""
    for tensor in node.inputs:
        _drop(tensor.outputs, node)
    list.clear(node.inputs)
    for new in inputs:
        _link_input(node, gs.Variable.empty() if new is None else new)
    node.op, node.domain = op, domain
    node.attrs.clear()
    node.attrs.update(attrs or {})
    meta_of(node).attr_types.clear()


def rename_tensor(model: Model, tensor: gs.Tensor, name: str) -> None:
    """Give a tensor another name, which must be free."""
    if tensor.name == name:
        return
    if name in model._tensors:
        raise ValueError(f"there is a tensor {name} already")
    model._tensors.pop(tensor.name, None)
    tensor.name = name
    model._tensors[name] = tensor


def set_attr(node: gs.Node, name: str, value: Any) -> None:
    """Set an attribute to a number, text or list of them; None removes it."""
    meta_of(node).attr_types.pop(name, None)
    if value is None:
        node.attrs.pop(name, None)
    else:
        node.attrs[name] = value


def set_metadata(node: gs.Node, key: str, value: str) -> None:
    """Write one entry of the node's `metadata_props`."""
    meta_of(node).metadata[key] = value


def _link_input(node: gs.Node, tensor: gs.Tensor) -> None:
    list.append(node.inputs, tensor)
    list.append(tensor.outputs, node)


def _link_output(node: gs.Node, tensor: gs.Tensor) -> None:
    list.append(node.outputs, tensor)
    list.append(tensor.inputs, node)


def _drop(links: list[gs.Node], node: gs.Node) -> None:
    """Take out the first link to this very node."""
    for i, found in enumerate(links):
        if found is node:
            list.__delitem__(links, i)
            return


def _number(element_type: ElementType) -> int:
    return type_number(element_type) if isinstance(element_type, str) else number_of(element_type)
