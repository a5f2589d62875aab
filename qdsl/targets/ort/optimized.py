"""The graph that ONNX Runtime makes of a file, before it runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx

from qdsl.graph.naming import name_protos
from qdsl.graph.sessions import OPTIMIZING, Session
from qdsl.spec.scratch import scratch


def loadable(model: str | Path | bytes) -> tuple[onnx.ModelProto, Path | bytes, Path | None]:
    """The model in a file or in bytes, without its large weights; what to load, where every node has a name; and the
    folder that the weights lie in."""
    if isinstance(model, bytes):
        proto = onnx.load_from_string(model)
        return proto, proto.SerializeToString() if name_protos(proto.graph.node) else model, None
    path = Path(model)
    proto = onnx.load(path, load_external_data=False)
    return proto, proto.SerializeToString() if name_protos(proto.graph.node) else path, path.parent


@contextmanager
def optimized(
    model: Path | bytes, level: str, weights: Path | None, entries: Mapping[str, str] | None = None
) -> Iterator[tuple[onnx.ModelProto, Path]]:
    """What the runtime makes of a model under config `entries`, without its large weights: those lie in the folder, for
    as long as this lasts. Raises RuntimeRefusesError."""
    with scratch() as folder:
        path = folder / "optimized.onnx"
        settings = replace(OPTIMIZING, level=level, optimized=path, entries=entries or {})
        Session(model, replace(settings, weights=weights) if isinstance(model, bytes) else settings)
        yield onnx.load(path, load_external_data=False), folder
