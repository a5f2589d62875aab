"""What every verb that looks at a model does first: read the recipe, load the model, bring it into canonical form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qdsl.data import ModelInput
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.graph import Model, load
from qdsl.graph.collector import collector_paused
from qdsl.graph.constants import External, outside
from qdsl.graph.saving import written_bytes
from qdsl.graph.source import FileState
from qdsl.graph.view import GraphView
from qdsl.lang import Loaded, require_complete
from qdsl.lang import load as load_recipe
from qdsl.lang.recipe import InputSpec, Recipe
from qdsl.lock.files import Fingerprints
from qdsl.lock.types import Named
from qdsl.passes.index import make
from qdsl.passes.pipeline import canonicalise
from qdsl.plan.gate import model_absent
from qdsl.rewrite import Trace, run
from qdsl.spec.plan import Widened
from qdsl.work.equalizing import asks_to_equalize, equalize
from qdsl.work.opset import wanted_opset


@dataclass(frozen=True)
class Prepared:
    """A recipe with its model in canonical form. `file_bytes` is the size of the model as given, external data
    included; `canonical_bytes` that of its canonical form; `file_nodes` the nodes it had
    before canonicalising; `floats` the canonical form as the user gave it, which artifacts are held against (`model`
    itself, unless `improve { equalize }` made other weights of it); `states` what the file system said of the model's
    files, external data included, when they were read; `widened` what guards of weights were found to cost;
    `file_opset` is that of the model before the recipe raised it."""

    recipe: Recipe
    model: Model
    floats: Model
    view: GraphView
    trace: Trace
    file_bytes: int
    canonical_bytes: int
    file_nodes: int
    file_opset: int
    warnings: tuple[Diagnostic, ...]
    states: Mapping[Path, FileState] = field(default_factory=dict)
    widened: dict[tuple[object, ...], Widened | None] = field(default_factory=dict, repr=False, compare=False)


def read(path: str | Path, sets: Mapping[str, str] | None) -> Loaded:
    """A recipe that says everything a model needs. Raises QdslError with everything wrong in it."""
    loaded = load_recipe(path, sets=sets or {})
    require_complete(loaded.recipe)
    return loaded


@collector_paused()
def prepare(loaded: Loaded) -> Prepared:
    """The recipe's model, loaded and in canonical form. Raises QdslError with what is wrong with it."""
    model = load_model(loaded.recipe)
    file_nodes = len(model.graph.nodes)
    file_bytes, states = _bytes_of(model), _states(model)
    canonical = canonicalise(model)
    file_opset = model.opset
    trace = _raised(model, loaded.recipe, canonical)
    floats = model
    if asks_to_equalize(loaded.recipe):
        floats = model.copy()
        trace = Trace((*trace.steps, *equalize(model, loaded.recipe).steps))
    return Prepared(
        recipe=loaded.recipe,
        model=model,
        floats=floats,
        view=model.view(),
        trace=trace,
        file_bytes=file_bytes,
        canonical_bytes=written_bytes(model),
        file_nodes=file_nodes,
        file_opset=file_opset,
        warnings=(*loaded.diagnostics, *model.diagnostics),
        states=states,
    )


def _raised(model: Model, recipe: Recipe, canonical: Trace) -> Trace:
    """The canonical model at an opset that serves the recipe where it can be raised to it. One that serves no more
    than speed may be out of reach: the plan says what stays float for it. One that is needed is an error there."""
    steps = [*canonical.steps]
    wanted = wanted_opset(recipe, model.view())
    for opset in dict.fromkeys((wanted.gained, wanted.needed)):
        if model.opset < opset:
            raised = run([make("raise_opset", to=opset)], model)
            steps += [*raised.steps, *(canonicalise(model).steps if raised.edits else ())]
    return Trace(tuple(steps))


def takes(prepared: Prepared) -> dict[str, ModelInput]:
    """What each input of the model takes."""
    return inputs_of(prepared.view)


def inputs_of(view: GraphView) -> dict[str, ModelInput]:
    """What each input of a graph takes."""
    return {name: ModelInput(view.tensors[name].dtype or "float32", view.tensors[name].shape) for name in view.inputs}


def load_model(recipe: Recipe) -> Model:
    """The float model with the free dimensions that the recipe's `input` blocks fix; errors stand at its line."""
    reference = recipe.model
    assert reference is not None, "require_complete has seen to it"
    absent = model_absent(recipe)
    if absent is not None:
        raise QdslError([absent])
    model = load(reference.location, widen=True, span=reference.span)
    diags = Diagnostics()
    for spec in recipe.inputs:
        _fix_shape(model, spec, diags)
    diags.raise_errors()
    return model


def _fix_shape(model: Model, spec: InputSpec, diags: Diagnostics) -> None:
    """Apply `shape [..]` of an `input` block, and check that the block names an input that is there."""
    names = [tensor.name for tensor in model.graph.inputs]
    name = spec.name if spec.name is not None else names[0] if len(names) == 1 else None
    if name is None:
        diags.error(
            "input-unknown",
            "this `input` block does not say which of the model's inputs it is for",
            spec.span,
            help=[f'write `input "{name[:80]}" {{ ... }}`' for name in names[:2]],
        )
        return
    if name not in names:
        diags.error("input-unknown", f"the model has no input `{name}`", spec.span, help=[_inputs_are(names)])
        return
    for step in spec.steps:
        if step.name != "shape":
            continue
        try:
            model.set_shape(name, [int(dim) for dim in step.args], step.span)
        except QdslError as found:
            diags.extend(found.diagnostics)


def _inputs_are(names: list[str]) -> str:
    return f"the model's inputs are {', '.join(f'`{name[:80]}`' for name in names[:5])}"


def _bytes_of(model: Model) -> int:
    """Size of the model as given, external data included."""
    inside = model.source.size if model.source else 0
    return inside + sum(value.nbytes for value in _outside(model))


def _states(model: Model) -> dict[Path, FileState]:
    """The model file and the files that hold its constants, with their state when they were read."""
    assert model.path is not None and model.source is not None, "a recipe's model is a file"
    states = {value.path: value.state for value in _outside(model)}
    return {model.path: model.source.state, **dict(sorted(states.items()))}


def _outside(model: Model) -> Iterator[External]:
    """The values in files beside the model, as they stand there."""
    found = (outside(model.lazy(constant.name)) for constant in model.constants())
    return (value for value in found if value is not None)


def model_prints(prepared: Prepared, prints: Fingerprints) -> Named:
    """The hashes of the model's files: of the model file as it was read, whatever stands there by now."""
    model = prepared.model
    assert model.path is not None and model.source is not None, "a recipe's model is a file"
    return prints.model(model.path, model.source.sha256, prepared.states, model.span)
