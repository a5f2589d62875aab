"""`allocate layers`: the layers that a bound needs in float, and no others, found by measuring whole builds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import project, tree

import qdsl
from qdsl.allocate import costs, losses
from qdsl.allocate.bounds import judged
from qdsl.allocate.cut import Costs
from qdsl.allocate.estimating import undisturbed
from qdsl.allocate.evaluating import Evaluator
from qdsl.allocate.hull import Chosen, Estimates, hull
from qdsl.allocate.losses import Loss
from qdsl.allocate.searching import Search, Shown
from qdsl.allocate.units import Group, Groups, groups_of, uncounted
from qdsl.allocate.weighing import parts_of, weighed
from qdsl.diag import QdslError, Severity
from qdsl.harness.sensitivity import read_sensitivity
from qdsl.measure.budgets import Reading
from qdsl.spec.allocation import Allocation, Held, Trial, text
from qdsl.spec.allocation import Estimates as KeptEstimates
from qdsl.spec.assigned import Assigned
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.targets.results import LayerTimes
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import prepare, read

HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
data dev from npz "dev.npz"
quantize static {
  weights int8 symmetric per_tensor
  activations uint8 affine per_tensor
  calibrate minmax on calib
}
target ort
"""
LINE = "allocate layers from [int8, float32] { minimize macs under sqnr >= 30 dB on dev; evaluations 12 }\n"

# Six layers in a row; the first weight of two of them is so large that 8 bits leave nothing of the others.
CHAIN = """
net (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
  [one] a = Conv <kernel_shape = [1, 1]> (x, w1)
  [two] b = Conv <kernel_shape = [1, 1]> (a, w2)
  [act] c = Relu (b)
  [three] d = Conv <kernel_shape = [1, 1]> (c, w3)
  [four] e = Conv <kernel_shape = [1, 1]> (d, w4)
  [five] f = Conv <kernel_shape = [1, 1]> (e, w5)
  [six] y = Conv <kernel_shape = [1, 1]> (f, w6)
}
"""
FRAGILE = {"three", "five"}


