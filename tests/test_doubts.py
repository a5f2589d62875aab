"""Figures that say less than they seem to: guessing models, slower builds, busy machines, rows that scores choose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from data_cases import graph_of
from onnx import ModelProto, TensorProto, helper, numpy_helper
from plan_tools import planned
from structure_graphs import Net
from test_evaluate import CHANNELS, coloured, mean_colour, write

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError, Span
from qdsl.graph import load as load_model
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.graph.view import GraphView
from qdsl.harness import FLOAT, BuildScores, Evaluation, load
from qdsl.harness.load import Watch
from qdsl.harness.profiles import BuildProfile, Profile
from qdsl.harness.results import Key
from qdsl.lang import loads
from qdsl.measure.budgets import Readings, cost_readings, decide_budgets
from qdsl.measure.doubts import guessing
from qdsl.measure.slower import slower

SPAN = Span("demo.q", 1, 1, 1, 2)


def told(confusion: list[list[int]], task: str = "classification", scores: dict[Key, float] | None = None) -> list[Any]:
    """What is said of a float model with these answers: rows are the truth."""
    rows = tuple(map(tuple, confusion))
    names = tuple("abcdefgh"[: len(rows)])
    floats = BuildScores(FLOAT, scores or {}, {}, (), rows)
    found = Evaluation(task, "val", sum(map(sum, rows)) or 10, names, (), (floats,))
    asked: Any = SimpleNamespace(spec=SimpleNamespace(span=SPAN))
    return list(guessing([asked], [found]))


@pytest.mark.parametrize(
    ("confusion", "warned"),
    [
        ([[3, 3, 4], [4, 3, 3], [3, 4, 3]], True),
        ([[10, 0, 0], [10, 0, 0], [10, 0, 0]], True),
        ([[95, 0], [5, 0]], True),
        ([[8, 1, 1], [1, 8, 1], [1, 1, 8]], False),
        ([[90, 5], [2, 3]], False),
        ([[1, 1], [1, 1]], False),
        ([[10, 0], [0, 0]], False),
    ],
    ids=["guesses", "one answer", "one answer, rare class", "good", "good, rare class", "too few", "one class"],
)
def test_a_model_that_guesses_is_said(confusion: list[list[int]], warned: bool) -> None:
    assert [found.code for found in told(confusion)] == (["evaluate-chance"] if warned else [])


def test_classes_in_another_order_are_named() -> None:
    """The model says `b` where the data says `a`, and so on around."""
    (found,) = told([[0, 9, 1], [1, 0, 9], [9, 1, 0]])
    assert found.help[0] == 'with `classes ["c", "a", "b"]` it would be right on 90 %'


def test_a_detector_that_finds_nothing_is_said() -> None:
    assert [d.code for d in told([], "detection", {Key("map50"): 0.0})] == ["evaluate-chance"]
    assert told([], "detection", {Key("map50"): 0.4}) == []


@pytest.mark.slow
def test_the_order_that_is_named_is_right(tmp_path: Path) -> None:
    """Written into the recipe, it makes the same model right."""
    coloured(tmp_path, 16)
    path = write(tmp_path, mean_colour(), "classification on val { measure top1 }", 'folder "photos"')
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    (warned,) = [d for d in result.diagnostics if d.code == "evaluate-chance"]
    words = warned.help[0].split("`")[1]
    assert set(CHANNELS) <= set(words.replace('"', " ").replace(",", " ").split())
    text = path.read_text(encoding="utf-8").replace('folder "photos"', f'folder "photos" {{ {words} }}')
    path.write_text(text, encoding="utf-8")
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    assert result.evaluations[0].of(FLOAT).scores[Key("top1")] == 0.75
    assert "evaluate-chance" not in {d.code for d in result.diagnostics}


# ---- times -----------------------------------------------------------------------------------------------------------


def profiled(floats: list[float], ours: list[float], others: float = 0.0) -> Profile:
    """One run per turn, in milliseconds."""
    rows = ((FLOAT, floats), ("ort", ours))
    builds = tuple(BuildProfile(name, tuple(ms / 1e3 for ms in row), 1.0, None, None) for name, row in rows)
    return Profile("ort", 1, 1, 0, builds, {}, others=others)


def test_a_build_slower_than_float_is_said() -> None:
    steady = [10.0, 10.1, 9.9, 10.0, 10.2, 10.0, 9.8, 10.0, 10.1, 10.0]
    (found,) = slower(profiled(steady, [1.3 * ms for ms in steady]), SPAN)
    assert found.code == "build-slower" and "13 ms instead of 10 ms" in found.headline and "0.77x" in found.label
    assert not list(slower(profiled(steady, [0.8 * ms for ms in steady]), SPAN))
    assert not list(slower(profiled(steady, steady[::-1]), SPAN)), "as fast: noise is no finding"
    tiny = [0.05 * ms for ms in steady]
    assert not list(slower(profiled(tiny, [1.3 * ms for ms in tiny]), SPAN)), "the time of a call"
    assert list(slower(profiled(tiny, [20 * ms for ms in tiny]), SPAN)), "many times as slow"


def told_of_slow(view: GraphView, rules: str = "", mode: str = "static") -> Any:
    """What is said of a build of this graph that takes half as long again as the float model."""
    steady = [10.0] * 10
    plan = replace(planned(view, rules), mode=mode)
    (found,) = slower(profiled(steady, [1.5 * ms for ms in steady]), SPAN, plan, view)
    return found


def gated() -> GraphView:
    """Two convolutions with a Softplus between, and a gate of two small ones whose Softplus and Tanh stay float."""
    net = Net()
    x = net.op("Softplus", net.conv(net.input("x", 1, 3, 32, 32), 64, kernel=3, name="stem"), name="soft")
    x = net.conv(x, 64, kernel=3, inside=64, name="body")
    gate = net.conv(net.op("GlobalAveragePool", x, name="pool"), 4, inside=64, name="down")
    gate = net.conv(net.op("Softplus", gate, name="bend"), 64, inside=4, name="up")
    x = net.op("Mul", x, net.op("Tanh", gate, name="gate"), name="gated")
    return net.view(net.conv(x, 4, inside=64, name="last"))


def test_a_slow_build_names_what_stays_float() -> None:
    """The worst first, with the operators around that compute so little that they may as well be float."""
    found = told_of_slow(gated())
    assert found.notes[0] == "float between integers: `soft` (Softplus): its Q and DQ move 640.0 KiB a sample"
    assert [note.split("`")[1] for note in found.notes] == ["soft", "gate", "bend"]
    names = found.help[0].split("`")[1]
    assert {"down", "up"} <= set(names.split('"')) and not {"stem", "body"} & set(names.split('"'))
    assert '"soft"' in found.help[1]
    kept = planned(gated(), f"{names}\n")
    assert len(kept.islands) < len(planned(gated()).islands)


def test_a_slow_build_without_such_places_says_what_its_mode_leaves() -> None:
    net = Net()
    view = net.view(net.conv(net.input("x", 1, 3, 32, 32), 64, kernel=3, name="only"))
    assert told_of_slow(view).notes == () and "tune latency" in told_of_slow(view).help[0]
    assert "quantize static" in told_of_slow(view, mode="dynamic").help[0]
    assert "quantize static" in told_of_slow(view, mode="float").help[0]


STEADY = [10.0] * 10
WAVERING = [8.0, 9.0, 10.0, 10.0, 10.0, 10.0, 10.0, 11.0, 13.0, 16.0]
RECIPE = """recipe demo
model onnx "demo.onnx"
data d from npz "d.npz"
quantize static {{ weights int8; activations uint8; calibrate minmax on d }}
target ort {{ require {bound} }}
"""


@pytest.mark.parametrize(
    ("bound", "ours", "others", "verdict"),
    [
        ("latency <= 12 ms", STEADY, 0.0, "holds"),
        ("latency <= 9.5 ms", STEADY, 0.0, "broken"),
        ("latency <= 12 ms", WAVERING, 0.0, "undecided"),
        ("latency <= 9 ms", WAVERING, 0.0, "undecided"),
        ("latency <= 20 ms", WAVERING, 0.0, "holds"),
        ("latency <= 5 ms", WAVERING, 0.0, "broken"),
        ("latency <= 6 ms", STEADY, 0.5, "undecided"),
        ("latency <= 12 ms", STEADY, 0.5, "holds"),
        ("latency <= 4 ms", STEADY, 0.5, "broken"),
        ("throughput >= 150", STEADY, 0.5, "undecided"),
        ("throughput >= 90", STEADY, 0.5, "holds"),
        ("throughput >= 300", STEADY, 0.5, "broken"),
        ("latency speedup >= 1.5", STEADY, 0.5, "holds"),
        ("latency speedup >= 1.5", WAVERING, 0.0, "undecided"),
    ],
)
def test_a_busy_machine_decides_only_what_it_can(bound: str, ours: list[float], others: float, verdict: str) -> None:
    """The float model takes 20 ms in every turn."""
    recipe = loads(RECIPE.format(bound=bound), name="demo.q").recipe
    readings = cost_readings(profiled([20.0] * 10, ours, others), "here")
    (budget,) = decide_budgets(recipe, recipe.targets[0], Readings(readings))
    assert budget.verdict == verdict
    if verdict == "undecided":
        assert budget.value is None and budget.source.startswith("the machine is busy: ")


def test_other_work_is_seen_in_the_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two processors over ten seconds: what was timed took 9, something else 10, nothing idle."""
    stat, now = tmp_path / "stat", [100.0]
    monkeypatch.setattr(load, "_STAT", stat)
    monkeypatch.setattr(load.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)

    def share(busy: int, idle: int, stolen: int, own: float) -> float:
        stat.write_text("cpu 1000 0 0 1000 0 0 0 0 0 0\n", encoding="ascii")
        now[0] = 100.0
        watch = Watch()
        stat.write_text(f"cpu {1000 + busy} 0 0 {1000 + idle} 0 0 0 {stolen} 0 0\n", encoding="ascii")
        now[0] = 110.0
        return watch.others(own)

    assert share(1900, 100, 0, 9.0) == pytest.approx(0.5)
    assert share(1000, 1000, 0, 9.9) == 0.0, "a processor is free"
    assert share(2000, 0, 0, 19.5) == 0.0, "all of it is ours"
    assert share(1000, 800, 200, 10.0) == pytest.approx(0.1), "taken by the host"
    stat.unlink()
    assert Watch().others(1.0) == 0.0


