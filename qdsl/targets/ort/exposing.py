"""A model in ONNX Runtime, with some of its inner tensors as outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from onnx import ModelProto, ValueInfoProto

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.diag.system import NO_MEMORY
from qdsl.graph.sessions import AS_WRITTEN, DEPLOYED, FUSED, RuntimeRefusesError, Session, Settings
from qdsl.targets.ort.session import FLOAT_PRODUCTS
from qdsl.targets.results import FloatModelError

FLOAT = "the float model"
QUANTIZED = "the quantized model"
Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A model whose large weights may lie in `folder`, the session options by name that it asks for, and the place in
    the recipe that names it."""

    proto: ModelProto
    folder: Path | None = None
    entries: Mapping[str, str] = field(default_factory=lambda: FLOAT_PRODUCTS)
    span: Span | None = None


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
        self._what, self._span = what, source.span
        settings = replace(DEPLOYED, entries=source.entries, weights=source.folder)
        if expose:
            settings = _widened(settings, what)
        if as_written:
            settings = replace(settings, level=AS_WRITTEN)
        try:
            self._session = Session(exposed(source.proto, expose), settings)
        except RuntimeRefusesError as error:
            raise refused(what, error, source.span) from None

    def run(self, names: Sequence[str], arrays: Arrays) -> list[Any]:
        """The tensors called `names`; without any the model runs all the same. Raises QdslError (artifact-refused),
        FloatModelError for the float model."""
        try:
            return self._session.run(names, arrays)
        except RuntimeRefusesError as error:
            error_of = refused(self._what, error, self._span)
            raise FloatModelError(error_of.diagnostics) if self._what == FLOAT else error_of from None


def _widened(settings: Settings, what: str) -> Settings:
    """For many large outputs: an arena keeps twice their memory, and the float model's blocked layouts would be undone
    for each of them. The artifact keeps its kernels."""
    return replace(settings, arena=False, level=FUSED if what == FLOAT else settings.level)


def exposed(proto: ModelProto, names: Sequence[str]) -> bytes:
    """The model's bytes with more outputs; ONNX Runtime infers their types. Safe from any thread: messages joined are
    merged when they are read (protobuf, encoding: last one wins), lists of both one behind the other."""
    public = {info.name for info in proto.graph.output}
    more = ModelProto()
    more.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in public)
    data: bytes = proto.SerializeToString()
    return data + more.SerializeToString() if more.graph.output else data


def refused(what: str, error: RuntimeRefusesError, span: Span | None = None) -> QdslError:
    """The diagnostic for what ONNX Runtime does not load or run; `span` is the place that names the model."""
    if error.no_memory:
        return QdslError([replace(NO_MEMORY, span=span)])
    return QdslError([Diagnostic("artifact-refused", f"ONNX Runtime refuses {what}", span, error.reason)])
