"""Sensitivity by gradients and curvature, against what the derivatives of small networks are on paper."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compile_tools import project, residual_net
from numpy.typing import NDArray
from quantized import W8, model_of, weight
from test_allocate_hostile import weights

import qdsl
from qdsl.calibrate import Ranges
from qdsl.data import Dataset, Label
from qdsl.diag import QdslError
from qdsl.graph import Model
from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.sensitivity import measuring
from qdsl.sensitivity.measuring import How, measure
from qdsl.sensitivity.units import Choice, Unit
from qdsl.spec import DTYPES
from qdsl.spec.sensitivity import Sensitivity, from_json, to_json

Array = NDArray[Any]
NOTHING = Ranges({}, {}, 0, 0)
IN, OUT = 5, 600
LINEAR = "net (float[1, 5] x) => (float[1, 600] y) { [gemm] y = Gemm <transB = 1> (x, w) }"
TWO = """net (float[1, 5] x) => (float[1, 3] y) {
  [one] a = Gemm <transB = 1> (x, w1) [act] b = Tanh (a) [two] c = Gemm <transB = 1> (b, w2) [end] y = Softmax (c)
}"""


def dataset(*rows: Array, labels: tuple[int, ...] = ()) -> Dataset:
    def label(index: int) -> tuple[Label, ...]:
        return (Label(labels[index]),) if labels else ()

    reader: Any = SimpleNamespace(
        arrays=lambda index: {"x": rows[index].astype(np.float32)[None]},
        labels=label,
        flat=set(),
        file=lambda index: ("x", Path("nowhere")),
    )
    ids = tuple(f"x[{index}]" for index in range(len(rows)))
    return Dataset("calib", "npz", ids, len(rows), ("a", "b", "c") if labels else (), (), reader)


def unit(node: str, name: str, *widths: str) -> Unit:
    plan = weight(node, 1, name)
    ways = (Choice(w, weights=(replace(plan, scheme=replace(plan.scheme, dtype=DTYPES[w])),)) for w in widths)
    return Unit((node,), (*ways, Choice("float32")))


def found(model: Model, units: list[Unit], data: Dataset, how: How, **more: Any) -> Sensitivity:
    pytest.importorskip("torch")
    return measure(model, units, NOTHING, data, how, **more)


@pytest.fixture(scope="module")
def linear() -> tuple[Model, Array, Array]:
    """y = W x with an x of which one number is not 0: no two weights act on each other."""
    w = np.random.default_rng(0).standard_normal((OUT, IN)).astype(np.float32)
    return model_of(LINEAR, w=w), w, np.array([0.0, 0.0, 1.5, 0.0, 0.0])


def test_the_trace_is_that_of_the_normal_matrix(linear: tuple[Model, Array, Array]) -> None:
    """L = mean (W x - y)^2 / mean y^2 has the diagonal 2 x_j^2 / (outputs mean y^2)."""
    model, w, x = linear
    told = found(model, [unit("gemm", "w", "int8", "int4")], dataset(x), How("hessian", trials=2))
    diagonal = 2 * float(x @ x) / (OUT * IN * float(np.square(w @ x).mean()))
    rows = told.of("gemm")
    assert [row.choice for row in rows] == ["int8", "int4", "float32"] and rows[2].loss == 0.0
    assert rows[0].score == pytest.approx(diagonal, rel=1e-5)
    plan = weight("gemm", 1, "w", replace(W8, dtype=DTYPES["int4"]))
    params = weight_parameters(w, plan.scheme, plan.axis)
    error = dequantize(quantize_weight(w, plan.scheme, params).values, params) - w
    assert rows[1].loss == pytest.approx(0.5 * diagonal * float(np.square(error).sum()), rel=1e-3)
    assert 50 < rows[1].loss / rows[0].loss < 600  # at most 17 times the step, squared


def test_the_gradient_near_a_minimum_is_as_steep_as_the_noise_is_wide(linear: tuple[Model, Array, Array]) -> None:
    """dL / dw_ij = 2 (d x)_i x_j / (outputs mean y^2) at W + d, d of the deviation epsilon / ||W||."""
    model, w, x = linear
    units = [unit("gemm", "w", "int8", "int4")]
    told = [found(model, units, dataset(x, x), How("gradient", trials=4, epsilon=each)) for each in (0.1, 0.2)]
    sigma = 0.1 / float(np.linalg.norm(w))
    mean = 2 / float(np.square(w @ x).mean()) * sigma * math.sqrt(2 / math.pi) * float(x @ x)
    score = told[0].of("gemm")[0].score
    assert score == pytest.approx(mean, rel=0.05)
    assert told[1].of("gemm")[0].score == pytest.approx(2 * (score or 0.0), rel=1e-4)
    assert told[0].of("gemm")[1].loss == pytest.approx((score or 0.0) / 4, rel=1e-9)
    assert (told[0].judged_by, told[0].trials, told[0].epsilon) == ("float outputs", 4, 0.1)
    assert from_json(to_json(told[0])) == told[0]


@pytest.fixture(scope="module")
def two() -> tuple[Model, list[Unit], list[Array]]:
    draw = np.random.default_rng(3)
    model = model_of(TWO, w1=(4, 5), w2=(3, 4))
    return model, [unit("one", "w1", "int8"), unit("two", "w2", "int8")], list(draw.standard_normal((4, 5)))


def test_cross_entropy_of_labels_is_that_on_paper(two: tuple[Model, list[Unit], list[Array]]) -> None:
    """Of the last layer: dL / dw = (p - label) b', at the weights themselves."""
    model, units, rows = two
    labels = (0, 2, 1, 1)
    told = found(model, units, dataset(*rows, labels=labels), How("gradient", trials=1, epsilon=1e-9))
    w1, w2 = (model.values(name).astype(np.float64) for name in ("w1", "w2"))
    norms = []
    for row, label in zip(rows, labels, strict=True):
        inner = np.tanh(w1 @ row)
        scores = np.exp(w2 @ inner)
        slope = scores / scores.sum() - np.eye(3)[label]
        norms.append(float(np.abs(np.outer(slope, inner)).sum()))
    last = told.of("two")[0]
    assert told.judged_by == "labels" and last.score == pytest.approx(np.mean(norms), rel=1e-4)
    assert last.error == pytest.approx(np.std(norms, ddof=1) / 2 / 8, rel=1e-3)
    told = found(model, units, dataset(*rows), How("gradient", trials=1, epsilon=1e-9, classifier=False))
    assert told.of("two")[0].score == pytest.approx(0.0, abs=1e-4)  # squared error at its least
    unlabelled = found(model, units, dataset(*rows), How("gradient", trials=1, epsilon=1e-9))
    assert unlabelled.judged_by == "float outputs" and unlabelled.of("two")[0].score != last.score


