"""ONNX Runtime's TensorRT provider as what times an artifact on this machine: an engine that the provider builds of the
same file, when it is loaded. Its figures are labelled as its own: `profile_engine.py` times an engine without it."""

from __future__ import annotations

from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import json_data
from qdsl.spec.engine import QUANT_MANIFEST
from qdsl.targets.base import Deployed
from qdsl.targets.probing import onnxruntime
from qdsl.targets.results import Emitted, NotHere
from qdsl.targets.tensorrt.installed import gpus

PROVIDER, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
# What a weakly typed engine of a Q/DQ file may choose from, as the emitted commands allow it; a strongly typed one has
# the types of its graph. The float model beside it keeps its own types.
_WEAK = {"trt_int8_enable": "1", "trt_fp16_enable": "1"}
_ELSEWHERE = "an engine is built and run on its own GPU (README.md beside the artifact)"


def deployed(emitted: Emitted) -> Deployed | NotHere:
    """How the provider runs the artifact; why it does not run here otherwise."""
    found, problem = gpus()
    if not found:
        return NotHere(f"{problem or 'no NVIDIA GPU is here'}; {_ELSEWHERE}")
    runtime = onnxruntime()
    if PROVIDER not in runtime.providers:
        cuda = (
            "; its CUDA provider computes Q/DQ in float, and is no measure of it" if CUDA in runtime.providers else ""
        )
        return NotHere(f"onnxruntime {runtime.version} has no TensorRT provider (`onnxruntime-gpu` has one){cuda}")
    on = f"ONNX Runtime's TensorRT provider on {found[0].name}"
    return Deployed(emitted.model, provider=PROVIDER, providing={} if _strong(emitted) else _WEAK, on=on)


def _strong(emitted: Emitted) -> bool:
    """Whether the manifest beside the model asks for a strongly typed engine."""
    try:
        found = json_data((emitted.directory / QUANT_MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UnfitError):
        return False
    return isinstance(found, dict) and found.get("typing") == "strong"
