"""A target whose artifacts nothing here runs, through every verb: what is not known is never told as known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from board_target import NO_BOARD, TABLE, install
from compile_tools import HEAD, project

import qdsl
from qdsl.capability import TableError, load, loads, names
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.targets import TARGETS, target_of

BOARD = HEAD.replace("uint8 affine per_tensor", "8 bit").replace("target ort", "target board { require size <= 1 MB }")
EVALUATED = """data val from npz "calib.npz"
evaluate fidelity on val { require sqnr >= 10 dB }
"""


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    install(monkeypatch, tmp_path)
    yield
    load.cache_clear()


def recipe(folder: Path, rules: str = "", head: str = BOARD) -> Path:
    return project(folder / "demo", rules, head=head)


def compiled(path: Path, **words: object) -> qdsl.CompileResult:
    return qdsl.compile(path, out=path.parent / "build", **words)


def test_it_is_planned_by_its_own_table_and_habits(tmp_path: Path) -> None:
    (plan,) = qdsl.plan(recipe(tmp_path)).plans
    runs = {node.node: node.prediction.runs for node in plan.nodes}
    assert runs["stem"] == runs["inner"] == "integer" and runs["gemm"] == runs["add"] == "float"
    assert all(tensor.scheme.dtype.name == "int8" for tensor in plan.tensors)


def test_compile_emits_and_says_that_nothing_was_verified(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    result = compiled(path)
    (found,) = result.targets
    assert found.verification == NO_BOARD
    assert not result.as_verified and result.holds
    assert found.emitted.size == found.emitted.predicted_size == (found.emitted.directory / "program.c").stat().st_size
    assert ("not-compared", True) in {(d.code, "there is no board" in d.headline) for d in result.diagnostics}
    facts = json.loads((result.directory / "measurements.json").read_text(encoding="utf-8"))["builds"]["board"]
    assert facts["not_verified"] == "there is no board" and facts["mismatches"] is None and facts["outputs"] == []
    assert "not verified: there is no board" in result.report.read_text(encoding="utf-8")
    assert not (found.emitted.directory / "bench").exists()


def test_no_budget_holds_by_what_was_not_seen(tmp_path: Path) -> None:
    head = BOARD.replace("size <= 1 MB", "size <= 1 MB; require integer_share >= 1 %; require macs >= 1")
    result = compiled(recipe(tmp_path, EVALUATED, head.replace("}\n\n", "}\n")))
    verdicts = {budget.metric: (budget.verdict, budget.source) for budget in result.targets[0].budgets}
    assert verdicts["size"][0] == verdicts["macs"][0] == "holds"
    share, sqnr = verdicts["integer_share"], verdicts["sqnr"]
    assert share[0] == sqnr[0] == "undecided"
    assert share[1].startswith("predicted ") and share[1].endswith(" %, not verified")
    assert sqnr[1] == "not measured: fidelity on val"
    assert [each.build for each in result.evaluations[0].builds] == ["float"]
    told = [d.headline for d in result.diagnostics if d.code == "evaluate-left-out"]
    assert told == ["`evaluate` is left out for board, and what it decides undecided: there is no board"]


def test_it_is_not_timed(tmp_path: Path) -> None:
    head = BOARD.replace("require size <= 1 MB", "profile latency; require latency <= 1 s")
    result = compiled(recipe(tmp_path, "tune latency\n", head))
    (budget,) = result.targets[0].budgets
    assert budget.verdict == "undecided" and result.profiles == ()
    told = {d.code: d.headline for d in result.diagnostics}
    assert told["profile-left-out"] == "board is not profiled here: there is no board"
    assert told["setting-unused"] == "`tune latency` has nothing to choose on Board"


def test_a_bench_that_is_elsewhere_leaves_the_plan_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table has alternatives, and nothing here times them."""
    monkeypatch.setattr("qdsl.targets.ort.target.Ort.bench", lambda *words: NO_BOARD)
    path = recipe(tmp_path, "tune latency\n", HEAD)
    result = compiled(path)
    told = [d.headline for d in result.diagnostics if d.code == "undecided"]
    assert told == ["`tune latency` is left out for ort: there is no board"]
    assert not [choice for choice in result.targets[0].plan.choices if choice.alternative == "stem_float"]