def chain() -> onnx.ModelProto:
    """Layers that mix four channels; a fragile one has a fifth of large weights for a channel that is nearly 0."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {CHAIN}')
    for number in range(1, 7):
        values = np.eye(4, dtype=np.float32) + np.random.default_rng(number).uniform(-0.3, 0.3, (4, 4))
        if number in (3, 5):
            values[:, 3] = 0
            values[3, :] = 0
            values[3, 3] = 200
        if number in (2, 4):
            values[3, :] = 0
            values[3, 3] = 1e-4
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(values.astype(np.float32).reshape(4, 4, 1, 1), f"w{number}")
        )
    return proto


def recipe_in(folder: Path, line: str = LINE, head: str = HEAD) -> Path:
    recipe = project(folder, line, head=head, proto=chain())
    draw = np.random.default_rng(5)
    np.savez(folder / "dev.npz", x=draw.uniform(0, 1, (5, 4, 8, 8)).astype(np.float32))
    np.savez(folder / "calib.npz", x=draw.uniform(0, 1, (6, 4, 8, 8)).astype(np.float32))
    return recipe


def with_dev(recipe: Path) -> Path:
    (recipe.parent / "dev.npz").write_bytes((recipe.parent / "calib.npz").read_bytes())
    return recipe


def compiled(recipe: Path, **more: bool) -> qdsl.CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False, **more)


def allocation(recipe: Path) -> Allocation:
    path = recipe.parent / "build" / "demo" / "allocation-ort.json"
    return decode(Allocation, json_data(path.read_text()))


def line_of(count: int, losses: dict[int, float]) -> Estimates:
    """So many layers in a row: each costs 1 in float, and half as much where a neighbour has another type."""
    apart = {(at, at + 1): 0.25 for at in range(count - 1)}
    found = [Loss(noise, (at,)) for at, noise in losses.items()]
    return Estimates(Costs([(0.0, 1.0)] * count, apart), found, {})


class Judge:
    """Holds where all of `needed` are in float, however the estimates are; counts."""

    def __init__(self, needed: set[int], most: int = 60) -> None:
        self.needed, self.most, self.asked = needed, most, list[Chosen]()

    def __call__(self, chosen: Chosen) -> Shown | None:
        if len(self.asked) == self.most:
            return None
        self.asked.append(chosen)
        missing = len(self.needed - chosen)
        return Shown(chosen, not missing, 0.5 - missing)


@pytest.mark.parametrize("needed", [set(), {3}, {1, 6}, {0, 4, 7}])
def test_the_search_ends_with_what_is_needed(needed: set[int]) -> None:
    wrong = {at: 1.0 + at / 10 for at in range(8)}  # estimates that know nothing
    judge = Judge(needed)
    best = Search(line_of(8, wrong), range(8), judge).run()
    assert best is not None and best.chosen == needed
    assert len(judge.asked) == len(set(judge.asked)) <= 40


def test_good_estimates_need_few_evaluations() -> None:
    good = dict.fromkeys(range(60), 1e-4) | {11: 1.0, 40: 0.5}
    judge = Judge({11, 40})
    best = Search(line_of(60, good), range(60), judge).run()
    assert best is not None and best.chosen == {11, 40}
    assert len(judge.asked) <= 12


def test_evaluations_are_not_exceeded_and_what_was_found_stays() -> None:
    judge = Judge({3, 9, 20, 33}, most=7)
    search = Search(line_of(40, {at: 1.0 + at / 100 for at in range(40)}), range(40), judge)
    best = search.run()
    assert len(judge.asked) == 7
    assert best is None or best.chosen >= judge.needed


def test_what_is_pinned_stays() -> None:
    estimates = line_of(4, dict.fromkeys(range(4), 1.0))
    estimates = Estimates(estimates.costs, estimates.losses, {0: True, 3: False})
    judge = Judge({1})
    best = Search(estimates, range(4), judge).run()
    assert best is not None and best.chosen == {0, 1}
    assert all(0 in each and 3 not in each for each in judge.asked)


def test_the_hull_goes_from_cheap_to_precise() -> None:
    estimates = line_of(6, {0: 0.1, 2: 3.0, 5: 0.7})
    path = hull(estimates)
    costs, losses = [[rate(each) for each in path] for rate in (estimates.cost, estimates.loss)]
    assert costs == sorted(costs) and losses == sorted(losses, reverse=True)
    assert path[0] == frozenset() and losses[-1] == 0.0


def test_groups_are_layers_with_their_activations(tmp_path: Path) -> None:
    prepared = prepare(read(recipe_in(tmp_path), {}))
    spec = prepared.recipe.allocate
    assert spec is not None
    groups = groups_of(decide_one(prepared, "ort"), spec)
    assert [group.nodes for group in groups.groups] == [
        *(("one",), ("two", "act"), ("three",)),
        *(("four",), ("five",), ("six",)),
    ]


def grouped(folder: Path, *dims: str) -> Groups:
    """The groups of the chain, with names for its first dimensions."""
    recipe = recipe_in(folder)
    proto = onnx.load(folder / "demo.onnx")
    for tensor in (proto.graph.input[0], proto.graph.output[0]):
        for at, dim in zip((0, 2, 3), dims, strict=False):
            tensor.type.tensor_type.shape.dim[at].dim_param = dim
    onnx.save(proto, folder / "demo.onnx")
    prepared = prepare(read(recipe, {}))
    assert prepared.recipe.allocate is not None
    return groups_of(decide_one(prepared, "ort"), prepared.recipe.allocate)


def test_a_free_batch_counts_as_one_sample(tmp_path: Path) -> None:
    """Else conversions between layers would cost nothing."""
    assert grouped(tmp_path / "free", "N") == grouped(tmp_path / "fixed")


def test_layers_of_an_unknown_size_are_told_with_what_fixes_them(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        grouped(tmp_path, "N", "H", "W")
    (found,) = caught.value.diagnostics
    assert found.code == "allocate-shape" and found.headline.endswith("`one` multiplies is not known, nor of 5 more")
    assert "{ shape [..] }" in found.help[0]


def test_where_some_layers_are_of_a_known_size_the_others_are_told(tmp_path: Path) -> None:
    """What stands behind an If has no shape, whatever the inputs are."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float[1, 3, 4] x, bool c) => (float[1, n, 4] y) {'
        " [one] a = MatMul (x, w) [two] b = If (c) <"
        "then_branch = yes () => (float[1, k, 4] t) { t = Relu (a) },"
        "else_branch = no () => (float[1, m, 4] e) { e = Concat <axis = 1> (a, a) }> [three] y = MatMul (b, w) }"
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    recipe = project(tmp_path, LINE, head=HEAD, proto=proto)
    prepared = prepare(read(recipe, {}))
    decided, spec = decide_one(prepared, "ort"), prepared.recipe.allocate
    assert spec is not None
    (found,) = uncounted(decided, groups_of(decided, spec), spec)
    assert found.code == "allocate-shape" and found.severity is Severity.WARNING
    assert found.headline.startswith("how often `three` multiplies is not known: ")


