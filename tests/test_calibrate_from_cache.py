"""`calibrate from cache "file"`: ranges of a calibration cache of TensorRT in a plan, an artifact and a lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, artifacts, project

import qdsl
from qdsl import lock as locks
from qdsl.calibrate.cache_file import render_cache
from qdsl.cli import main
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang import loads, missing_files
from qdsl.spec.plan import TensorPlan

CACHED = HEAD.replace('data calib from npz "calib.npz"\n', "").replace(
    "calibrate minmax on calib", 'calibrate from cache "calib.cache"'
)
# The tensors that a plan of the small network stores: what a Relu writes, the residual sum before one, and others.
SCALES = {"x": 0.03, "r": 0.05, "c": 0.2, "t": 0.3, "l": 1.5, "q": 1.75, "j": 2.0, "p": 0.5, "y": 0.75}
SPARE = {"s": 0.1, "(Unnamed Layer* 3) [Shuffle]_output": 0.2}


def cached(
    folder: Path,
    scales: Mapping[str, float] = SCALES,
    rules: str = "",
    *,
    head: str = CACHED,
    file: str = "calib.cache",
) -> Path:
    """The small network with a cache beside its recipe."""
    recipe = project(folder, rules, head=head)
    (folder / file).write_text(render_cache("8601", {**scales, **SPARE}))
    return recipe


def planned(recipe: Path) -> dict[str, TensorPlan]:
    (plan,) = qdsl.plan(recipe).plans
    return {tensor.tensor: tensor for tensor in plan.tensors}


def told(recipe: Path, **settings: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe, **settings)
    return caught.value.diagnostics


def stored(model: Path) -> dict[str, tuple[float, int]]:
    """Scale and zero point behind each QuantizeLinear, by the tensor that it reads."""
    proto = onnx.load(model)
    values = {each.name: onnx.numpy_helper.to_array(each) for each in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    return {n.input[0]: (float(values[n.input[1]]), int(values[n.input[2]])) for n in nodes}


def test_the_plan_has_the_ranges_and_says_where_they_are_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = cached(tmp_path)
    found = planned(recipe)
    assert {tensor.calibration.words for tensor in found.values()} == {'from cache "calib.cache"'}
    assert found["x"].calibration.high == pytest.approx(127 * 0.03)
    assert main(["plan", str(recipe)]) == 0
    text = capsys.readouterr().out
    assert "open: ranges" not in text
    used = len([name for name in found if name in SCALES])
    assert f"from cache calib.cache: {used} ranges (TensorRT 8.6.1, EntropyCalibration2); 2 entries name" in text
    assert "no planned tensor, 1 of them under names that TensorRT made up" in text
    assert main(["explain", str(recipe), "x"]) == 0
    assert 'from cache "calib.cache"' in capsys.readouterr().out


def test_a_symmetric_scheme_has_the_scale_of_the_cache_to_the_bit(tmp_path: Path) -> None:
    recipe = cached(tmp_path, head=CACHED.replace("uint8 affine", "int8 symmetric"))
    result = qdsl.compile(recipe, out=tmp_path / "build", lock=False)
    (one,) = result.targets
    found = stored(one.emitted.model)
    of = {t.tensor: np.float32({**SCALES, **SPARE}[t.tensor]) for t in one.plan.tensors if t.observe}
    shared = {
        t.tensor: max(of[m.tensor] for m in one.plan.tensors if m.group == t.group and m.observe)
        for t in one.plan.tensors
    }
    assert {name: has for name, has in found.items() if name in shared} == {
        name: (float(scale), 0) for name, scale in shared.items() if name in found
    }
    assert (
        {"x", "s", "p", "j", "l"} <= found.keys() and found["x"][0] == float(np.float32(0.03)) and found["l"][0] == 2.0
    )


def test_an_affine_scheme_leaves_out_what_the_graph_cannot_reach(tmp_path: Path) -> None:
    found = planned(cached(tmp_path))
    amax = 127 * float(np.float32(SCALES["r"]))
    assert (found["r"].calibration.low, found["r"].calibration.high) == (0.0, amax)  # behind a Relu
    assert found["x"].calibration.low == -found["x"].calibration.high  # type: ignore[operator]


def test_nothing_but_the_cache_is_needed_and_a_lock_pins_it(tmp_path: Path) -> None:
    recipe = cached(tmp_path)
    (tmp_path / "calib.npz").unlink()
    events: list[str] = []
    qdsl.compile(recipe, out=tmp_path / "build", listener=lambda event: events.append(event.text))
    assert any("ranges (TensorRT 8.6.1" in text for text in events)
    before = artifacts(tmp_path / "build")
    held = locks.read(tmp_path / "demo.lock")
    assert held is not None and [name for name, _ in held.caches] == ["calib.cache"] and not held.ranges
    qdsl.compile(recipe, out=tmp_path / "build", locked=True)
    assert artifacts(tmp_path / "build") == before
    assert not qdsl.check(recipe, locked=True).diagnostics
    (tmp_path / "calib.cache").write_text(render_cache("8601", {**SCALES, "x": 0.04}))
    assert [found.code for found in qdsl.check(recipe, locked=True).diagnostics] == ["lock-stale"]
    with pytest.raises(QdslError) as caught:
        qdsl.compile(recipe, out=tmp_path / "build")
    assert caught.value.diagnostics[0].headline == "`demo.lock` is stale: cache: `calib.cache` changed"


def test_a_tensor_that_the_cache_lacks_is_told_with_the_nearest_names(tmp_path: Path) -> None:
    named = {**SCALES, "r_before": 1.0}
    del named["r"]
    (found,) = told(cached(tmp_path, named))
    assert (found.code, found.span and found.span.line) == ("cache-lacks", 6)
    assert found.headline == "`calib.cache` has no range of tensor `r`"
    assert "1 under names that TensorRT made up" in found.label
    assert any("layers tensor" in cure for cure in found.help)


def test_a_scale_of_0_is_no_range(tmp_path: Path) -> None:
    """TensorRT writes one for what held nothing but 0 while it was measured."""
    (found,) = told(cached(tmp_path, {**SCALES, "r": 0.0}))
    assert found.code == "cache-lacks" and found.headline == "`calib.cache` has no range of tensor `r`"
    assert "its scale is 0 there" in found.label and not any("nearest" in cure for cure in found.help)


def test_of_many_that_are_lacking_some_are_told_and_the_others_counted(tmp_path: Path) -> None:
    found = told(cached(tmp_path, {"x": 0.03}))
    assert len(found) == 5 and "nor of 3 more" in found[-1].label


def test_another_rule_may_speak_of_what_the_cache_lacks(tmp_path: Path) -> None:
    lacking = {name: scale for name, scale in SCALES.items() if name != "r"}
    head = CACHED.replace("quantize", 'data calib from npz "calib.npz"\nquantize')
    rules = 'layers tensor "r" { calibrate minmax on calib }\nlayers tensor "c" { range [-1, 2] }\n'
    recipe = cached(tmp_path, lacking, rules, head=head)
    methods = {name: tensor.calibration.method for name, tensor in planned(recipe).items()}
    assert (methods["r"], methods["c"], methods["x"]) == ("minmax", "fixed", "cache")
    qdsl.compile(recipe, out=tmp_path / "build")
    held = locks.read(tmp_path / "demo.lock")
    assert held is not None and [found.tensor for found in held.ranges] == ["r"]


def test_a_rule_takes_single_tensors_from_a_cache(tmp_path: Path) -> None:
    recipe = cached(tmp_path, {"r": 0.05}, 'layers tensor "r" { calibrate from cache "calib.cache" }\n', head=HEAD)
    methods = {name: tensor.calibration.method for name, tensor in planned(recipe).items()}
    assert methods["r"] == "cache" and set(methods.values()) == {"cache", "minmax"}


def test_a_base_names_the_cache_beside_itself(tmp_path: Path) -> None:
    cached(tmp_path / "base")
    (tmp_path / "own").mkdir()
    recipe = tmp_path / "own" / "mine.q"
    recipe.write_text('recipe mine\nextends "../base/demo.q"\n')
    (plan,) = qdsl.plan(recipe).plans
    assert [use.file for use in plan.caches] == ["../base/calib.cache"]


def test_a_cache_that_is_broken_is_told_with_its_line_and_that_of_the_recipe(tmp_path: Path) -> None:
    recipe = cached(tmp_path)
    (tmp_path / "calib.cache").write_text("TRT-8601-EntropyCalibration2\nx 3c010204\n")
    (found,) = told(recipe)
    assert found.code == "calibration-cache" and found.span is not None and found.span.line == 2
    assert found.notes == ("the recipe names it at demo.q:6",)


def test_a_cache_that_is_not_there_is_told_at_the_recipes_line(tmp_path: Path) -> None:
    recipe = cached(tmp_path)
    (tmp_path / "calib.cache").unlink()
    (found,) = told(recipe)
    assert found.code == "data-missing" and found.span is not None and found.span.line == 6
    (seen,) = missing_files(qdsl.check(recipe).recipe)  # type: ignore[arg-type]
    assert seen.code == "file-missing" and "calibration cache" in seen.headline


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("from", "expected `cache`"),
        ("from cache", "expected a text"),
        ("from cache calib", "expected a text"),
        ('from file "calib.cache"', "expected `cache`"),
        ('from cache "calib.cache" on calib', "two settings"),
    ],
)
def test_other_words_are_told_with_what_belongs_there(words: str, label: str) -> None:
    with pytest.raises(QdslError) as caught:
        loads(HEAD.replace("calibrate minmax on calib", f"calibrate {words}"), name="demo.q")
    (found,) = caught.value.diagnostics
    assert label in f"{found.headline} {found.label} {found.help}"


def test_the_cache_that_stands_beside_an_artifact_gives_its_scales_back(tmp_path: Path) -> None:
    """For TensorRT 10.3, which still takes one: Q/DQ of measured ranges, and of the cache written of them."""
    head = HEAD.replace("uint8 affine", "int8 symmetric").replace("target ort", 'target tensorrt { version "10.3" }')
    recipe = project(tmp_path, head=head)
    (measured,) = qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets
    (emitted,) = (tmp_path / "build").rglob("calib.cache")
    (tmp_path / "calib.cache").write_bytes(emitted.read_bytes())
    again = tmp_path / "again.q"
    again.write_text(head.replace("recipe demo", "recipe again").replace("minmax on calib", 'from cache "calib.cache"'))
    (cached_,) = qdsl.compile(again, out=tmp_path / "build", lock=False).targets
    assert cached_.plan.caches[0].used >= 4 and cached_.plan.caches[0].unused == 0
    assert stored(cached_.emitted.model) == stored(measured.emitted.model)
