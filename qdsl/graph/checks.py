"""What must hold of a model file before anything is built from it: versions, types, dims, sizes, single assignment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from qdsl.diag import Diagnostics
from qdsl.graph.dtypes import PACKED, bits_of, byte_count, type_name
from qdsl.graph.limits import Limits

# 7 is the first opset that ONNX Runtime promises to run; 26 with IR 13 the last that its release 1.31 takes.
OLDEST_OPSET, NEWEST_OPSET, NEWEST_IR = 7, 26, 13
DEFAULT_DOMAINS = ("", "ai.onnx")
_FIELDS = {
    "float32": "float_data",
    "complex64": "float_data",
    "float64": "double_data",
    "complex128": "double_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
    "string": "string_data",
}


def opset_of(model: ModelProto) -> int | None:
    """The version of ai.onnx that a model imports; None when it imports none."""
    return next((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), None)


def check_versions(model: ModelProto, diags: Diagnostics) -> None:
    """`model-opset` unless the opset is one that we and ONNX Runtime take."""
    opset = opset_of(model)
    if opset is None:
        if any(node.domain in DEFAULT_DOMAINS for node in model.graph.node):
            diags.error(
                "model-opset",
                "the model does not say which ONNX opset it uses",
                help=["export it anew; `opset_import` must name ai.onnx"],
            )
        return
    if OLDEST_OPSET <= opset <= NEWEST_OPSET:
        return
    age = "too old" if opset < OLDEST_OPSET else "too new"
    diags.error(
        "model-opset",
        f"the model uses ONNX opset {opset}, which is {age}: {OLDEST_OPSET} to {NEWEST_OPSET} are supported",
        help=["export it again with opset 17"],
    )


def check_tensor(tensor: TensorProto, limits: Limits, diags: Diagnostics) -> bool:
    """Type, dims and size of one tensor; False when something was wrong. External data is looked at elsewhere."""
    name = f"`{tensor.name[:80]}`"
    kind = type_name(tensor.data_type)
    if kind is None or (bits_of(tensor.data_type) is None and kind != "string"):
        diags.error("model-dtype", f"tensor {name} has element type {tensor.data_type}, which is not supported")
        return False
    bad = next((dim for dim in tensor.dims if dim < 0 or dim > limits.dimension), None)
    if bad is not None:
        diags.error("model-dims", f"tensor {name} has a dimension of {bad}", help=[_dims_help(limits)])
        return False
    size = byte_count(tensor.data_type, prod(tensor.dims))
    if size is not None and size > limits.tensor_bytes:
        diags.error("model-dims", f"tensor {name} claims {size} bytes", help=[_dims_help(limits)])
        return False
    if tensor.data_location == TensorProto.EXTERNAL:
        return True
    return _check_data(tensor, kind, diags)


def _check_data(tensor: TensorProto, kind: str, diags: Diagnostics) -> bool:
    elements = prod(tensor.dims)
    if tensor.HasField("raw_data"):
        found, wanted, unit = len(tensor.raw_data), byte_count(tensor.data_type, elements), "bytes"
    else:
        field = _FIELDS.get(kind, "int32_data")
        found, wanted, unit = len(getattr(tensor, field)), elements, "values"
        wanted *= 2 if kind.startswith("complex") else 1
        wanted = byte_count(tensor.data_type, elements) or 0 if kind in (*PACKED, "float4e2m1") else wanted
    if found == wanted:
        return True
    diags.error(
        "model-tensor-size",
        f"tensor `{tensor.name[:80]}` holds {found} {unit}, its type and shape {list(tensor.dims)} need {wanted}",
        help=["the weights were stripped or the file is damaged; export the model again"],
    )
    return False


def check_sparse(tensor: onnx.SparseTensorProto, limits: Limits, diags: Diagnostics) -> bool:
    """A sparse initializer: its parts, and that every index lies inside the declared dims."""
    dense = TensorProto(name=tensor.values.name, data_type=tensor.values.data_type, dims=tensor.dims)
    dense.data_location = TensorProto.EXTERNAL  # no data of its own to hold against the dims
    if False in [check_tensor(part, limits, diags) for part in (dense, tensor.values, tensor.indices)]:
        return False
    name = tensor.values.name[:80]
    external = TensorProto.EXTERNAL in (tensor.values.data_location, tensor.indices.data_location)
    stored = prod(tensor.values.dims)
    shape = list(tensor.indices.dims)
    fits = shape in ([stored], [stored, len(tensor.dims)]) and tensor.indices.data_type == TensorProto.INT64
    if (
        external
        or not fits
        or (byte_count(tensor.values.data_type, prod(tensor.dims)) or 2**63) > limits.fold_bytes * 64
    ):
        diags.error("model-tensor-size", f"sparse tensor `{name}` is malformed, external or too large")
        return False
    indices = onnx.numpy_helper.to_array(tensor.indices)
    bounds = [prod(tensor.dims)] if indices.ndim == 1 else list(tensor.dims)
    if indices.size and bool((indices < 0).any() or (indices >= bounds).any()):
        diags.error("model-tensor-size", f"sparse tensor `{name}` has an index outside its shape")
        return False
    return True


def check_shapes(infos: Iterable[onnx.ValueInfoProto], limits: Limits, diags: Diagnostics) -> None:
    """Declared shapes: no dimension beyond the limit. Negative ones are read as unknown."""
    for info in infos:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_value > limits.dimension:
                diags.error(
                    "model-dims",
                    f"`{info.name[:80]}` is declared with a dimension of {dim.dim_value}",
                    help=[_dims_help(limits)],
                )
                return


def check_names(graph: GraphProto, diags: Diagnostics) -> None:
    """Single assignment, and nothing read that nobody writes."""
    written: set[str] = set()
    constants = [t.name for t in graph.initializer] + [t.values.name for t in graph.sparse_initializer]
    overridden = set(constants)
    inputs = [info.name for info in graph.input if info.name not in overridden]
    doubled: dict[str, None] = {}
    for name in (*inputs, *constants, *(out for node in graph.node for out in node.output if out)):
        if name in written:
            doubled[name] = None
        written.add(name)
    for name in list(doubled)[:5]:
        diags.error(
            "model-duplicate-tensor",
            f"tensor `{name[:80]}` is written more than once",
            help=["every ONNX tensor has one source; rename one of them"],
        )
    missing: dict[str, str] = {}
    for node in graph.node:
        for name in node.input:
            if name and name not in written:
                missing.setdefault(name, node.name or node.op_type)
    for info in graph.output:
        if info.name not in written:
            missing.setdefault(info.name, "the graph's outputs")
    for name, reader in list(missing.items())[:5]:
        diags.error("model-dangling", f"`{reader[:80]}` reads tensor `{name[:80]}`, which nothing writes")


def check_nodes(nodes: Iterable[NodeProto], opset: int, diags: Diagnostics) -> None:
    """Number of inputs and outputs, and types of attributes, against the operators of ai.onnx. Others are not looked
    at: what is not in ONNX may be an operator of the runtime."""
    for node in nodes:
        if node.domain not in DEFAULT_DOMAINS:
            continue
        rule = _rule(node.op_type, opset)
        fault = None if rule is None else _fault(node, rule)
        if fault is not None:
            diags.error(
                "model-node", f"node `{(node.name or node.op_type)[:80]}` is not a valid {node.op_type}: {fault}"
            )


class _Rule(NamedTuple):
    """What a schema asks: the least and the most inputs and outputs, and which of them may be left empty."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    optional_inputs: frozenset[int]
    optional_outputs: frozenset[int]
    attributes: dict[str, int]
    required: tuple[str, ...]


