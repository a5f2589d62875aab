"""`corrupt`: the same change for the same picture, more of it with more severity, and figures of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_evaluate import coloured, compiled, mean_colour, write

from qdsl.data.corrupt import KINDS, SEVERITIES, Corruption
from qdsl.diag import QdslError
from qdsl.harness import FLOAT, Key
from qdsl.lang import loads
from qdsl.lang.vocabulary import CORRUPTIONS

PICTURE = np.random.default_rng(0).integers(40, 200, (60, 80, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)


def test_the_language_knows_every_kind() -> None:
    assert set(KINDS) == set(CORRUPTIONS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_more_severity_changes_more(kind: str) -> None:
    before = PICTURE.copy()
    changed = [Corruption(kind, severity)(PICTURE, "a.png") for severity in SEVERITIES]
    assert all(each.shape == PICTURE.shape and each.dtype == np.uint8 for each in changed)
    away = [np.abs(each.astype(float) - PICTURE).mean() for each in changed]
    # Light goes up or down by chance at each severity: only a dark picture has room for both.
    assert away[0] > 1 and (kind == "light" or away == sorted(away))
    assert (before == PICTURE).all()


def test_light_is_off_by_more_stops_with_more_severity() -> None:
    dark = np.full((8, 8, 3), 60, np.uint8)
    stops = [
        {round(2.2 * float(np.log2(Corruption("light", severity)(dark, str(at)).mean() / 60)), 1) for at in range(30)}
        for severity in SEVERITIES
    ]
    for found, expected in zip(stops, (0.5, 1.0, 1.5, 2.0, 2.5), strict=True):
        assert len(found) == 2 and min(found) == pytest.approx(-expected, abs=0.2)
        assert max(found) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_picture_is_changed_in_the_same_way(kind: str, channels: int) -> None:
    picture = PICTURE[:, :, :channels]
    change = Corruption(kind, 2)
    assert (change(picture, "a.png") == change(picture, "a.png")).all()
    assert change(picture, "a.png").shape == picture.shape


def test_noise_is_another_in_every_picture() -> None:
    noise = Corruption("noise", 1)
    assert not (noise(PICTURE, "a.png") == noise(PICTURE, "b.png")).all()


@pytest.mark.parametrize(("kind", "severity"), [("fog", 1), ("noise", 0), ("noise", 6)])
def test_what_there_is_not_is_refused(kind: str, severity: int) -> None:
    with pytest.raises(ValueError, match=kind):
        Corruption(kind, severity)


@pytest.mark.slow
def test_every_kind_and_severity_is_evaluated_beside_the_clean_pictures(tmp_path: Path) -> None:
    coloured(tmp_path, count=4)
    wanted = "classification on val { corrupt { noise; jpeg; severity [1, 5] }; require top1 >= 0.5 }"
    weights = np.eye(3)[::-1].copy()  # folders are classes by name: blue, green, red
    steps = "resize 8 stretch; rescale 1/255"
    result = compiled(write(tmp_path, mean_colour(weights), wanted, 'folder "photos"', steps))
    assert [each.condition for each in result.evaluations] == ["", "noise 1", "noise 5", "jpeg 1", "jpeg 5"]
    clean, light_noise, heavy_noise = (each.of(FLOAT).confidences for each in result.evaluations[:3])
    assert clean != light_noise != heavy_noise
    for each in result.evaluations:
        assert each.of("ort").drops[Key("top1")].low <= each.of("ort").drops[Key("top1")].high
    (budget,) = result.targets[0].budgets
    assert budget.verdict == "holds" and budget.value == result.evaluations[0].of("ort").scores[Key("top1")]


@pytest.mark.parametrize(
    ("block", "kinds", "severities"),
    [
        ("corrupt { }", CORRUPTIONS, (3,)),
        ("corrupt { blur }", ("blur",), (3,)),
        ("corrupt { light; blur; noise; jpeg; severity 5 }", CORRUPTIONS, (5,)),
        ("corrupt { jpeg; severity [2, 1, 2] }", ("jpeg",), (2, 1)),
    ],
)
def test_what_the_block_says(block: str, kinds: tuple[str, ...], severities: tuple[int, ...]) -> None:
    text = f'recipe a\ndata val from images "x"\nevaluate fidelity on val {{ {block} }}\n'
    (spec,) = loads(text, name="a.q").recipe.evaluates
    assert spec.corrupt is not None and (spec.corrupt.kinds, spec.corrupt.severities) == (kinds, severities)


@pytest.mark.parametrize("inside", ["fog", "noise; severity 6", "noise; severity 1.5", "noise 3"])
def test_a_wrong_word_or_severity_is_an_error(inside: str) -> None:
    text = f'recipe a\ndata val from images "x"\nevaluate fidelity on val {{ corrupt {{ {inside} }} }}\n'
    with pytest.raises(QdslError) as caught:
        loads(text, name="a.q")
    assert caught.value.diagnostics[0].span is not None and caught.value.diagnostics[0].span.line == 3