def test_a_first_recipe_for_it_asks_for_its_own_types(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    made = qdsl.new(path.with_name("demo.onnx"), data=path.with_name("calib.npz"), target="board", out=tmp_path / "n.q")
    assert "activations 8 bit" in made.text and "target board" in made.text
    (plan,) = qdsl.plan(made.path).plans
    assert plan.totals.integer_nodes == 4


def test_the_other_verbs_take_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, EVALUATED)
    out = ["--out", str(tmp_path / "out")]
    assert main(["compile", str(path), *out]) == 0
    assert "NOT VERIFIED: there is no board" in capsys.readouterr().out
    assert main(["compile", str(path), *out, "--strict", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)["targets"][0]
    assert told["verification"] is None and told["not_verified"] == "there is no board"
    for verb in ("evaluate", "profile"):
        assert main([verb, str(path), *out]) == 0, verb
    build = str(tmp_path / "out/demo")
    assert main(["report", build]) == 0
    assert main(["explain", str(path), "stem"]) == 0
    assert main(["check", str(path)]) == main(["plan", str(path)]) == main(["targets", "board"]) == 0
    capsys.readouterr()
    assert main(["verify", build]) == 1
    assert "board does not run here: there is no board" in capsys.readouterr().err


def test_the_artifacts_of_another_target_are_measured_beside_it(tmp_path: Path) -> None:
    path = recipe(tmp_path, "target ort\n" + EVALUATED, BOARD.replace("8 bit", "int8"))
    result = compiled(path)
    board, ort = result.targets
    assert board.verification == NO_BOARD and ort.verification != NO_BOARD
    assert [each.build for each in result.evaluations[0].builds] == ["float", "ort"]
    assert [(b.metric, b.verdict) for b in ort.budgets] == [("sqnr", "holds")]
    assert [(b.metric, b.verdict) for b in board.budgets] == [("size", "holds"), ("sqnr", "undecided")]
    assert not result.as_verified
    assert {check.target for check in qdsl.verify(result.directory, samples=1).checks} == {"ort"}


def test_a_file_measured_as_it_is_may_run_elsewhere(tmp_path: Path) -> None:
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize none\ntarget board\n'
    (found,) = compiled(recipe(tmp_path, head=head)).targets
    assert found.verification == NO_BOARD and all(node.mark == "=" for node in found.plan.nodes)


REFUSED = {
    "quantize dynamic { weights int8 }": "Board quantizes nothing while the model runs",
    "quantize float { weights float16; activations float16 }": "Board does not compute with float16 weights",
    "quantize static { weights uint8; activations int8; calibrate minmax on calib }": (
        "Board does not compute with uint8"
    ),
    "quantize static { weights int8; activations int8; calibrate minmax on calib }\nkeep op Gemm in float16": (
        "Board does not compute in float16"
    ),
}


@pytest.mark.parametrize("mode", REFUSED)
def test_what_a_table_lacks_is_told_where_it_is_asked_for(mode: str, tmp_path: Path) -> None:
    head = f'recipe demo\nmodel onnx "demo.onnx"\ndata calib from npz "calib.npz"\n{mode}\ntarget board\n'
    with pytest.raises(QdslError) as raised:
        qdsl.plan(recipe(tmp_path, head=head))
    found = raised.value.diagnostics[0]
    assert found.code == "target-cannot" and found.headline.startswith(REFUSED[mode])
    assert found.span is not None and found.span.line in (4, 5)


LACKING = {
    'output_float = "output float"\n': r"\[reasons\] lacks `output_float`",
    "activation = { 8 = ": r"widths.activation has no 8",
}


@pytest.mark.parametrize("text", LACKING)
def test_a_table_says_everything_that_is_asked_of_every_table(text: str) -> None:
    other = TABLE.replace(text, text.replace("8", "16") if "8" in text else "")
    with pytest.raises(TableError, match=LACKING[text]):
        loads(other, "board")


def test_the_index_says_what_each_target_says_of_itself() -> None:
    assert load(target_of("board").table).title == "Board"
    for name in TARGETS:
        found = target_of(name)
        assert found.name == name and found.table in names()
        assert onnx.defs.has(found.runtime.copy)
