"""`plan` and `explain`: what a recipe does to its model, and why. No data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.api.prepare import Prepared, prepare, read
from qdsl.diag import Diagnostic, QdslError, Report
from qdsl.graph.collector import collector_paused
from qdsl.plan import Decisions, Explanation, Plan, decide
from qdsl.plan import explain as explain_decisions


@dataclass(frozen=True)
class PlanResult:
    """One plan per target, in the recipe's order; `diagnostics` are warnings."""

    plans: tuple[Plan, ...]
    diagnostics: tuple[Diagnostic, ...]


def plan(path: str | Path, *, target: str | None = None, sets: Mapping[str, str] | None = None) -> PlanResult:
    """The plan of a recipe for each of its targets, or for `target` alone. Raises QdslError with every error."""
    prepared = prepare(read(path, sets))
    report = Report()
    report.extend(prepared.warnings)  # told beside the errors, too
    decided = decide_all(prepared, target, report)
    return PlanResult(tuple(d.plan for d in decided), report.sorted())


def explain(
    path: str | Path, subject: str, *, target: str | None = None, sets: Mapping[str, str] | None = None
) -> tuple[Explanation, ...]:
    """Why the node or tensor called `subject` is as it is, once per target. Raises QdslError when there is none."""
    prepared = prepare(read(path, sets))
    return tuple(explain_decisions(decided, subject) for decided in decide_all(prepared, target, Report()))


@collector_paused()
def decide_all(prepared: Prepared, target: str | None, report: Report) -> tuple[Decisions, ...]:
    """Decide for every target; errors of all of them are raised at once."""
    errors = Report()
    decided = []
    for name in _targets(prepared, target):
        try:
            decided.append(_decide(prepared, name, report))
        except QdslError as found:
            errors.extend(found.diagnostics)
    errors.raise_errors()
    return tuple(decided)


def _decide(prepared: Prepared, target: str, report: Report) -> Decisions:
    return decide(
        prepared.recipe,
        prepared.view,
        target,
        float_bytes=prepared.file_bytes,
        canonical_bytes=prepared.canonical_bytes,
        report=report,
    )


def _targets(prepared: Prepared, only: str | None) -> tuple[str, ...]:
    names = tuple(target.name for target in prepared.recipe.targets)
    if only is None:
        return names
    if only not in names:
        raise QdslError(
            [
                Diagnostic(
                    "target-not-in-recipe",
                    f"the recipe has no `target {only}`",
                    prepared.recipe.span,
                    help=(f"its targets are {', '.join(f'`{name}`' for name in names)}",),
                )
            ]
        )
    return (only,)
