"""Decides for every target of a recipe, and says what its model stands against."""

from __future__ import annotations

from dataclasses import replace

from qdsl.capability import Capability, load
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.graph import upgrade_opset
from qdsl.graph.collector import collector_paused
from qdsl.graph.validity import invalid
from qdsl.plan import Decisions, decide
from qdsl.plan.gate import find_target
from qdsl.spec.opset import least_opset
from qdsl.spec.plan import Choice, Plan
from qdsl.targets import TARGETS, target_of
from qdsl.work.float16_losses import float16_losses
from qdsl.work.opset import raising
from qdsl.work.prepared import Prepared
from qdsl.work.widening import with_widened


@collector_paused()
def decide_all(prepared: Prepared, target: str | None, diags: Diagnostics) -> tuple[Decisions, ...]:
    """Decide for every target; errors of all of them are raised at once."""
    errors = Diagnostics()
    decided = []
    _check_outputs(prepared)
    for name in _targets(prepared, target):
        try:
            decided.append(decide_one(prepared, name, diags=diags))
            _check_mode(prepared, decided[-1])
            _check_opset(prepared, decided[-1].plan)
            _tell_losses(prepared, decided[-1], diags, errors)
        except QdslError as found:
            errors.extend(found.diagnostics)
    errors.raise_errors()
    _check_valid(prepared)
    return tuple(decided)


def _tell_losses(prepared: Prepared, decided: Decisions, diags: Diagnostics, errors: Diagnostics) -> None:
    """What float16 makes of constants: errors beside the others, warnings to `diags`."""
    for found in float16_losses(prepared, decided):
        (errors if found.severity is Severity.ERROR else diags).add(found)


def decide_one(
    prepared: Prepared, target: str, *, diags: Diagnostics | None = None, choices: tuple[Choice, ...] = ()
) -> Decisions:
    """Decide for one target, under the alternatives that measurements chose."""
    beyond = _beyond(prepared, target)
    made = decide(
        prepared.recipe,
        prepared.view,
        target,
        float_bytes=prepared.file_bytes,
        canonical_bytes=prepared.canonical_bytes,
        diags=Diagnostics() if diags is None else diags,
        capability=beyond,
        choices=choices,
    )
    if beyond is not None:
        raise QdslError([_too_new(prepared, made.context.capability.title, target)])
    return replace(made, plan=with_widened(prepared, made.plan))


def _beyond(prepared: Prepared, target: str) -> Capability | None:
    """The table of a target that takes the model as it is, and not as another target made the recipe raise it, as if it
    took that, too: what is wrong with the target's own types is told first. None where nothing is in the way."""
    recipe, opset = prepared.recipe, prepared.view.opset
    if opset <= prepared.file_opset or target not in TARGETS:
        return None
    backend = target_of(target)
    table = backend.fitted(load(backend.table), find_target(recipe, target))
    if not prepared.file_opset <= table.max_opset < opset:
        return None
    newer = replace(table, max_opset=opset)
    lacks = backend.runtime.lacks
    return newer if {*lacks(prepared.view, table)} - {*lacks(prepared.view, newer)} else None


def _too_new(prepared: Prepared, title: str, target: str) -> Diagnostic:
    recipe, opset = prepared.recipe, prepared.view.opset
    most = load(target_of(target).table).max_opset
    found = raising(recipe, most)
    what = f"`{found.words}` of `target {found.target}`" if found is not None else "another target"
    headline = f"{title} reads models up to opset {most}, and {what} raises this one to {opset}"
    label = "one model serves all targets of a recipe"
    cures = (f"write a recipe for `target {target}` alone: the model has opset {prepared.file_opset}",)
    return Diagnostic("target-cannot", headline, found.span if found is not None else recipe.span, label, cures)


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


def _check_mode(prepared: Prepared, decided: Decisions) -> None:
    """Raise QdslError `setting-unused` where `tune` stands beside a mode that has no alternatives."""
    tune, mode = prepared.recipe.tune, decided.plan.mode
    if tune is None or mode == "static":
        return
    headline = f"`tune {tune.goal}` has nothing to choose under `quantize {mode}`"
    cures = ("the alternatives of a target belong to `quantize static`: take the `tune` block out",)
    raise QdslError([Diagnostic("setting-unused", headline, tune.span, help=cures)])


def _check_valid(prepared: Prepared) -> None:
    """Raise QdslError `artifact-invalid` for a model that ONNX's checker refuses: it would refuse the artifact, too."""
    fault = invalid(prepared.model)
    if fault is not None:
        headline = f"ONNX's checker refuses {prepared.model.name}, and would refuse what is made of it"
        cures = ("export the model again, or mend what it names",)
        raise prepared.model.error("artifact-invalid", headline, label=fault, help=cures)


def _check_opset(prepared: Prepared, plan: Plan) -> None:
    """Raise QdslError `model-upgrade` where the model was not raised to the opset that `plan` needs, with why."""
    needed = least_opset(plan)
    if prepared.model.opset < needed:
        upgrade_opset(prepared.model.copy(), needed)


def _check_outputs(prepared: Prepared) -> None:
    """Raise QdslError `unknown-name` for an output in a `require` of `tune` that the model does not have."""
    tune, known = prepared.recipe.tune, prepared.view.outputs
    wrong = [
        Diagnostic(
            "unknown-name",
            f"the model has no output `{name[:80]}`",
            require.span,
            help=(f"its outputs are {', '.join(f'`{output[:80]}`' for output in list(known)[:5])}",),
        )
        for require in (tune.requires if tune is not None else ())
        for name in require.metric.qualifiers
        if name not in known
    ]
    if wrong:
        raise QdslError(wrong)
