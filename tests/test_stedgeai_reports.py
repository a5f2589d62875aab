"""What is read of the reports of ST Edge AI Core: real ones of 4.0, others written by hand after what is published."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from st_reports import FLAT, VALIDATE_8, Plain, buffer, c_info

from qdsl.harness.st_reports import StReport, document, parsed
from qdsl.spec.bounds import UnfitError
from qdsl.stedgeai.brought import C_INFO, TEXT, inside, joined, kind_of
from qdsl.stedgeai.brought import FLAT as FLAT_KIND
from qdsl.stedgeai.c_info import read_c_info
from qdsl.stedgeai.flat_report import read_flat
from qdsl.stedgeai.kernels import by_formats, by_function, by_operation
from qdsl.stedgeai.text_report import read_text
from qdsl.stedgeai.told import FLOAT, INTEGER, MIXED, UNKNOWN, Told

REAL = Path(__file__).parent / "data" / "stedgeai"
C_INFO_4 = (REAL / "network_c_info.json").read_text(encoding="utf-8")
REPORT_4 = (REAL / "network_generate_report.txt").read_text(encoding="utf-8")
APART = [buffer(1, 0, 100, 0, 2), buffer(2, 100, 100, 2, 4), buffer(3, 0, 100, 4, 6, format="STAI_FORMAT_FLOAT32")]


def told(buffers: list[Plain] = APART, **more: Any) -> Told:
    return read_c_info(json.dumps(c_info(buffers, **more)))


def test_both_real_reports_say_the_same() -> None:
    info, text = read_c_info(C_INFO_4), read_text(REPORT_4)
    for each in (info, text):
        assert (each.release, each.command) == ("4.0.0", "generate")
        assert (each.macc, each.weights, each.activations) == (15_657_686, 492_504, 23_936)
        assert (each.inputs, each.outputs, each.flash, each.ram) == (0, 0, None, None)
        assert each.model_hash == "0xe3db1723d9713e7e4c6d9cd91e3d66db"
        assert [node.macc for node in each.nodes] == [4096, 0, 6_291_712, 0, 6_291_712, 3_064_182, 5984]
        assert each.counted(INTEGER) == 7
    assert text.series == "stm32n6" and text.scheme == "sa/sa per tensor"
    assert info.nodes[2].functions == ("forward_lite_conv2d_deep_sssa8_ch",)
    whole = joined([info, text])
    assert whole.nodes == info.nodes and whole.series == "stm32n6" and whole.overlaps == ()


def test_the_real_plan_of_memory_holds_but_for_what_is_meant() -> None:
    info = read_c_info(C_INFO_4)
    assert info.overlaps == () and info.in_place == 4


def test_a_buffer_moved_onto_another_in_the_real_plan_is_found() -> None:
    data = json.loads(C_INFO_4)
    scratch = next(each for each in data["buffers"] if each["id"] == 342)
    output = next(each for each in data["buffers"] if each["id"] == 311)
    scratch["offset_start"] = output["offset_start"]
    found = read_c_info(json.dumps(data)).overlaps
    assert found is not None and any("scratch0" in each and "5,120 bytes" in each for each in found)


def test_other_keys_of_9_are_read_or_passed_over() -> None:
    found = told()
    assert found.flash == 5000 + 20000 + 700 and found.ram == 300 + 10 + 20 + 1500
    assert (found.runtime_flash, found.runtime_ram) == (20000, 1500)
    assert dict(found.power) == {"cpu.uJ": 12.5}
    assert (found.seconds, found.cycles, found.device) == (0.002, 560000, "STM32H7")
    assert [node.runs for node in found.nodes] == [INTEGER, FLOAT] and found.macc == 1030


@pytest.mark.parametrize("kernel", [None, 0])
def test_a_runtime_that_is_not_known_makes_no_total(kernel: int | None) -> None:
    sizes = {**c_info([])["memory_footprint"], "kernel_flash": kernel, "kernel_ram": kernel}
    found = told(memory_footprint=sizes)
    assert (found.flash, found.ram, found.weights) == (None, None, 5000)


CLASHES: dict[str, tuple[list[Plain], list[str]]] = {
    "apart": (APART, []),
    "over what it reads": ([buffer(1, 0, 100, 0, 3), buffer(2, 50, 100, 2, 4), buffer(3, 200, 50, 4, 6)], []),
    "two others": ([buffer(1, 0, 100, 0, 5), buffer(2, 100, 100, 2, 4), buffer(3, 90, 20, 4, 6)], ["10 bytes"]),
    "scratch": ([*APART, buffer(9, 40, 20, 1, 3)], ["20 bytes"]),
    "beyond its pool": ([buffer(1, 250, 60, 0, 2)], ["beyond the 300 bytes"]),
    "weights do not count": ([buffer(1, 0, 100, 0, 5), buffer(4, 0, 100, 0, 5, is_param=True)], []),
    "another pool": ([buffer(1, 0, 100, 0, 5), buffer(4, 0, 100, 0, 5, mpool_id=1)], []),
    "not placed": ([buffer(1, 0, 100, 0, 5), buffer(4, -1, 100, 0, 5), buffer(5, 0, 9, 0, 5, offset_start=None)], []),
}


@pytest.mark.parametrize("case", CLASHES)
def test_which_buffers_meet(case: str) -> None:
    buffers, expected = CLASHES[case]
    found = told(buffers).overlaps
    assert found is not None and len(found) == len(expected)
    assert all(words in each for words, each in zip(expected, found, strict=True))


def test_a_text_of_8_says_what_validation_measured() -> None:
    found = read_text(VALIDATE_8)
    assert (found.version, found.command, found.series) == ("8.1.0-19520", "validate", "stm32h7")
    assert (found.macc, found.weights, found.activations) == (4013, 8472, 90340)
    assert (found.inputs, found.outputs, found.scheme) == (27648, 10, "ss/sa per channel")
    assert (found.flash, found.ram) == (103_925, 109_680) and found.runtime_flash == 25_000 + 50_637 + 19_340
    assert (found.samples, found.cycles, found.device) == (10, 420_000, "STM32H7A3 @280/280MHz")
    assert found.seconds == pytest.approx(0.0015)
    assert [(node.name, node.type, node.runs, node.duration) for node in found.nodes] == [
        ("conv_0", "Conv2D", INTEGER, 0.905),
        ("act_1", "NL", FLOAT, 0.085),
        ("to_float", "NL", MIXED, 0.01),
    ]
    first, second, third = found.scores
    assert (first.label, first.acc, first.rmse, first.l2r) == ("STM32 c-model #1", 0.9, 0.086785592, 0.12)
    assert (second.acc, second.rmse) == (None, None) and third.label == "X-cross #1" and third.cos is None
    assert third.tensor.startswith("'y', 10 x int8(1x5)")


def test_more_figures_of_a_newer_evaluation_are_read() -> None:
    head, _, _ = VALIDATE_8.partition("Evaluation report")
    row = "TARGET c-model #1 98.29% 0.08 0.01 0.16 -0.0 0.081 0.965 0.987 'output', 527 x f32(1x4)"
    text = f"{head}Evaluation report (summary)\n---\nOutput acc rmse mae l2r mean std nse cos tensor\n---\n{row}\n---\n"
    (score,) = read_text(text).scores
    assert (score.label, score.acc, score.nse, score.cos) == ("TARGET c-model #1", pytest.approx(0.9829), 0.965, 0.987)


def test_the_flat_report_is_read() -> None:
    found = read_flat(json.dumps(FLAT))
    assert (found.version, found.command) == ("8.0.1-19451", "analyze")
    assert (found.macc, found.weights, found.activations) == (4013, 8472, 90340)
    assert (found.inputs, found.outputs) == (27648, 10) and found.scores[0].acc == 0.9
    newer = {**FLAT, "ram_size": 90340, "cli_version_str": "ST Edge AI Core v10.0.0-20406"}
    assert read_flat(json.dumps(newer)).version == "10.0.0-20406"
    assert read_flat(json.dumps(newer)).activations == 90340


def test_which_file_is_which() -> None:
    assert [kind_of(text) for text in (C_INFO_4, REPORT_4, VALIDATE_8, json.dumps(FLAT))] == [
        C_INFO, TEXT, TEXT, FLAT_KIND,
    ]  # fmt: skip
    assert [kind_of(text) for text in ("", "{", "[]", '{"Layers": []}', "a report of mine")] == [None] * 5
    assert [path.name for path in inside(REAL)] == ["network_c_info.json", "network_generate_report.txt"]
    assert inside(REAL / "network_c_info.json") == ()


def test_reports_of_different_runs_are_told() -> None:
    with pytest.raises(UnfitError, match=r"the version is 4\.0\.0 and 8\.1\.0"):
        joined([read_text(REPORT_4), read_text(VALIDATE_8)])
    with pytest.raises(UnfitError, match="size of weights is 8472 and 8473"):
        joined([read_text(VALIDATE_8), read_text(VALIDATE_8.replace("8,472 B", "8,473 B"))])
    with pytest.raises(UnfitError, match="number of multiplications"):
        joined([read_text(VALIDATE_8), read_text(VALIDATE_8.replace(": 4,013", ": 4,014"))])


# ---- words that say what computes in what ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("forward_lite_conv2d_deep_sssa8_ch", INTEGER),
        ("forward_lite_dense_is8os8ws8", INTEGER),
        ("forward_eltwise_integer_INT8", INTEGER),
        ("forward_lite_conv2d_if32of32wf32", FLOAT),
        ("forward_lite_node_convert_is8of32", MIXED),
        ("node_convert_if32os8", MIXED),
        ("forward_lite_pad_constant", UNKNOWN),
    ],
)
def test_a_function_says_what_it_computes_in(name: str, runs: str) -> None:
    assert by_function([name]) == runs


def test_several_words_are_taken_together() -> None:
    assert by_function(["conv_sssa8", "conv_if32of32wf32"]) == MIXED and by_function([]) == UNKNOWN
    assert by_formats(["STAI_FORMAT_S8", "STAI_FORMAT_U8"]) == INTEGER and by_formats([""]) == UNKNOWN
    assert by_formats(["STAI_FORMAT_S8", "STAI_FORMAT_FLOAT32"]) == MIXED
    assert [by_operation(word) for word in ("smul_s8_s8", "smul_f32_f32", "op_f32_s8", "")] == [
        INTEGER, FLOAT, MIXED, UNKNOWN,
    ]  # fmt: skip


# ---- files that are not as the tool writes them ----------------------------------------------------------------------

BROKEN: dict[str, tuple[Callable[[Plain], Any], str]] = {
    "version": (lambda data: data.update(json_schema_version="3.0"), r"json_schema_version: expected '2\.0'"),
    "no tool": (lambda data: data["environment"].update(tools=[]), r"environment\.tools: it does not say"),
    "sizes": (lambda data: data["memory_footprint"].update(weights=-1), r"memory_footprint\.weights: expected"),
    "io": (lambda data: data["memory_footprint"].update(io=["x"]), r"memory_footprint\.io\[0\]: expected"),
    "buffer": (lambda data: data["buffers"][0].pop("size_bytes"), r"buffers\[0\]: the key `size_bytes` is missing"),
    "epochs": (lambda data: data["buffers"][0].update(epochs={"start": 5, "end": 1}), r"expected epochs in order"),
    "node": (lambda data: data["graphs"][0]["nodes"][1].update(macc="30"), r"graphs\[0\]\.nodes\[1\]\.macc: expected"),
    "graphs": (lambda data: data.update(graphs=[]), r"graphs\[0\]: expected a graph"),
    "time": (lambda data: data["graphs"][0].update(exec_time=[1]), r"graphs\[0\]\.exec_time: expected an object"),
    "power": (lambda data: data.update(power_estimates={"cpu": 1e30}), "expected a number from -1e"),
    "many": (
        lambda data: data.update(buffers=[buffer(at, 0, 1, 0, 0) for at in range(5000)]),
        "buffers: expected at most 4096",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_told_with_its_place(case: str) -> None:
    change, words = BROKEN[case]
    data = json.loads(json.dumps(c_info(APART)))
    change(data)
    with pytest.raises(UnfitError, match=words):
        read_c_info(json.dumps(data))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("stm.ai v8.1.0-19520", "nobody", "do not say which version"),
        (": 4,013", ": many", "line 17: expected a number of `macc`"),
        ("8,472 B", "0x12 B", "expected a number of `weights"),
        ("0.086785592", "0.0x", "line 66: expected a figure"),
        ("   3,333   ", "   3.333   ", "line 26: expected a whole number"),
        (": 4,013", ": 4" + "0" * 30, "expected a whole number"),
    ],
)
def test_a_text_that_was_changed_is_told_with_its_line(before: str, after: str, words: str) -> None:
    assert before in VALIDATE_8
    with pytest.raises(UnfitError, match=words):
        read_text(VALIDATE_8.replace(before, after))


def test_a_text_that_says_nothing_is_refused() -> None:
    with pytest.raises(UnfitError, match="neither what the network takes"):
        read_text("ST Edge AI Core v4.0.0-20500\nParameters : analyze\n")
    with pytest.raises(UnfitError, match="longer than a report"):
        read_text("ST Edge AI Core v4.0.0\n" + "x" * 30_000)


def test_a_report_that_is_cut_off_anywhere_raises_nothing_else() -> None:
    for text, read in ((REPORT_4, read_text), (VALIDATE_8, read_text), (C_INFO_4[:9000], read_c_info)):
        for end in range(0, len(text), max(1, len(text) // 60)):
            try:
                found = read(text[:end])
            except UnfitError:
                continue
            assert found.version and all(node.macc is None or node.macc >= 0 for node in found.nodes)
            assert all(score.rmse is None or math.isfinite(score.rmse) for score in found.scores)


ODD = (None, 0, -1, 1.5, 10**30, "", "x", [], {}, [None], [[]], {"a": 1}, True, " ")


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(found for key, value in inside for found in places(value, (*path, key)))]


def test_what_is_read_of_a_changed_file_can_be_kept() -> None:
    draw, base = random.Random(0), c_info(APART)
    kept = 0
    for path in draw.choices(places(base)[1:], k=300):
        data: Any = json.loads(json.dumps(base))
        inner = data
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = draw.choice(ODD)
        try:
            found = StReport("demo", "stm32", "0" * 64, False, {"f": "0" * 64}, read_c_info(json.dumps(data)))
        except UnfitError:
            continue
        kept += 1
        assert parsed(document(found)) == found and found.name.startswith("ST Edge AI Core")
    assert 50 < kept < 250
