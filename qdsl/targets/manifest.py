"""`manifest.json`: what an artifact is, so that a device or a later audit needs nothing else to use it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from qdsl.rewrite import Step, Trace
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import plan_hash
from qdsl.targets.results import EmittedFile
from qdsl.version import __version__

MANIFEST_VERSION = 1
_TOOLS = ("numpy", "onnx", "onnx-graphsurgeon", "onnxruntime")


def manifest(plan: Plan, files: Iterable[EmittedFile], trace: Trace, own: Mapping[str, Any]) -> str:
    """The manifest as JSON text with sorted keys: what holds for every artifact, and what the target's kind of file has
    of its `own`. `trace` is what was done to the model, the pass that carries the plan out first, then the lowerings.
    No time, no path, no host: the same artifact gives the same text."""
    files = tuple(files)
    content = {
        "version": MANIFEST_VERSION,
        "recipe": plan.recipe,
        "model": plan.model,
        "target": plan.target,
        "mode": plan.mode,
        "plan_sha256": plan_hash(plan),
        "tools": tool_versions(),
        "files": [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in files],
        "bytes": {"emitted": sum(file.bytes for file in files), "predicted": plan.totals.predicted_bytes},
        "lowerings": [_lowering(step) for step in trace.steps[1:] if step.outcome.fired or step.outcome.refused],
        "predicted": _predicted(plan),
        **own,
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def tool_versions() -> dict[str, str]:
    """Versions of qdsl and of the packages that shaped the artifact, as installed; none of them is imported."""
    found = {"qdsl": __version__}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _lowering(step: Step) -> dict[str, Any]:
    """What a lowering changed, by rule, each time with the nodes of the float model; what it left alone, and why."""
    fired: dict[str, list[list[str]]] = {}
    for one in step.outcome.fired:
        fired.setdefault(one.rule, []).append(list(one.nodes))
    refused = [{"node": one.node, "reason": one.reason} for one in step.outcome.refused]
    return {"name": step.word, "fired": fired, "refused": refused}


def _predicted(plan: Plan) -> dict[str, dict[str, int]]:
    runs = Counter(node.prediction.runs for node in plan.nodes)
    integers = (node.prediction for node in plan.nodes if node.prediction.runs == "integer")
    kernels = Counter(kernel for prediction in integers for kernel in prediction.kernels)
    return {"runs": dict(sorted(runs.items())), "integer_kernels": dict(sorted(kernels.items()))}
