"""`calibrate auto`: several methods tried for each tensor, the best for what reads it taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import qdsl
from qdsl.calibrate.candidates import candidates, least_error
from qdsl.calibrate.cones import cone
from qdsl.calibrate.histogram import BINS, Distribution, count, from_counts
from qdsl.calibrate.request import Request
from qdsl.calibrate.trial import Option, Trial, try_out
from qdsl.data import ModelInput
from qdsl.data import open as open_data
from qdsl.graph import Model, from_proto
from qdsl.graph import load as load_model
from qdsl.lock import LockedRange, parse, render
from qdsl.quant.linear import QParams, dequantize, quantize
from qdsl.spec.dtypes import DTYPES
from qdsl.work.prepared import read

Array = np.ndarray[Any, np.dtype[Any]]
AUTO = HEAD.replace("calibrate minmax on", "calibrate auto on")
GRAPH = """<ir_version: 8, opset_import: ["": {opset}]>
net (float[1, N, 8] x) => (float[1, N, 4] y, float[1, N, 8] z) {{
  [first] a = MatMul (x, w1)
  [shape] b = Reshape (a, to)
  [second] c = MatMul (b, w2)
  [gate] d = Sigmoid (c)
  [third] y = MatMul (d, w3)
  [copy] z = Identity (x)
}}
"""


def net(folder: Path, w2: Array, x: Array, opset: int = 17) -> tuple[Model, Any]:
    proto = onnx.parser.parse_model(GRAPH.format(opset=opset).replace("N", str(x.size // len(x) // 8)))
    draw = np.random.default_rng(5)
    held = {"w1": np.eye(8, dtype=np.float32), "w2": w2, "w3": draw.standard_normal((4, 4)).astype(np.float32)}
    for name, values in held.items():
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, -1, 8], np.int64), "to"))
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, folder / "net.onnx")
    np.savez(folder / "calib.npz", x=x.reshape(len(x), -1, 8))
    (folder / "demo.q").write_text(AUTO.replace("demo.onnx", "net.onnx"), encoding="utf-8")
    spec = read(folder / "demo.q", None).recipe.dataset("calib")
    return load_model(folder / "net.onnx"), open_data(
        spec, (), {"x": ModelInput("float32", (1, x.size // len(x) // 8, 8))}
    )


def option(scale: float, zero: int, kind: str = "uint8") -> Option:
    return Option(np.float32(scale), zero, DTYPES[kind])


def off(found: Array, exact: Array) -> float:
    """The squared error of each channel over how much it varies, mean over channels; [rows, channels]."""
    spread = exact.shape[0] * exact.var(axis=0)
    spread = np.maximum(spread, max(1e-3 * spread.mean(), 1e-6 * np.square(exact).sum(axis=0).mean()))
    return float(np.mean(np.square(found - exact).sum(axis=0) / spread))


def ranges(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "build/demo/ranges.json").read_text())["tensors"])


def values_of(values: Array) -> Distribution:
    counts = np.zeros(BINS, np.int64)
    count(values, counts)
    return Distribution((from_counts(counts, float(values.min()), float(values.max())),))


def test_every_method_is_among_the_candidates_and_minmax_is_the_widest() -> None:
    values = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    found = candidates(Request("t", "auto"), values_of(values))
    methods = [each.method for each in found]
    assert methods == ["minmax", "percentile 99.999", "percentile 99.99", "mse", "entropy", "percentile 99.9"]
    assert (found[0].low, found[0].high) == (values.min(), values.max())
    assert all(found[0].low <= each.low <= each.high <= found[0].high for each in found)
    assert least_error(found).error == min(each.error for each in found) < found[0].error
    step = (found[0].high - found[0].low) / 255
    assert found[0].error == pytest.approx(step**2 / 12, rel=0.05)


def test_a_cone_ends_at_what_is_rounded_next_and_looks_through_the_rest(tmp_path: Path) -> None:
    model, _ = net(tmp_path, np.ones((8, 4), np.float32), np.ones((2, 8), np.float32))
    view = model.view()
    found = cone(view, {"b": (("second", 0),)}, {"b", "d"})
    assert ([node.name for node in found.nodes], found.ends, found.own) == (["second", "gate"], ("d",), ())
    to_the_end = cone(view, {"a": (("shape", 0),)}, {"a"})
    assert [node.name for node in to_the_end.nodes] == ["shape", "second", "gate", "third"]
    assert to_the_end.ends == ("y",)
    # The Reshape only moves values of the scale itself: what counts is what reads it.
    moved = cone(view, {"a": (("shape", 0),), "b": (("second", 0),)}, {"a", "b", "d"})
    assert [node.name for node in moved.nodes] == ["second", "gate"]
    assert cone(view, {"x": (("", -1),)}, {"x"}).own == ("x",)


def test_a_cone_passes_over_outputs_that_a_node_leaves_out() -> None:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        net (float[3, 1, 8] x, float[1, 16, 8] w, float[1, 16, 4] r) => (float[1, 1, 4] y) {
          [relu] a = Relu (x)
          [lstm] , h = LSTM <hidden_size = 4> (a, w, r)
          [end] y = Relu (h)
        }"""
    )
    found = cone(from_proto(proto).view(), {"x": (("relu", 0),)}, {"x"})
    assert ([node.name for node in found.nodes], found.ends) == (["relu", "lstm", "end"], ("y",))


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    opset=st.sampled_from([13, 17, 21]),
)
def test_a_trial_finds_the_error_that_numpy_finds(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str, opset: int
) -> None:
    draw = np.random.default_rng(seed)
    w2, x = draw.standard_normal((8, 4)).astype(np.float32), draw.standard_normal((3, 8)).astype(np.float32)
    model, dataset = net(tmp_path_factory.mktemp("net"), w2, x, opset)
    lowest, highest = DTYPES[kind].ends
    ends = int(lowest), int(highest)
    zero = (ends[0] + ends[1] + 1) // 2
    options = tuple(option(scale, zero, kind) for scale in (0.4, 0.05, 0.01))
    trial = Trial({"b": (("second", 0),)}, options, ends)
    (found,) = try_out(model, [trial], {"b", "d"}, range(3), dataset, lambda done, total: None)

    def stored(option: Option) -> Array:
        params = QParams(np.asarray(option.scale), np.asarray(option.zero_point, kind), option.dtype)
        return dequantize(quantize(x, params), params)

    def gate(b: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-(b.astype(np.float64) @ w2))))

    expected = [off(gate(stored(each)), gate(x)) for each in options]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-12)


