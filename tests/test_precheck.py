"""What `check` says of selectors without a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import defs

import qdsl
from qdsl.cli import main
from qdsl.diag import Severity
from qdsl.select.operators import OPERATORS

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "select": "select s = op Cov\nkeep s in float32",
    "inside a select used twice": "select s = not op Cov\nkeep s in float32\nlayers s { weights int8 }",
    "layers": "layers op [Conv, Cov] and depthwise { weights int8 }",
    "place": "place { leave op Conv -> op Cov }",
    "a port": "place { quantize inputs of op Cov }",
    "between": "keep between op Cov and op Relu in float32",
    "a target": "target ort { keep first 1 of op Cov in float32 }",
    "allow": 'allow shared_range on op Cov because "so"',
}


def test_every_operator_of_onnx_is_known() -> None:
    assert {schema.name for schema in defs.get_all_schemas_with_history()} <= OPERATORS


@pytest.mark.parametrize("place", sorted(PLACES))
def test_an_operator_that_does_not_exist_is_named_with_the_nearest(place: str, tmp_path: Path) -> None:
    (tmp_path / "a.q").write_text(f"recipe a\n{PLACES[place]}\n")
    result = qdsl.check(tmp_path / "a.q")
    (found,) = result.diagnostics
    assert result.ok and found.severity is Severity.WARNING
    assert (found.code, found.headline) == ("unknown-op", "`Cov` is no ONNX operator")
    assert found.help[0].startswith("did you mean `Conv`")
    assert found.span is not None and found.span.line >= 2


def test_a_regular_expression_that_cannot_be_used_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.q").write_text('recipe a\nkeep matching "(?=a)b" in float32\n')
    assert not qdsl.check(tmp_path / "a.q").ok
    assert main(["check", str(tmp_path / "a.q")]) == 1
    assert "error[selector-regex]" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.q")), ids=lambda path: str(path.stem))
def test_shipped_recipes_are_fine(recipe: Path) -> None:
    assert qdsl.check(recipe).diagnostics == ()
