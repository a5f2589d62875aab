"""What quantizing one layer costs the outputs: by running it, against plans carried out one by one in ONNX Runtime."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, environment, project
from numpy.typing import NDArray
from pieces import Pieces
from report_tools import Page

import qdsl
from qdsl import calibrate, data
from qdsl.data import Dataset
from qdsl.diag import Diagnostics, QdslError
from qdsl.graph import Model, from_proto, to_proto
from qdsl.graph.sessions import LOADING, Session
from qdsl.harness.sensitivity import keep_sensitivity, place_of
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.quant import dequantize, quantize_weight, weight_parameters
from qdsl.report.data import load
from qdsl.report.page import page
from qdsl.sensitivity import measuring
from qdsl.sensitivity.estimates import ratio
from qdsl.sensitivity.measuring import How, measure
from qdsl.sensitivity.networks import networks
from qdsl.sensitivity.shares import blocks, share_of
from qdsl.sensitivity.units import Choice, Unit, stored_as, units_of, with_weights
from qdsl.spec import DTYPES
from qdsl.spec.bounds import UnfitError
from qdsl.spec.plan import Plan
from qdsl.spec.sensitivity import Row, Sensitivity, from_json, to_json
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read, takes

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A model with a plan, ranges and data."""

    model: Model
    plan: Plan
    ranges: calibrate.Ranges
    dataset: Dataset

    @property
    def units(self) -> tuple[Unit, ...]:
        return units_of(self.plan, self.model.view())


def case(folder: Path, rules: str = "", proto: onnx.ModelProto | None = None, head: str = HEAD) -> Case:
    prepared = prepare(read(project(folder, rules, head=head, proto=proto), {}))
    (decided,) = decide_all(prepared, None, Diagnostics())
    dataset = data.open(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes(prepared))
    asked = [calibrate.Request(each.tensor) for each in decided.plan.tensors if each.observe]
    return Case(prepared.model, decided.plan, calibrate.calibrate(prepared.model, asked, dataset), dataset)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("sensitivity"))


def widths(units: Sequence[Unit], *names: str) -> tuple[Unit, ...]:
    """The weights of the units in these types."""
    ways = {name: stored_as(lambda scheme, name=name: replace(scheme, dtype=DTYPES[name])) for name in names}  # type: ignore[misc]
    return with_weights(units, ways)


def outputs(case: Case, choices: Sequence[Choice]) -> list[Array]:
    """The first output of each sample with these choices carried out by the inserter on the whole model."""
    model = case.model.copy()
    tensors: dict[str, Any] = {}
    for plan in (plan for choice in choices for plan in choice.tensors):
        known = tensors.get(plan.tensor)
        tensors[plan.tensor] = plan if known is None else replace(known, readers=(*known.readers, *plan.readers))
    for plan in case.plan.tensors:  # what shares a scale takes part in its range
        tensors.setdefault(plan.tensor, replace(plan, readers=()))
    weights = tuple(each for choice in choices for each in choice.weights)
    InsertQDQ(Pieces(tuple(tensors.values()), weights, tuple(b for c in choices for b in c.biases)), case.ranges).apply(
        model
    )
    proto = to_proto(model)
    return ran(proto, case.dataset)


def ran(proto: onnx.ModelProto, dataset: Dataset) -> list[Array]:
    """The first output of each sample, every node by itself."""
    loaded = Session(proto.SerializeToString(), LOADING)
    return [loaded.run(loaded.outputs[:1], sample.arrays)[0] for sample in dataset]


def noise(exact: Sequence[Array], found: Sequence[Array]) -> float:
    """Noise over signal on all samples."""
    one, other = (np.concatenate([each.ravel() for each in every]).astype(np.float64) for every in (exact, found))
    return float(np.square(one - other).sum() / np.square(one).sum())


# --- by running, against plans carried out one by one ----------------------------------------------------------------


