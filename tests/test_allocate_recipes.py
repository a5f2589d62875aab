"""The recipes that allocate: what they leave open, and that what they bound is not out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

import qdsl

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bound", "nodes"),
    [
        ("cracks_v2_small", "542.2 KB", 53),
        ("yolov8n_small", "2.399 MB", 63),
    ],
)
def test_types_of_weights_are_open_until_a_build(name: str, bound: str, nodes: int) -> None:
    found = qdsl.plan(RECIPES / f"{name}.q")
    (plan,) = found.plans
    assert found.diagnostics == ()
    assert f"widths of weights: from int8, int4 under size <= {bound}" in plan.open
    assert len(plan.weights) == nodes
    assert {weight.scheme.dtype.name for weight in plan.weights} == {"int8"}