@pytest.mark.slow
def test_the_fragile_layers_are_found(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    result = compiled(recipe)
    kept = {node.node for node in result.targets[0].plan.nodes if node.prediction.runs == "float"}
    assert kept == FRAGILE
    found = allocation(recipe)
    assert found.taken is not None and found.trials[found.taken].holds
    assert not next(trial for trial in found.trials if not trial.assigned).holds  # all in integers
    assert len(found.trials) <= 12
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert "What was tried for the types of layers" in page and "What layers in integers cost" in page
    again = tree(tmp_path / "build")
    (tmp_path / "dev.npz").unlink()
    (tmp_path / "calib.npz").unlink()
    assert compiled(recipe, locked=True).from_lock
    model = "demo/ort/model.onnx"
    assert tree(tmp_path / "build")[model] == again[model]


@pytest.mark.slow
def test_where_everything_has_to_be_in_float_that_is_built_and_told(tmp_path: Path) -> None:
    found = compiled(recipe_in(tmp_path, LINE.replace("30 dB", "400 dB").replace("12", "9")))
    assert "allocate-float" in {each.code for each in found.diagnostics}
    assert not found.targets[0].plan.tensors
    assert not any(trial.why for trial in allocation(tmp_path / "demo.q").trials)


@pytest.mark.slow
def test_an_interrupted_search_goes_on_and_measures_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recipe_in(tmp_path / "whole")
    compiled(whole)
    measure, asked = Evaluator.measure, []

    def counted(self: Evaluator, assigned: tuple[Assigned, ...]) -> Trial:
        if len(asked) == 2 and None not in asked:
            asked.append(None)
            raise KeyboardInterrupt
        asked.append(assigned)
        return measure(self, assigned)

    monkeypatch.setattr(Evaluator, "measure", counted)
    estimates: list[object] = []
    real = losses.measure
    monkeypatch.setattr(losses, "measure", lambda *a, **more: (estimates.append(a), real(*a, **more))[1])
    recipe = recipe_in(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        compiled(recipe)
    assert not recipe.with_suffix(".lock").exists()
    compiled(recipe)
    tried = [each for each in asked if each is not None]
    assert len(tried) == len(set(tried)) == len(allocation(whole).trials)
    assert len(estimates) == 1
    model = "build/demo/ort/model.onnx"
    assert (recipe.parent / model).read_bytes() == (whole.parent / model).read_bytes()
    assert [trial.assigned for trial in allocation(recipe).trials] == [t.assigned for t in allocation(whole).trials]


def test_a_sensitivity_is_measured_as_it_says_and_kept(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, LINE.replace("{ minimize", "{ sensitivity sqnr on calib { take 5 seed 3 }; minimize"))
    result = compiled(recipe)
    found = read_sensitivity(tmp_path / "build" / "demo", "ort")
    assert found is not None and (found.method, found.data, found.samples, found.seed) == ("sqnr", "calib", 5, 3)
    assert found.units == ("one", "two", "three", "four", "five", "six")
    estimates = allocation(recipe).estimates
    assert estimates is not None
    alone = {min(row.loss for row in found.of(unit) if row.choice in ("planned", "weights")) for unit in found.units}
    assert alone <= {each.noise for each in estimates.roundings}  # what is shown led the search
    (told,) = qdsl.explain(recipe, "act", out=tmp_path / "build")
    assert [line.partition(":")[0] for line in told.sensitivity] == ["planned", "weights"]
    assert all("sqnr on calib" in line for line in told.sensitivity)
    assert "Which layers are sensitive" in result.report.read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["gradient", "hessian"])
def test_a_sensitivity_of_weights_alone_is_refused(tmp_path: Path, method: str) -> None:
    recipe = recipe_in(tmp_path, LINE.replace("{ minimize", f"{{ sensitivity {method} on calib; minimize"))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert found.code == "sensitivity-weights" and found.span is not None
    assert found.span.line == len(HEAD.splitlines()) + 1


@pytest.mark.slow
def test_what_was_measured_counts_by_what_files_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy with other times goes on from the same file, to the same bytes; other data starts anew."""
    recipe = recipe_in(tmp_path / "one")
    compiled(recipe)
    other = tmp_path / "two" / "demo.q"
    shutil.copytree(recipe.parent, other.parent)
    asked: list[object] = []
    measure = Evaluator.measure
    monkeypatch.setattr(Evaluator, "measure", lambda self, rows: (asked.append(rows), measure(self, rows))[1])
    for name in ("dev.npz", "calib.npz", "demo.onnx"):
        os.utime(other.parent / name, (10**9, 10**9))
    other.with_suffix(".lock").unlink()
    compiled(other)
    files = [one.parent / "build" / "demo" / "allocation-ort.json" for one in (recipe, other)]
    assert not asked and files[0].read_bytes() == files[1].read_bytes()
    np.savez(other.parent / "dev.npz", x=np.random.default_rng(6).uniform(0, 1, (5, 4, 8, 8)).astype(np.float32))
    other.with_suffix(".lock").unlink()
    compiled(other)
    assert len(asked) == len(allocation(other).trials) > 0


@pytest.mark.slow
def test_a_build_from_the_lock_says_what_the_lock_does_and_shows_no_other_search(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "one")
    first = compiled(recipe)
    assert first.report is not None
    said: list[str] = []
    folder = recipe.parent / "build" / "demo"
    searched = (folder / "allocation-ort.json").read_bytes()
    again = qdsl.compile(recipe, out=folder.parent, measure=False, listener=lambda event: said.append(event.text))
    assert again.from_lock and (folder / "allocation-ort.json").read_bytes() == searched
    (evidence,) = (text.split(": ", 1)[1] for text in said if text.startswith("ort   types from demo.lock: "))
    assert evidence == allocation(recipe).evidence
    other = json.loads(searched) | {"evidence": "sqnr >= 30 dB on dev: 99"}  # what another search left there
    (folder / "allocation-ort.json").write_text(json.dumps(other))
    page = compiled(recipe).report.read_text(encoding="utf-8")
    assert allocation(recipe).trials == () and "What was tried for" not in page
    assert evidence.replace(">", "&gt;") in page


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"noise": 0.5, "layers": [1]}, "not among them"), ({"noise": -0.5, "layers": [0]}, "expected a number")],
)
def test_kept_estimates_that_cannot_be_are_refused(changed: dict[str, Any], word: str) -> None:
    layer = {"node": "one", "nodes": 1, "macs": 8, "in_integers": 0.0, "in_float": 8.0}
    held = {"unit": "MACs", "layers": [layer], "roundings": [], "quantize": 0.0, "dequantize": 0.0}
    assert decode(KeptEstimates, held).layers[0].in_float == 8.0
    with pytest.raises(UnfitError, match=word):
        decode(KeptEstimates, {**held, "roundings": [changed]})


def test_a_pin_holds_and_a_group_stays_together(tmp_path: Path) -> None:
    line = LINE.replace("evaluations", 'pin "one" to float32; group op Conv and "f*"; evaluations').replace(
        "30", "1", 1
    )
    line = line.replace('op Conv and "f*"', '"four", "five"')
    compiled(recipe := recipe_in(tmp_path, line))
    found = allocation(recipe)
    assert all("one" in trial.assigned["float32"] for trial in found.trials)
    assert all(("four" in t.assigned["float32"]) == ("five" in t.assigned["float32"]) for t in found.trials)


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        (LINE.replace(">= 30 dB", "<= -400 dB"), "allocate-bound", "the nearest"),
        (LINE.replace("on dev", ""), "allocate-data", "on which data"),
        (LINE.replace("sqnr >= 30 dB", "energy <= 3 J"), "allocate-data", "cannot hold"),
        (LINE.replace("sqnr >= 30 dB", "size <= 3 MB"), "allocate-data", "whatever the data"),
        (LINE.replace("sqnr >= 30 dB", "sqnr drop <= 3 dB"), "allocate-bound", "without `drop`"),
        (LINE.replace("sqnr >= 30 dB on dev", "integer_share drop <= 1 %"), "allocate-bound", "of its own"),
        (LINE.replace("[int8, float32]", "[int16, float32]"), "allocate-types", "is the one of `quantize`"),
        (LINE.replace("evaluations", "pin all to int4; evaluations"), "allocate-pin", "none of the types"),
        ("keep all in float32\n" + LINE, "", ""),
        ('keep op Conv in float32\nlayers "x" { activations int8 }\n' + LINE, "", ""),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, line: str, code: str, word: str) -> None:
    with pytest.raises(QdslError) as caught:
        compiled(recipe_in(tmp_path, line))
    found = caught.value.diagnostics[0]
    assert not code or found.code == code
    assert word in " ".join((found.headline, found.label or "", *found.notes, *found.help))
    assert not (tmp_path / "demo.lock").exists()


def test_what_other_rules_lose_is_told_where_no_layer_is_left_to_blame(tmp_path: Path) -> None:
    line = LINE.replace(">= 30 dB", ">= 300 dB") + 'place { quantize tensor "x" }\n'
    with pytest.raises(QdslError) as caught:
        compiled(recipe_in(tmp_path, line))
    (found,) = caught.value.diagnostics
    assert found.code == "allocate-bound" and "with every layer in float" in found.notes[1]
    assert "(broken), 0 % of MACs in integers" in found.notes[1]


def test_of_a_bound_of_0_the_nearest_is_the_one_that_is_least_above(tmp_path: Path) -> None:
    line = LINE.replace("sqnr >= 30 dB", "mse <= 0").replace("evaluations", 'pin "one" to int8; evaluations')
    with pytest.raises(QdslError) as caught:
        compiled(recipe := recipe_in(tmp_path, line))
    values = [trial.held[0].value for trial in allocation(recipe).trials]
    assert len(set(values)) > 1 and 0 < min(values) < values[0]
    told = caught.value.diagnostics[0].notes[0]
    assert told.startswith(f"the nearest: mse <= 0 on dev: {min(values):.4g} (broken)")
    assert [trial.margin for trial in allocation(recipe).trials] == [-value for value in values]


@pytest.mark.parametrize(
    ("bound", "margin"),
    [
        ("size <= 0 B", -1.5),  # of the float model's 200
        ("size <= 600 B", 0.5),
        ("size ratio <= 0", -1.5),
        ("size == 200 B", -0.5),
        ("size != 300 B", 0.0),
    ],
)
def test_how_far_inside_a_bound_a_figure_lies(tmp_path: Path, bound: str, margin: float) -> None:
    recipe = read(recipe_in(tmp_path, LINE.replace("sqnr >= 30 dB on dev", bound)), {}).recipe
    assert recipe.allocate is not None
    (limit,) = recipe.allocate.limits
    assert judged(recipe, limit, Reading(300.0, 200.0)).margin == margin


def test_macs_are_those_in_float_in_a_bound_as_in_the_goal(tmp_path: Path) -> None:
    line = LINE.replace("minimize macs under sqnr >= 30 dB on dev", "minimize loss under macs ratio <= 40 %")
    plan = compiled(recipe := recipe_in(tmp_path, line)).targets[0].plan
    found = allocation(recipe)
    (taken,) = found.trials[found.taken or 0].held
    assert taken.value == plan.totals.macs - plan.totals.integer_macs == 2 * plan.totals.macs / 6
    assert (
        any(not trial.holds for trial in found.trials)
        and {node.node for node in plan.nodes if node.prediction.runs == "float"} == FRAGILE
    )


def test_where_bytes_count_the_smaller_float_type_stands_instead(tmp_path: Path) -> None:
    line = LINE.replace("[int8, float32]", "[int8, float32, float16]").replace("minimize macs", "minimize size")
    compiled(recipe := recipe_in(tmp_path, line.replace("evaluations 12", "evaluations 8")))
    found = allocation(recipe)
    assert {kind for trial in found.trials for kind in trial.assigned} == {"float16"}
    assert found.estimates is not None
    assert {layer.in_float for layer in found.estimates.layers} == {16.0}  # a byte more of each number


@pytest.mark.parametrize(("improve", "provenance"), [("improve { round adaptive }\n", "text"), ("", "none")])
def test_a_size_is_that_of_the_file_that_ships(tmp_path: Path, improve: str, provenance: str) -> None:
    """With where it comes from, as far as that is told: chosen integers have their marks in it."""
    recipe = recipe_in(tmp_path, improve + LINE)
    found = qdsl.compile(recipe, out=recipe.parent / "build", measure=False, provenance=provenance)
    tried = allocation(recipe)
    assert tried.taken is not None
    size = found.targets[0].emitted.size
    assert tried.trials[tried.taken].bytes == size == found.targets[0].emitted.model.stat().st_size
    predicted = found.targets[0].plan.totals.predicted_bytes
    assert provenance == "none" or abs(predicted - size) <= 128


def test_other_builds_have_nothing_to_allocate(tmp_path: Path) -> None:
    head = HEAD[: HEAD.index("quantize")] + "quantize float { weights float16 }\ntarget ort\n"
    with pytest.raises(QdslError) as caught:
        compiled(with_dev(project(tmp_path, LINE, head=head)))
    assert "`quantize float`" in caught.value.diagnostics[0].headline


def test_infinities_stand_as_words() -> None:
    held = Held("cosine >= 0.5 on dev", float("inf"), None, None, None)
    found = Allocation(2, "ort", "layers", "macs", "k", trials=(Trial({"float32": ("a",)}, held=(held,)),))
    assert decode(Allocation, json_data(text(found))) == found
    assert json.loads(text(found))["trials"][0]["held"][0]["value"] == "inf"


def test_a_metric_that_does_not_fall_evenly_is_scanned() -> None:
    estimates = line_of(8, {at: 4.0**at for at in range(8)})
    path = hull(estimates)
    holding = {path[2], path[-1]}

    def measure(chosen: Chosen) -> Shown:
        return Shown(chosen, chosen in holding, 0.5 if chosen in holding else -0.2)

    without, scanned = (Search(estimates, range(8), measure, scan=scan).run() for scan in (0, 6))
    assert without is not None and scanned is not None
    assert scanned.chosen == path[2] != without.chosen


def test_a_choice_that_nearly_holds_is_mended() -> None:
    """Two groups that lose little by themselves break the bound together; the first half of all breaks it, too."""
    losses = dict.fromkeys(range(16), 1.0) | {5: 1.5, 9: 1.4}

    def measure(chosen: Chosen) -> Shown:
        holds = bool({5, 9} & chosen)
        return Shown(chosen, holds, 0.5 if holds else -0.3)

    best = Search(line_of(16, losses), range(16), measure).run()
    assert best is not None and len(best.chosen) == 1 and best.chosen <= {5, 9}


@pytest.mark.slow
def test_parts_of_the_net_say_how_much_noise_counts() -> None:
    """Estimates that take the wrong layers to be fragile: the metric falls with two others."""
    wrong = {at: 2.0 if at < 20 else 0.01 * (1 + at / 100) for at in range(40)}
    plain, led = Judge({31, 32}), Judge({31, 32})
    without = Search(line_of(40, wrong), range(40), plain).run()
    weighed = Search(line_of(40, wrong), range(40), led, parts=8).run()
    assert without is not None and weighed is not None
    assert weighed.chosen == {31, 32} and len(led.asked) < len(plain.asked)


def test_weights_of_parts_keep_what_all_lose() -> None:
    estimates = line_of(6, dict.fromkeys(range(6), 1.0))
    assert [sorted(part) for part in parts_of(estimates, 3, [0, 3])] == [[0, 1, 2], [3, 4, 5]]
    parts = parts_of(estimates, 3, range(6))
    assert [sorted(part) for part in parts] == [[0, 1], [2, 3], [4, 5]]
    found = weighed(estimates, frozenset(), parts, [0.0, 4.0, -1.0])
    assert [round(each.noise, 6) for each in found.losses] == [0.5, 0.5, 2.0, 2.0, 0.5, 0.5]
    assert weighed(estimates, frozenset(), parts, [-1.0, 0.0, 0.0]) is estimates


def test_of_choices_that_cost_alike_the_one_furthest_inside_is_taken() -> None:
    estimates = line_of(3, dict.fromkeys(range(3), 1.0))
    times = {frozenset[int](): (1.0, 0.1), frozenset({0}): (1.01, 0.9), frozenset({0, 1}): (1.5, 2.0)}
    shown = {chosen: Shown(chosen, True, margin, cost) for chosen, (cost, margin) in times.items()}
    best = Search(estimates, range(3), lambda chosen: None, shown=shown).best()
    assert best is not None and best.chosen == {0}


def test_of_choices_that_cost_alike_one_that_is_not_slower_than_float_is_taken() -> None:
    estimates = line_of(3, dict.fromkeys(range(3), 1.0))
    kinds = {frozenset[int](): (1.0, True), frozenset({0}): (1.01, False), frozenset({0, 1}): (1.5, False)}
    shown = {chosen: Shown(chosen, True, 0.5, cost, slower=slower) for chosen, (cost, slower) in kinds.items()}
    best = Search(estimates, range(3), lambda chosen: None, shown=shown).best()
    assert best is not None and best.chosen == {0}
    shown = {chosen: Shown(chosen, True, 0.5, cost, slower=True) for chosen, (cost, _) in kinds.items()}
    best = Search(estimates, range(3), lambda chosen: None, shown=shown).best()
    assert best is not None and best.chosen == frozenset()


def test_layers_share_what_a_run_takes_beside_its_kernels() -> None:
    groups = Groups((Group(("one",), 8), Group(("two",), 8)), ())
    integers = LayerTimes({"one": 1.0, "two": 2.0}, 0.5, None, 4.0)
    floats = LayerTimes({"one": 4.0, "two": 2.0}, total=6.0)
    table = costs.timed(groups, integers, floats, (8.0, 9.0))
    assert table.groups == ((2.0, 6.0), (4.0, 3.0)) and table.quantize == 1.0
    assert costs.timed(groups, integers, floats).groups == ((1.0, 4.0), (2.0, 2.0))


def test_layers_are_timed_again_while_other_programs_are_in_the_way() -> None:
    class Busy:
        def __init__(self) -> None:
            self.found = [
                LayerTimes({"one": 9.0, "two": 1.0}, 0.5, None, 11.0),
                LayerTimes({"one": 2.0, "two": 8.0}, None, 0.7, 10.5),
                LayerTimes({"one": 1.0, "two": 1.0}, total=2.0),
            ]

        def layers(self, *_: object) -> LayerTimes:
            return self.found.pop(0)

    bench = Busy()
    found = undisturbed(bench, None, {}, 4.0)  # type: ignore[arg-type]
    assert found == LayerTimes({"one": 2.0, "two": 1.0}, 0.5, 0.7, 3.5)
    assert len(bench.found) == 1