def test_hutchinson_comes_to_the_trace(two: tuple[Model, list[Unit], list[Array]]) -> None:
    """Of the last layer: the Hessian of cross-entropy is (diag p - p p') by b b'."""
    model, units, rows = two
    told = found(model, units, dataset(*rows[:2]), How("hessian", trials=150))
    w1, w2 = (model.values(name).astype(np.float64) for name in ("w1", "w2"))
    traces = []
    for row in rows[:2]:
        inner = np.tanh(w1 @ row)
        scores = np.exp(w2 @ inner)
        shares = scores / scores.sum()
        traces.append(float((shares * (1 - shares)).sum() * (inner @ inner)))
    assert told.of("two")[0].score == pytest.approx(np.mean(traces) / w2.size, rel=0.25)


@pytest.mark.parametrize("method", ["gradient", "hessian"])
def test_threads_and_interruptions_change_nothing(
    two: tuple[Model, list[Unit], list[Array]], tmp_path: Path, method: str
) -> None:
    torch = pytest.importorskip("torch")
    model, units, rows = two
    how, given = How(method, seed=4, trials=2), dataset(*rows)
    whole = found(model, units, given, how)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert to_json(found(model, units, given, how)) == to_json(whole)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

    def stop(text: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(model, units, given, how, folder=tmp_path, heard=stop)
    assert (tmp_path / measuring._STATE).is_file()
    told: list[int] = []
    again = found(model, units, given, how, folder=tmp_path, heard=lambda text, done, total: told.append(done))
    assert to_json(again) == to_json(whole) and told == [1, 2, 3, 4] and not list(tmp_path.iterdir())
    assert to_json(found(model, units, given, replace(how, seed=5))) != to_json(whole)


def test_a_gradient_that_is_none_is_told_with_its_layer_and_sample() -> None:
    text = "net (float[1, 5] x) => (float[1, 4] y) { [gemm] a = Gemm <transB = 1> (x, w) [root] y = Sqrt (a) }"
    model = model_of(text, w=np.abs(np.random.default_rng(0).standard_normal((4, 5))))
    with pytest.raises(QdslError) as caught:
        found(model, [unit("gemm", "w", "int8")], dataset(np.ones(5), np.zeros(5)), How("gradient", trials=1))
    (told,) = caught.value.diagnostics
    assert told.code == "sensitivity-not-finite" and "`w` in `gemm`" in told.headline and "x[1]" in told.headline


def test_without_torch_the_extra_is_named(
    two: tuple[Model, list[Unit], list[Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdsl.train.extra.has_torch", lambda: False)
    model, units, rows = two
    for method in ("gradient", "hessian"):
        with pytest.raises(QdslError) as caught:
            measure(model, units, NOTHING, dataset(*rows), How(method))
        (told,) = caught.value.diagnostics
        assert told.code == "torch-absent" and f"`sensitivity {method}`" in told.headline
        assert any("train" in each for each in told.help)
    assert measure(model, units, NOTHING, dataset(*rows), How("sqnr")).method == "sqnr"


def test_what_activations_cost_is_said_not_to_be_in_it(two: tuple[Model, list[Unit], list[Array]]) -> None:
    model, units, rows = two
    both = [*units, Unit(("act",), (Choice("float32"),))]
    told = found(model, both, dataset(*rows), How("gradient", trials=1))
    assert told.units == ("one", "two") and told.notes == ("1 layer without weights left out",)


@pytest.mark.parametrize("method", ["gradient", "hessian"])
def test_a_sample_on_which_nothing_depends_on_a_weight_scores_nothing(method: str) -> None:
    """All of y is 0 there, so that of what is compared only an input is left."""
    text = """net (float[1, 5] x) => (float[1, 3] y, float[1, 5] z) {
      [gemm] a = Gemm <transB = 1> (x, w, b) [act] y = Relu (a) [same] z = Mul (x, one)
    }"""
    values = {"w": 0.1 + 0.01 * np.arange(15).reshape(3, 5), "b": np.zeros(3), "one": np.ones(1)}
    model = model_of(text, **{name: value.astype(np.float32) for name, value in values.items()})
    units, how = [unit("gemm", "w", "int8", "int4")], How(method, trials=2)
    dead, alive = -np.ones(5), np.ones(5)
    assert {row.loss for row in found(model, units, dataset(dead), how).rows} == {0.0}
    rows = [row for row in found(model, units, dataset(dead, alive), how).rows if row.choice == "int4"]
    assert len(rows) == 1 and rows[0].loss > 0.0


def test_what_gradients_do_not_go_through_is_told_by_the_plan(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    proto = residual_net()
    proto.graph.node[1].op_type = "Sinh"
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, weights("int8, int4", "  sensitivity gradient on calib\n"), proto=proto))
    assert [each.code for each in caught.value.diagnostics] == ["executor-lacks"]
