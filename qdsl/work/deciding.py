"""Decides for every target of a recipe, and says what its model stands against."""

from __future__ import annotations

from dataclasses import replace

from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.graph import upgrade_opset
from qdsl.graph.collector import collector_paused
from qdsl.graph.validity import invalid
from qdsl.plan import Decisions, decide
from qdsl.spec.opset import least_opset
from qdsl.spec.plan import Choice, Plan
from qdsl.work.float16_losses import float16_losses
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
    made = decide(
        prepared.recipe,
        prepared.view,
        target,
        float_bytes=prepared.file_bytes,
        canonical_bytes=prepared.canonical_bytes,
        diags=Diagnostics() if diags is None else diags,
        choices=choices,
    )
    return replace(made, plan=with_widened(prepared, made.plan))


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