# ---- rows that scores choose -----------------------------------------------------------------------------------------


def suppressing() -> ModelProto:
    """images -> conv1 -> boxes [1, 64, 4] and scores [1, 1, 64] -> NonMaxSuppression -> sel; boxes are an output,
    too."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["c", "flat"], ["r"], name="flat1"),
        helper.make_node("Split", ["r", "parts"], ["b", "scores"], name="split1", axis=1),
        helper.make_node("Transpose", ["b"], ["boxes"], name="turn1", perm=[0, 2, 1]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["sel"], name="nms1"),
        helper.make_node("Cast", ["sel"], ["picked"], name="cast1", to=TensorProto.FLOAT),
    ]
    weights = np.random.default_rng(3).standard_normal((5, 3, 1, 1)).astype(np.float32)
    constants = {
        "w": weights,
        "flat": np.array([1, 5, 64]),
        "parts": np.array([4, 1]),
        "most": np.array([9]),
        "iou": np.array([0.5], np.float32),
    }
    proto = graph_of(nodes, ["boxes", "sel", "picked"], constants=constants)
    proto.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    return proto


def test_rows_behind_a_suppression_are_left_out_and_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "val.npz", images=np.random.default_rng(1).random((4, 3, 8, 8), np.float32))
    path = write(
        tmp_path, suppressing(), "fidelity on val { require sqnr >= 20 dB }", 'npz "val.npz"', "shape [1, 3, 8, 8]"
    )
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    (budget,) = result.targets[0].budgets
    assert budget.verdict == "holds"
    assert {key.of for key in result.evaluations[0].of("ort").scores} == {"", "boxes"}
    (note,) = [d for d in result.diagnostics if d.code == "evaluate-unordered"]
    assert "`sel`" in note.headline and 'output "boxes"' in note.help[0]
    assert any("NonMaxSuppression (nms1)" in each for each in note.notes)


@pytest.mark.slow
def test_verify_leaves_rows_behind_a_suppression_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What they are chosen from is compared in their place; so on the device, whose goldens lack them."""
    np.savez(tmp_path / "val.npz", images=np.random.default_rng(1).random((4, 3, 8, 8), np.float32))
    proto = suppressing()
    del proto.graph.output[0]
    path = write(tmp_path, proto, 'fidelity on val { output "picked" }', 'npz "val.npz"', "shape [1, 3, 8, 8]")
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    found = result.targets[0].verification
    assert [name for name, _ in found.unordered] == ["sel", "picked"] and found.outputs == ()
    assert {one.output for one in found.arithmetic} == {"boxes", "scores"}
    page = (tmp_path / "build" / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Output picked is left out of the comparison: its rows are chosen by NonMaxSuppression (nms1)." in page
    assert "left out: sel, picked" in page
    assert all(one.planned_db is not None and one.planned_db > 15 for one in found.arithmetic)
    (check,) = qdsl.verify(tmp_path / "build" / "demo").checks
    assert check.compared == () == check.fidelity and set(check.unordered) == {"sel", "picked"}
    assert main(["verify", str(tmp_path / "build" / "demo")]) == 0
    told = capsys.readouterr().out
    assert "sel   left out: its rows are chosen by NonMaxSuppression (nms1)" in told


def test_inner_tensors_behind_a_choice_are_left_out(tmp_path: Path) -> None:
    """As in a transformer detector: a Conv, the best rows by TopK, and a Gemm on these."""
    random = np.random.default_rng(4)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["c", "flat"], ["r"], name="flat1"),
        helper.make_node("TopK", ["r", "k"], ["best", "places"], name="top1", axis=0),
        helper.make_node("Gemm", ["best", "g"], ["h"], name="gemm1"),
        helper.make_node("Relu", ["h"], ["a"], name="relu1"),
        helper.make_node("Gemm", ["a", "g2"], ["y"], name="gemm2"),
    ]
    constants = {
        "w": random.standard_normal((4, 3, 1, 1)).astype(np.float32),
        "flat": np.array([64, 4]),
        "k": np.array([9]),
        "g": random.standard_normal((4, 8)).astype(np.float32),
        "g2": random.standard_normal((8, 4)).astype(np.float32),
    }
    np.savez(tmp_path / "val.npz", images=random.random((4, 3, 8, 8), np.float32))
    proto = graph_of(nodes, ["y"], constants=constants)
    path = write(tmp_path, proto, 'fidelity on val { output "y" }', 'npz "val.npz"', "shape [1, 3, 8, 8]")
    found = qdsl.compile(path, out=tmp_path / "build", lock=False, measure=False).targets[0].verification
    assert {one.tensor for one in found.layers} <= {"c", "r"} and found.layers
    assert [one.output for one in found.arithmetic] == ["r"]


