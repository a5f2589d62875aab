"""What the causes of an error are measured on: a recipe's samples, or drawn inputs, and the float model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from qdsl import data
from qdsl.causes.causes import find_causes
from qdsl.causes.outputs import samples_for
from qdsl.causes.records import Ask, Causes
from qdsl.diag import Diagnostics, QdslError
from qdsl.finished.reading import read
from qdsl.graph import Model, load
from qdsl.graph.view import GraphView
from qdsl.measure.comparing import DRAWN, any_samples, drawn
from qdsl.passes.pipeline import canonicalise
from qdsl.work.prepared import Prepared, inputs_of, takes

Arrays = Mapping[str, Any]
Tried = tuple[Sequence[Arrays], str]  # samples, and where they come from
_FREE = (16, 64, 256, 8, 1)  # what a free dimension beside the first is drawn as, in turn


def causes_of(model: Model, ask: Ask, tries: Iterable[Tried], floats: Model | None = None) -> Causes:
    """The causes of the error of a finished file, on the first of `tries` that it runs on. `floats` is the float model
    that it was made from, in canonical form, where `ask` names none. Raises QdslError artifact-refused, and for a float
    model that is none."""
    finished = read(model)
    if ask.floats is not None:
        floats = load(ask.floats, widen=True)
        canonicalise(floats)
    refusal: QdslError | None = None
    for arrays, source in tries:
        try:
            return find_causes(finished, arrays, source=source, floats=floats, heard=ask.heard)
        except QdslError as error:
            refusal = error
    if refusal is not None:
        raise refusal
    return find_causes(finished, (), source="nothing", floats=floats)


def inputs_for(view: GraphView, count: int | None = None, prepared: Prepared | None = None) -> Iterator[Tried]:
    """What to run the file of `view` on: samples that calibrate (`prepared`: a recipe with its model), any others of
    the recipe's that are there, else drawn inputs, of one size after the other where dimensions are free. Raises what
    is wrong with samples."""
    count = samples_for(view) if count is None else count
    if prepared is not None:
        found, source = _of_recipe(prepared, count)
        if found and set(view.inputs) <= found[0].keys():
            yield found, source
            return
    wanted = inputs_of(view)
    several = any(not isinstance(dim, int) for one in wanted.values() for dim in (one.shape or ())[1:])
    for size in _FREE if several else (None,):
        inputs = [each.arrays for each in drawn(wanted, count, size)]
        if inputs:
            yield inputs, DRAWN


def _of_recipe(prepared: Prepared, count: int) -> tuple[list[Arrays], str]:
    """The first samples of the data that calibrates, else of any that is there."""
    mode = prepared.recipe.mode
    asked = mode.settings.calibrate if mode is not None else None
    if asked is not None and asked.data is not None:
        try:
            statement = prepared.recipe.dataset(asked.data)
            opened = data.open(statement, prepared.recipe.inputs, takes(prepared), Diagnostics())
            return [each.arrays for each in islice(opened, count)], asked.data
        except QdslError:
            pass  # its files are not here
    found, source = any_samples(prepared, count)
    return [each.arrays for each in found], source
