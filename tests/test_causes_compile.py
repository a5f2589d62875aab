"""`compile --causes`: where the error of a build comes from, with lines that were tried by building anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compile_tools import cli, project

import qdsl
from qdsl.harness.reading import read
from qdsl.report.data import load as load_build

WIDE = 'layers tensor "t" { range [-2000, 2000] }\n'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with one range by hand that is far too wide."""
    recipe = project(tmp_path_factory.mktemp("causes"), WIDE)
    result = qdsl.compile(recipe, out=recipe.parent / "build", causes=True, lock=False)
    return result.directory


def test_the_planted_range_is_first_with_a_line_that_was_tried(built: Path) -> None:
    (facts,) = read(built / "measurements.json").builds
    assert facts.causes is not None and facts.causes.source == "calib"
    first = facts.causes.causes[0]
    assert (first.tensor, first.role) == ("t", "activation")
    assert first.cure is not None and first.cure.tried.startswith("built anew")
    assert first.cure.lines[0].startswith('layers tensor "t" { calibrate ')
    assert first.cure.gain_db > 5


@pytest.mark.slow
def test_the_line_keeps_its_word(built: Path) -> None:
    """Added to the recipe, a build with it is as much nearer to float as was told."""
    (before,) = read(built / "measurements.json").builds
    assert before.causes is not None and before.causes.causes[0].cure is not None
    cure = before.causes.causes[0].cure
    recipe = project(built.parent / "cured", WIDE + cure.lines[0] + "\n")
    result = qdsl.compile(recipe, out=recipe.parent / "build", causes=True, lock=False)
    after = result.measurements.builds[0].causes
    assert after is not None and after.outputs_db == pytest.approx(cure.after_db, abs=0.5)


def test_the_page_shows_own_beside_inherited(built: Path) -> None:
    page = (built / "report.html").read_text(encoding="utf-8")
    assert "own beside inherited" in page and "built anew" in page
    assert load_build(built).found.builds[0].causes is not None


def test_without_the_word_nothing_of_it_is_there(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    result = qdsl.compile(recipe, out=tmp_path / "build", lock=False)
    assert result.measurements.builds[0].causes is None
    assert "causes" not in (result.directory / "measurements.json").read_text(encoding="utf-8")
    assert "own beside inherited" not in result.report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_verb_tells_it_in_words_and_as_data(tmp_path: Path) -> None:
    recipe = project(tmp_path, WIDE)
    told = cli("compile", recipe, "--out", tmp_path / "build", "--causes", "--no-lock")
    assert told.returncode == 0 and "cure: layers tensor" in told.stdout, told.stderr
    data = cli("compile", recipe, "--out", tmp_path / "build", "--causes", "--no-lock", "--json")
    (target,) = json.loads(data.stdout)["targets"]
    assert target["causes"]["causes"][0]["tensor"] == "t"
