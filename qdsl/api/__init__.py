"""The library: each verb of the command line is one call here, with typed results.

    import qdsl
    result = qdsl.compile("recipes/yolov8n_static.q")
    result.targets[0].verification.outputs[0].sqnr_db

Calls raise `qdsl.diag.QdslError` with every diagnostic when the recipe, the model or the data have errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qdsl.verbs import HOMES

# The one other place that names what the table of verbs names: type checkers cannot read that.
if TYPE_CHECKING:
    from qdsl.api.auditing import AuditResult as AuditResult
    from qdsl.api.auditing import audit as audit
    from qdsl.api.compiling import CompileResult as CompileResult
    from qdsl.api.compiling import TargetResult as TargetResult
    from qdsl.api.compiling import compile as compile
    from qdsl.api.differing import DiffResult as DiffResult
    from qdsl.api.differing import GitSetup as GitSetup
    from qdsl.api.differing import diff as diff
    from qdsl.api.differing import git_setup as git_setup
    from qdsl.api.doctoring import DoctorResult as DoctorResult
    from qdsl.api.doctoring import doctor as doctor
    from qdsl.api.language import CheckResult as CheckResult
    from qdsl.api.language import check as check
    from qdsl.api.language import fmt as fmt
    from qdsl.api.planning import PlanResult as PlanResult
    from qdsl.api.planning import explain as explain
    from qdsl.api.planning import plan as plan
    from qdsl.api.remeasuring import MeasureResult as MeasureResult
    from qdsl.api.remeasuring import evaluate as evaluate
    from qdsl.api.remeasuring import profile as profile
    from qdsl.api.reporting import ReportResult as ReportResult
    from qdsl.api.reporting import report as report
    from qdsl.api.showing import ShowResult as ShowResult
    from qdsl.api.showing import show as show
    from qdsl.api.starting import NewResult as NewResult
    from qdsl.api.starting import new as new
    from qdsl.api.sweeping import SweepResult as SweepResult
    from qdsl.api.sweeping import sweep as sweep
    from qdsl.api.verifying import VerifyResult as VerifyResult
    from qdsl.api.verifying import verify as verify
else:
    __all__ = sorted(HOMES)

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(HOMES[name]), name)
        return found
