"""Models in ONNX Runtime: every session that is opened here, on the CPU, with the options stated for what it is for.

What travels to devices (`qdsl.harness.worker`) opens its own, since nothing of this package is there; a test holds its
options against `DEPLOYED`. The runtime is imported when a session is opened, not before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdsl.diag.system import ran_out_of_memory

PROVIDERS = ("CPUExecutionProvider",)
# What the runtime may do to a graph before it runs: nothing; fusions, which keep the names of nodes; layouts as well.
AS_WRITTEN, FUSED, WHOLE = "ORT_DISABLE_ALL", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"
_FATAL = 4  # what is worth knowing is in the exception, and told in our words
_LONGEST = 300
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_WRITTEN_WEIGHTS = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a session runs.

    `threads` within an operator, 0 for as many as the runtime takes by itself; operators always run one after the
    other. `deterministic`: the same bits on every call. `by_need`: operators run when their values are needed, so that
    these are held for a shorter time. `patterns`: room for all tensors of a run is kept from the first one on; `arena`:
    memory is kept for the next run at all. `entries` are config entries by name, `weights` the folder that large
    weights lie in, for a model that comes as bytes. `optimized` is where the graph that runs is written: alone, its
    large weights go into a file beside it, since a graph may not exceed 2 GB.
    """

    threads: int = 1
    level: str = WHOLE
    deterministic: bool = False
    by_need: bool = False
    patterns: bool = True
    arena: bool = True
    entries: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    optimized: Path | None = None
    profile: Path | None = None


# Whether a model loads, and what types its tensors have.
LOADING = Settings(level=AS_WRITTEN)
# The float model with tensors exposed, whose values are measured. A pattern would take 100 MB on YOLOv8n.
OBSERVING = Settings(deterministic=True, by_need=True, patterns=False)
# As a build is deployed.
DEPLOYED = Settings(deterministic=True)
# What the runtime makes of a graph: read, never run.
OPTIMIZING = Settings()


class RuntimeRefusesError(Exception):
    """What ONNX Runtime does not load or run. `reason` is one line in its own words, without its tags and the places in
    its source; `no_memory` where that is all."""

    def __init__(self, error: Exception) -> None:
        self.no_memory = ran_out_of_memory(error)
        self.reason = "there is not enough memory" if self.no_memory else _reason(error)
        super().__init__(self.reason)


class Session:
    """A model that ONNX Runtime has loaded. Safe to run from any thread."""

    def __init__(self, model: bytes | Path, settings: Settings) -> None:
        """Raises RuntimeRefusesError."""
        import onnxruntime as ort

        source = model if isinstance(model, bytes) else str(model)
        with refusals():
            self._session = ort.InferenceSession(source, options(settings), providers=list(PROVIDERS))
        self.inputs = tuple(info.name for info in self._session.get_inputs())
        self.outputs = tuple(info.name for info in self._session.get_outputs())

    def run(self, names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        """The outputs called `names` for the inputs among `arrays`; without names the model runs all the same. Raises
        RuntimeRefusesError."""
        with refusals():
            found: list[Any] = self._session.run(list(names), {n: arrays[n] for n in self.inputs if n in arrays})
        return found[: len(names)]

    def profiled(self) -> Path:
        """The file with what was timed so far, where the settings ask for that. Nothing more is timed."""
        return Path(self._session.end_profiling())

    def types(self) -> dict[str, tuple[str, Sequence[int | str | None]]]:
        """The runtime's words for the type of each output, such as `tensor(float)`, and its dims; none for a scalar and
        where even the rank is not known."""
        return {info.name: (info.type, info.shape) for info in self._session.get_outputs()}


def options(settings: Settings) -> Any:
    """The `SessionOptions` that `settings` stand for."""
    import onnxruntime as ort

    made = ort.SessionOptions()
    made.intra_op_num_threads, made.inter_op_num_threads = settings.threads, 1
    made.graph_optimization_level = getattr(ort.GraphOptimizationLevel, settings.level)
    made.log_severity_level = _FATAL
    made.use_deterministic_compute = settings.deterministic
    made.enable_mem_pattern, made.enable_cpu_mem_arena = settings.patterns, settings.arena
    if settings.by_need:
        made.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    entries = dict(settings.entries)
    if settings.weights is not None:
        entries[_WEIGHTS_FOLDER] = str(settings.weights)
    if settings.optimized is not None:
        made.optimized_model_filepath = str(settings.optimized)
        entries |= _WRITTEN_WEIGHTS
    if settings.profile is not None:
        made.enable_profiling, made.profile_file_prefix = True, str(settings.profile / "kernels")
    for name, value in entries.items():
        made.add_session_config_entry(name, value)
    return made


@contextmanager
def refusals() -> Iterator[None]:
    """Whatever goes wrong inside, as RuntimeRefusesError: ONNX Runtime's exceptions share no base class but
    Exception."""
    try:
        yield
    except Exception as error:
        raise RuntimeRefusesError(error) from None


def _reason(error: Exception) -> str:
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"\S+\.(h|cc|cpp):\d+ [^()]*\([^()]*\) (const )?", "", text)
    return " ".join(text.split())[:_LONGEST] or type(error).__name__
