"""A classifier with one score: read as a probability or a logit by how its graph ends, and told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import graph_of, picture
from onnx import ModelProto, helper
from PIL import Image
from test_bundle import run
from test_evaluate import write

import qdsl
from qdsl.diag import QdslError, Severity
from qdsl.harness import FLOAT, Key
from qdsl.metrics import two_classes


def brightness(squash: str, columns: int = 1) -> ModelProto:
    """images -> mean of all values, minus 100 -> y [1, columns], through `squash`."""
    weights = {"w": np.full((columns, 3, 1, 1), 1 / 3, np.float32), "b": np.full(columns, -100, np.float32)}
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["m"], name="mean1"),
        helper.make_node("Flatten", ["m"], ["f" if squash else "y"], name="flat1"),
    ]
    nodes += [helper.make_node(squash, ["f"], ["y"], name="squash1")] if squash else []
    return graph_of(nodes, ["y"], constants=weights)


def lit(folder: Path) -> str:
    """Bright pictures (values near 180) and dark ones (near 40): of five each, two stand in the other's folder."""
    draw = np.random.default_rng(3)
    for at in range(10):
        bright = at % 2 == 1
        wrong = at in (2, 5, 7)
        pixels = draw.integers(30, 50, (8, 8, 3)) + 140 * bright
        path = folder / "photos" / ("bright" if bright != wrong else "dark") / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return 'folder "photos" { classes ["dark", "bright"] }'


@pytest.mark.slow
@pytest.mark.parametrize("squash", ["", "Sigmoid"])
def test_one_score_tells_two_classes_apart(squash: str, tmp_path: Path) -> None:
    path = write(tmp_path, brightness(squash), "classification on val", lit(tmp_path))
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    scores = result.evaluations[0].of(FLOAT).scores
    assert scores[Key("top1")] == pytest.approx(0.7)
    assert scores[Key("recall", "bright")] == pytest.approx(3 / 4), "three of four labelled bright are"
    wanted = (
        "one probability (the graph ends in Sigmoid): above 0.5" if squash else "one logit (no Sigmoid ends the graph)"
    )
    for diagnostics in (result.diagnostics, qdsl.plan(path).diagnostics):
        (told,) = [d for d in diagnostics if d.code == "evaluate-reads"]
        assert told.severity is Severity.NOTE and wanted in told.headline and "`bright`" in told.headline
    found, _ = run(result.targets[0].emitted.directory / "bench")
    assert found["scores"]["float"]["top1"] == pytest.approx(0.7)


def test_one_score_needs_two_classes(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "photos" / name / f"{name}.png", seed=ord(name))
    path = write(tmp_path, brightness("Sigmoid"), "classification on val", 'folder "photos"')
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    (found,) = caught.value.diagnostics
    assert found.code == "evaluate-classes" and "which tells two classes apart: val has 3" in found.headline


def test_a_probability_of_a_half_is_the_first_class() -> None:
    assert two_classes([[0.5], [0.75]], logits=False).tolist() == [[0.5, 0.5], [0.25, 0.75]]
    np.testing.assert_allclose(two_classes([[0.0], [-800.0], [800.0]], logits=True), [[0.5, 0.5], [1, 0], [0, 1]])


WRONG: list[tuple[str, str, str]] = [
    ("classification on val", 'folder "photos" { classes ["dark"] }', "evaluate-classes"),
    ("segmentation on val", 'masks "photos"', "evaluate-shape"),
    ('classification on val { output "z" }', 'folder "photos"', "evaluate-output"),
]


@pytest.mark.parametrize(("words", "data", "code"), WRONG)
def test_what_shapes_decide_is_told_by_plan(words: str, data: str, code: str, tmp_path: Path) -> None:
    """Of two scores."""
    lit(tmp_path)
    with pytest.raises(QdslError) as caught:
        qdsl.plan(write(tmp_path, brightness("", 2), words, data))
    found: Any = caught.value.diagnostics
    assert [each.code for each in found] == [code]
