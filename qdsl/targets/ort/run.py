"""A model in ONNX Runtime, ready to answer samples: as it would be deployed, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import onnx
from numpy.typing import NDArray

from qdsl.diag import Span
from qdsl.graph.sessions import AS_WRITTEN, DEPLOYED, RuntimeRefusesError, Session, Settings, refusals
from qdsl.spec.bounds import Many, Text
from qdsl.targets.manifest_reading import read_manifest
from qdsl.targets.ort.exact_products import exact_products
from qdsl.targets.ort.exposing import refused


@dataclass(frozen=True, slots=True)
class _Asked:
    """What running an artifact needs of its manifest."""

    session_options: Annotated[Mapping[str, Annotated[str, Text(300)]], Many(most=100)]


class OrtRunner:
    """One session. `threads` None: as many as ONNX Runtime takes by itself."""

    def __init__(
        self,
        what: str,
        model: Path,
        entries: Mapping[str, str],
        threads: int | None = None,
        *,
        as_written: bool = False,
        span: Span | None = None,
    ) -> None:
        """`entries` are session options by name, `what` is how errors call the model; `as_written` leaves out the
        runtime's optimizations, and adds integer products exactly. `span` is the place that names the model. Raises
        QdslError (artifact-refused) when ONNX Runtime does not load it."""
        self._what, self._span = what, span
        settings = replace(DEPLOYED, threads=threads or 0, entries=entries)
        try:
            self._session = _written(model, settings) if as_written else Session(model, settings)
        except RuntimeRefusesError as error:
            raise refused(self._what, error, self._span) from None

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._session.outputs

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name. Raises QdslError (artifact-refused) when the model does not run on `arrays`."""
        try:
            found = self._session.run(self.outputs, arrays)
        except RuntimeRefusesError as error:
            raise refused(self._what, error, self._span) from None
        return dict(zip(self.outputs, found, strict=True))


def _written(model: Path, settings: Settings) -> Session:
    """The model with its own arithmetic: integer operators that the file writes out are kernels of the CPU even without
    optimizations, so they are written as those that every CPU adds exactly."""
    settings = replace(settings, level=AS_WRITTEN)
    with refusals():  # a file that is no model is refused in either way of running it
        proto = onnx.load(model, load_external_data=False)
    exact = exact_products(proto)
    if exact is proto:
        return Session(model, settings)
    return Session(exact.SerializeToString(), replace(settings, weights=model.parent))


def run(
    model: Path,
    manifest: Path | None = None,
    *,
    threads: int | None = None,
    as_written: bool = False,
    span: Span | None = None,
) -> OrtRunner:
    """The artifact of a manifest, with the session options that it asks for; without one, a float model. `as_written`
    runs every node as it stands in the file: the graph's own arithmetic, not that of fused kernels."""
    if manifest is None:
        return OrtRunner("the float model", model, {}, threads, as_written=as_written, span=span)
    options = session_options(manifest)
    return OrtRunner("the quantized model", model, options, threads, as_written=as_written, span=span)


def session_options(manifest: Path) -> dict[str, str]:
    """The session options that an artifact asks for, by name. Raises QdslError (artifact-refused) for a manifest that
    is not as it was written."""

    def pick(said: Any) -> Any:
        return {"session_options": said["session_options"]}

    return dict(read_manifest(manifest, _Asked, pick, "it says nothing of `session_options`").session_options)