def named_ports(node: NodeProto, opset: int) -> tuple[list[str], list[str]]:
    """A node's inputs and outputs less the empty names at their end, which say nothing that their absence does not
    say, too. An operator that is not one of ai.onnx keeps all: what it asks is not known."""
    rule = _rule(node.op_type, opset) if node.domain in DEFAULT_DOMAINS else None
    if rule is None:
        return list(node.input), list(node.output)
    inputs = _less_empty(node.input, rule.inputs[0], rule.optional_inputs)
    return inputs, _less_empty(node.output, rule.outputs[0], rule.optional_outputs)


def _less_empty(names: Sequence[str], least: int, optional: frozenset[int]) -> list[str]:
    found = list(names)
    while len(found) > least and not found[-1] and len(found) - 1 in optional:
        found.pop()
    return found


@cache
def _rule(op: str, opset: int) -> _Rule | None:
    try:
        schema = onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        return None
    return _Rule(
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        _optional(schema.inputs),
        _optional(schema.outputs),
        {name: attribute.type.value for name, attribute in schema.attributes.items()},  # type: ignore[attr-defined]
        tuple(name for name, attribute in schema.attributes.items() if attribute.required),
    )


def _optional(parameters: Sequence[Any]) -> frozenset[int]:
    """Ports that may be left empty; some have to be there all the same, since a needed one follows (the trip count and
    the condition of a Loop)."""
    kind = onnx.defs.OpSchema.FormalParameterOption.Optional
    return frozenset(port for port, parameter in enumerate(parameters) if parameter.option == kind)


def _fault(node: NodeProto, rule: _Rule) -> str | None:
    sides = (
        ("input", node.input, rule.inputs, rule.optional_inputs),
        ("output", node.output, rule.outputs, rule.optional_outputs),
    )
    for side, names, (least, most), optional in sides:
        if not least <= len(names) <= most:
            return f"it has {len(names)} {side}s"
        if any(not name and port not in optional for port, name in enumerate(names[:least])):
            return f"a required {side} is absent"
    found = {attribute.name: attribute for attribute in node.attribute}
    for name, attribute in found.items():
        if not attribute.ref_attr_name and attribute.type != rule.attributes.get(name, attribute.type):
            return f"attribute `{name[:80]}` is of the wrong type"
    missing = next((name for name in rule.required if name not in found), None)
    return None if missing is None else f"attribute `{missing}` is missing"


def bodies(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    """The graphs inside a node's attributes: bodies of If, Loop and Scan."""
    for attribute in attributes:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _dims_help(limits: Limits) -> str:
    return f"a dimension may be 0 to {limits.dimension}, a tensor at most {limits.tensor_bytes} bytes"
