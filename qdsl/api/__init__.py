"""The library: each verb of the command line is one call here, with typed results.

    import qdsl
    result = qdsl.compile("recipes/yolov8n_static.q")
    result.targets[0].verification.outputs[0].sqnr_db

Calls raise `qdsl.diag.QdslError` with every diagnostic when the recipe, the model or the data have errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api.compiling import CompileResult, TargetResult, compile
    from qdsl.api.language import CheckResult, check, fmt
    from qdsl.api.planning import PlanResult, explain, plan
    from qdsl.api.remeasuring import MeasureResult, evaluate, profile
    from qdsl.api.reporting import ReportResult, report
    from qdsl.api.starting import NewResult, new
    from qdsl.api.sweeping import SweepResult, sweep
    from qdsl.api.verifying import VerifyResult, verify

__all__ = [
    "CheckResult",
    "CompileResult",
    "MeasureResult",
    "NewResult",
    "PlanResult",
    "ReportResult",
    "SweepResult",
    "TargetResult",
    "VerifyResult",
    "check",
    "compile",
    "evaluate",
    "explain",
    "fmt",
    "new",
    "plan",
    "profile",
    "report",
    "sweep",
    "verify",
]

_HOME = {
    "CheckResult": "language",
    "check": "language",
    "fmt": "language",
    "PlanResult": "planning",
    "explain": "planning",
    "plan": "planning",
    "CompileResult": "compiling",
    "TargetResult": "compiling",
    "compile": "compiling",
    "MeasureResult": "remeasuring",
    "evaluate": "remeasuring",
    "profile": "remeasuring",
    "ReportResult": "reporting",
    "report": "reporting",
    "NewResult": "starting",
    "new": "starting",
    "SweepResult": "sweeping",
    "sweep": "sweeping",
    "VerifyResult": "verifying",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"qdsl.api.{_HOME[name]}"), name)
    return found
