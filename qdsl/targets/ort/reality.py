"""What ONNX Runtime really runs: the optimized graph of an emitted file, read back onto the nodes of the float model.

Fusion of Q/DQ happens at the EXTENDED level, where fused kernels keep the name of the node they replace; the level ALL
only changes layouts (and names). So nodes are judged at EXTENDED, and operators are counted at ALL, which is what runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from qdsl.graph.integer_operators import computes_in_integers, multiplying
from qdsl.graph.sessions import FUSED, WHOLE
from qdsl.passes.origins import JOINS_KEY, REPLACES_KEY
from qdsl.spec.plan import WIDENING
from qdsl.targets.ort.element_types import declared, light
from qdsl.targets.ort.idle import idle
from qdsl.targets.ort.optimized import loadable, optimized
from qdsl.targets.results import Ran

# Nodes that turn values from one type to the other: `read` judges those between them.
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_SMALL_INTEGERS = frozenset(
    getattr(onnx.TensorProto, name) for name in ("INT8", "UINT8", "INT16", "UINT16", "INT4", "UINT4", "INT32")
)
_FLOATS = frozenset(getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"))
_RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze"})
_RESHAPED = "_new_reshape"
# Suffixes that the runtime gives to a kernel which replaces several nodes, after the name of the first.
_ADDED = "/MatMulAddFusion"
_FUSION_SUFFIXES = (_ADDED, _RESHAPED, "/GemmTransposeFusion/")
_FLOAT = int(onnx.TensorProto.FLOAT)
_FLOAT16 = int(onnx.TensorProto.FLOAT16)
_QGEMM_OUTPUT_SCALE = 7
_SMALL_TENSOR = 1024
# What a tensor is called once the runtime has put a Q/DQ pair after it and kept its name for the dequantized value.
_RENAMED = "_pre_q"
# What a tensor is called once the runtime has moved the DequantizeLinear before its writer behind it.
_PUSHED = "_post_dq"
# What writes the parts of a tensor once the runtime has made one Split of the nodes that took them; a Gather of one
# index is squeezed behind it.
_PARTED_BY = {"Slice": ("Split",), "Gather": ("Split", "Squeeze")}
# What writes numbers of another type than it reads, and what writes what its bodies do.
_COUNTS, _BODIES = frozenset({"Shape", "Size", "NonZero"}), frozenset({"If", "Loop", "Scan"})
_FLAT_ONLY = frozenset({"Relu", "Clip"})
# What the emitter writes on quantized integers, where it was on floats (`concat_integers`), and what may stand behind.
_JOINS = "Concat"
_HOLDS = "Clip"


@dataclass(frozen=True, slots=True)
class Reality:
    """`nodes` by the name of the node in the emitted file (Q/DQ nodes are not in it), and of those that a lowering took
    out of it; `op_counts` of the graph that runs, by operator."""

    nodes: Mapping[str, Ran]
    op_counts: Mapping[str, int]

    @property
    def integer_nodes(self) -> int:
        return sum(1 for ran in self.nodes.values() if ran.runs == "integer")


def read(model: str | Path | bytes, *, counts: bool = True) -> Reality:
    """Loads the emitted file in ONNX Runtime's CPU provider and reads what runs. With `counts` False the second load,
    at ORT_ENABLE_ALL, is left out and `op_counts` speaks of the EXTENDED level. Nodes without a name of their own (in
    files of others) are found by the one that loading the graph gives them. Raises RuntimeRefusesError when ONNX
    Runtime does not load the file."""
    emitted, source, folder = loadable(model)
    with optimized(source, FUSED, folder) as (fused, _):
        nodes, op_counts = _Reader(emitted, fused).nodes(), _op_counts(fused)
    if counts:
        with optimized(source, WHOLE, folder) as (final, _):
            op_counts = _op_counts(final)
    return Reality(nodes, op_counts)


def _op_counts(model: onnx.ModelProto) -> dict[str, int]:
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


class _Reader:
    """Maps the nodes of the emitted graph onto the optimized one."""

    def __init__(self, emitted: onnx.ModelProto, fused: onnx.ModelProto) -> None:
        self._nodes = [node for node in emitted.graph.node if node.op_type not in QUANTIZERS]
        self._replaced = [p.value for node in self._nodes for p in node.metadata_props if p.key == REPLACES_KEY]
        self._inside = {p.value: node.name for node in self._nodes for p in node.metadata_props if p.key == JOINS_KEY}
        self._stored_floats = {t.name for t in emitted.graph.initializer if t.data_type in _FLOATS}
        self._declared = declared(onnx.shape_inference.infer_shapes(light(emitted)).graph)
        self._types = _types(fused.graph)
        self._by_name = {node.name: node for node in fused.graph.node}
        self._writer = {name: node for node in fused.graph.node for name in node.output}
        self._reader = {name: node for node in fused.graph.node for name in node.input}
        self._author = {name: node for node in self._nodes for name in node.output}
        self._twins = _twins(emitted.graph)
        self._idle = idle(emitted, self._declared)
        self._joined = _joined(emitted.graph)
        self._quantized: dict[str, list[str]] = {}
        for node in emitted.graph.node:
            if node.op_type == "QuantizeLinear":
                self._quantized.setdefault(node.input[0], []).append(node.output[0])
        self._readers: dict[str, list[str]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node.name)

    def nodes(self) -> dict[str, Ran]:
        found: dict[str, Ran] = {}
        # Backwards, so that the reader of a node that vanished is already judged.
        for node in reversed(self._nodes):
            found[node.name] = self._ran(node, found)
        alive = {self._twins[node.name]: node.name for node in self._nodes if self._kernel(node) is not None}
        for node in self._nodes:
            if self._kernel(node) is None and self._twins[node.name] in alive:
                found[node.name] = found[alive[self._twins[node.name]]]
        replaced = dict.fromkeys(self._replaced, Ran("absorbed", ""))
        replaced |= {inside: found[host] for inside, host in self._inside.items()}
        return replaced | {node.name: found[node.name] for node in self._nodes}

    def _ran(self, node: onnx.NodeProto, found: Mapping[str, Ran]) -> Ran:
        names = (*node.input[:1], *node.output)
        floats = any(self._declared.get(name, _FLOAT) in _FLOATS for name in names)
        if not floats and not _is_integer_kernel(node.op_type) and node.name not in self._joined:
            return Ran("moves", node.op_type)
        kernel = self._kernel(node)
        if kernel is None:
            return self._vanished(node, found)
        if _is_integer_kernel(kernel.op_type):
            return Ran("integer", kernel.op_type)
        if self._reads_integers(kernel) and not self._reads_own_integers(node, kernel):
            return Ran("integer", kernel.op_type)
        runs = "float16" if self._reads(kernel) == _FLOAT16 else "float"
        return Ran(runs, kernel.op_type, self._rounded(node, kernel))

    def _rounded(self, node: onnx.NodeProto, kernel: onnx.NodeProto) -> bool:
        """Whether the constant that `node` multiplies with, stored in float, comes to its kernel through a
        DequantizeLinear."""
        if len(node.input) < 2 or len(kernel.input) < 2 or node.input[1] not in self._stored_floats:
            return False
        return self._wrote(kernel.input[1], "DequantizeLinear")

    def _reads_integers(self, kernel: onnx.NodeProto) -> bool:
        return self._reads(kernel) in _SMALL_INTEGERS

    def _reads_own_integers(self, node: onnx.NodeProto, kernel: onnx.NodeProto) -> bool:
        """Whether the float model itself has integers there: a Cast of uint8 pictures is no integer kernel."""
        name = node.input[0] if node.input else ""
        known = self._declared.get(name)
        if known is None and list(kernel.input[:1]) == [name]:  # read by the kernel under its own name
            known = self._types.get(name)
        return known in _SMALL_INTEGERS and node.name not in self._joined

    def _reads(self, kernel: onnx.NodeProto) -> int:
        """The element type of the kernel's first input; float where it is not known."""
        return self._types.get(kernel.input[0] if kernel.input else "", _FLOAT)

    def _merged_reshape(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The one Reshape that stands for a chain of them, when `node` was in one."""
        while node.op_type in _RESHAPES and node.input[0] in self._author:
            node = self._author[node.input[0]]
            merged: onnx.NodeProto | None = self._by_name.get(node.name + _RESHAPED)
            if merged is not None:
                return merged
        return None

    def _reshaped_product(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The Reshape that stands for a chain of them behind a product of more than two axes and what is added to it:
        the runtime computes the two as a Gemm of two axes, and the first of the chain restores the others."""
        while node.op_type in _RESHAPES and node.input[0] in self._author:
            node = self._author[node.input[0]]
        for name in node.input if node.op_type == "Add" else ():
            gemm = self._by_name.get(self._author[name].name + _ADDED) if name in self._author else None
            reader: onnx.NodeProto | None = self._reader.get(gemm.output[0]) if gemm is not None else None
            while reader is not None and reader.op_type in QUANTIZERS:
                reader = self._reader.get(reader.output[0])
            if reader is not None and reader.name.endswith(_RESHAPED):
                return reader
        return None

    def _kernel(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        names = (node.name, *(node.name + suffix for suffix in _FUSION_SUFFIXES))
        return next((self._by_name[name] for name in names if name in self._by_name), None)

    def _wrote(self, name: str, op: str) -> bool:
        return name in self._writer and self._writer[name].op_type == op

    def _vanished(self, node: onnx.NodeProto, found: Mapping[str, Ran]) -> Ran:
        """A node without a kernel of its own: fused into a float kernel, into an integer one, or removed."""
        if node.name in self._idle:
            return Ran("absorbed", "")
        merged = self._merged_reshape(node)
        if merged is not None:
            return Ran("absorbed" if self._reads_integers(merged) else "float", merged.op_type)
        for name in node.output:
            writer = self._writer.get(name) or self._writer.get(name + _RENAMED)
            if writer is not None and writer.op_type not in QUANTIZERS:
                return Ran("absorbed" if _is_integer_kernel(writer.op_type) else "float", writer.op_type)
            pushed = self._writer.get(name + _PUSHED)
            for integers in (*([pushed.input[0]] if pushed else []), *self._quantized.get(name, [])):
                ops = (node.op_type, *_PARTED_BY.get(node.op_type, ()))
                kernel = next((op for op in ops if self._wrote(integers, op)), None)
                if kernel is not None:
                    return Ran("integer", kernel)
        if node.op_type in _FLAT_ONLY:
            return Ran("absorbed", "")
        readers = (reader for name in node.output for reader in self._readers.get(name, []))
        inner = [found[reader] for reader in readers if reader in found]
        if inner and all(ran.runs == "float" for ran in inner):
            reshaped = self._reshaped_product(node) if node.op_type in _RESHAPES else None
            integer = reshaped is not None and self._reads_integers(reshaped)
            return Ran("integer", node.op_type) if integer else inner[0]
        return Ran("absorbed", "")


def _joined(graph: onnx.GraphProto) -> set[str]:
    """Nodes that join quantized integers: what they write comes to a DequantizeLinear as integers."""
    dequantized = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    found = set()
    for node in reversed(graph.node):
        if node.output[0] not in dequantized:
            continue
        if node.op_type == _JOINS:
            found.add(node.name)
            dequantized.update(node.input)
        elif node.op_type == _HOLDS:
            dequantized.add(node.input[0])
    return found


def _twins(graph: onnx.GraphProto) -> dict[str, str]:
    """Per node the first that does the same to the same values: the runtime runs one of them."""
    first: dict[tuple[object, ...], onnx.NodeProto] = {}
    same = {tensor.name: _content(tensor) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        inputs = tuple(same.get(name, name) for name in node.input)
        twin = first.setdefault((node.op_type, node.domain, inputs, *attributes, len(node.output)), node)
        found[node.name] = twin.name
        if twin is not node:
            same.update(zip(node.output, (same.get(name, name) for name in twin.output), strict=True))
    return found


def _content(tensor: onnx.TensorProto) -> object:
    """What makes two stored tensors the same; a large one is only the same as itself."""
    if tensor.ByteSize() > _SMALL_TENSOR or tensor.external_data:
        return tensor.name
    nameless = onnx.TensorProto()
    nameless.CopyFrom(tensor)
    nameless.ClearField("name")
    return nameless.SerializeToString(deterministic=True)


def _is_integer_kernel(op: str) -> bool:
    return computes_in_integers(op) or op in WIDENING


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element types along the optimized graph, which declares few: an operator of old writes what it reads."""
    found = declared(graph)
    for node in graph.node:
        for port, name in enumerate(node.output):
            found.setdefault(name, _written_type(node, port, found))
    return found


def _written_type(node: onnx.NodeProto, port: int, known: Mapping[str, int]) -> int:
    if node.op_type == "DynamicQuantizeLinear":
        return _FLOAT if port == 1 else int(onnx.TensorProto.UINT8)
    if node.op_type in _COUNTS:
        return int(onnx.TensorProto.INT64)
    if node.op_type in _BODIES:
        return _FLOAT
    if node.op_type == "Cast":
        return int(next(attribute.i for attribute in node.attribute if attribute.name == "to"))
    if node.op_type == "DequantizeLinear":
        return _FLOAT
    if node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear"):
        return int(onnx.TensorProto.UINT8)
    if node.op_type == "QGemm":
        return int(onnx.TensorProto.UINT8) if len(node.input) > _QGEMM_OUTPUT_SCALE else _FLOAT
    if node.op_type in WIDENING:
        return _FLOAT
    operator = multiplying(node.op_type, node.domain)
    if operator is not None and operator.output is None:
        return int(onnx.TensorProto.INT32) if operator.sums else _FLOAT
    data = node.input[1] if node.op_type == "Where" else node.input[0] if node.input else ""
    return known.get(data, _FLOAT)
