"""On random graphs with random decisions: each unit alone costs what it costs carried out on the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pieces import Pieces
from random_graphs import random_decisions, random_model

from qdsl.calibrate import Request, calibrate
from qdsl.capability import load as load_capability
from qdsl.causes.errors import outputs_db
from qdsl.causes.outputs import parts_of
from qdsl.data import Dataset
from qdsl.graph import from_proto, to_proto
from qdsl.graph.sessions import LOADING, Session
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.pipeline import canonicalise
from qdsl.sensitivity.measuring import How, measure
from qdsl.sensitivity.units import Choice, units_of


def ran(model: Any, feeds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    loaded = Session(to_proto(model).SerializeToString(), LOADING)
    return [dict(zip(loaded.outputs, loaded.run(loaded.outputs, feed), strict=True)) for feed in feeds]


@pytest.mark.parametrize("seed", [16, *(pytest.param(at, marks=pytest.mark.slow) for at in range(40) if at != 16)])
def test_each_unit_alone_costs_what_it_costs_carried_out(seed: int) -> None:
    model = from_proto(random_model(seed))
    canonicalise(model)
    view = model.view()
    made: Any = random_decisions(view, load_capability("ort_cpu"), seed)
    draw = np.random.default_rng(seed)
    feeds = [
        {n: draw.standard_normal(view.tensors[n].shape or ()).astype(np.float32) for n in view.inputs} for _ in "ab"
    ]
    reader: Any = SimpleNamespace(arrays=lambda index: feeds[index], flat=set(), file=lambda index: ("x", Path("none")))
    dataset = Dataset("drawn", "npz", ("a", "b"), 2, (), (), reader)
    ranges = calibrate(model, [Request(each.tensor) for each in made.tensors if each.observe], dataset, workers=1)
    units, parts = units_of(made, view), parts_of(view)
    assert units and {part.output for part in parts} <= {*view.outputs}
    found = measure(model, units, ranges, dataset, How(share=2))
    exact = ran(model, feeds)

    def carried_out(choices: Sequence[Choice]) -> float | None:
        tensors: dict[str, Any] = {}
        for plan in (plan for choice in choices for plan in choice.tensors):
            known = tensors.get(plan.tensor)
            tensors[plan.tensor] = plan if known is None else replace(plan, readers=(*known.readers, *plan.readers))
        for plan in made.tensors:  # what shares a scale takes part in its range
            tensors.setdefault(plan.tensor, replace(plan, readers=()))
        rounded = model.copy()
        weights, biases = (tuple(p for c in choices for p in getattr(c, kind)) for kind in ("weights", "biases"))
        InsertQDQ(Pieces(tuple(tensors.values()), weights, biases), ranges).apply(rounded)
        return outputs_db(parts, zip(exact, ran(rounded, feeds), strict=True))

    assert found.outputs_db == pytest.approx(carried_out([unit.choices[0] for unit in units]), abs=1e-3)
    for unit in units:
        row = found.row(unit.name, "planned")
        assert row is not None and row.alone_db == pytest.approx(carried_out([unit.choices[0]]), abs=1e-3), unit.name
