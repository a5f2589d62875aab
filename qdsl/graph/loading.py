"""The only way in: a file or a ModelProto becomes a checked Model, or a diagnostic."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto

from qdsl.diag import Diagnostic, Diagnostics, QdslError, Span, nearest
from qdsl.graph import widening
from qdsl.graph.checks import bodies, check_versions, opset_of
from qdsl.graph.collector import collector_paused
from qdsl.graph.constants import lazy_of
from qdsl.graph.functions import inline_functions
from qdsl.graph.importer import import_graph
from qdsl.graph.limits import DEFAULT_LIMITS, Limits
from qdsl.graph.model import Model
from qdsl.graph.naming import name_nodes
from qdsl.graph.other_formats import recognised
from qdsl.graph.problems import note, problem, shown, warning
from qdsl.graph.source import FileState, Source, state_in
from qdsl.graph.text import check_text

_MOST_NAMES = 2000
# What optimizers of ONNX Runtime make of operators with weights: no kernel takes them in integers.
_FUSED = frozenset(
    ("com.microsoft", op)
    for op in (
        *("Attention", "DecoderAttention", "FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation"),
        *("GemmFastGelu", "LongformerAttention", "NhwcConv", "NhwcFusedConv", "TransposeMatMul"),
    )
)
_BLOCKED = "com.microsoft.nchwc"
_FIRST_IR_OF_CONSTANTS = 4
_FALLBACK_OPSET = 17  # for a model whose nodes are all of other domains


def load(
    path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, widen: bool = False, span: Span | None = None
) -> Model:
    """Read an ONNX file. External data stays on disk until a value is asked for. `widen`: a model of 16 bit floats
    becomes one of float32. `span` is the place in the recipe that names the file: what is found wrong
    with the model, now or later, stands there.

    Raises QdslError with one or more `model-...` diagnostics; warnings are in `Model.diagnostics`.
    """
    file = Path(path)
    data, state = _read(file, limits, span)
    model = from_proto(_parsed(file, data, span), path=file, limits=limits, widen=widen, span=span)
    model.source = Source(hashlib.sha256(data).hexdigest(), len(data), state)
    return model


def read_proto(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> tuple[ModelProto, Source]:
    """What a model file says, checked for nothing but being one; external data is left where it is. Raises QdslError
    model-missing, model-unreadable, model-too-large."""
    file = Path(path)
    data, state = _read(file, limits, None)
    return _parsed(file, data, None), Source(hashlib.sha256(data).hexdigest(), len(data), state)


def _read(file: Path, limits: Limits, span: Span | None) -> tuple[bytes, FileState]:
    """The bytes of a model file, and the state of the file that they came from."""
    name = file.name
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise problem(span, "model-unreadable", f"`{name}` is not a file", "name the model file itself")
        if found.st_size > limits.file_bytes:
            raise problem(
                span,
                "model-too-large",
                f"`{name}` has {found.st_size} bytes; a model file may have {limits.file_bytes}",
                "store the weights as external data",
            )
        with file.open("rb") as opened:
            return opened.read(), state_in(os.fstat(opened.fileno()))
    except FileNotFoundError:
        raise problem(span, "model-missing", f"there is no model file `{name[:200]}`", *_near(file, span)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise problem(span, "model-unreadable", f"`{name[:200]}` cannot be read: {reason}") from None


def _near(file: Path, span: Span | None) -> tuple[str, ...]:
    """The models beside a file that is not there whose names are like its name."""
    try:
        names = [path.name for path in islice(file.parent.iterdir(), _MOST_NAMES)]
    except OSError:
        return (f"there is no folder `{file.parent.name[:200]}` either",)
    close = nearest(file.name, [name for name in names if name.endswith(file.suffix)])
    if close:
        return (f"the nearest there: {', '.join(f'`{name}`' for name in close)}",)
    return () if span is not None else ("the path starts from the working directory",)


def _parsed(file: Path, data: bytes, span: Span | None) -> ModelProto:
    if not data:
        raise problem(span, "model-unreadable", f"`{file.name[:200]}` is empty", "export it again")
    try:
        proto: ModelProto = ModelProto.FromString(data)
    except (DecodeError, RuntimeError, ValueError):
        raise _no_model(file, data, span, "is not an ONNX model, or it is cut short") from None
    if not proto.HasField("graph") or not (proto.ir_version or proto.opset_import):
        raise _no_model(file, data, span, "is not an ONNX model: it has no graph", "export it again")
    return proto


def _no_model(file: Path, data: bytes, span: Span | None, otherwise: str, *cures: str) -> QdslError:
    """The error for a file that is no model: what it is where that is known."""
    other = recognised(data)
    if other is None:
        return problem(span, "model-unreadable", f"`{file.name[:200]}` {otherwise}", *cures)
    return problem(
        span, "model-unreadable", f"`{file.name[:200]}` is not an ONNX model: it is {other.what}", other.cure
    )


def from_proto(
    proto: ModelProto,
    *,
    path: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    widen: bool = False,
    span: Span | None = None,
) -> Model:
    """A Model from a proto in memory, which is handed over (its tensors are used, not copied).

    `path` is where it was read from: its name is shown, its directory holds external data. `span` is as for `load`.
    """
    with collector_paused():
        return _from_proto(proto, None if path is None else Path(path), limits, widen, span)


def _from_proto(proto: ModelProto, file: Path | None, limits: Limits, widen: bool, span: Span | None) -> Model:
    diags = Diagnostics(span)
    _check_size(proto.graph, limits, span)
    check_text(proto, span)
    check_versions(proto, diags)
    diags.raise_errors()
    found = list(diags)
    proto, notes = inline_functions(proto, limits, span)
    opset = opset_of(proto) or _FALLBACK_OPSET
    found += widening.widen(proto, file.name if file is not None else "the model", limits, span) if widen else ()
    graph = import_graph(proto, opset, None if file is None else file.parent, limits, diags)
    diags.raise_errors()
    _widen_external(graph, found)
    renamed = name_nodes(graph.nodes)
    found += [*notes, *_notes(proto, renamed, span)]
    tensors = graph.__dict__.pop("qdsl_tensors")
    extras = {i.name: i for i in (*proto.graph.input, *proto.graph.output) if i.doc_string or i.metadata_props}
    model = Model(graph, tensors, _shell(proto), _graph_shell(proto.graph), extras, file, limits, found, span)
    model.replaceable = _replaceable(proto)
    model.sort()
    model.infer()
    return model


def _replaceable(proto: ModelProto) -> frozenset[str]:
    """Stored values that graph inputs name, too. Before IR version 4 each had to be named so, and is a constant."""
    if proto.ir_version < _FIRST_IR_OF_CONSTANTS:
        return frozenset()
    return frozenset(tensor.name for tensor in proto.graph.initializer) & {info.name for info in proto.graph.input}


def _widen_external(graph: gs.Graph, found: Iterable[Diagnostic]) -> None:
    """What `widening.widen` left to be done, if it did anything."""
    if any(one.code == "model-float16" for one in found):
        for tensor in graph.__dict__["qdsl_tensors"].values():
            if isinstance(tensor, gs.Constant):
                tensor.values = widening.widened(lazy_of(tensor))


def _check_size(graph: GraphProto, limits: Limits, span: Span | None) -> None:
    """Bounds on node count and nesting, bodies included."""
    waiting: list[tuple[GraphProto, int]] = [(graph, 0)]
    nodes = 0
    while waiting:
        here, depth = waiting.pop()
        nodes += len(here.node)
        if depth > limits.body_depth or nodes > limits.nodes:
            raise problem(
                span,
                "model-too-large",
                f"the model has more than {limits.nodes} nodes or bodies nested deeper than {limits.body_depth}",
            )
        waiting += [(body, depth + 1) for node in here.node for body in bodies(node.attribute)]


def _notes(proto: ModelProto, renamed: int, span: Span | None) -> Iterable[Diagnostic]:
    graph = proto.graph
    if renamed:
        yield note(span, "model-node-names", f"nodes without a name of their own were given one: {renamed}")
    control = [node.name or node.op_type for node in graph.node if any(True for _ in bodies(node.attribute))]
    if control:
        yield note(
            span,
            "model-body",
            f"the bodies of {shown(control)} are left untouched",
            "nodes inside a body are never quantized",
        )
    fused = [node for node in graph.node if (node.domain, node.op_type) in _FUSED or node.domain == _BLOCKED]
    if fused:
        yield warning(
            span,
            "model-optimized",
            f"what an optimizer fused stays float: {shown([node.name or node.op_type for node in fused])} "
            f"({', '.join(sorted({node.op_type for node in fused}))})",
            "give the model as it was before ONNX Runtime or another tool optimized it; the runtime fuses it again",
        )
    constants = {tensor.name for tensor in graph.initializer}
    overridable = [info.name for info in graph.input if info.name in constants]
    if overridable:
        yield note(
            span, "model-constant-inputs", f"graph inputs with a stored value become constants: {len(overridable)}"
        )
    if proto.training_info:
        yield warning(span, "model-training-info", "the model's training information is left out")


def _shell(proto: ModelProto) -> ModelProto:
    """Everything the model says of itself but graph, functions and versions."""
    shell = ModelProto()
    for field, value in proto.ListFields():
        if field.name in ("graph", "functions", "opset_import", "training_info"):
            continue
        if isinstance(value, str | int):
            setattr(shell, field.name, value)
        else:
            getattr(shell, field.name).extend(value)
    return shell


def _graph_shell(graph: GraphProto) -> GraphProto:
    shell = GraphProto(doc_string=graph.doc_string)
    shell.metadata_props.extend(graph.metadata_props)
    shell.quantization_annotation.extend(graph.quantization_annotation)
    return shell
