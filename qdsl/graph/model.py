"""A loaded model: the editable graph, its name index, lazy constants, and the light view of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, ValueInfoProto

from qdsl.diag import Diagnostic, Placed, Span
from qdsl.graph.collector import collector_paused
from qdsl.graph.constants import Constant, Lazy, lazy_of
from qdsl.graph.exporter import used_constants
from qdsl.graph.infer import infer
from qdsl.graph.limits import Limits
from qdsl.graph.meta import Meta, meta_of
from qdsl.graph.problems import problem
from qdsl.graph.sort import sorted_nodes
from qdsl.graph.source import Source
from qdsl.graph.view import GraphView
from qdsl.graph.viewing import view_of
from qdsl.graph.walk import Linked


class Model(Placed, Linked):
    """One model in memory. Edit it with `qdsl.graph.edit` only; read it with `view`.

    `graph` is the graphsurgeon graph; `diagnostics` what loading warned of; `shell` and `graph_shell` what the file
    says of itself beside the graph; `value_meta` the documentation of graph inputs and outputs; `pinned` names of
    tensors that something outside the nodes refers to (quantization annotations); `source` the file as it was read,
    None for a model that came from none; `span` the place in the recipe that names it, None where none does.
    `replaceable` names constants that the file lists as graph inputs, too: to a runtime, the caller's until it calls.
    """

    def __init__(
        self,
        graph: gs.Graph,
        tensors: dict[str, gs.Tensor],
        shell: ModelProto,
        graph_shell: GraphProto,
        value_meta: dict[str, ValueInfoProto],
        path: Path | None,
        limits: Limits,
        diagnostics: Sequence[Diagnostic] = (),
        span: Span | None = None,
    ) -> None:
        self.graph = graph
        self.shell = shell
        self.graph_shell = graph_shell
        self.value_meta = value_meta
        self.path = path
        self.limits = limits
        self.diagnostics = list(diagnostics)
        self.span = span
        self.pinned = {p.value for a in graph_shell.quantization_annotation for p in a.quant_parameter_tensor_names}
        self.source: Source | None = None
        self.replaceable: frozenset[str] = frozenset()
        self._tensors = tensors
        self._node_names = {node.name for node in graph.nodes}
        self._removed: set[int] = set()
        self._captured: dict[str, int] | None = None

    @property
    def name(self) -> str:
        """The file's name, or the graph's where there is no file."""
        return self.path.name if self.path is not None else str(self.graph.name)

    @property
    def opset(self) -> int:
        """The version of ai.onnx."""
        return int(self.graph.opset)

    def nodes(self) -> list[gs.Node]:
        """The nodes that are in the graph now; a list of its own, safe to edit over."""
        if not self._removed:
            return list(self.graph.nodes)
        return [node for node in self.graph.nodes if id(node) not in self._removed]

    def tensor(self, name: str) -> gs.Tensor | None:
        """The tensor called `name`, or None."""
        return self._tensors.get(name)

    def constants(self) -> Iterator[gs.Constant]:
        """Constants in use, in order of first use."""
        return used_constants(self)

    def values(self, constant: str) -> np.ndarray[Any, Any]:
        """The value of a constant, read now and not kept: memory-mapped where it is external, computed where deferred.
        4- and 2-bit integers come as int8 or uint8. Raises KeyError when there is no such constant."""
        found = self._tensors[constant]
        if not isinstance(found, gs.Constant):
            raise KeyError(constant)
        return lazy_of(found).load()

    def lazy(self, constant: str) -> Lazy:
        """The same without reading it: element type, shape, size, chunks. Raises KeyError."""
        found = self._tensors[constant]
        if not isinstance(found, gs.Constant):
            raise KeyError(constant)
        return lazy_of(found)

    @property
    def parameters(self) -> int:
        """Elements of all constants in use."""
        return sum(prod(lazy_of(constant).shape) for constant in self.constants())

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants in use, packed."""
        return sum(lazy_of(constant).nbytes for constant in self.constants())

    def captured(self, tensor: gs.Tensor) -> bool:
        """Whether a body of If, Loop or Scan (or a quantization annotation) refers to the tensor by its name."""
        if self._captured is None:
            self._captured = dict.fromkeys(self.pinned, 1)
            for node in self.nodes():
                self._captured.update(dict.fromkeys(meta_of(node).captured, 1))
        return tensor.name in self._captured

    def is_output(self, tensor: gs.Tensor) -> bool:
        return any(tensor is output for output in self.graph.outputs)

    def sweep(self) -> None:
        """Take removed nodes out of the list and forget tensors that nothing refers to."""
        if self._removed:
            self.graph.nodes[:] = self.nodes()
            self._removed.clear()
        self._captured = None
        kept = {id(t) for t in (*self.graph.inputs, *self.graph.outputs)}
        for name, tensor in list(self._tensors.items()):
            if not tensor.inputs and not tensor.outputs and id(tensor) not in kept and not self.captured(tensor):
                del self._tensors[name]

    def become(self, other: Model) -> None:
        """Take the place of this model's graph, and all that belongs to it, from `other`, which is used up. Where the
        model was read from, and what names it, stay."""
        self.__dict__.update({**other.__dict__, "source": self.source, "span": self.span})

    def sort(self) -> None:
        """Bring the nodes into topological order (stable). Raises `model-cycle`."""
        self.sweep()
        self.graph.nodes[:] = sorted_nodes(self.graph.nodes, self.tensor, self.span)

    def infer(self) -> None:
        """Infer the shapes still unknown; a failure is a warning in `diagnostics`."""
        infer(self)

    def view(self) -> GraphView:
        """The graph as plain names and facts, in topological order. Linear; made anew each time."""
        with collector_paused():
            self.sort()
            return view_of(self)

    def set_shape(self, input: str, dims: Sequence[int | str | None], span: Span | None = None) -> None:
        """Fix the dims of a graph input and infer everything after it anew. Raises `model-input-shape`, at `span`: the
        place that asks for it, None for that of the model."""
        found = next((tensor for tensor in self.graph.inputs if tensor.name == input), None)
        if found is None:
            names = ", ".join(f"`{tensor.name[:80]}`" for tensor in self.graph.inputs[:5])
            headline = f"the model has no input `{input[:80]}`"
            raise problem(span or self.span, "model-input-shape", headline, f"its inputs are {names}")
        _check_dims(found, dims, self.limits, span or self.span)
        found.shape = tuple(dims)
        for node in self.nodes():
            for tensor in node.outputs:
                if isinstance(tensor, gs.Variable) and tensor.shape is not None:
                    # Free dims follow from the input now; inference would prefer the old symbol.
                    tensor.shape = tuple(dim if isinstance(dim, int) else None for dim in tensor.shape)
        self.infer()

    def copy(self) -> Model:
        """An independent model that shares the constants' values with this one."""
        with collector_paused():
            return self._copy()

    def _copy(self) -> Model:
        self.sweep()
        tensors = {name: _copied(tensor) for name, tensor in self._tensors.items()}
        nodes = [_copied_node(node, tensors) for node in self.graph.nodes]
        graph = gs.Graph(
            nodes=nodes,
            inputs=[tensors[t.name] for t in self.graph.inputs],
            outputs=[tensors[t.name] for t in self.graph.outputs],
            name=self.graph.name,
            doc_string=self.graph.doc_string,
            opset=self.graph.opset,
            import_domains=list(self.graph.import_domains),
            producer_name=self.graph.producer_name,
            producer_version=self.graph.producer_version,
            ir_version=self.graph.ir_version,
        )
        return Model(
            graph,
            tensors,
            self.shell,
            self.graph_shell,
            dict(self.value_meta),
            self.path,
            self.limits,
            self.diagnostics,
            self.span,
        )


