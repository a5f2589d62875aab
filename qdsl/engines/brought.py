"""Files about an engine, brought back from the machine that has it: which is which."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from qdsl.engines.times import is_times
from qdsl.spec.bounds import Text, UnfitError
from qdsl.spec.decode import decode, json_data

LAYERS, PROFILE, TIMES, BUILD = "layers", "profile", "times", "build"
BUILD_FILE = "build.json"
FILES = ("layers.json", "profile.json", "times.json")  # as the scripts beside an artifact call them
_BLOCKS = re.compile(r"\s*-+ ?Layer \d+ ?-+", re.A)
_PROFILED = re.compile(r'\s*\[\s*\{\s*"count"\s*:', re.A)
_LAYERS = re.compile(r'\s*\{\s*"Layers"\s*:', re.A)
_Short = Annotated[str, Text(200)]


@dataclass(frozen=True, slots=True)
class BuiltWith:
    """What of `build.json` says which engine it is: GPU, compute capability ("8.7"), TensorRT, driver, and the SHA-256
    of the model; "" for what it does not say."""

    gpu: str = ""
    capability: str = ""
    tensorrt: str = ""
    driver: str = ""
    model_sha256: str = ""


def kind_of(text: str) -> str | None:
    """What the text of a file is of an engine; None where it is something else. A file that is cut off is told by how
    it begins."""
    if _BLOCKS.match(text) or _LAYERS.match(text):
        return LAYERS
    if _PROFILED.match(text):
        return PROFILE
    try:
        content = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return TIMES if re.match(r'\s*\[\s*\{\s*"(startEnqMs|latencyMs)"', text) else None
    return _kind(content)


def _kind(content: Any) -> str | None:
    if isinstance(content, dict):
        known = {LAYERS: "Layers" in content, BUILD: {"tensorrt", "engine"} <= content.keys()}
        return next((kind for kind, found in known.items() if found), None)
    if is_times(content):
        return TIMES
    first = content[0] if isinstance(content, list) and content else None
    return LAYERS if isinstance(first, dict) and {"Name", "LayerType"} <= first.keys() else None


def read_build(text: str) -> BuiltWith:
    """Raises UnfitError."""
    found: Mapping[str, Any] = decode(dict[str, Any], json_data(text), "build")
    keys = {
        "gpu": "gpu",
        "capability": "compute_capability",
        "tensorrt": "tensorrt",
        "driver": "driver",
        "model_sha256": "onnx_sha256",
    }
    told = {name: decode(_Short, found[key], f"build.{key}") for name, key in keys.items() if key in found}
    if "tensorrt" not in told:
        raise UnfitError("it does not say which TensorRT built the engine", "build")
    return BuiltWith(**told)