def test_each_layer_alone_and_without_it_is_as_carried_out_one_by_one(small: Case) -> None:
    found = measure(small.model, small.units, small.ranges, small.dataset, How(share=len(small.dataset)))
    exact, whole = outputs(small, []), outputs(small, [unit.choices[0] for unit in small.units])
    assert found.outputs_db == pytest.approx(-10 * math.log10(noise(exact, whole)), abs=1e-6)
    apart = measure(small.model, small.units, small.ranges, small.dataset, How(share=6, gains=False))
    assert apart.rows == tuple(replace(row, gain_db=None, gain_error_db=None) for row in found.rows)
    assert apart.runs == found.runs - len(small.units) * len(small.dataset)
    for unit in small.units:
        row = found.row(unit.name, "planned")
        assert row is not None and row.samples == len(small.dataset)
        alone = noise(exact, outputs(small, [unit.choices[0]]))
        assert row.loss == pytest.approx(alone, rel=1e-6)
        without = noise(exact, outputs(small, [each.choices[0] for each in small.units if each != unit]))
        assert row.gain_db == pytest.approx(10 * math.log10(noise(exact, whole) / without), abs=1e-5)
        left = found.row(unit.name, "float32")
        assert left is not None and (left.loss, left.error, left.gain_db) == (0.0, 0.0, None)


def test_narrow_weights_of_any_opset_cost_what_they_cost(small: Case) -> None:
    """The test's model has opset 17, in which neither int4 nor int2 can be written."""
    units = widths(small.units, "int8", "int4", "int2")
    found = measure(small.model, units, small.ranges, small.dataset, How(share=6))
    assert [unit.name for unit in units] == ["stem", "inner", "left", "right", "gemm"]
    exact = outputs(small, [])
    for unit in units:
        losses = [row.loss for row in found.of(unit.name)]
        assert losses == sorted(losses) and losses[0] > 0
        (plan,) = unit.choices[1].weights
        weight = small.model.values(plan.tensor)
        params = weight_parameters(weight, plan.scheme, plan.axis, guard=plan.guard)
        assert params.dtype.name == "int4"
        steps = dequantize(quantize_weight(weight, plan.scheme, params, plan.guard).values, params)
        proto = to_proto(small.model)
        for constant in proto.graph.initializer:
            if constant.name == plan.tensor:
                constant.CopyFrom(onnx.numpy_helper.from_array(steps, plan.tensor))
        assert losses[1] == pytest.approx(noise(exact, ran(proto, small.dataset)), rel=1e-4)


def test_a_pair_on_an_output_belongs_to_the_layer_that_writes_it(small: Case) -> None:
    gemm = next(unit for unit in small.units if unit.name == "gemm")
    assert any(reader.node == "" for plan in gemm.choices[0].tensors for reader in plan.readers)


def test_layers_take_activation_functions_with_them(small: Case) -> None:
    nodes = {unit.name: unit.nodes for unit in small.units}
    assert nodes["stem"] == ("stem", "relu1") and nodes["add"] == ("add",)
    owned = [node for unit in small.units for node in unit.nodes]
    assert len(owned) == len(set(owned))


def test_what_shares_a_scale_shares_it_alone(small: Case) -> None:
    """The parts of a Concat have one scale, of the range of both, when only one of them is quantized."""
    joined = next(unit for unit in small.units if unit.name == "concat")
    one = replace(joined.choices[0], tensors=joined.choices[0].tensors[:1])
    made = networks(small.model, [Unit(("concat",), (one,)), *_others(small)], small.ranges)
    whole = networks(small.model, small.units, small.ranges)
    scales = [
        {name: onnx.numpy_helper.to_array(value) for name, value in sheet.constants.items() if name.endswith("_scale")}
        for sheet in (made.sheets[0, 0], whole.whole)
    ]
    shared = [name for name in scales[0] if one.tensors[0].group in name]
    assert shared and all(np.array_equal(scales[0][name], scales[1][name]) for name in shared)


def _others(small: Case) -> list[Unit]:
    return [unit for unit in small.units if unit.name != "concat"]


# --- shares -----------------------------------------------------------------------------------------------------------


