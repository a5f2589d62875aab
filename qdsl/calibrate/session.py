"""The float model in ONNX Runtime: one thread a session, one sample a run, the same bits on every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from qdsl.data import Sample
from qdsl.diag import Placed
from qdsl.graph import Model, save, to_proto
from qdsl.graph.infer import skeleton
from qdsl.graph.saving import LARGEST_INLINE
from qdsl.graph.sessions import LOADING, OBSERVING, RuntimeRefusesError, Session
from qdsl.spec.scratch import scratch


def require_loads(model: Model) -> None:
    """Raises QdslError `calibration-load` for a model that ONNX Runtime refuses. The graph is tried without its large
    weights, which takes 20 ms for YOLOv8n; what is refused so is tried whole, and then counts."""
    try:
        Session(skeleton(model).SerializeToString(), LOADING)
    except RuntimeRefusesError:
        session(model, lambda proto: None)


def session(model: Model, edit: Callable[[ModelProto], None]) -> Session:
    """A session on a copy of `model` that `edit` has changed. QdslError `calibration-load` when ONNX Runtime
    refuses it."""
    try:
        if model.constant_bytes <= LARGEST_INLINE:
            proto = to_proto(model)
            edit(proto)
            return Session(proto.SerializeToString(), OBSERVING)
        with scratch() as folder:
            return _from_file(model, edit, folder / "model.onnx")
    except RuntimeRefusesError as error:
        headline = f"ONNX Runtime cannot load {model.name}: {error.reason}"
        raise model.error("calibration-load", headline) from None


def run(loaded: Session, names: Sequence[str], sample: Sample, of: Placed) -> list[Any]:
    """The tensors called `names` of the float model for one sample. QdslError `calibration-run` with ONNX Runtime's
    reason, at the place `of` the dataset or the model."""
    try:
        return loaded.run(names, sample.arrays)
    except RuntimeRefusesError as error:
        headline = f"the float model does not run on sample {sample.id}: {error.reason}"
        raise of.error("calibration-run", headline) from None


def _from_file(model: Model, edit: Callable[[ModelProto], None], path: Path) -> Session:
    save(model, path)
    proto = onnx.load(path, load_external_data=False)
    edit(proto)
    path.write_bytes(proto.SerializeToString())
    return Session(path, OBSERVING)
