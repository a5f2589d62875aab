"""What this machine can do with artifacts for ONNX Runtime."""

from __future__ import annotations

from qdsl.spec.abilities import Abilities, Ability
from qdsl.targets.probing import onnxruntime

_GET = "pip install --force-reinstall onnxruntime"


def abilities() -> Abilities:
    found = onnxruntime()
    emit, build = Ability(True, "qdsl alone"), Ability(True, "nothing to build: the file is what runs")
    if found.problem:
        name = f"onnxruntime {found.version}".strip()
        broken = Ability(False, f"{name} does not load: {found.problem}", _GET, broken=True)
        return {"emit": emit, "check": broken, "build": build, "run": broken, "measure": broken}
    known = f"onnxruntime {found.version}"
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in found.providers)
    return {
        "emit": emit,
        "check": Ability(True, f"{known}: `compile` holds what it fuses against the plan"),
        "build": build,
        "run": Ability(True, f"{known}, on its CPU provider (it has {providers})"),
        "measure": Ability(True, "on this CPU; a bundle runs on others (`bench` beside the artifact)"),
    }
