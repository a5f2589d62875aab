"""What is wrong with a dataset is shown at the setting that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_setups import conv, save
from data_cases import picture

import qdsl
from qdsl.diag import Diagnostic, QdslError

RECIPE = """recipe example
model onnx "model.onnx"
input { resize 8 stretch }
data calib from SOURCE
quantize static { weights int8; activations uint8; calibrate entropy on calib }
target ort
"""
CASES = {
    "data-split": ('folder "photos" { take 3; split "nowhere/else" }', 'split "nowhere/else"'),
    "data-class": ('folder "photos" { classes ["crack", "dirt"]; take 3 }', 'classes ["crack", "dirt"]'),
    "data-setting": ('images "photos/crack" { take 3; ignore 255 }', "ignore 255"),
    "take-short": ('folder "photos" { take 300 seed 1 }', "take 300 seed 1"),
    "sampling-value": (
        'folder "photos" { take 3; ratio "crack" 50 %, "clean" 20 % }',
        'ratio "crack" 50 %, "clean" 20 %',
    ),
    "sampling-empty": (
        'folder "photos" { ratio "crack" 50 %, "background" 50 % }',
        'ratio "crack" 50 %, "background" 50 %',
    ),
    "sampling-no-effect": ('folder "photos" { take 9; oversample "crack" 1 }', 'oversample "crack" 1'),
    "data-empty": ('images "photos/*.jpg"', '"photos/*.jpg"'),
}


def told(recipe: Path) -> tuple[Diagnostic, ...]:
    try:
        return qdsl.compile(recipe, out=recipe.parent / "build", lock=False).diagnostics
    except QdslError as error:
        return error.diagnostics


@pytest.mark.parametrize("code", sorted(CASES))
def test_the_carets_stand_under_the_setting(code: str, tmp_path: Path) -> None:
    save(conv(), tmp_path)
    for at, name in enumerate(("crack/1", "clean/1", "clean/2")):
        picture(tmp_path / f"photos/{name}.png", seed=at)
    source, setting = CASES[code]
    text = RECIPE.replace("SOURCE", source)
    (tmp_path / "example.q").write_text(text)
    found = next(d for d in told(tmp_path / "example.q") if d.code == code)
    assert found.span is not None
    line = text.split("\n")[found.span.line - 1]
    assert line[found.span.column - 1 : found.span.end_column - 1] == setting
