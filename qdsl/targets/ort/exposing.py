"""A model in ONNX Runtime, with some of its inner tensors as outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnx import ModelProto, ValueInfoProto

from qdsl.diag import Diagnostic, QdslError
from qdsl.diag.system import NO_MEMORY, ran_out_of_memory
from qdsl.targets.ort.session import FLOAT_PRODUCTS
from qdsl.targets.results import FloatModelError

FLOAT = "the float model"
QUANTIZED = "the quantized model"
Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A model whose large weights may lie in `folder`, and the session options by name that it asks for."""

    proto: ModelProto
    folder: Path | None = None
    entries: Mapping[str, str] = field(default_factory=lambda: FLOAT_PRODUCTS)


class Exposing:
    """One session, on one thread. `as_written`: every operator computes what the file says, in no kernel of the
    runtime's own making."""

    def __init__(
        self,
        what: str,
        source: Source,
        expose: Sequence[str] = (),
        *,
        as_written: bool = False,
    ) -> None:
        """Raises QdslError (artifact-refused) when ONNX Runtime does not load it."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        for option, value in source.entries.items():
            options.add_session_config_entry(option, value)
        if source.folder is not None:
            folder = str(source.folder)
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        self._what = what
        if expose:
            _widen(options, what)
        if as_written:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            data = exposed(source.proto, expose)
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise refused(what, error) from None
        self._inputs = [info.name for info in self._session.get_inputs()]

    def run(self, names: Sequence[str], arrays: Arrays) -> list[Any]:
        """The tensors called `names`; without any the model runs all the same. Raises QdslError (artifact-refused),
        FloatModelError for the float model."""
        try:
            found: list[Any] = self._session.run(list(names), {name: arrays[name] for name in self._inputs})
        except Exception as error:
            error_of = refused(self._what, error)
            raise FloatModelError(error_of.diagnostics) if self._what == FLOAT else error_of from None
        return found[: len(names)]


def _widen(options: ort.SessionOptions, what: str) -> None:
    """For many large outputs: an arena keeps twice their memory, and the float model's blocked layouts (the level ALL)
    would be undone for each of them. The artifact keeps its kernels."""
    options.enable_cpu_mem_arena = False
    if what == FLOAT:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


def exposed(proto: ModelProto, names: Sequence[str]) -> bytes:
    """The model's bytes with more outputs; ONNX Runtime infers their types. Safe from any thread: messages joined are
    merged when they are read (protobuf, encoding: last one wins), lists of both one behind the other."""
    public = {info.name for info in proto.graph.output}
    more = ModelProto()
    more.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in public)
    data: bytes = proto.SerializeToString()
    return data + more.SerializeToString() if more.graph.output else data


def refused(what: str, error: Exception) -> QdslError:
    """The diagnostic for what ONNX Runtime does not load or run."""
    if ran_out_of_memory(error):
        return QdslError([NO_MEMORY])
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return QdslError([Diagnostic("artifact-refused", f"ONNX Runtime refuses {what}", label=reason)])