def test_every_unit_has_a_share_and_every_sample_a_block() -> None:
    for samples, units, share in ((64, 63, 5), (64, 84, 3), (7, 100, 2), (10, 3, 2), (5, 4, 5), (1, 9, 1)):
        made = blocks(samples, units, share, seed=3)
        assert sorted(each for block in made for each in block.samples) == list(range(samples))
        assert sorted(each for block in made for each in block.units) == list(range(units))
        assert all(len(block.samples) >= share and block.units for block in made)
        sizes = [len(block.units) for block in made]
        assert max(sizes) - min(sizes) <= 1
    assert blocks(64, 63, 5, seed=3) != blocks(64, 63, 5, seed=4)


def test_a_share_keeps_to_the_budget() -> None:
    share = share_of(64, [0.5] * 63, [0.5] * 63, budget=6.0)
    assert 63 * 0.5 * (share + max(2, share // 3)) <= 4 * 64 < 63 * 0.5 * (share + 1 + max(2, (share + 1) // 3))
    assert share_of(64, [0.5] * 2, [0.5] * 2) == 64
    assert share_of(64, [9.0] * 500, [9.0] * 500) == 2  # no spread is seen of fewer
    assert share_of(1, [9.0] * 500, [9.0] * 500) == 1


def test_a_ratio_and_its_error() -> None:
    found = ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found is not None and (found.value, found.error) == (0.5, 0.0)
    assert ratio([1.0], [0.0]) is None
    single = ratio([1.0], [2.0])
    assert single is not None and single.error is None
    draw = np.random.default_rng(0)
    ones, others = draw.uniform(1, 2, 400), draw.uniform(1, 2, 400)
    estimates = [r for at in range(0, 400, 20) if (r := ratio(list(ones[at : at + 20]), list(others[at : at + 20])))]
    spread = float(np.std([each.value for each in estimates]))
    told = float(np.mean([each.error or 0.0 for each in estimates]))
    assert 0.6 < told / spread < 1.6


# --- the same bytes, whatever happens ---------------------------------------------------------------------------------


def test_threads_change_nothing(small: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("qdsl.sensitivity.sqnr.processors", lambda threads=threads: threads)
        found.append(to_json(measure(small.model, small.units, small.ranges, small.dataset, How(share=2, seed=5))))
    assert found[0] == found[1]


def test_chunks_of_networks_change_nothing(small: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(small.model, small.units, small.ranges, small.dataset, How(share=2))
    monkeypatch.setattr("qdsl.sensitivity.sqnr._LARGEST_CHUNK", 1)
    apart = measure(small.model, small.units, small.ranges, small.dataset, How(share=2))
    assert apart.rows == whole.rows and apart.runs > whole.runs


def test_it_goes_on_where_it_was_interrupted(small: Case, tmp_path: Path) -> None:
    whole = measure(small.model, small.units, small.ranges, small.dataset, How(share=2))
    steps: list[int] = []

    def stop(text: str, done: int, total: int) -> None:
        steps.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(small.model, small.units, small.ranges, small.dataset, How(share=2), folder=tmp_path, heard=stop)
    assert list(tmp_path.iterdir())
    read_again: list[int] = []
    real = Dataset.sample

    def counted(self: Dataset, index: int) -> Any:
        read_again.append(index)
        return real(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "sample", counted)
        again = measure(small.model, small.units, small.ranges, small.dataset, How(share=2), folder=tmp_path)
    assert to_json(again) == to_json(whole) and not list(tmp_path.iterdir())
    assert len(read_again) == len(small.dataset) - 4


def test_nothing_is_taken_of_another_measurement(small: Case, tmp_path: Path) -> None:
    def stop(text: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    given = (small.model, small.units, small.ranges, small.dataset)
    with pytest.raises(KeyboardInterrupt):
        measure(*given, How(share=2, seed=2), folder=tmp_path, heard=stop)
    whole = measure(*given, How(share=2, seed=1))
    assert to_json(measure(*given, How(share=2, seed=1), folder=tmp_path)) == to_json(whole)
    (tmp_path / measuring._STATE).write_text("{", encoding="utf-8")
    assert to_json(measure(*given, How(share=2, seed=1), folder=tmp_path)) == to_json(whole)


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from test_sensitivity import How, case, measure
folder = Path(sys.argv[1])
found = case(folder / "case")
def slow(text, done, total):
    print(done, flush=True)
    time.sleep(60 if done == 4 else 0)
measure(found.model, found.units, found.ranges, found.dataset, How(share=2), folder=folder / "state", heard=slow)
"""


@pytest.mark.slow
def test_a_kill_loses_a_block_at_most(tmp_path: Path) -> None:
    """SIGKILL in the middle: what follows ends in the same bytes."""
    words = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(words, env=environment(), cwd=root, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != b"4":
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
    assert (tmp_path / "state" / measuring._STATE).is_file()
    found = case(tmp_path / "case")
    whole = measure(found.model, found.units, found.ranges, found.dataset, How(share=2))
    again = measure(found.model, found.units, found.ranges, found.dataset, How(share=2), folder=tmp_path / "state")
    assert to_json(again) == to_json(whole)


# --- what cannot be measured ------------------------------------------------------------------------------------------


def test_a_sample_that_is_not_finite_is_told_by_name(small: Case) -> None:
    """Of a reader that lets it through: that of arrays does not."""

    @dataclass(frozen=True)
    class Odd:
        flat: frozenset[int] = frozenset()

        def arrays(self, index: int) -> dict[str, Array]:
            found = dict(small.dataset.reader.arrays(index))
            return found if index != 3 else {name: np.full_like(values, np.nan) for name, values in found.items()}

        def file(self, index: int) -> tuple[str, Path]:
            return small.dataset.file(index)

    reader: Any = Odd()
    with pytest.raises(QdslError) as caught:
        measure(small.model, small.units, small.ranges, replace(small.dataset, reader=reader), How(share=6))
    (told,) = caught.value.diagnostics
    assert told.code == "sensitivity-not-finite"
    assert small.dataset.ids[3] in told.headline and "input `x`" in told.headline


def test_the_layer_that_is_not_finite_is_told(small: Case) -> None:
    proto = to_proto(small.model)
    node = next(node for node in proto.graph.node if node.name == "relu2")
    node.op_type, node.name = "Log", "log"
    model = from_proto(proto)
    units = [unit for unit in small.units if "relu2" not in unit.nodes and unit.name == "stem"]
    with pytest.raises(QdslError) as caught:
        measure(model, units, small.ranges, small.dataset, How(share=6))
    (told,) = caught.value.diagnostics
    assert told.code == "sensitivity-not-finite" and "`log` (Log)" in told.headline


# --- as data ----------------------------------------------------------------------------------------------------------


def test_text_and_back(small: Case) -> None:
    found = measure(small.model, small.units, small.ranges, small.dataset, How(share=2, seed=9))
    assert from_json(to_json(found)) == found
    assert found.seed == 9 and found.data == "calib" and found.units[0] == small.units[0].name
    ranked = found.ranked("planned")
    assert [row.loss for row in ranked] == sorted((row.loss for row in ranked), reverse=True)
    assert found.rank(ranked[2]) == (3, len(small.units))
    ranks = found.ranks()
    assert len(ranks) == len(found.rows)
    assert all((ranks[row.unit, row.choice],) == found.rank(row)[:1] for row in found.rows)
    line = found.told(ranked[0].unit)[0]
    assert line.startswith("alone ") and f"rank 1 of {len(small.units)}, sqnr on calib" in line


@pytest.mark.parametrize(
    ("old", "new"),
    [('"sqnr"', '"entropy"'), ('"loss": 0.0', '"loss": -1.0'), ('"format": 1', '"format": 2'), ('"seed"', '"sead"')],
)
def test_other_texts_are_refused(small: Case, old: str, new: str) -> None:
    text = to_json(Sensitivity("sqnr", "calib", 1, 0, (Row("a", "int8", 0.0),)))
    assert old in text
    with pytest.raises(UnfitError):
        from_json(text.replace(old, new))


# --- told -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with a build that has measured its sensitivity."""
    recipe = project(tmp_path_factory.mktemp("built"))
    out = recipe.parent / "build"
    qdsl.compile(recipe, out=out, lock=False, measure=False)
    prepared = prepare(read(recipe, {}))
    (decided,) = decide_all(prepared, None, Diagnostics())
    ranges = calibrate.Ranges.from_json((out / "demo" / "ranges.json").read_text())
    opened = data.open(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes(prepared))
    found = measure(prepared.model, units_of(decided.plan, prepared.view), ranges, opened, How(share=2))
    assert keep_sensitivity(out / "demo", "ort", found) == place_of(out / "demo", "ort")
    return recipe


def test_explain_tells_a_layer_and_what_is_in_it(built: Path) -> None:
    out = built.parent / "build"
    (stem,) = qdsl.explain(built, "stem", out=out)
    (relu,) = qdsl.explain(built, "relu1", out=out)
    assert stem.sensitivity == relu.sensitivity != ()
    told = r"^  sensitivity  alone \d+\.\d dB, in float gains -?\d+\.\d dB, rank \d of \d, sqnr on calib$"
    assert re.search(told, stem.text, re.M)
    assert qdsl.explain(built, "stem", out=built.parent / "elsewhere")[0].sensitivity == ()


def test_explain_says_nothing_of_another_model(built: Path) -> None:
    path = place_of(built.parent / "build" / "demo", "ort")
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(to_json(replace(from_json(text), model="0" * 64)), encoding="utf-8")
        assert qdsl.explain(built, "stem", out=built.parent / "build")[0].sensitivity == ()
        path.write_text("{}", encoding="utf-8")
        with pytest.raises(QdslError) as caught:
            qdsl.explain(built, "stem", out=built.parent / "build")
        assert caught.value.diagnostics[0].code == "measurements-file"
    finally:
        path.write_text(text, encoding="utf-8")


def test_the_page_has_a_figure_and_a_table_of_it(built: Path) -> None:
    folder = built.parent / "build" / "demo"
    shown = Page(page([load(folder)]))
    assert not shown.wrong
    assert "Which layers are sensitive" in shown.shown and "Sensitivity of layers." in shown.shown
    found = from_json(place_of(folder, "ort").read_text(encoding="utf-8"))
    assert all(unit in shown.shown for unit in found.units)
    place_of(folder, "ort").rename(folder / "aside")
    try:
        assert "Which layers are sensitive" not in Page(page([load(folder)])).shown
    finally:
        (folder / "aside").rename(place_of(folder, "ort"))


# --- how well shares tell the order -----------------------------------------------------------------------------------


def test_shares_put_layers_nearly_into_the_order_of_all_samples(tmp_path: Path) -> None:
    """Kendall's tau over 13 ways of layers, each on 6 of 24 samples."""
    recipe = project(tmp_path)
    np.savez(tmp_path / "calib.npz", x=np.random.default_rng(1).standard_normal((24, 3, 8, 8)).astype(np.float32))
    prepared = prepare(read(recipe, {}))
    (decided,) = decide_all(prepared, None, Diagnostics())
    opened = data.open(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes(prepared))
    units = widths(units_of(decided.plan, prepared.view), "int8", "int4", "int2")
    nothing = calibrate.Ranges({}, {}, 0, 0)
    share, full = (measure(prepared.model, units, nothing, opened, How(share=each)) for each in (6, 24))
    ones, others = ([row.loss for row in found.rows] for found in (share, full))
    pairs = [(a, b) for a in range(len(ones)) for b in range(a)]
    signs = [np.sign(ones[a] - ones[b]) * np.sign(others[a] - others[b]) for a, b in pairs]
    assert share.rows != full.rows and float(np.mean(signs)) > 0.85
    near = [abs(a.loss - b.loss) <= 3 * (a.error or 0.0) for a, b in zip(share.rows, full.rows, strict=True)]
    assert np.mean(near) > 0.85
