"""`plan` and `explain`: what a recipe does to its model, and why. No data is needed, and no sample read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.calibrate.fingerprint import model_digest
from qdsl.describe.explain import Explanation, Step
from qdsl.describe.explain import explain as explain_decisions
from qdsl.describe.placements import Placements, placements
from qdsl.diag import Diagnostic, Diagnostics
from qdsl.findings.loadable import require_loadable
from qdsl.graph.collector import collector_paused
from qdsl.lang.recipe import Evaluate, Recipe
from qdsl.plan.gate import WIDTHS, all_requires
from qdsl.spec.plan import AUTO, Origin, Plan
from qdsl.tune.choices import foreseen, fresh_lock
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import Prepared, prepare, read


@dataclass(frozen=True)
class PlanResult:
    """One plan per target, in the recipe's order; `diagnostics` are warnings. `lock` is the lock beside the recipe that
    gives the ranges, None where there is none or recipe or model changed since; the data is not looked at.
    `placements` is what each target makes of each node, where that was asked for."""

    plans: tuple[Plan, ...]
    diagnostics: tuple[Diagnostic, ...]
    lock: Path | None = None
    placements: Placements | None = None


@collector_paused()
def plan(
    path: str | Path, *, target: str | None = None, sets: Mapping[str, str] | None = None, compare: bool = False
) -> PlanResult:
    """The plan of a recipe for each of its targets, or for `target` alone; with `compare` their placements beside one
    another. Raises QdslError with every error."""
    prepared = prepare(read(path, sets))
    diags = Diagnostics()
    diags.extend(prepared.warnings)  # told beside the errors, too
    decided = decide_all(prepared, target, diags)
    recipe = prepared.recipe
    if recipe.allocate is not None:
        from qdsl.allocate.bounds import require_sound  # it comes with what measures builds
        from qdsl.allocate.extras import missing, require_there
        from qdsl.allocate.possible import require_possible

        diags.extend(require_sound(recipe))
        diags.raise_errors()
        if any(missing(recipe.allocate)) and fresh_lock(prepared) is None:
            require_there(recipe.allocate)
        require_possible(prepared, decided, diags)
    decided = foreseen(prepared, decided)
    require_loadable(prepared, decided, sets)
    plans = tuple(d.plan for d in decided)
    if any(require.metric.name in WIDTHS for each in recipe.targets for require in all_requires(recipe, each)):
        from qdsl.measure import widths  # it comes with what measures

        diags.extend(widths.foreseen(prepared, decided))
    lock = _lock_of(prepared, plans)
    bounds = () if lock is not None else _bounds(recipe)
    profiled = any(each.profile is not None or each.requires for each in recipe.targets)
    if (
        profiled
        or recipe.evaluates
        or bounds
        or any(t.calibration.data for each in plans for t in each.tensors if t.observe)
    ):
        from qdsl.measure import expecting  # it comes with the metrics

        expecting.foreseen(prepared, plans, diags, bounds)
    found = placements(decided) if compare else None
    return PlanResult(plans, diags.sorted(), lock, found)


def _bounds(recipe: Recipe) -> tuple[Evaluate, ...]:
    """What is to be measured for bounds of `allocate`."""
    if recipe.allocate is None:
        return ()
    from qdsl.allocate.bounds import asked_of  # it comes with what measures builds

    return tuple(spec for spec, _ in asked_of(recipe))


@collector_paused()
def explain(
    path: str | Path,
    subject: str,
    *,
    target: str | None = None,
    sets: Mapping[str, str] | None = None,
    out: str | Path = "build",
) -> tuple[Explanation, ...]:
    """Why the node or tensor called `subject` is as it is, once per target; with what quantizing it costs, where a
    build of this model in `out` has measured that. Raises QdslError when there is none."""
    prepared = prepare(read(path, sets))
    decided = foreseen(prepared, decide_all(prepared, target, Diagnostics()))
    asks = any(weight.rounded_on is not None for each in decided for weight in each.plan.weights)
    known = fresh_lock(prepared) if asks else None
    rounded = () if known is None else known.rounded
    found = [explain_decisions(each, subject, prepared.trace, rounded) for each in decided]
    folder = Path(out) / prepared.recipe.name
    rows = zip(found, decided, strict=True)
    return tuple(
        replace(
            each,
            sensitivity=_measured(prepared, each.name, folder, one.plan.target),
            steps=(*each.steps, *_chosen(prepared, each.name, one.plan)),
        )
        for each, one in rows
    )


def _chosen(prepared: Prepared, tensor: str, plan: Plan) -> tuple[Step, ...]:
    """The method that `auto` took for a tensor, where a fresh lock knows it."""
    tried = any(each.tensor == tensor and each.calibration.method == AUTO for each in plan.tensors)
    lock = fresh_lock(prepared) if tried else None
    if lock is None:
        return ()
    from qdsl.ranges.locked import of_target  # it comes with what calibrates

    (found,) = [row for row in of_target(lock, plan, [plan]).ranges if row.tensor == tensor] or (None,)
    if found is None or not found.chosen:
        return ()
    return (Step("chosen", f"{found.chosen}: [{found.low:.4g}, {found.high:.4g}]", Origin("lock"), True),)


def _measured(prepared: Prepared, node: str, folder: Path, target: str) -> tuple[str, ...]:
    """What quantizing a node was measured to cost; nothing where it was not, or of another model."""
    from qdsl.harness.sensitivity import read_sensitivity  # most recipes measure nothing of it

    found = read_sensitivity(folder, target)
    if found is None or found.model != model_digest(prepared.model).hex():
        return ()
    return found.told(node)


def _lock_of(prepared: Prepared, plans: Sequence[Plan]) -> Path | None:
    measured = any(t.observe and t.calibration.data is not None for plan in plans for t in plan.tensors)
    found = fresh_lock(prepared) if measured else None
    if found is None:
        return None
    from qdsl.ranges.correcting import wanted_of  # these come with what calibrates
    from qdsl.ranges.locked import needed

    spec = prepared.recipe.allocate
    if spec is not None and spec.what == "activations":  # methods are told with a width, which was chosen afterwards
        if not {tensor for tensor, _ in needed(plans, found)} <= {locked.tensor for locked in found.ranges}:
            return None
    elif not {*needed(plans, found)} <= {locked.key for locked in found.ranges}:
        return None
    if not {*wanted_of(plans)} <= {(locked.tensor, locked.data) for locked in found.means}:
        return None
    from qdsl.ranges.rounding import missing

    if missing(plans, prepared.view, found.rounded):
        return None
    return Path(prepared.recipe.path).with_suffix(".lock")
