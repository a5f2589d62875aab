"""`target stm32` before anything is emitted: its table, its words, its boards, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from compile_tools import HEAD as FILES
from compile_tools import ROOT, project
from plan_tools import branches, planned, residual
from structure_graphs import Net

import qdsl
from qdsl.cli import main
from qdsl.describe.render import render
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.view import GraphView
from qdsl.lang import loads
from qdsl.lang.examples import example
from qdsl.lang.vocabulary import TABLE
from qdsl.measure.events import Event
from qdsl.spec.plan import Plan
from qdsl.targets import target_of
from qdsl.targets.stm32.asked import Asked, asked
from qdsl.targets.stm32.boards import BOARDS, board_named

Golden = Callable[[str, str], None]
HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz" { take 4 }
quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }
target stm32 { @ }
"""


def plan_of(view: GraphView, inside: str = "", rules: str = "", head: str = HEAD) -> Plan:
    return planned(view, rules, head=head.replace("@", inside), target="stm32")


def refused(view: GraphView, inside: str = "", head: str = HEAD) -> Diagnostic:
    with pytest.raises(QdslError) as raised:
        plan_of(view, inside, head=head)
    assert raised.value.diagnostics[0].span is not None
    return raised.value.diagnostics[0]


def runs(plan: Plan) -> dict[str, tuple[str, str]]:
    return {node.node: (node.prediction.runs, node.prediction.kernel) for node in plan.nodes}


def test_a_small_plan_reads_well(golden: Golden) -> None:
    golden("plan/stm32.txt", render(plan_of(branches())))


def test_everything_is_int8_and_weights_are_centred() -> None:
    plan = plan_of(residual())
    assert {str(tensor.scheme) for tensor in plan.tensors} == {"int8 affine per_tensor"}
    assert {str(weight.scheme) for weight in plan.weights} == {"int8 symmetric per_channel"}
    found = runs(plan)
    assert found["conv1"] == ("integer", "Conv(int8)") and found["add"] == ("integer", "Add(int8)")
    assert found["relu1"] == ("absorbed", "Conv(int8)") and found["relu2"] == ("absorbed", "Add(int8)")
    assert found["pool"] == ("integer", "MaxPool")


def test_a_relu_folds_into_the_kernel_wherever_the_zero_point_lies() -> None:
    """A symmetric type has its zero point in the middle: the kernel cuts off there."""
    head = HEAD.replace("activations 8 bit", "activations int8 symmetric")
    assert runs(plan_of(residual(), head=head))["relu1"] == ("absorbed", "Conv(int8)")


def test_an_activation_that_nothing_absorbs_is_a_table() -> None:
    net = Net()
    stem = net.conv(net.input("x", 1, 3, 8, 8), 4, name="stem")
    left = net.conv(net.op("Relu", stem, name="relu"), 4, name="left")
    right = net.conv(stem, 4, name="right")
    found = runs(plan_of(net.view(net.op("Add", left, right, name="add"))))
    assert found["stem"] == ("integer", "Conv(int8)") and found["relu"] == ("integer", "Table(int8)")


@pytest.mark.parametrize("op", ["Sigmoid", "HardSwish", "Tanh", "LeakyRelu"])
def test_a_function_of_one_number_is_a_table(op: str) -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="stem")
    view = net.view(net.conv(net.op(op, x, name="act"), 4, name="last"))
    assert runs(plan_of(view))["act"] == ("integer", "Table(int8)")


def test_a_dynamic_build_multiplies_integers_in_every_product() -> None:
    head = HEAD.replace("static { weights 8 bit; activations 8 bit; calibrate minmax on calib }", "dynamic { @w }")
    found = runs(plan_of(branches(), head=head.replace("@w", "weights 8 bit")))
    assert {found[name] for name in ("stem", "left", "right")} == {("integer", "ConvInteger")}
    assert found["gemm"] == ("integer", "MatMulInteger")
    assert found["right_tanh"][0] == found["concat"][0] == "float"


def test_an_operator_without_a_kernel_is_refused_by_name() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="stem")
    found = refused(net.view(net.op("Atan", x, name="lone")))
    assert found.code == "target-cannot"
    assert found.headline == "STM32 has no kernel for Atan: `lone`" and found.label.startswith("no kernel in C")


