"""`compile --check rtx`: what an engine of the artifact computes beside the plan, and what that decides. Where
TensorRT-RTX is asked, the compilation is real; what is decided is shown on checks made by hand, too."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project, residual_net
from onnx import ModelProto, numpy_helper
from test_audit_mutants import float_net

import qdsl
from qdsl.cli import main
from qdsl.cli.engines import print_engine
from qdsl.diag import QdslError, Span
from qdsl.engines.rtx import places
from qdsl.engines.rtx.examining import examine
from qdsl.harness.engine_checks import CheckedNode, EngineCheck
from qdsl.harness.reading import parsed
from qdsl.measure.budgets import Budget
from qdsl.measure.engine_checking import faults, surviving
from qdsl.report.engine_checks import _engine
from qdsl.spec.engine import (
    BUILD,
    BUILT,
    DROPPED,
    FP8,
    INT8,
    KEPT,
    PARSE,
    UNDECIDED,
    UNKNOWN,
    WEIGHT_ONLY,
    EngineRefusal,
)
from qdsl.targets.tensorrt.scripts import verify_engine

SOURCE = "TensorRT-RTX 0, sm86, built without a GPU"
TENSORRT = HEAD.replace("target ort\n", "").replace("uint8 affine", "int8 symmetric")
WAIVER = 'allow half_quantized_op on op Conv because "Turing is for a demonstration"\n'
rtx = pytest.mark.skipif(places.place() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get")


def convolutions() -> ModelProto:
    """The residual net up to its Concat."""
    proto = residual_net()
    del proto.graph.node[-3:], proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_tensor_value_info("j", onnx.TensorProto.FLOAT, [1, 8, 8, 8]))
    kept = {name for each in proto.graph.node for name in each.input}
    stored = [each for each in proto.graph.initializer if each.name in kept]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(stored)
    return proto


def budget(metric: str = "qdq", *qualifiers: str) -> Budget:
    words = qualifiers or ("survives",)
    span = Span("demo.q", 1, 1, 1, 2)
    none = dict.fromkeys(("comparison", "value", "bound", "unit", "low", "high"))
    return Budget("qdq survives", "undecided", metric, words, "holds", **none, source="", statement="", span=span)  # type: ignore[arg-type]


def check(*nodes: CheckedNode, stage: str = BUILT, **more: object) -> EngineCheck:
    return EngineCheck("tensorrt", SOURCE, stage, nodes, **more)  # type: ignore[arg-type]


def node(verdict: str, expect: str = "int8", **more: object) -> CheckedNode:
    return CheckedNode("n", "Conv", expect, verdict, "layer", "as it is", **more)  # type: ignore[arg-type]


# What decides `require qdq survives`, without a device in the recipe.
DECIDED = {
    "all survive": (check(node(INT8), node(WEIGHT_ONLY, "weights"), node(DROPPED, "float32")), "holds"),
    "one is lost": (check(node(INT8), node(DROPPED)), "broken"),
    "its weights alone are left": (check(node(WEIGHT_ONLY)), "broken"),
    "one is lost and waived": (check(node(INT8), node(DROPPED, waived="meant")), "holds"),
    "one in floats is not told of": (check(node(INT8), node(UNKNOWN, "float32")), "holds"),
    "one is not told of": (check(node(INT8), node(UNKNOWN)), "undecided"),
    "what is not told of is waived": (check(node(UNKNOWN, waived="meant")), "undecided"),
    "one is lost in this engine alone": (check(node(INT8), node(DROPPED, holds_elsewhere=False)), "undecided"),
    "nothing was planned in integers": (check(node(DROPPED, "float32")), "undecided"),
    "the file is refused": (check(stage=PARSE, refused=(EngineRefusal("n", "no"),)), "broken"),
    "the process died": (check(stage=UNDECIDED, reason="its process died"), "undecided"),
}


@pytest.mark.parametrize("case", DECIDED)
def test_an_engine_decides_whether_what_was_planned_survives(case: str) -> None:
    found, verdict = DECIDED[case]
    decided = surviving(budget(), found, "")
    assert decided.verdict == verdict and SOURCE in decided.source
    assert (decided.value is None) == (verdict == "undecided")


@pytest.mark.parametrize("case", DECIDED)
def test_an_engine_for_another_gpu_decides_nothing_about_a_device(case: str) -> None:
    decided = surviving(budget(), DECIDED[case][0], "jetson-orin-nano")
    assert (decided.verdict, decided.value) == ("undecided", None)
    assert decided.source.endswith("no result of jetson-orin-nano")


def test_what_survived_is_told_by_what_it_was_planned_in(capsys: pytest.CaptureFixture[str]) -> None:
    print_engine(check(node(FP8, "fp8"), node(FP8, "fp8"), node(DROPPED, "float32")))
    assert "as predicted, in float8: 2 of 2 Conv\n" in capsys.readouterr().out
    print_engine(check(node(INT8), node(DROPPED, "weights")))
    told = "NOT AS PREDICTED, in integers: 1 of 1 Conv; integer weights, float products: 0 of 1 Conv\n"
    assert told in capsys.readouterr().out
    print_engine(check())
    assert "as predicted, in integers: nothing\n" in capsys.readouterr().out


def test_other_budgets_stay_as_they_are() -> None:
    found = DECIDED["all survive"][0]
    assert surviving(budget("size", "x"), found, "") == budget("size", "x")
    assert surviving(budget(), None, "") == budget()


@pytest.mark.parametrize("case", DECIDED)
def test_what_does_not_pass_is_told(case: str) -> None:
    found = DECIDED[case][0]
    assert bool(faults(found)) == (not found.as_predicted and case != "one is lost and waived")
    page = _engine(found, "")
    assert SOURCE in page and ("NOT as predicted" in page) == (found.stage == BUILT and not found.as_predicted)


def test_a_refusal_is_told_once_whole_and_at_its_node() -> None:
    text = f"no kernel {'x' * 300} for fp8"
    (short,) = faults(check(stage=BUILD, refused=(EngineRefusal("", "no kernel"),)))
    (long,) = faults(check(stage=BUILD, refused=(EngineRefusal("", text), EngineRefusal("n", "no"))))
    assert short.headline.endswith("1 refusal: no kernel") and short.notes == ()
    assert "2 refusals: no kernel" in long.headline and "…" in long.headline and long.headline.endswith("for fp8")
    assert long.notes[0].startswith("no kernel") and long.notes[0].endswith("for fp8") and long.notes[1] == "n: no"


def test_the_script_beside_the_artifact_lets_the_same_pass() -> None:
    """It stands alone, so it has these words once more."""
    assert dict(KEPT) == verify_engine.KEPT


def test_who_asks_for_engines_of_another_target_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdsl.steps.opening.examination", lambda *asked: lambda path: None)
    with pytest.raises(QdslError, match=r"engine-target.*no target of this compilation has engines"):
        qdsl.compile(project(tmp_path), out=tmp_path / "build", check="rtx")
    assert not (tmp_path / "build").exists()


def test_a_build_that_dies_is_told_and_passes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A harmless script stands in for the process that builds."""
    dying = tmp_path / "dying.py"
    dying.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n", encoding="utf-8")
    here = places.Place(Path(sys.executable), ("-I", "-S"))
    monkeypatch.setattr("qdsl.engines.rtx.running.CHILD", dying)
    monkeypatch.setattr("qdsl.engines.asked.require", lambda: here)
    monkeypatch.setattr("qdsl.engines.rtx.examining.require", lambda: here)
    recipe = project(tmp_path, head=TENSORRT + "target tensorrt { require qdq survives }\n")
    words = ["compile", str(recipe), "--out", str(tmp_path / "build"), "--no-lock", "--check", "rtx", "--strict"]
    assert main(words) == 4
    shown, told = capsys.readouterr()
    assert "UNDECIDED: its process died by SIGSEGV\n" in shown and "Traceback" not in told
    assert re.search(r"qdq survives   undecided: TensorRT-RTX .*: undecided: its process died by SIGSEGV", shown)
    assert "warning[engine-otherwise]" in told


