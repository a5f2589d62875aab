"""Several targets in one recipe: each is made with the ranges that it would have alone, measured in one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project, tree
from test_cuts import MASKS, attention

import qdsl
from qdsl.diag import Diagnostics, QdslError
from qdsl.lock import read as read_lock
from qdsl.lock import render
from qdsl.measure.events import Event
from qdsl.ranges.locked import needed
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

TARGETS = ("ort", "tensorrt")
ORT = "target ort"
INT8 = "quantize static { activations int8 symmetric per_tensor }"
TENSORRT = f"target tensorrt {{ {INT8} }}"
METHODS = ["minmax", "mean_minmax", "mse", "entropy", "percentile 99.9"]
# No sum that ONNX Runtime adds up in another order where more tensors are measured (see `qdsl/calibrate/ways.py`).
CHAIN = """
net (float[1, 3, 8, 8] x) => (float[1, 5, 4, 4] y) {
  [first] a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b4)
  [relu] r = Relu (a)
  [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
  [inner] b = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (p, w2, b4)
  [again] t = Relu (b)
  [last] y = Conv <kernel_shape = [1, 1]> (t, w3, b5)
}
"""
MSE = ("mse on calib for int8 symmetric per_tensor", "mse on calib for uint8 affine per_tensor")


class StoppedError(Exception):
    """A compilation was stopped."""


def chain() -> onnx.ModelProto:
    """Weights that are not centred, so that ranges are not."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {CHAIN}')
    draw = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), "w3": (5, 4, 1, 1), "b4": (4,), "b5": (5,)}
    for name, shape in shapes.items():
        values = draw.standard_normal(shape).astype(np.float32) + np.float32(0.2)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


def head(method: str = "mse", targets: Sequence[str] = (ORT, TENSORRT)) -> str:
    """A recipe for `targets`, which end at the same line however many there are."""
    return HEAD.replace("minmax", method).replace("target ort", "\n".join(("", "", *targets)[-2:]))


def made(folder: Path, method: str = "mse", targets: Sequence[str] = (ORT, TENSORRT), **words: object) -> Path:
    """The recipe, compiled."""
    recipe = project(folder, head=head(method, targets), proto=chain())
    compiled(recipe, **words)
    return recipe


def compiled(recipe: Path, **words: object) -> qdsl.CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False, **words)  # type: ignore[arg-type]


def model(recipe: Path, target: str) -> bytes:
    return (recipe.parent / "build" / "demo" / target / "model.onnx").read_bytes()


def decided(recipe: Path) -> dict[str, bytes]:
    """What follows from the ranges, not from what was compared."""
    found = tree(recipe.parent / "build")
    return {name: found[name] for name in found if name.endswith(("model.onnx", "ranges.json", "plan.json"))}


def methods(recipe: Path, tensor: str = "x") -> list[str]:
    """How the lock says that a tensor was measured."""
    lock = read_lock(recipe.with_suffix(".lock"))
    assert lock is not None
    return [found.method for found in lock.ranges if found.tensor == tensor]


@pytest.mark.parametrize("method", METHODS)
def test_each_target_gets_what_it_gets_alone(method: str, tmp_path: Path) -> None:
    both = made(tmp_path / "both", method)
    for target in TARGETS:
        assert model(made(tmp_path / target, method, target=target), target) == model(both, target)