def test_a_kernel_that_wants_more_says_what() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="stem")
    found = refused(net.view(net.op("Resize", x, "", net.constant(4), name="soft", mode="linear")))
    assert "no kernel for Resize" in found.headline and "mode nearest has" in found.label


def test_a_size_that_is_not_known_is_refused() -> None:
    net = Net()
    free = net.view(net.conv(net.input("x", 1, 3, "h", "w"), 4, name="stem"))
    found = refused(free)
    assert "the size of the input `x` is not known" in found.headline and "shape [1, N, N, N]" in found.help[0]
    net = Net()
    assert plan_of(net.view(net.conv(net.input("x", "batch", 3, 8, 8), 4, name="stem"))), "one sample of so many"
    net = Net()
    pair = net.view(net.conv(net.input("x", 2, 3, 8, 8), 4, name="stem"))
    assert "takes 2 samples at once" in refused(pair).headline


def test_an_opset_that_st_does_not_read_is_refused() -> None:
    found = refused(replace(residual(), opset=21))
    assert "opset 21" in found.headline and "up to 20" in found.headline


@pytest.mark.parametrize(
    ("types", "why"),
    [
        ("weights int4; activations 8 bit", "no kernel unpacks 4 bits"),
        ("weights 8 bit; activations int16", "no kernel computes in 16 bits"),
        ("weights 8 bit; activations uint8", "the kernels read int8"),
        ("weights int8 affine; activations 8 bit", "weights centred on 0"),
    ],
)
def test_other_types_are_refused_with_the_reason(types: str, why: str) -> None:
    found = refused(residual(), head=HEAD.replace("weights 8 bit; activations 8 bit", types))
    assert found.code == "target-cannot" and why in f"{found.headline} {found.label} {found.help}"


# --- words ----------------------------------------------------------------------------------------------------------


def problems(block: str) -> list[Diagnostic]:
    recipe = loads(f"recipe demo\n{block}\n", name="demo.q").recipe
    (target,) = recipe.targets
    return list(target_of(target.name).problems(target))


@pytest.mark.parametrize("word", ["io int8", "optimize ram", "rounding tflite", "kernels cmsis_nn"])
@pytest.mark.parametrize("target", ["ort", "tensorrt"])
def test_words_of_the_c_are_refused_elsewhere(target: str, word: str) -> None:
    (found,) = problems(f"target {target} {{\n  {word}\n}}")
    assert found.code == "target-cannot" and found.span is not None and found.span.line == 3
    assert not problems(f"target stm32 {{\n  {word}\n}}")


@pytest.mark.parametrize("word", ["io", "optimize", "rounding", "device"])
def test_what_explain_shows_of_a_word_is_taken(word: str) -> None:
    row = next(row for row in TABLE if (row.block, row.word) == ("target", word))
    assert not problems(example(row))


@pytest.mark.parametrize(
    "word", ['version "1"', "threads 2", "cpu arm", "exact session", "high_precision float16", "io uint8"]
)
def test_words_of_other_targets_are_refused_here(word: str) -> None:
    (found,) = problems(f"target stm32 {{\n  {word}\n}}")
    assert found.code == "target-cannot" and found.span is not None and found.span.line == 3 and found.help


def test_one_rounding_goes_with_the_kernels_of_cmsis_nn() -> None:
    (found,) = problems("target stm32 {\n  kernels cmsis_nn\n  rounding ort\n}")
    assert found.code == "target-cannot" and found.span is not None and found.span.line == 4 and found.help
    assert not problems("target stm32 {\n  kernels cmsis_nn\n  rounding tflite\n}")
    for block in ("kernels cmsis_nn", "kernels cmsis_nn; rounding tflite"):
        assert asked(plan_of(residual(), block)) == Asked(rounding="tflite", kernels="cmsis_nn")
    assert asked(plan_of(residual(), "kernels own")) == Asked()


def test_the_plan_carries_what_the_c_is_made_for() -> None:
    plan = plan_of(residual(), 'device "stm32h7b3i_dk"; optimize ram; rounding tflite; io int8')
    (fact,) = (fact for fact in plan.facts if fact.kind == "target")
    assert {("optimize", "ram"), ("rounding", "tflite"), ("io", "int8")} <= set(fact.settings)


# --- boards ---------------------------------------------------------------------------------------------------------


def test_a_board_is_found_by_its_name_however_it_is_written() -> None:
    board = board_named(" stm32h7b3i_dk ")
    assert (board.flash_bytes, board.largest.bytes, board.clock) == (2 << 20, 1 << 20, 280)
    assert board.largest.address == 0x24000000