def _check_dims(tensor: gs.Variable, dims: Sequence[int | str | None], limits: Limits, span: Span | None) -> None:
    wrong = [dim for dim in dims if isinstance(dim, int) and not 0 < dim <= limits.dimension]
    had = tensor.shape
    fits = had is None or (
        len(had) == len(dims)
        and all(
            not isinstance(old, int) or not isinstance(new, int) or old == new
            for old, new in zip(had, dims, strict=True)
        )
    )
    if wrong or not fits:
        raise problem(
            span,
            "model-input-shape",
            f"input `{tensor.name[:80]}` cannot have the shape {list(dims)}; the model declares {list(had or ())}",
            "leave out `shape`, or export the model with free dimensions: only those can be fixed",
        )


def _copied(tensor: gs.Tensor) -> gs.Tensor:
    if isinstance(tensor, gs.Constant):
        return Constant(tensor.name, lazy_of(tensor))
    made = gs.Variable(tensor.name, tensor.dtype, tensor.shape, tensor.type)
    whole = getattr(tensor, "type_proto", None)
    if whole is not None:
        made.type_proto = whole
    return made


def _copied_node(node: gs.Node, tensors: dict[str, gs.Tensor]) -> gs.Node:
    def mapped(tensor: gs.Tensor) -> gs.Tensor:
        return tensors[tensor.name] if tensor.name else gs.Variable.empty()

    attrs = {name: list(value) if isinstance(value, list) else value for name, value in node.attrs.items()}
    made = gs.Node(
        node.op, node.name, attrs, [mapped(t) for t in node.inputs], [mapped(t) for t in node.outputs], node.domain
    )
    meta: Meta = meta_of(node)
    made.__dict__["qdsl_meta"] = meta.copy()
    return made
