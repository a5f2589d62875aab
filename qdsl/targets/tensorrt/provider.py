"""ONNX Runtime's providers for NVIDIA GPUs as what times an artifact on this machine. The TensorRT provider builds an
engine of the same file when it is loaded; the CUDA provider runs the file by kernels of its own, and is no engine: its
figures decide nothing. Both are labelled as theirs: `profile_engine.py` times an engine without them."""

from __future__ import annotations

from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import json_data
from qdsl.spec.engine import QUANT_MANIFEST
from qdsl.targets.base import Deployed
from qdsl.targets.probing import onnxruntime
from qdsl.targets.results import Emitted, NotHere
from qdsl.targets.tensorrt.installed import Gpu, gpus

PROVIDER, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
NAMES = {PROVIDER: "TensorRT", CUDA: "CUDA"}
# What a weakly typed engine of a Q/DQ file may choose from, as the emitted commands allow it; a strongly typed one has
# the types of its graph. The float model beside it keeps its own types.
_WEAK = {"trt_int8_enable": "1", "trt_fp16_enable": "1"}
_ELSEWHERE = "an engine is built and run on its own GPU (README.md beside the artifact)"


def deployed(emitted: Emitted) -> tuple[Deployed | NotHere, ...]:
    """How each provider runs the artifact, that of TensorRT first; why that one does not run here otherwise."""
    found, problem = gpus()
    if not found:
        return (NotHere(f"{problem or 'no NVIDIA GPU is here'}; {_ELSEWHERE}"),)
    runtime = onnxruntime()
    engine: Deployed | NotHere
    if PROVIDER in runtime.providers:
        types = {} if _strong(emitted) else _WEAK
        engine = Deployed(emitted.model, provider=PROVIDER, providing=types, on=words(PROVIDER, found[0]))
    else:
        engine = NotHere(f"onnxruntime {runtime.version} has no TensorRT provider (`onnxruntime-gpu` has one)")
    if CUDA not in runtime.providers:
        return (engine,)
    return engine, Deployed(emitted.model, provider=CUDA, on=words(CUDA, found[0]), decides=False)


def words(provider: str, gpu: Gpu) -> str:
    """What the figures of a provider are called."""
    return f"ONNX Runtime's {NAMES[provider]} provider on {gpu.name}"


def _strong(emitted: Emitted) -> bool:
    """Whether the manifest beside the model asks for a strongly typed engine."""
    try:
        found = json_data((emitted.directory / QUANT_MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UnfitError):
        return False
    return isinstance(found, dict) and found.get("typing") == "strong"