def test_rows_chosen_by_shapes_alone_are_compared(tmp_path: Path) -> None:
    """What exporters make of an index: NonZero of a constant that has the shape of the input."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("Shape", ["images"], ["s"], name="shape1"),
        helper.make_node(
            "ConstantOfShape", ["s"], ["ones"], name="ones1", value=numpy_helper.from_array(np.array([1]))
        ),
        helper.make_node("NonZero", ["ones"], ["at"], name="at1"),
        helper.make_node("Transpose", ["at"], ["t"], name="turn1", perm=[1, 0]),
        helper.make_node("GatherND", ["c", "t"], ["y"], name="pick1"),
    ]
    proto = graph_of(nodes, ["y"], constants={"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)})
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    assert chosen_rows(load_model(tmp_path / "model.onnx").view()) == {}


def test_what_is_named_is_compared_all_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "val.npz", images=np.random.default_rng(1).random((1, 3, 8, 8), np.float32))
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1", kernel_shape=[1, 1]),
        helper.make_node("ArgMax", ["c"], ["best"], name="best1", axis=1),
    ]
    proto = graph_of(nodes, ["best"], constants={"w": np.eye(4, 3, dtype=np.float32).reshape(4, 3, 1, 1)})
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    path = write(tmp_path, proto, "fidelity on val", 'npz "val.npz"', "shape [1, 3, 8, 8]")
    with pytest.raises(QdslError) as caught:
        qdsl.compile(path, out=tmp_path / "build", lock=False)
    assert [d.code for d in caught.value.diagnostics] == ["evaluate-output"]
    path.write_text(path.read_text(encoding="utf-8").rstrip() + ' { output "best" }\n', encoding="utf-8")
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    assert {key.of for key in result.evaluations[0].of("ort").scores} == {"", "best"}