def test_for_which_gpu_says_something_only_with_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(project(tmp_path)), "--cc", "sm86"]) == 2
    assert main(["audit", str(tmp_path / "demo.onnx"), "--cc", "sm86"]) == 2
    assert capsys.readouterr().err.count("--cc") == 2


@pytest.mark.slow
@pytest.mark.rtx
@rtx
def test_an_engine_of_what_was_compiled_is_as_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, head=TENSORRT + "target tensorrt { require qdq survives }\n", proto=float_net())
    assert main(["compile", str(recipe), "--out", str(tmp_path / "build"), "--check", "rtx", "--no-lock"]) == 0
    shown, told = capsys.readouterr()
    assert "undecided" not in told
    assert f"engine     tensorrt: TensorRT-RTX {places.VERSION}, sm86, built without a GPU\n" in shown
    assert "as predicted, in integers: 8 of 8 Conv, 1 of 1 Gemm\n" in shown
    assert "require    qdq survives   holds (9 of 9 planned nodes, TensorRT-RTX" in shown
    text = (tmp_path / "build/demo/measurements.json").read_text(encoding="utf-8")
    (build,) = parsed(text).builds
    assert build.engine is not None and build.engine.as_predicted and build.engine.stage == BUILT
    assert [each.verdict for each in build.budgets] == ["holds"]
    assert "Engine, built without a GPU" in (tmp_path / "build/demo/report.html").read_text(encoding="utf-8")
    assert json.loads(text)["builds"]["tensorrt"]["engine"]["nodes"][0]["verdict"] == INT8
    # What is measured later keeps it.
    recipe.write_text(recipe.read_text() + "evaluate fidelity on calib { measure sqnr }\n")
    assert main(["evaluate", str(recipe), "--out", str(tmp_path / "build")]) == 0
    assert "qdq survives   holds (9 of 9" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.rtx
