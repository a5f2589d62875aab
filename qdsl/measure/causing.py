"""What the causes of an error are measured on: a recipe's samples, or drawn inputs, and the float model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from qdsl import data
from qdsl.causes.causes import find_causes
from qdsl.causes.records import Ask, Causes
from qdsl.diag import Diagnostics, QdslError
from qdsl.finished.reading import read
from qdsl.graph import Model, load
from qdsl.graph.view import GraphView
from qdsl.measure.comparing import DRAWN, any_samples, drawn
from qdsl.passes.pipeline import canonicalise
from qdsl.work.prepared import Prepared, inputs_of, takes

_FREE = (16, 64, 256, 8, 1)  # what a free dimension beside the first is drawn as, in turn


def causes_of(model: Model, ask: Ask, prepared: Prepared | None = None, floats: Model | None = None) -> Causes:
    """The causes of the error of a finished file, on samples that calibrated it (`prepared`: the recipe with its
    model), on any other of the recipe's that are there, else on drawn inputs. `floats` is the float model that it was
    made from, in canonical form, where `ask` names none. Raises QdslError artifact-refused, what is wrong with samples,
    and for a float model that is none."""
    finished = read(model)
    if ask.floats is not None:
        floats = load(ask.floats, widen=True)
        canonicalise(floats)
    tries = _tries(finished.view, ask.samples, prepared)
    for number, (arrays, source) in enumerate(tries):
        try:
            return find_causes(finished, arrays, source=source, floats=floats, heard=ask.heard)
        except QdslError:
            if number == len(tries) - 1:
                raise
    raise AssertionError("there is always something to try")


Arrays = Mapping[str, Any]


def _tries(view: GraphView, count: int, prepared: Prepared | None) -> list[tuple[Sequence[Arrays], str]]:
    """What to measure on, and where it comes from: the next where a file does not run on one."""
    if prepared is not None:
        found, source = _of_recipe(prepared, count)
        if found and set(view.inputs) <= found[0].keys():
            return [(found, source)]
    wanted = inputs_of(view)
    several = any(not isinstance(dim, int) for one in wanted.values() for dim in (one.shape or ())[1:])
    sizes = _FREE if several else (None,)
    return [([each.arrays for each in drawn(wanted, count, size)], DRAWN) for size in sizes]


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
