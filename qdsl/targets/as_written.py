"""An artifact in ONNX Runtime as its graph says, node by node: for targets whose own software does not run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.diag.system import NO_MEMORY
from qdsl.graph.sessions import AS_WRITTEN, DEPLOYED, FUSED, RuntimeRefusesError, Session


class AsWritten:
    """See `qdsl.targets.base.Runner`. Without the runtime's fusions: integer kernels of this CPU would compute
    something else than the graph. A `fused` session is for float models."""

    def __init__(
        self, model: Path, threads: int | None = None, *, span: Span | None = None, fused: bool = False
    ) -> None:
        """`threads` None: as many as the runtime takes by itself; `span` is the place in the recipe that names the
        model. Raises QdslError artifact-refused."""
        self._span = span
        level = FUSED if fused else AS_WRITTEN
        try:
            self._session = Session(model, replace(DEPLOYED, threads=threads or 0, level=level))
        except RuntimeRefusesError as error:
            raise self._refused(error) from None

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._session.outputs

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Raises QdslError artifact-refused."""
        try:
            found = self._session.run(self.outputs, arrays)
        except RuntimeRefusesError as error:
            raise self._refused(error) from None
        return dict(zip(self.outputs, found, strict=True))

    def _refused(self, error: RuntimeRefusesError) -> QdslError:
        if error.no_memory:
            return QdslError([replace(NO_MEMORY, span=self._span)])
        return QdslError([Diagnostic("artifact-refused", "ONNX Runtime refuses the model", self._span, error.reason)])
