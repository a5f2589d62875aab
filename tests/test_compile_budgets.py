"""What `compile` decides, warns of and refuses, and that a refused compile changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, cli, project, tree

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError

EVALUATE = """evaluate fidelity on calib {
  measure sqnr
  profile latency { runs 3 }
  require cosine >= 0.9
  require latency <= 1 s
}
"""


def compiled(recipe: Path, *words: str) -> int:
    return main(["compile", str(recipe), "--out", str(recipe.parent / "build"), *words])


def test_a_size_that_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, "evaluate fidelity on calib { require size <= 9 KiB }\n")
    assert compiled(recipe) == 0
    assert "holds" in capsys.readouterr().out


def test_a_size_that_is_broken_is_written_and_exits_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, head=HEAD.replace("target ort", "target ort { require size <= 5 KiB }"))
    assert compiled(recipe) == 4
    assert "BROKEN" in capsys.readouterr().out
    assert (tmp_path / "build" / "demo" / "ort" / "model.onnx").stat().st_size > 5 * 1024


def test_a_target_speaks_before_evaluate(tmp_path: Path) -> None:
    head = HEAD.replace("target ort", "target ort { require size <= 5 KiB }")
    result = qdsl.compile(
        project(tmp_path, "evaluate fidelity on calib { require size <= 9 KiB }\n", head=head), out=tmp_path
    )
    assert [(b.text, b.verdict) for b in result.targets[0].budgets] == [("size <= 5 KiB", "broken")]
    assert not result.holds


def test_undecided_is_shown_and_counts_only_when_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, "evaluate fidelity on calib { require flash <= 1 MiB }\n")
    assert compiled(recipe) == 0
    assert "undecided" in capsys.readouterr().out
    assert compiled(recipe, "--strict") == 4


@pytest.mark.slow
def test_what_is_evaluated_and_profiled_is_decided(tmp_path: Path) -> None:
    result = qdsl.compile(project(tmp_path, EVALUATE), out=tmp_path / "build")
    assert not result.diagnostics
    assert [b.verdict for b in result.targets[0].budgets] == ["holds", "holds"]
    (profile,) = result.profiles
    assert profile.runs == 3 and [build.build for build in profile.builds] == ["float", "ort"]


@pytest.mark.slow
def test_what_another_device_decides_stays_undecided(tmp_path: Path) -> None:
    head = HEAD.replace("target ort", 'target ort { device "a board" }')
    result = qdsl.compile(project(tmp_path, EVALUATE, head=head), out=tmp_path / "build")
    line = head.count("\n") + 5
    assert [(d.code, d.span and d.span.line) for d in result.diagnostics] == [("undecided", line)]
    assert [b.verdict for b in result.targets[0].budgets] == ["holds", "undecided"]
    assert result.profiles, "measured all the same, and shown as measured here"


REFUSED = {
    "passes": ('passes { use "./mine.rule" before quantize }\n', ["not-yet"]),
    "train": ("train qat on calib { epochs 1 }\n", ["not-yet"]),
    "tensorrt": ('target tensorrt { version "10.3" }\n', ["target-absent"]),
    "stm32": ("target stm32\n", ["target-absent"]),
    "two at once": (
        'passes { use "./mine.rule" before quantize }\ntrain qat on calib { epochs 1 }\n',
        ["not-yet", "not-yet"],
    ),
}


@pytest.mark.usefixtures("ort_alone")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_carried_out_is_an_error_and_writes_nothing(name: str, tmp_path: Path) -> None:
    rules, codes = REFUSED[name]
    recipe = project(tmp_path, rules)
    with pytest.raises(QdslError) as raised:
        qdsl.compile(recipe, out=tmp_path / "build")
    assert [d.code for d in raised.value.diagnostics] == codes
    assert all(d.span and d.span.line > HEAD.count("\n") for d in raised.value.diagnostics)
    assert not (tmp_path / "build").exists()


def test_a_torch_model_is_refused(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HEAD.replace('onnx "demo.onnx"', 'torch "package.module:make"'))
    with pytest.raises(QdslError) as raised:
        qdsl.compile(recipe, out=tmp_path / "build")
    assert [d.code for d in raised.value.diagnostics] == ["not-yet"]
    assert not (tmp_path / "build").exists()


def break_data(folder: Path) -> None:
    array = np.zeros((6, 3, 8, 8), np.float32)
    array[4, 1, 2, 3] = np.nan
    np.savez(folder / "calib.npz", x=array)


def break_recipe(folder: Path) -> None:
    (folder / "demo.q").write_text(HEAD + 'keep "/nowhere/*" in float32\n', encoding="utf-8")


def break_model(folder: Path) -> None:
    model = folder / "demo.onnx"
    model.write_bytes(model.read_bytes()[:-200])


@pytest.mark.parametrize("harm", [break_data, break_recipe, break_model])
def test_a_failing_compile_leaves_the_earlier_build(
    harm: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = project(tmp_path)
    assert compiled(recipe) == 0
    before = tree(tmp_path / "build")
    assert callable(harm)
    harm(tmp_path)
    assert compiled(recipe) == 1
    assert "error[" in capsys.readouterr().err
    assert tree(tmp_path / "build") == before


def test_a_second_compile_replaces_the_first(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    assert compiled(recipe) == 0
    before = tree(tmp_path / "build")
    recipe = project(tmp_path, "keep op Gemm in float32\n")
    assert compiled(recipe, "--update") == 0
    after = tree(tmp_path / "build")
    assert set(after) == set(before)
    assert after["demo/ort/model.onnx"] != before["demo/ort/model.onnx"]
    manifest = json.loads(after["demo/ort/manifest.json"])
    assert manifest["plan_sha256"] != json.loads(before["demo/ort/manifest.json"])["plan_sha256"]


def test_an_output_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path)
    (tmp_path / "build").write_text("in the way", encoding="utf-8")
    assert compiled(recipe) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "build").read_text(encoding="utf-8") == "in the way"


def test_an_unwritable_plan_is_said_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path)
    (tmp_path / "build" / "demo" / "plan.json").mkdir(parents=True)
    assert compiled(recipe) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_only_one_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path)
    assert compiled(recipe, "--target", "stm32") == 1
    assert "target-not-in-recipe" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()
    assert compiled(recipe, "--target", "ort") == 0


@pytest.mark.slow
def test_the_installed_command_exits_alike(tmp_path: Path) -> None:
    recipe = project(tmp_path, "evaluate fidelity on calib { require size <= 5 KiB }\n")
    done = cli("compile", recipe, "--out", tmp_path / "build")
    assert done.returncode == 4
    assert "require" in done.stdout
    assert "Traceback" not in done.stderr