def test_a_narrowed_range_saturates_at_its_own_limits(tmp_path: Path) -> None:
    x = np.linspace(-4, 4, 16, dtype=np.float32).reshape(2, 8)
    model, dataset = net(tmp_path, np.eye(8, 4, dtype=np.float32), x)
    trial = Trial({"x": (("", -1),)}, (option(0.1, 0, "int8"),), (-8, 7))
    (found,) = try_out(model, [trial], {"x"}, range(2), dataset, lambda done, total: None)
    exact = x.astype(np.float64)
    rounded = np.clip(np.rint(exact / 0.1), -8, 7) * 0.1
    assert found[0] == pytest.approx(off(rounded, exact), rel=1e-4)


@pytest.mark.parametrize("read", [True, False])
def test_what_readers_make_of_a_tensor_decides(tmp_path: Path, read: bool) -> None:
    """One channel is 30 times larger than the others: its own values ask for a wide range, readers may not."""
    draw = np.random.default_rng(3)
    x = draw.standard_normal((4, 2048, 8)).astype(np.float32)
    x[:2, 0, 0] = 30
    w2 = draw.standard_normal((8, 4)).astype(np.float32)
    w2[0] = 1 if read else 0
    net(tmp_path, w2, x)
    qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build", measure=False)
    _, high, how = ranges(tmp_path)["a"]
    assert how.startswith("auto on calib: ")
    assert (high > 20) == read, how


def test_the_winner_stands_in_ranges_and_lock_and_the_lock_needs_no_data(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=AUTO)
    first = qdsl.compile(recipe, out=tmp_path / "build", measure=False)
    told = ranges(tmp_path)
    methods = {how.removeprefix("auto on calib: ") for _, _, how in told.values()}
    assert methods <= {"minmax", "percentile 99.999", "percentile 99.99", "mse", "entropy", "percentile 99.9"}
    (model,) = [one.emitted.model.read_bytes() for one in first.targets]
    lock = parse((tmp_path / "demo.lock").read_text())
    words = "auto on calib for uint8 affine per_tensor of ort"
    assert {(row.tensor, row.chosen) for row in lock.ranges if row.method == words} == {
        (name, how.removeprefix("auto on calib: ")) for name, (_, _, how) in told.items()
    }
    (row,) = [row for row in lock.ranges if row.tensor == "t"]
    (explained,) = qdsl.explain(recipe, "t")
    assert f"{row.chosen}: [{row.low:.4g}, {row.high:.4g}]" in explained.text
    (tmp_path / "calib.npz").unlink()
    again = qdsl.compile(recipe, out=tmp_path / "build", measure=False, locked=True)
    assert [one.emitted.model.read_bytes() for one in again.targets] == [model]
    assert ranges(tmp_path) == told


def test_workers_and_batches_change_no_byte(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=AUTO)
    told = set()
    for workers, batch in ((1, 1), (3, 4)):
        qdsl.compile(recipe, out=tmp_path / "build", measure=False, lock=False, workers=workers, batch=batch)
        told.add((tmp_path / "build/demo/ranges.json").read_bytes())
    assert len(told) == 1


def test_auto_mixes_with_other_methods(tmp_path: Path) -> None:
    rules = 'layers "inner" { calibrate minmax on calib }\n'
    recipe = project(tmp_path, rules, head=AUTO)
    qdsl.compile(recipe, out=tmp_path / "build", measure=False)
    told = {how for _, _, how in ranges(tmp_path).values()}
    assert "minmax on calib" in told and any(how.startswith("auto on calib: ") for how in told)


def test_plan_says_what_is_open(tmp_path: Path) -> None:
    (plan,) = qdsl.plan(project(tmp_path, head=AUTO)).plans
    assert any("auto on calib" in line and "minmax" in line for line in plan.open)


def test_a_lock_keeps_what_was_chosen(tmp_path: Path) -> None:
    project(tmp_path, head=AUTO)
    qdsl.compile(tmp_path / "demo.q", out=tmp_path / "build", measure=False)
    text = (tmp_path / "demo.lock").read_text()
    lock = parse(text)
    assert render(lock) == text
    assert all(isinstance(row, LockedRange) and row.chosen for row in lock.ranges)
