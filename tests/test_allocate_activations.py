"""`allocate activations`: the least loss within what widths cost, held against trying every assignment."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project, residual_net, tree

import qdsl
from qdsl.diag import QdslError
from qdsl.harness.results import Key
from qdsl.spec.plan import Plan

OWN = HEAD.replace("quantize", 'data dev from npz "dev.npz"\nquantize', 1)
BITS = {"8 bit": 8, "6 bit": 6, "4 bit": 4}


def line(goal: str, more: str = "", what: str = "[8 bit, 4 bit]") -> str:
    return f"allocate activations from {what} {{\n  minimize {goal}\n{more}}}\n"


def recipe_in(folder: Path, text: str, proto: onnx.ModelProto | None = None) -> Path:
    found = project(folder, text, head=OWN, proto=proto)
    draw = np.random.default_rng(5)
    np.savez(folder / "dev.npz", x=draw.standard_normal((4, 3, 8, 8)).astype(np.float32))
    return found


def compiled(recipe: Path, **more: Any) -> qdsl.CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False, **more)


def record(recipe: Path) -> Any:
    return json.loads((recipe.parent / "build" / "demo" / "allocation-ort.json").read_text())


def widths(plan: Plan) -> dict[str, int]:
    return {each.tensor: each.scheme.emulated_bits or each.scheme.dtype.bits for each in plan.tensors}


def elements(name: str) -> int:
    inferred = onnx.shape_inference.infer_shapes(residual_net()).graph
    known = {info.name: info for info in (*inferred.value_info, *inferred.input, *inferred.output)}
    return int(np.prod([dim.dim_value for dim in known[name].type.tensor_type.shape.dim]))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, qdsl.CompileResult]:
    recipe = recipe_in(tmp_path_factory.mktemp("built"), line("loss under activation_bits <= 6"))
    return recipe, compiled(recipe)


def best(found: Any, most: int) -> float:
    """The least loss of all assignments whose costs add up to at most so much, tried one by one."""
    options = [[(each["loss"], each["cost"]) for each in unit["options"]] for unit in found["units"]]
    fixed = found["size"] - sum(
        next(each["cost"] for each in unit["options"] if each["choice"] == unit["chosen"]) for unit in found["units"]
    )
    sums = (tuple(map(sum, zip(*each, strict=True))) for each in product(*options))
    return min(loss for loss, cost in sums if cost + fixed <= most)


def test_nothing_within_the_bound_loses_less(built: tuple[Path, qdsl.CompileResult]) -> None:
    recipe, result = built
    found = record(recipe)["exact"]
    assert found["measure"] == "activation_bits"
    assert found["loss"] == pytest.approx(best(found, 6 * found["each"]), rel=1e-12)
    given = widths(result.targets[0].plan)
    chosen = {unit["node"]: BITS[unit["chosen"]] for unit in found["units"]}
    assert {name: given[name] for name in chosen} == chosen and set(chosen.values()) == {8, 4}
    # What a layer writes into a Relu that folds into it is no memory.
    held = {name: bits for name, bits in given.items() if name not in ("s", "a")}
    assert found["each"] == sum(map(elements, held))
    assert found["size"] == sum(elements(name) * bits for name, bits in held.items()) <= 6 * found["each"]


def test_what_shares_a_scale_or_folds_takes_one_width(built: tuple[Path, qdsl.CompileResult]) -> None:
    _, result = built
    plan = result.targets[0].plan
    given = widths(plan)
    assert all(given[each.group] == given[each.tensor] for each in plan.tensors)
    assert all(given[one] == given[two] for one, two in (("s", "r"), ("a", "t")) if {one, two} <= set(given))
    assert sum(node.in_integers for node in plan.nodes if node.op == "Conv") == 4


def test_the_lines_of_the_plan_say_the_same(built: tuple[Path, qdsl.CompileResult], tmp_path: Path) -> None:
    recipe, result = built
    after = qdsl.plan(recipe).plans[0]
    assert after == result.targets[0].plan and not any(count.passed for count in after.counts)
    lines = [value for fact in after.facts if fact.kind == "assigned" for _, value in fact.settings]
    assert all(line.startswith('layers tensor "') for line in lines)
    plain = qdsl.plan(project(tmp_path, "\n".join(lines) + "\n")).plans[0]
    assert [(each.tensor, each.scheme) for each in plain.tensors] == [(t.tensor, t.scheme) for t in after.tensors]


def test_a_lock_builds_it_without_data_and_shows_why(built: tuple[Path, qdsl.CompileResult], tmp_path: Path) -> None:
    recipe, _ = built
    before = tree(recipe.parent / "build")["demo/ort/model.onnx"]
    own = project(tmp_path, "")
    own.write_text(recipe.read_text())
    own.with_suffix(".lock").write_bytes(recipe.with_suffix(".lock").read_bytes())
    (tmp_path / "calib.npz").unlink()
    assert compiled(own, locked=True).from_lock
    assert tree(tmp_path / "build")["demo/ort/model.onnx"] == before
    assert "activation_bits 5." in own.with_suffix(".lock").read_text()


def test_explain_and_the_page_say_what_was_chosen(built: tuple[Path, qdsl.CompileResult]) -> None:
    recipe, result = built
    name = next(name for name, bits in widths(result.targets[0].plan).items() if bits == 4)
    (told,) = qdsl.explain(recipe, name)
    (step,) = (step for step in told.steps if step.what == "activations" and step.won)
    assert "as 4 bit (emulated)" in step.value and step.origin.rule.startswith("allocate activations")
    page = result.report.read_text(encoding="utf-8")
    assert "What narrower activations cost" in page and "emulated" in page


@pytest.mark.slow
def test_bit_operations_pins_and_groups(tmp_path: Path) -> None:
    more = (
        '  pin tensor "x" to 6 bit\n  group op GlobalAveragePool, op Concat\n  sensitivity sqnr on calib { take 4 }\n'
    )
    recipe = recipe_in(tmp_path, line("loss under bops ratio <= 5 %", more))
    result = compiled(recipe)
    found = record(recipe)["exact"]
    plan = result.targets[0].plan
    given = widths(plan)
    macs = {node.node: node.macs for node in plan.nodes if node.macs}
    read = {"stem": "x", "inner": "r", "left": "t", "right": "t", "gemm": "f"}
    bops = sum(count * 8 * given[read[node]] for node, count in macs.items() if count)
    assert found["measure"] == "bops" and found["size"] == bops <= 0.05 * 1024 * sum(filter(None, macs.values()))
    assert given["x"] == 6 and given["j"] == given["p"]
    (told,) = qdsl.explain(recipe, "x", out=tmp_path / "build")
    assert "sqnr on calib" in told.sensitivity[0]


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["activation_bits under", "loss under activation_bits <= 7,"])
def test_bounds_on_metrics_hold_as_measured(tmp_path: Path, goal: str) -> None:
    recipe = recipe_in(tmp_path, line(f"{goal} sqnr >= 24 dB on dev", "  evaluations 12\n"))
    compiled(recipe)
    found = record(recipe)
    taken = found["trials"][found["taken"]]
    assert len(found["trials"]) <= 12 and all(each["holds"] for each in taken["held"])
    assert "sqnr >= 24 dB on dev: " in recipe.with_suffix(".lock").read_text()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("allocate activations from []", "setting-value", 1),
        ("allocate activations from [8 bit, float32]", "allocate-types", 1),
        ("allocate activations from [uint8, int8]", "allocate-types", 1),
        ("allocate activations from [uint8, uint4]", "target-cannot", 1),
        ("allocate activations from [8 bit, 6 bit] { minimize size under sqnr >= 1 dB on dev }", "allocate-bound", 1),
        ("allocate activations from [8 bit, 6 bit] { minimize loss under size <= 1 MB }", "allocate-data", 1),
        ("allocate activations from [8 bit] { minimize loss under activation_bits >= 1 }", "allocate-bound", 1),
        ("allocate activations from [8 bit] { minimize bops under bops <= 9 }", "allocate-bound", 1),
        ("allocate activations from [8 bit, 6 bit] { minimize loss under activation_bits < 6 }", "allocate-width", 1),
        ("allocate activations from [8 bit, 6 bit] { minimize loss under bops <= 9 }", "allocate-width", 1),
        ("allocate activations from [8 bit] { sensitivity gradient on calib }", "sensitivity-weights", 1),
        ('layers all, tensor "x" { activations uint8 }\nallocate activations from [8 bit]', "allocate-nothing", 2),
        (
            "layers op Relu { activations uint8 }\nallocate activations from [8 bit] {\n pin op Relu to 8 bit\n}",
            "allocate-pin",
            3,
        ),
        ("layers all { calibrate mse }\nallocate activations from [8 bit, 6 bit]", "allocate-ranges", 2),
        ("allocate weights from [int8] { minimize bops under sqnr >= 1 dB on dev }", "allocate-bound", 1),
    ],
)
def test_what_cannot_be_done_is_told_at_its_place(tmp_path: Path, text: str, code: str, line: int) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe_in(tmp_path, text + "\n"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.span and found.span.line) == (code, len(OWN.splitlines()) + line)


@pytest.mark.parametrize(
    "mode",
    [
        "dynamic { weights 8 bit; activations uint8 }\nlayers all { weights 8 bit }",
        "float { weights int8 storage_only }",
    ],
)
def test_it_belongs_to_static_builds(tmp_path: Path, mode: str) -> None:
    head = HEAD[: HEAD.index("quantize")] + f"quantize {mode}\ntarget ort\n"
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, "allocate activations from [8 bit, 6 bit]\n", head=head))
    assert [each.code for each in caught.value.diagnostics] == ["allocate-nothing"]


def test_no_width_is_emulated_in_c(tmp_path: Path) -> None:
    head = OWN.replace("uint8 affine", "int8 symmetric").replace("target ort", "target stm32")
    recipe = project(tmp_path, "allocate activations from [int8, 6 bit symmetric]\n", head=head)
    np.savez(tmp_path / "dev.npz", x=np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert (found.code, found.headline) == ("target-cannot", "STM32 does not compute with 6 bit activations")
    assert found.span is not None and found.span.line == len(head.splitlines()) + 1


@pytest.mark.slow
def test_a_percentile_of_the_lock_is_known_to_the_plan(tmp_path: Path) -> None:
    head = OWN.replace("minmax", "percentile 99.9")
    recipe = project(tmp_path, line("loss under activation_bits <= 6"), head=head)
    np.savez(tmp_path / "dev.npz", x=np.zeros((1, 3, 8, 8), np.float32))
    compiled(recipe)
    assert qdsl.plan(recipe).lock == recipe.with_suffix(".lock")


@pytest.mark.slow
def test_both_costs_are_bounded_at_once(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    recipe = recipe_in(tmp_path, line("loss under activation_bits <= 7, bops ratio <= 5 %"))
    compiled(recipe)
    found = record(recipe)["exact"]
    assert found["measure"] == "activation_bits" and found["size"] <= 7 * found["each"]
    assert "bops " in recipe.with_suffix(".lock").read_text()


def test_a_product_of_two_activations_is_no_sum(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {'
        " [one] a = Conv (x, w) [two] b = Conv (x, v) [three] y = MatMul (a, b) }"
    )
    draw = np.random.default_rng(2)
    for name in ("w", "v"):
        values = draw.standard_normal((4, 3, 1, 1)).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe_in(tmp_path, line("loss under bops ratio <= 10 %"), proto))
    assert [each.code for each in caught.value.diagnostics] == ["allocate-bound"]
    assert "`three` multiplies two activations" in caught.value.diagnostics[0].headline


EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "cracks"


@pytest.mark.slow
def test_the_crack_classifier_keeps_more_than_with_one_width(tmp_path: Path) -> None:
    head = (
        f'model onnx "{EXAMPLES}/mobilenet_v1_025.onnx"\n'
        'input "images" { resize 224 stretch; rescale 1/128; mean [1] }\n'
        f'data calib from folder "{EXAMPLES}" {{ split train; classes ["clean", "crack"]; take 8 seed 1 }}\n'
        f'data few from folder "{EXAMPLES}" {{ split val; classes ["clean", "crack"]; take 12 seed 1 }}\n'
        "target ort { threads 1 }\nevaluate fidelity on few { measure sqnr }\n"
        "quantize static { weights int8 symmetric per_channel; activations @; calibrate minmax on calib }\n"
    )
    kept = {}
    own = line("loss under activation_bits <= 6", what="[8 bit, 6 bit, 4 bit]")
    for name, width, more in (("same", "6 bit", ""), ("own", "uint8", own)):
        path = tmp_path / f"{name}.q"
        path.write_text(f"recipe {name}\n{head.replace('@', width)}{more}")
        result = qdsl.compile(path, out=tmp_path / "build")
        (found,) = result.evaluations
        kept[name] = found.of("ort").scores[Key("sqnr")]
        assert result.as_verified
    assert kept["own"] > kept["same"] + 1.0  # decibels
