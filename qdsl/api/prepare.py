"""What every verb that looks at a model does first: read the recipe, load the model, bring it into canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError, Report, Span
from qdsl.graph import Model, load
from qdsl.graph.collector import collector_paused
from qdsl.graph.constants import External
from qdsl.graph.view import GraphView
from qdsl.lang import load as load_recipe
from qdsl.lang import require_complete
from qdsl.lang.recipe import InputSpec, Recipe
from qdsl.rewrite import Trace, canonicalise


@dataclass(frozen=True)
class Prepared:
    """A recipe with its model in canonical form. `file_bytes` is the size of the model as given, external data
    included; `file_nodes` the nodes it had before canonicalising."""

    recipe: Recipe
    model: Model
    view: GraphView
    trace: Trace
    file_bytes: int
    file_nodes: int
    warnings: tuple[Diagnostic, ...]


@collector_paused()
def prepare(path: str | Path, sets: Mapping[str, str] | None) -> Prepared:
    """Raises QdslError with everything wrong in the recipe, or with what is wrong with the model."""
    loaded = load_recipe(path, sets=sets or {})
    require_complete(loaded.recipe)
    model = load_model(loaded.recipe)
    file_nodes = len(model.graph.nodes)
    file_bytes = _bytes_of(model)
    trace = canonicalise(model)
    warnings = (*loaded.diagnostics, *model.diagnostics)
    return Prepared(loaded.recipe, model, model.view(), trace, file_bytes, file_nodes, warnings)


def load_model(recipe: Recipe) -> Model:
    """The float model with the free dimensions that the recipe's `input` blocks fix; errors stand at its line."""
    reference = recipe.model
    assert reference is not None, "require_complete has seen to it"
    try:
        model = load(reference.location)
    except QdslError as found:
        raise QdslError(_placed(d, reference.span) for d in found.diagnostics) from None
    report = Report()
    for spec in recipe.inputs:
        _fix_shape(model, spec, report)
    report.raise_errors()
    return model


def _fix_shape(model: Model, spec: InputSpec, report: Report) -> None:
    """Apply `shape [..]` of an `input` block, and check that the block names an input that is there."""
    names = [tensor.name for tensor in model.graph.inputs]
    name = spec.name if spec.name is not None else names[0] if len(names) == 1 else None
    if name is None:
        report.error(
            "input-unknown", "the model has several inputs: name the block's", spec.span, help=[_inputs_are(names)]
        )
        return
    if name not in names:
        report.error("input-unknown", f"the model has no input `{name}`", spec.span, help=[_inputs_are(names)])
        return
    for step in spec.steps:
        if step.name != "shape":
            continue
        try:
            model.set_shape(name, [int(dim) for dim in step.args])
        except QdslError as found:
            report.extend(_placed(d, step.span) for d in found.diagnostics)


def _inputs_are(names: list[str]) -> str:
    return f"its inputs are {', '.join(f'`{name[:80]}`' for name in names[:5])}"


def _placed(diagnostic: Diagnostic, span: Span) -> Diagnostic:
    """A finding about the model, at the recipe's line that names it."""
    return diagnostic if diagnostic.span else replace(diagnostic, span=span)


def _bytes_of(model: Model) -> int:
    """Size of the model as given, external data included."""
    external = (model.lazy(c.name) for c in model.constants())
    outside = sum(value.nbytes for value in external if isinstance(value, External))
    return outside + (model.path.stat().st_size if model.path else 0)