def test_so_it_does_beside_a_target_that_calibrates_otherwise(tmp_path: Path) -> None:
    targets = ("target ort { quantize static { calibrate percentile 99 on calib } }", TENSORRT)
    both = made(tmp_path / "both", "minmax", targets)
    for target in TARGETS:
        assert model(made(tmp_path / target, "minmax", targets, target=target), target) == model(both, target)
    assert methods(both) == ["minmax on calib", "percentile 99.0 on calib for uint8 affine per_tensor"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_without_the_other_target_gives_the_same(method: str, tmp_path: Path) -> None:
    both = compiled(project(tmp_path / "both", head=head(method), proto=chain()))
    for target, line in zip(both.targets, (ORT, TENSORRT), strict=True):
        alone = compiled(project(tmp_path / target.target, head=head(method, [line]), proto=chain()))
        assert (alone.ranges.low, alone.ranges.high) == (target.ranges.low, target.ranges.high)
        assert alone.ranges.methods == target.ranges.methods and alone.ranges.low


def test_the_sample_is_seen_once_whoever_asks(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    recipe = project(tmp_path, head=head(), proto=chain())

    def hear(event: Event) -> None:
        if event.stage == "calibrate" and event.total:
            heard.append((event.done, event.total))

    compiled(recipe, listener=hear)
    assert heard == [(done, 6) for done in range(1, 7)]


def test_the_lock_holds_a_range_for_each_method_and_gives_it_back(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    before, lock = decided(recipe), recipe.with_suffix(".lock").read_text()
    assert methods(recipe) == [*MSE] and methods(recipe, "y") == [MSE[1]]
    (tmp_path / "calib.npz").unlink()
    again = compiled(recipe, locked=True)
    assert again.from_lock and decided(recipe) == before
    for target in TARGETS:  # of the whole recipe's lock, a target takes its own
        assert compiled(recipe, locked=True, target=target).from_lock
        assert model(recipe, target) == before[f"demo/{target}/model.onnx"]
    assert recipe.with_suffix(".lock").read_text() == lock


def test_equal_requests_are_one_line_of_the_lock(tmp_path: Path) -> None:
    recipe = made(tmp_path, "minmax")
    text = recipe.with_suffix(".lock").read_text()
    assert text.count('range "x" ') == 1 and " for " not in text


def test_a_lock_that_lacks_the_range_of_one_target_is_stale(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    path = recipe.with_suffix(".lock")
    lock = read_lock(path)
    assert lock is not None
    less = tuple(found for found in lock.ranges if found.key != ("x", MSE[0]))
    path.write_text(render(replace(lock, ranges=less)), encoding="utf-8")
    assert qdsl.plan(recipe).lock is None
    with pytest.raises(QdslError, match=f"range: `x` is calibrated by `{MSE[0]}`, too"):
        compiled(recipe)
    assert compiled(recipe, target="ort").from_lock


def test_what_targets_have_in_common_stands_once_in_the_ranges(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    found = json.loads((tmp_path / "build" / "demo" / "ranges.json").read_text())["tensors"]
    assert found["x"].keys() == {*TARGETS} and found["x"]["ort"] != found["x"]["tensorrt"]
    assert isinstance(found["y"], list)  # of one target alone
    assert model(recipe, "ort") != model(recipe, "tensorrt")


def test_a_file_agrees_with_the_lock_of_all_until_its_own_range_is_another(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    path = recipe.with_suffix(".lock")
    lock = read_lock(path)
    assert lock is not None

    def told(target: str) -> list[str]:
        found = qdsl.show(tmp_path / "build" / "demo" / target / "model.onnx", recipe=recipe).agreements
        return [text for each in found for text in each.told]

    assert [told(target) for target in TARGETS] == [[], []]
    moved = tuple(replace(found, low=-9.0) if found.key == ("x", MSE[0]) else found for found in lock.ranges)
    path.write_text(render(replace(lock, ranges=moved)), encoding="utf-8")
    assert [told(target) for target in TARGETS] == [[], ['range of "x" is another in it']]


def test_a_comparison_of_locks_tells_the_range_that_moved(tmp_path: Path) -> None:
    recipe = made(tmp_path)
    lock, other = read_lock(recipe.with_suffix(".lock")), tmp_path / "other.lock"
    assert lock is not None
    moved = tuple(replace(found, low=-9.0) if found.key == ("x", MSE[0]) else found for found in lock.ranges)
    other.write_text(render(replace(lock, ranges=moved)), encoding="utf-8")
    (change,) = (each for pair in qdsl.diff(recipe.with_suffix(".lock"), other).differences for each in pair.moved)
    assert change.name == f"x ({MSE[0]})"


@pytest.mark.slow
@pytest.mark.parametrize("words", [{"shards": 2}, {"workers": 3, "batch": 2}])
def test_however_the_work_is_cut_the_lock_is_the_same(words: dict[str, int], tmp_path: Path) -> None:
    whole, cut = made(tmp_path / "whole"), made(tmp_path / "cut", **words)
    assert cut.with_suffix(".lock").read_bytes() == whole.with_suffix(".lock").read_bytes()
    assert decided(cut) == decided(whole)


@pytest.mark.slow
def test_means_are_of_the_data_that_a_target_calibrates_on(tmp_path: Path) -> None:
    """`bias_correct` for two targets, on data of their own."""
    rest = 'data other from npz "other.npz"\nimprove { bias_correct }\n'
    targets = (f"target ort {{ {INT8.replace('activations', 'calibrate minmax on other; activations')} }}", TENSORRT)
    recipe = project(tmp_path, rest, head=head("minmax", targets), proto=chain())
    np.savez(tmp_path / "other.npz", x=np.random.default_rng(5).standard_normal((3, 3, 8, 8)).astype(np.float32))
    both = compiled(recipe)
    lock = read_lock(recipe.with_suffix(".lock"))
    assert lock is not None and {each.data for each in lock.means if each.tensor == "x"} == {"calib", "other"}
    assert both.targets[0].ranges.means["x"] != both.targets[1].ranges.means["x"]
    whole = decided(recipe)
    for target in TARGETS:
        compiled(recipe, target=target, lock=False)
        assert model(recipe, target) == whole[f"demo/{target}/model.onnx"]
    assert compiled(recipe).from_lock and decided(recipe) == whole


def with_a_softmax(folder: Path) -> Path:
    """Attention with a mask; the table of TensorRT says nothing of what a Softmax tells apart."""
    recipe, _ = attention(folder, MASKS["times the lowest float"])
    recipe.write_text(f"{recipe.read_text()}{TENSORRT}\n", encoding="utf-8")
    return recipe


def test_ranges_are_cut_as_for_the_target_alone(tmp_path: Path) -> None:
    recipe = with_a_softmax(tmp_path)
    both = {found.target: found.ranges for found in compiled(recipe, lock=False).targets}
    for target in TARGETS:
        assert compiled(recipe, lock=False, target=target).targets[0].ranges == both[target]
    assert "cut 8.72 below the largest of a row" in both["ort"].methods["m"]


def test_the_lock_names_the_scheme_where_it_alone_decides_of_a_cut(tmp_path: Path) -> None:
    """What is cut in rows depends on the number of levels: another range by the same method."""
    prepared = prepare(read(with_a_softmax(tmp_path), {}))
    plan = decide_all(prepared, "ort", Diagnostics())[0].plan
    scheme = qdsl.plan(tmp_path / "cut.q").plans[1].tensors[0].scheme
    other = replace(plan, target="other", tensors=tuple(replace(each, scheme=scheme) for each in plan.tensors))
    alone, all_of = dict(needed([plan])), [*needed([plan, other])]
    rows = {cut.tensor for cut in plan.cuts if cut.rows} & alone.keys()
    assert rows and all(" for " not in method for method in alone.values())
    assert {method.partition(",")[0] for name, method in all_of if name in rows} == {
        "minmax on calib for uint8 affine per_tensor",
        "minmax on calib for int8 symmetric per_tensor",
    }
    assert all((name, method) in all_of for name, method in alone.items() if name not in rows)


def test_an_interrupted_pass_goes_on_for_both(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")
    recipe, done = project(tmp_path / "cut", head=head(), proto=chain()), list[int]()

    def stop(event: Event) -> None:
        if event.stage == "calibrate" and event.total:
            done.append(event.done)
            if done == [1, 2, 3]:
                raise StoppedError

    with pytest.raises(StoppedError):
        compiled(recipe, listener=stop, workers=1)
    compiled(recipe, listener=stop, workers=1)
    assert done[3] > 3, "what was seen is not seen again"
    assert recipe.with_suffix(".lock").read_bytes() == whole.with_suffix(".lock").read_bytes()
