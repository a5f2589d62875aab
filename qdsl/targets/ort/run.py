"""A model in ONNX Runtime, ready to answer samples: as it would be deployed, on the CPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from qdsl.targets.ort.arithmetic import exact_products
from qdsl.targets.ort.exposing import refused


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
    ) -> None:
        """`entries` are session options by name, `what` is how errors call the model; `as_written` leaves out the
        runtime's optimizations, and adds integer products exactly. Raises QdslError (artifact-refused) when ONNX
        Runtime does not load it."""
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads or 0, 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        if as_written:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        for option, value in entries.items():
            options.add_session_config_entry(option, value)
        self._what = what
        try:
            data = _exact(model, options) if as_written else str(model)
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise refused(self._what, error) from None
        self._inputs = [info.name for info in self._session.get_inputs()]
        self._outputs = [info.name for info in self._session.get_outputs()]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self._outputs)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every output by name. Raises QdslError (artifact-refused) when the model does not run on `arrays`."""
        try:
            found = self._session.run(self._outputs, {name: arrays[name] for name in self._inputs})
        except Exception as error:
            raise refused(self._what, error) from None
        return dict(zip(self._outputs, found, strict=True))


def _exact(model: Path, options: Any) -> str | bytes:
    """The model to load for its own arithmetic: integer operators that the file writes out are kernels of the CPU even
    without optimizations, so they are written as those that every CPU adds exactly."""
    proto = onnx.load(model, load_external_data=False)
    exact = exact_products(proto)
    if exact is proto:
        return str(model)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.parent))
    data: bytes = exact.SerializeToString()
    return data


def run(
    model: Path, manifest: Path | None = None, *, threads: int | None = None, as_written: bool = False
) -> OrtRunner:
    """The artifact of a manifest, with the session options that it asks for; without one, a float model. `as_written`
    runs every node as it stands in the file: the graph's own arithmetic, not that of fused kernels."""
    if manifest is None:
        return OrtRunner("the float model", model, {}, threads, as_written=as_written)
    return OrtRunner("the quantized model", model, session_options(manifest), threads, as_written=as_written)


def session_options(manifest: Path) -> dict[str, str]:
    """The session options that an artifact asks for, by name."""
    asked = json.loads(manifest.read_text(encoding="utf-8")).get("session_options", {})
    return {str(name): str(value) for name, value in asked.items()}
