"""Recipes that mix calibration methods and datasets, compiled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.diag import QdslError

TWO = HEAD.replace('npz "calib.npz"\n', 'npz "calib.npz"\ndata rare from npz "rare.npz"\n')


def compiled(folder: Path, rules: str, head: str = TWO) -> dict[str, Any]:
    recipe = project(folder, rules, head=head)
    values = np.random.default_rng(9).standard_normal((5, 3, 8, 8)).astype(np.float32) * 4
    np.savez(folder / "rare.npz", x=values)
    qdsl.compile(recipe, out=folder / "build")
    assert not list((folder / "build/demo").glob(".calibration*"))
    found = json.loads((folder / "build/demo/ranges.json").read_text())
    return dict(found["tensors"])


@pytest.mark.parametrize("method", ["minmax", "mean_minmax", "entropy", "percentile 99", "mse"])
def test_each_method_compiles_and_stays_within_minmax(tmp_path: Path, method: str) -> None:
    whole = compiled(tmp_path / "a", "")
    found = compiled(tmp_path / "b", "", TWO.replace("calibrate minmax on", f"calibrate {method} on"))
    assert {told[2] for told in found.values()} == {f"{method} on calib"}
    assert sorted(found) == sorted(whole)
    for name, (low, high, _) in found.items():
        slack = 0.01 * (whole[name][1] - whole[name][0])
        assert whole[name][0] - slack <= low <= high <= whole[name][1] + slack


def test_methods_and_datasets_mix_in_one_recipe(tmp_path: Path) -> None:
    rules = 'layers "inner" { calibrate percentile 99 symmetric on rare }\nlayers tensor "x" { calibrate mse }\n'
    found = compiled(tmp_path, rules)
    told = {name: how for name, (_, _, how) in found.items()}
    assert told["x"] == "mse on calib"
    assert told["t"] == "minmax on calib"
    assert "percentile 99 symmetric on rare" in told.values()


def test_a_symmetric_scheme_calibrates_on_absolute_values(tmp_path: Path) -> None:
    head = TWO.replace("uint8 affine", "int8 symmetric").replace("minmax on", "percentile 95 on")
    symmetric = compiled(tmp_path / "a", "", head)
    both = compiled(
        tmp_path / "b",
        "",
        head.replace("int8 symmetric", "int8 affine").replace("int8 affine per_channel", "int8 symmetric per_channel"),
    )
    values = np.load(tmp_path / "a/calib.npz")["x"]
    assert symmetric["x"][1] == pytest.approx(np.quantile(np.abs(values), 0.95), rel=0.02)
    assert both["x"][1] == pytest.approx(np.quantile(values, 0.975), rel=0.02)
    assert symmetric["x"][2] == "percentile 95 symmetric on calib"


def test_a_method_without_data_is_told_which_data_there_are(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HEAD.replace("calibrate minmax on calib", "calibrate percentile 99"))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (told,) = caught.value.diagnostics
    assert told.code == "calibration-missing"
    assert told.help == ("write `calibrate percentile 99 on calib` in the `quantize` block",)


def test_plan_names_methods_in_full(tmp_path: Path) -> None:
    rules = 'layers op Conv { calibrate percentile 99.9 symmetric }\nlayers tensor "x" { calibrate percentile 99.99 }\n'
    (plan,) = qdsl.plan(project(tmp_path, rules)).plans
    told = " ".join(plan.open)
    assert "percentile 99.9 symmetric on calib" in told and "1 tensor: percentile 99.99 on calib" in told


@pytest.mark.parametrize("count", [0, -1, 1.5])
@pytest.mark.parametrize("name", ["workers", "batch"])
def test_counts_below_one_are_refused(name: str, count: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"`{name}` is {count}"):
        qdsl.compile(project(tmp_path), out=tmp_path / "build", **{name: count})
    assert not (tmp_path / "build").exists()


def test_a_joint_whose_activation_is_joined_again(tmp_path: Path) -> None:
    """The ranges would give the second joint one scale, which would part the Relu from the first."""
    text = """net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
      c = Conv <kernel_shape = [1, 1]> (x, w) s = Sigmoid (c) j = Concat <axis = 1> (s, c)
      r = Relu (j) k = Concat <axis = 1> (r, c) y = Conv <kernel_shape = [1, 1]> (k, v) }"""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    draw = np.random.default_rng(0)
    for name, shape in (("w", (4, 3, 1, 1)), ("v", (4, 12, 1, 1))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name))
    done = qdsl.compile(project(tmp_path, proto=proto), out=tmp_path / "build", measure=False, lock=False)
    (target,) = done.targets
    assert target.verification.as_predicted
    assert not [node for node in target.plan.nodes if node.prediction.runs == "float"]
