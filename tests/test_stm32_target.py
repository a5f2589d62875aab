"""`target stm32` carried out: what is emitted, what it computes on this machine, and whether that was planned."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from compile_tools import HEAD, project
from quantized import Measured, SmallPlan
from random_graphs import random_decisions, random_model
from structure_graphs import Net
from test_predict_random import any_ranges

import qdsl
from qdsl.capability import load
from qdsl.diag import QdslError
from qdsl.graph import from_proto, to_bytes
from qdsl.integer.lower import lower
from qdsl.integer.lower_errors import LoweringError
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.pipeline import canonicalise
from qdsl.predict.edges import edges_of_plan
from qdsl.predict.rules import judge
from qdsl.spec.emulated import Memory
from qdsl.spec.plan import Plan
from qdsl.targets import target_of
from qdsl.targets.results import NotHere, Verification
from qdsl.targets.stm32 import reality
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.boards import board_named
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.lacking import lacks
from qdsl.targets.stm32.latency import words
from qdsl.targets.stm32.making import integer_graph

STM32 = HEAD.replace("uint8", "int8").replace("target ort", "target stm32 { @ }")
EVALUATE = "evaluate fidelity on calib { require sqnr >= 10 dB }\n"


def compiled(folder: Path, inside: str = "", rules: str = EVALUATE) -> qdsl.CompileResult:
    return qdsl.compile(project(folder, rules, head=STM32.replace("@", inside)), out=folder / "build", lock=False)


def seen(result: qdsl.CompileResult) -> Verification:
    found = result.targets[0].verification
    assert isinstance(found, Verification)
    return found


@pytest.mark.slow
def test_the_artifact_is_a_model_and_c_that_answers_as_planned(tmp_path: Path) -> None:
    result = compiled(tmp_path)
    (found,) = result.targets
    assert seen(result).as_predicted and seen(result).exact
    counts = {count.kernel: count.real for count in seen(result).kernels}
    assert (counts["Conv"], counts["Gemm"], counts["Add"], counts["Concat"]) == (4, 1, 1, 1)
    directory = found.emitted.directory
    assert {"network.c", "network.h", "weights.h", "kernels.h", "main.c", "Makefile"} <= {
        path.name for path in (directory / "c").iterdir()
    }
    told = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert told["c"]["hash"] in (directory / "c" / "network.c").read_text(encoding="ascii")
    assert told["c"]["arena_bytes"] > 0 and told["rounding"] == "ort" and told["device"] is None
    assert [budget.verdict for budget in found.budgets] == ["holds"]
    assert "its integer graph on this machine" in found.budgets[0].source
    assert told["stedgeai"] == {"model": "stedgeai/model.onnx", "opset": 17, "refused": []}
    given, answered = (np.load(directory / "stedgeai" / f"{kind}_1.npy") for kind in ("inputs", "outputs"))
    session = onnxruntime.InferenceSession(directory / "stedgeai" / "model.onnx", providers=["CPUExecutionProvider"])
    for one, expected in zip(given, answered, strict=True):
        (computed, *_) = session.run(None, {session.get_inputs()[0].name: one[None]})
        assert np.abs(np.asarray(computed)[0] - expected).max() <= 0.05 * np.abs(expected).max()


@pytest.mark.slow
def test_where_tensors_lie_is_told_and_drawn(tmp_path: Path) -> None:
    result = compiled(tmp_path, "optimize ram")
    arena = seen(result).arena
    assert arena is not None and arena.bound <= arena.size
    said = json.loads(result.targets[0].emitted.manifest.read_text(encoding="utf-8"))["c"]
    assert said["arena_bytes"] == said["memory"]["size"] == arena.size
    assert {held["name"] for held in said["memory"]["held"] if held["kind"] == "input"} == {"x"}
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert f"{arena.size:,} bytes for {len(arena.steps)} steps" in page
    assert page.count('class="held ') == len(arena.held)


@pytest.mark.slow
def test_inputs_are_integers_where_that_is_asked(tmp_path: Path) -> None:
    result = compiled(tmp_path, 'io int8; optimize ram; device "nucleo-f446re"')
    folder = result.targets[0].emitted.directory / "c"
    header = (folder / "network.h").read_text(encoding="ascii")
    assert re.findall(r"NETWORK_INPUT_0_BYTES (\d+)u", header) == [str(3 * 8 * 8)]
    assert seen(result).as_predicted


def test_integers_for_inputs_without_a_scale_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "dynamic"
    folder.mkdir()
    head = STM32.replace("@", "\n  io int8\n")
    found = re.sub(r"quantize static \{.*?\n\}", "quantize dynamic { weights 8 bit }", head, flags=re.DOTALL)
    with pytest.raises(QdslError) as raised:
        qdsl.plan(project(folder, "", head=found))
    (error,) = raised.value.diagnostics
    assert error.code == "target-cannot" and "`quantize dynamic`" in error.headline
    assert error.span is not None and error.span.line == found[: found.index("io int8")].count("\n") + 1
    with pytest.raises(QdslError) as raised:
        compiled(tmp_path, "io int8", rules="keep first 1 of op Conv in float32\n")
    (error,) = raised.value.diagnostics
    assert error.code == "stm32-no-form" and "input `x`" in error.headline and "take `io int8` out" in error.help[0]


@pytest.mark.slow
def test_in_fixed_point_every_sum_and_product_is_requantized_by_its_rule(tmp_path: Path) -> None:
    result = compiled(tmp_path, "rounding tflite")
    kernels = (result.targets[0].emitted.directory / "c" / "kernels.h").read_text(encoding="ascii")
    assert "qdsl_add_fixed" in kernels and "qdsl_binary_parameters" not in kernels
    assert seen(result).as_predicted


@pytest.mark.slow
def test_what_an_earlier_build_left_is_gone(tmp_path: Path) -> None:
    folder = compiled(tmp_path).targets[0].emitted.directory / "c"
    (folder / "stale.h").write_text("", encoding="ascii")
    assert compiled(tmp_path).targets[0].emitted.directory / "c" == folder
    assert not (folder / "stale.h").exists()


@pytest.mark.slow
def test_c_that_answers_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = host.run

    def wrong(*words: object, **more: object) -> host.Ran:
        ran = honest(*words, **more)  # type: ignore[arg-type]
        ran.outputs[1]["y"] = ran.outputs[1]["y"] + np.float32(0.5)
        return ran

    if host.compiler() is None:
        pytest.skip("no C compiler on this machine")
    monkeypatch.setattr("qdsl.targets.stm32.verify.host.run", wrong)
    with pytest.raises(QdslError) as raised:
        compiled(tmp_path)
    (found,) = raised.value.diagnostics
    assert found.code == "artifact-invalid" and "`y`" in found.headline


def test_without_a_compiler_the_graph_is_verified_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdsl.targets.stm32.verify.host.compiler", lambda: None)
    found = seen(compiled(tmp_path))
    assert found.as_predicted and found.not_emulated.endswith("; it did not run on this machine, either")


@pytest.mark.slow
@pytest.mark.skipif(host.compiler() is None, reason="no C compiler on this machine")
def test_c_that_ran_on_this_machine_alone_is_told_so(tmp_path: Path) -> None:
    found = seen(compiled(tmp_path))
    assert found.not_emulated.endswith("; built for this machine, it answers what its integer graph does")


@pytest.mark.slow
def test_a_manifest_that_was_changed_is_told(tmp_path: Path) -> None:
    found = compiled(tmp_path).targets[0].emitted
    text = found.manifest.read_text(encoding="utf-8").replace('"rounding": "ort"', '"rounding": "odd"')
    found.manifest.write_text(text, encoding="utf-8")
    with pytest.raises(QdslError, match="was changed since it was written"):
        target_of("stm32").runner(found)


@pytest.mark.slow
def test_a_file_that_is_quantized_becomes_c_as_it_is(tmp_path: Path) -> None:
    first = compiled(tmp_path, rules="").targets[0].emitted.model
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "demo.onnx").write_bytes(first.read_bytes())
    head = 'recipe demo\nmodel onnx "demo.onnx"\ndata calib from npz "../calib.npz"\nquantize none\ntarget stm32\n'
    (tmp_path / "again" / "demo.q").write_text(head, encoding="utf-8")
    result = qdsl.compile(tmp_path / "again" / "demo.q", out=tmp_path / "build2", lock=False)
    again = result.targets[0].emitted.directory / "c" / "weights.h"
    assert again.read_bytes() == (first.parent / "c" / "weights.h").read_bytes()
    assert {count.kernel: (count.predicted, count.real) for count in seen(result).kernels}["Conv"] == (4, 4)


@pytest.mark.slow
def test_what_needs_a_board_is_not_here(tmp_path: Path) -> None:
    target, result = target_of("stm32"), compiled(tmp_path, rules="")
    found = result.targets[0]
    answers = [target.build(found.emitted, found.plan), *target.deployed(found.emitted)]
    answers += [target.kernels(found.emitted.model), target.products(found.emitted.model, "x86")]
    assert all(isinstance(answer, NotHere) and answer.why for answer in answers)


# --- the board ------------------------------------------------------------------------------------------------------


def told(result: qdsl.CompileResult) -> dict[str, str]:
    return {found.code: found.headline for found in result.diagnostics}


@pytest.mark.slow
def test_a_latency_is_predicted_as_a_range_and_decides_nothing(tmp_path: Path) -> None:
    result = compiled(tmp_path, 'device "STM32H7B3I-DK"; require latency <= 1 s')
    macs = result.targets[0].plan.totals.macs
    low, high = (1000 * macs * cycles / 280e6 for cycles in (0.9, 2.0))
    assert f"predicted {low:.3g} ms to {high:.3g} ms" in told(result)["latency-predicted"]
    plan = result.targets[0].plan
    assert any("0.9 to 2 cycles" in text for text in plan.open)
    board = board_named("STM32H7B3I-DK")
    floats = replace(plan.totals, integer_macs=macs - 1)
    assert words(board, plan) and not words(board, replace(plan, mode="dynamic"))
    assert not words(board, replace(plan, totals=floats))
    (budget, _) = result.targets[0].budgets
    assert budget.verdict == "undecided"


def test_a_latency_that_the_core_cannot_reach_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as raised:
        compiled(tmp_path, 'device "STM32H7B3I-DK"; require latency <= 1 us')
    (found,) = raised.value.diagnostics
    assert found.code == "latency-impossible" and "2 at most" in found.label
    assert found.span is not None and "per cycle" in found.label


def test_a_board_without_the_memory_is_an_error_with_both_numbers(tmp_path: Path) -> None:
    net = Net()
    x = net.op("Relu", net.conv(net.input("x", 1, 3, 256, 256), 4, name="conv"), name="relu")
    onnx.save(net.model(x), tmp_path / "demo.onnx")
    np.savez(tmp_path / "calib.npz", x=np.zeros((1, 3, 256, 256), np.float32))
    (tmp_path / "demo.q").write_text(STM32.replace("@", '\n  device "B-L475E-IOT01A"\n'), encoding="utf-8")
    with pytest.raises(QdslError) as raised:
        qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build", lock=False)
    (found,) = raised.value.diagnostics
    assert found.code == "board-too-small" and "98,304" in found.headline
    assert int(re.findall(r"takes ([\d,]+) bytes", found.headline)[0].replace(",", "")) >= 3 * 256 * 256
    assert found.span is not None and found.span.line == STM32[: STM32.index("@")].count("\n") + 2
    assert found.help[:2] == ("write `optimize ram`", "write `io int8`: floats of inputs take four times as much")
    assert not (tmp_path / "build" / "demo" / "stm32").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("bound", "verdict"), [("100 KB", "undecided"), ("1 B", "broken")])
def test_without_tools_what_the_linker_will_say_decides(
    bound: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreseen = Memory(20_000, 2_000, "arm-none-eabi-gcc 12.2.1")
    monkeypatch.setattr("qdsl.targets.stm32.verify.memory_on", lambda made, board: foreseen)
    result = compiled(tmp_path, f"require flash <= 100 KB; require ram <= {bound}", rules="")
    flash, ram = result.targets[0].budgets
    assert (flash.verdict, ram.verdict) == ("holds", verdict)
    assert flash.source.startswith("foreseen for arm-none-eabi-gcc") and "without the stack" in ram.source
    helps = [found.help for found in result.diagnostics if found.code == "budget-broken"]
    assert [len(help) for help in helps] == ([2] if verdict == "broken" else [])
    assert all("`optimize ram`" in help[0] and "`io int8`" in help[1] for help in helps)
    later = qdsl.report(result.directory).builds[0].builds[0].budgets
    assert [each.verdict for each in later] == ["holds", verdict], "a page that is made later says the same"


# --- what is predicted, and what runs -------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_predicted_in_integers_runs_in_integers() -> None:
    """Random graphs and random decisions: nodes that compute, by the integer graph of the file."""
    table, judged = load("stm32"), 0
    for seed in range(30):
        model = from_proto(random_model(seed))
        canonicalise(model)
        view = model.view()
        if lacks(view, table):
            continue
        decided, ranges = random_decisions(view, table, seed), any_ranges(view, seed)
        edges = edges_of_plan(view, {t.tensor: t for t in decided.tensors}, decided.weights, decided.biases, ranges)
        predicted = judge(view, edges, table)
        low, high = ({name: ends[side] for name, ends in ranges.items()} for side in (0, 1))
        plan = SmallPlan(decided.tensors, decided.weights, decided.biases)
        InsertQDQ(plan, Measured(low, high)).apply(model)
        try:
            real = reality.computed(lower(onnx.load_from_string(to_bytes(model)), "random"))
        except LoweringError as error:
            assert "int8 does not hold them" in error.reason, "weights of the random decisions alone"
            continue
        wrong = [name for name in real.keys() & predicted.keys() if not reality.agrees(predicted[name], real[name])]
        assert not [name for name in wrong if predicted[name].runs == "integer"], f"seed {seed}: {wrong}"
        judged += len(real)
    assert judged > 30


@pytest.mark.slow
def test_what_runs_is_read_of_the_graph(tmp_path: Path) -> None:
    """A plan that says otherwise is found out."""
    result = compiled(tmp_path, rules="")
    plan = result.targets[0].plan
    nodes = tuple(
        replace(node, prediction=replace(node.prediction, runs="float")) if node.node == "inner" else node
        for node in plan.nodes
    )
    other: Plan = replace(plan, nodes=nodes)
    graph = integer_graph(onnx.load(result.targets[0].emitted.model), "demo", Asked())
    assert [miss.node for miss in reality.mismatches(other, reality.computed(graph))] == ["inner"]
