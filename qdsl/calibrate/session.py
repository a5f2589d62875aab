"""ONNX Runtime as this package uses it: one thread a session, one sample a run, the same bits on every call."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnx import ModelProto

from qdsl.diag import Diagnostic, QdslError
from qdsl.diag.system import ran_out_of_memory
from qdsl.graph import Model, save, to_proto
from qdsl.graph.infer import skeleton
from qdsl.graph.saving import LARGEST_INLINE
from qdsl.spec.scratch import scratch


def require_loads(model: Model) -> None:
    """Raises QdslError `calibration-load` for a model that ONNX Runtime refuses. The graph is tried without its large
    weights, which takes 20 ms for YOLOv8n; what is refused so is tried whole, and then counts."""
    options = _options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(skeleton(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's exceptions share no base class but Exception
        session(model, lambda proto: None)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def session(model: Model, edit: Callable[[ModelProto], None]) -> Any:
    """A session on a copy of `model` that `edit` has changed. QdslError `calibration-load` when ONNX Runtime
    refuses it."""
    options = _options()
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # a pattern keeps room for all tensors of a run at once: 100 MB on YOLOv8n
    try:
        if model.constant_bytes <= LARGEST_INLINE:
            proto = to_proto(model)
            edit(proto)
            return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        with scratch() as folder:
            return _from_file(model, edit, folder / "model.onnx", options)
    except QdslError:
        raise
    # ONNX Runtime's exceptions share no base class but Exception.
    except Exception as error:
        headline = f"ONNX Runtime cannot load {model.name}: {runtime_reason(error)}"
        raise QdslError([Diagnostic("calibration-load", headline)]) from None


def _from_file(model: Model, edit: Callable[[ModelProto], None], path: Path, options: ort.SessionOptions) -> Any:
    save(model, path)
    proto = onnx.load(path, load_external_data=False)
    edit(proto)
    path.write_bytes(proto.SerializeToString())
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runtime_reason(error: Exception) -> str:
    """ONNX Runtime's own words on one line, without its tags and the places in its source."""
    if ran_out_of_memory(error):
        return "there is not enough memory"
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"\S+\.(h|cc|cpp):\d+ [^()]*\([^()]*\) (const )?", "", text)
    return " ".join(text.split())[:240] or type(error).__name__
