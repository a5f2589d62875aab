"""`manifest.json`: what an artifact is, so that a device or a later audit needs nothing else to use it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from onnx import ModelProto, ValueInfoProto

from qdsl.graph.dtypes import type_name
from qdsl.lang.recipe import InputSpec
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import plan_hash
from qdsl.targets.ort.session import session_options
from qdsl.targets.results import EmittedFile
from qdsl.version import __version__

MANIFEST_VERSION = 1
_TOOLS = ("numpy", "onnx", "onnx-graphsurgeon", "onnxruntime")


def manifest(plan: Plan, proto: ModelProto, files: Iterable[EmittedFile], inputs: Iterable[InputSpec]) -> str:
    """The manifest as JSON text with sorted keys. No time, no path, no host: the same artifact gives the same text."""
    files = tuple(files)
    content = {
        "version": MANIFEST_VERSION,
        "recipe": plan.recipe,
        "model": plan.model,
        "target": plan.target,
        "mode": plan.mode,
        "plan_sha256": plan_hash(plan),
        "tools": {"qdsl": __version__, **tool_versions()},
        "opset": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        "ir_version": proto.ir_version,
        "files": [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in files],
        "bytes": {"emitted": sum(file.bytes for file in files), "predicted": plan.totals.predicted_bytes},
        "nodes": dict(sorted(Counter(node.op_type for node in proto.graph.node).items())),
        "predicted": _predicted(plan),
        "session_options": dict(session_options(plan)),
        "inputs": _inputs(proto, inputs),
        "outputs": [_value(info) for info in proto.graph.output],
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def tool_versions() -> dict[str, str]:
    """Versions of the packages that shaped the artifact, as installed; none of them is imported."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _predicted(plan: Plan) -> dict[str, dict[str, int]]:
    runs = Counter(node.prediction.runs for node in plan.nodes)
    integers = (node.prediction for node in plan.nodes if node.prediction.runs == "integer")
    kernels = Counter(kernel for prediction in integers for kernel in prediction.kernels)
    return {"runs": dict(sorted(runs.items())), "integer_kernels": dict(sorted(kernels.items()))}


def _inputs(proto: ModelProto, specs: Iterable[InputSpec]) -> list[dict[str, Any]]:
    """Graph inputs with the steps that make them; a block without a name speaks of the only input."""
    steps: Mapping[str | None, InputSpec] = {spec.name: spec for spec in specs}
    found = []
    for info in proto.graph.input:
        spec = steps.get(info.name) or (steps.get(None) if len(proto.graph.input) == 1 else None)
        shown = [{"step": step.name, "values": list(step.args)} for step in spec.steps] if spec else []
        found.append({**_value(info), "preprocessing": shown})
    return found


def _value(info: ValueInfoProto) -> dict[str, Any]:
    declared = info.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in declared.shape.dim]
    return {"name": info.name, "dtype": type_name(declared.elem_type), "shape": dims}
