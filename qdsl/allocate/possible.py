"""What is wrong with an `allocate` that no data is needed to see: types that nothing can have, and a cost that even the
narrowest of them exceed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdsl.allocate.bounds import expected_of
from qdsl.allocate.goals import goal_of, nothing, refused, too_small
from qdsl.allocate.problem import SIZE, Asked, problem_of
from qdsl.allocate.types import labels, require_goal, types_of
from qdsl.allocate.units import groups_of, uncounted
from qdsl.allocate.weight_choices import Choice, choices, open_nodes, under, weight_ports
from qdsl.allocate.weight_losses import Losses
from qdsl.allocate.width_problem import Choosing, choosing
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.lang.recipe import Allocate
from qdsl.plan import Decisions
from qdsl.search import Assignment, minimum
from qdsl.spec.plan import AUTO
from qdsl.train.extra import require_torch
from qdsl.train.lacks import raise_lacks
from qdsl.train.program import program_of
from qdsl.work.prepared import Prepared

# What plans foresee of a file is off by less (tests/test_emit.py): what is nearer to the bound is decided by the file.
LEAST = 0.92
BY_LEVELS = frozenset({"mse", "entropy", AUTO})  # methods whose range depends on the number of levels


def require_possible(prepared: Prepared, decided: Sequence[Decisions], diags: Diagnostics) -> None:
    """Raise QdslError allocate-*, target-cannot for a statement that no data makes possible, for every target at
    once; `diags` is told of types that no layer gets."""
    spec = prepared.recipe.allocate
    if spec is None:
        return
    _require_gradients(spec, prepared)
    errors = Diagnostics()
    for each in decided:
        try:
            _LOOKS[spec.what](spec, prepared, each, diags)
        except QdslError as error:
            errors.extend(found for found in error.diagnostics if found not in errors.sorted())
    errors.raise_errors()


def require_measurable(prepared: Prepared, datasets: Mapping[str, Dataset], allow_python: bool) -> None:
    """Raise QdslError torch-absent, evaluate-*, python-*, data-* for what could not be measured: before the work."""
    spec = prepared.recipe.allocate
    asked = spec.sensitivity if spec is not None else None
    if asked is not None and asked.method != "sqnr":
        require_torch(f"`sensitivity {asked.method}`", asked.span, load=True)
    expected_of(prepared, datasets, allow_python)


def _require_gradients(spec: Allocate, prepared: Prepared) -> None:
    """Raise QdslError executor-lacks for operators through which no gradients go."""
    if spec.sensitivity is not None and spec.sensitivity.method != "sqnr":
        raise_lacks(program_of(prepared.model), spec.sensitivity.span)


def _weights(spec: Allocate, prepared: Prepared, decided: Decisions, _told: Diagnostics) -> None:
    goal = goal_of(spec)
    nodes = open_to(spec, decided)
    found = choices(prepared, decided, nodes)
    none = {node: dict.fromkeys((each.words for each in found), 0.0) for node in nodes}
    asked = problem_with(prepared, decided, nodes, found, none)
    if goal.bound is None:
        return
    narrowest = minimum(asked.problem, SIZE, {})
    if not isinstance(narrowest, Assignment):
        raise refused(narrowest, spec)
    _, made = under(prepared, decided.plan.target, asked.given(narrowest))
    size = made.plan.totals.predicted_bytes
    if size * LEAST > goal.bound:
        raise too_small(spec, size, "about ")


def _activations(spec: Allocate, prepared: Prepared, decided: Decisions, _told: Diagnostics) -> None:
    chosen = choosing(prepared, decided)
    chosen.require_possible()
    _require_one_range(spec, chosen)


def _layers(spec: Allocate, prepared: Prepared, decided: Decisions, diags: Diagnostics) -> None:
    require_goal(spec, decided)
    groups = groups_of(decided, spec)
    diags.extend(uncounted(decided, groups, spec))
    labels(groups, types_of(prepared, decided, groups, diags), spec)


def _require_one_range(spec: Allocate, chosen: Choosing) -> None:
    """Raise QdslError allocate-ranges where a range depends on the number of levels: it would have to be measured for
    each width."""
    ours = {name for members in chosen.widths.units.values() for name in members}
    plans = (plan for width in chosen.widths.choices for name, plan in width.tensors.items() if name in ours)
    method = next((plan.calibration for plan in plans if plan.calibration.method in BY_LEVELS), None)
    if method is not None:
        headline = f"`calibrate {method.words}` finds ranges for one width, and `allocate activations` chooses it"
        help = ("write `calibrate minmax` or `calibrate percentile 99.99`, whose ranges hold for every width",)
        raise QdslError([Diagnostic("allocate-ranges", headline, spec.header, help=help)])


_LOOKS = {"weights": _weights, "activations": _activations, "layers": _layers}


def open_to(spec: Allocate, decided: Decisions) -> tuple[str, ...]:
    """The nodes whose weights are open. Raises QdslError allocate-nothing for none."""
    nodes = open_nodes(decided.context)
    if not nodes:
        context = decided.context
        some = any(weight_ports(context, node) for node in context.view.nodes)
        why = "rules of the recipe decide all weights" if some else "no node of the model has constant float32 weights"
        raise nothing(spec, f"{why}, so `allocate` has none")
    return nodes


def problem_with(
    prepared: Prepared, decided: Decisions, nodes: Sequence[str], found: Sequence[Choice], losses: Losses
) -> Asked:
    """The problem of choice. Raises QdslError allocate-nothing, allocate-pin, and for selectors that pick nothing."""
    asked = problem_of(prepared.recipe, decided.context, nodes, found, losses)
    if not asked.problem.units:
        assert prepared.recipe.allocate is not None, "the caller has seen to it"
        raise nothing(prepared.recipe.allocate, "no choice of `allocate` can be given to any weight")
    return asked