def test_an_unknown_board_is_told_with_the_nearest() -> None:
    (found,) = problems('target stm32 { device "STM32H7B3-DK" }')
    assert found.code == "stm32-board" and "`STM32H7B3I-DK`" in found.help[0]


@pytest.mark.parametrize(
    ("chip", "boards"),
    [
        ("STM32F446RE", "`NUCLEO-F446RE`"),
        ("stm32h743zit6", "`NUCLEO-H743ZI2`"),
        ("STM32F746", "`NUCLEO-F746ZG`, `STM32F746G-DISCO`"),
    ],
)
def test_a_chip_in_place_of_a_board_is_told_with_the_boards_that_have_it(chip: str, boards: str) -> None:
    (found,) = problems(f'target stm32 {{ device "{chip}" }}')
    assert found.help[0] == f"the nearest are {boards}" and "leave `device` out" in found.help[1]


def test_every_board_holds_together() -> None:
    assert len(BOARDS) >= 12
    for board in BOARDS.values():
        assert board.dsp == (board.core != "Cortex-M0") and (board.fpu != "none") == board.dsp
        spans = sorted((bank.address, bank.address + bank.bytes) for bank in board.ram)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def table_of_boards() -> str:
    lines = ["| board | core | clock | flash | RAM | from |", "| --- | --- | --- | --- | --- | --- |"]
    for board in BOARDS.values():
        cells = [board.name, board.core, str(board.clock), str(board.flash), str(board.largest.size)]
        lines.append(f"| {' | '.join(cells)} | 0x{board.largest.address:08X} |")
    return "\n".join(lines)


def test_the_page_shows_the_boards(request: pytest.FixtureRequest) -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "stm32.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- boards: begin -->\n")
    shown, _, after = rest.partition("<!-- boards: end -->")
    assert after
    if request.config.getoption("--regen"):
        page.write_text(
            f"{before}<!-- boards: begin -->\n{table_of_boards()}\n<!-- boards: end -->{after}", encoding="utf-8"
        )
    else:
        assert shown == f"{table_of_boards()}\n", "boards changed: `pytest tests/test_stm32_plan.py --regen`"


# --- verbs ----------------------------------------------------------------------------------------------------------


def test_plan_explain_and_check_speak_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = FILES.replace("uint8", "int8").replace("target ort", 'target stm32 { device "STM32H7B3I-DK" }')
    recipe = project(tmp_path, head=head)
    for words in (["check", str(recipe)], ["plan", str(recipe)], ["explain", str(recipe), "stem"]):
        assert main(words) == 0
    assert "Conv(int8)" in capsys.readouterr().out


@pytest.mark.slow
def test_one_calibration_serves_three_targets(tmp_path: Path) -> None:
    head = FILES.replace("target ort", "target ort\ntarget tensorrt { quantize static { activations int8 symmetric } }")
    recipe = project(tmp_path, head=head + "target stm32 { quantize static { activations int8 affine } }\n")
    passed: list[int] = []

    def heard(event: Event) -> None:
        if event.stage == "calibrate" and event.total:
            passed.append(event.done)

    result = qdsl.compile(recipe, out=tmp_path / "build", listener=heard)
    assert [each.emitted.directory.name for each in result.targets] == ["ort", "tensorrt", "stm32"]
    assert all(each.emitted.model.is_file() for each in result.targets)
    assert passed and passed == sorted(set(passed)), "samples are run once for all of them"


def test_the_latency_of_a_study_is_impossible(tmp_path: Path) -> None:
    """14.8 ms for MobileNetV1 of width 0.25 on an STM32H7B3I-DK would be 9.8 products per cycle."""
    text = (ROOT / "recipes" / "cracks_v1_stm32.q").read_text(encoding="utf-8").replace("../", f"{ROOT.as_posix()}/")
    demanded = text.replace("  require ram ", "  require latency <= 14.8 ms\n  require ram ")
    (tmp_path / "cracks_v1_stm32.q").write_text(demanded, encoding="utf-8")
    with pytest.raises(QdslError) as raised:
        qdsl.plan(tmp_path / "cracks_v1_stm32.q")
    (found,) = raised.value.diagnostics
    assert found.code == "latency-impossible" and "9.8 per cycle" in found.label and "131 ms to 291 ms" in found.help[0]