@rtx
@pytest.mark.parametrize(("waiver", "verdict"), [("", "broken"), (WAIVER, "holds")], ids=["", "waived"])
def test_what_is_lost_breaks_the_budget_unless_it_is_waived(waiver: str, verdict: str, tmp_path: Path) -> None:
    """For Turing the builder makes floats of every Conv, and says nothing."""
    head = TENSORRT + "target tensorrt { require qdq survives }\n"
    recipe = project(tmp_path, waiver, head=head, proto=convolutions())
    made = qdsl.compile(recipe, out=tmp_path / "build", check="rtx", capability="sm75", lock=False)
    (found,) = made.engines
    assert {each.verdict for each in found.planned} == {DROPPED} and "sm75" in found.source
    assert made.targets[0].budgets[0].verdict == verdict and made.holds == (verdict == "holds")
    assert [each.code for each in made.diagnostics].count("engine-otherwise") == int(not waiver)


@pytest.mark.slow
@pytest.mark.rtx
@rtx
def test_what_is_refused_breaks_the_budget(tmp_path: Path) -> None:
    """For Turing there is no Gemm of float32, which the dropped one would be."""
    recipe = project(tmp_path, head=TENSORRT + "target tensorrt { require qdq survives }\n")
    made = qdsl.compile(recipe, out=tmp_path / "build", check="rtx", capability="sm75", lock=False)
    (found,) = made.engines
    assert (found.stage, found.nodes) == (BUILD, ()) and "FP32 GEMM" in found.refused[0].text
    assert made.targets[0].budgets[0].verdict == "broken" and not made.survives


@pytest.mark.slow
@pytest.mark.rtx
@rtx
def test_the_plan_of_a_branched_net_is_what_the_engine_computes(tmp_path: Path) -> None:
    """With a residual addition, a Concat and a layer that is kept."""
    recipe = project(tmp_path, 'keep "left" in float32\n', head=TENSORRT + "target tensorrt\n", proto=residual_net())
    made = qdsl.compile(recipe, out=tmp_path / "build", check="rtx", lock=False)
    (found,) = made.engines
    assert found.as_predicted and made.survives
    expected = {each.node: each.expect for each in found.nodes}
    assert expected.pop("left") == "float32" and set(expected.values()) == {"int8"}
    assert not replace(found, nodes=()).planned


@pytest.mark.slow
@pytest.mark.rtx
@rtx
@pytest.mark.parametrize(("open", "told"), [((0,), []), ((0, 2, 3), ["x: 1x3x64x64"])], ids=["batch", "sizes"])
def test_open_dimensions_get_sizes_to_be_built_with(open: tuple[int, ...], told: list[str], tmp_path: Path) -> None:
    recipe = project(tmp_path, head=TENSORRT + "target tensorrt { require qdq survives }\n", proto=convolutions())
    onnx.save(opened(convolutions(), open), tmp_path / "demo.onnx")
    made = qdsl.compile(recipe, out=tmp_path / "build", check="rtx", lock=False)
    (found,) = made.engines
    assert found.as_predicted and made.targets[0].budgets[0].verdict == "holds"
    assert [each.partition("taken so: ")[2] for each in found.notes if "taken so" in each] == told


@pytest.mark.slow
@pytest.mark.rtx
@rtx
def test_a_size_that_does_not_fit_decides_nothing() -> None:
    """A Reshape in the model knows the size that the input leaves open."""
    proto = opened(convolutions(), (2, 3))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 512]), "rows"))
    proto.graph.node.append(onnx.helper.make_node("Reshape", ["j", "rows"], ["flat"], "flat"))
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, [1, 512]))
    seen = examine(proto).seen
    assert seen.stage == UNDECIDED and "at the sizes that were taken (x: 1x3x64x64)" in seen.reason


def opened(proto: ModelProto, open: tuple[int, ...]) -> ModelProto:
    """With dimensions of the input, and of outputs, without a size."""
    for value in (*proto.graph.input, *proto.graph.output):
        for at in open:
            value.type.tensor_type.shape.dim[at].dim_param = f"side{at}"
    del proto.graph.value_info[:]
    return proto
