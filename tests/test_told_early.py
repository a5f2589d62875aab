"""What a first-time user runs into: told before the work, in the words of the command line, and short."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bad_setups import build
from compile_tools import project

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.diag.codes import all_codes
from qdsl.lang import loads
from qdsl.spec.words import shortened


class MeasuringBeginsError(Exception):
    """Calibration has begun."""


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(*words: object, **more: object) -> None:
        raise MeasuringBeginsError

    monkeypatch.setattr("qdsl.steps.ranging.measure", begun)


@pytest.mark.parametrize("place", ["build", "build/demo", "build/demo/ort"])
def test_a_place_that_cannot_be_written_is_found_before_measuring(place: str, tmp_path: Path, measuring: None) -> None:
    recipe = project(tmp_path)
    with pytest.raises(MeasuringBeginsError):
        qdsl.compile(recipe, out=tmp_path / "build")
    assert not (tmp_path / "build").exists(), "looking makes nothing"
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("in the way")
    with pytest.raises(QdslError, match=r"artifact-write.*cannot be written: .* is a file"):
        qdsl.compile(recipe, out=tmp_path / "build")


def test_an_opset_that_cannot_be_reached_is_found_before_measuring(tmp_path: Path, measuring: None) -> None:
    doc = all_codes()["model-upgrade"]
    build(doc.setup, tmp_path)
    text = "\n".join(line for line in doc.example.split("\n") if "range" not in line)
    name = text.split()[1]
    (tmp_path / f"{name}.q").write_text(text)
    with pytest.raises(QdslError, match="model-upgrade"):
        qdsl.compile(tmp_path / f"{name}.q", out=tmp_path / "build")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("bitz=int8", "error[unknown-param]: unknown param `bitz`\n  = in `--set bitz=int8`"),
        ("bits=int3", "error[param-choice]: `bits` cannot be `int3`, as `--set bits=int3` asks\n --> "),
        ("bits=[[", "error[setting-value]: `--set bits=[[` gives no value\n --> "),
    ],
)
def test_a_wrong_set_shows_what_was_written(
    given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.q").write_text("recipe a\nparam bits = int8 from [int8, int4]\n")
    assert main(["check", str(tmp_path / "a.q"), "--set", given]) == 1
    err = capsys.readouterr().err
    assert err.startswith(told) and "--set:1" not in err


def test_expect_belongs_to_the_selector() -> None:
    with pytest.raises(QdslError) as caught:
        loads("recipe a\nkeep op Conv in float32 expect 3\n", name="a.q")
    (found,) = caught.value.diagnostics
    assert found.help == ("`expect` belongs to the selector: `keep X expect 3 in float32`",)
    loads("recipe a\nkeep op Conv expect 3 in float32\n", name="a.q")


@pytest.mark.parametrize("words", ['"nonexist*"', "gelu", 'tensor "nonexist"'])
def test_a_selector_without_a_near_name_still_says_what_there_is(words: str, tmp_path: Path) -> None:
    recipe = project(tmp_path, f"layers {words} {{ activations uint8 }}\n")
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert found.help and found.help[0].startswith(("names look like `", "of these words, it has `"))


def test_a_missing_model_has_one_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path)
    (tmp_path / "demo.onnx").unlink()
    for verb in ("check", "plan", "compile"):
        assert main([verb, str(recipe)]) == 1
        assert "error[model-missing]: there is no model file `" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bound", "told"),
    [("1 B", " times the bound"), ("100 GB", "100 % to spare"), ("5 kB", " % over")],
)
def test_how_far_a_budget_is_off(bound: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, f"evaluate fidelity on calib {{ require size <= {bound} }}\n")
    main(["compile", str(recipe), "--out", str(tmp_path / "build"), "--no-lock"])
    (line,) = [line for line in capsys.readouterr().out.split("\n") if line.startswith("require")]
    assert told in line, line


LONG = "model/activation/Relu;model/batch_normalization/FusedBatchNormV3;model/conv2d/BiasAdd;model/conv2d/Conv2D1"


def test_names_are_cut_in_the_middle() -> None:
    assert shortened("stem") == "stem"
    cut = shortened(LONG, 44)
    assert len(cut) == 44 and cut.startswith("model/act") and cut.endswith("conv2d/Conv2D1") and cut.count("…") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_long_names_are_cut_on_a_terminal_alone(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx
    from compile_tools import residual_net

    proto = residual_net()
    proto.graph.node[0].name = LONG
    recipe = project(tmp_path, proto=proto)
    assert onnx.load(tmp_path / "demo.onnx").graph.node[0].name == LONG
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    main(["plan", str(recipe)])
    assert (LONG in capsys.readouterr().out) is not terminal
    main(["plan", str(recipe), "--json"])
    assert LONG in capsys.readouterr().out
    main(["explain", str(recipe), LONG])
    assert LONG in capsys.readouterr().out.split("\n")[0], "the name that was asked for stays whole"
