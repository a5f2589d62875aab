"""The repository's recipes for TensorRT: what they plan, what they leave undecided, and that they compile."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
from compile_tools import ROOT

import qdsl
from qdsl.harness.results import Key
from qdsl.spec.plan import Plan

RECIPES = ROOT / "recipes"
# Conv and Gemm in int8, and in float16, of how many.
PLANNED = {
    "steel_orin": (38, 0, 38),
    "steel_orin_mixed": (31, 7, 38),
    "cracks_v1_tensorrt": (28, 0, 28),
}
SLOWLY_PLANNED = {
    "steel_orin_rebalanced": (38, 0, 38),
    "steel_orin_percentile": (38, 0, 38),
    "cracks_v2_tensorrt": (53, 0, 53),
    "cracks_v1_everywhere": (28, 0, 28),
    "yolov8n_tensorrt": (63, 0, 64),
}


def plan_of(name: str) -> Plan:
    (plan,) = (plan for plan in qdsl.plan(RECIPES / f"{name}.q").plans if plan.target == "tensorrt")
    return plan


def counts(plan: Plan) -> tuple[int, int, int]:
    layers = [node for node in plan.nodes if node.op in ("Conv", "Gemm")]
    integers = {node.node for node in layers if node.in_integers}
    halves = {each.node for each in plan.halves} - integers
    return len(integers), sum(node.node in halves for node in layers), len(layers)


@pytest.mark.parametrize("name", PLANNED)
def test_a_recipe_plans_every_layer_outside_keep_in_int8(name: str) -> None:
    assert counts(plan_of(name)) == PLANNED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOWLY_PLANNED)
def test_the_other_recipes_do_so_too(name: str) -> None:
    assert counts(plan_of(name)) == SLOWLY_PLANNED[name]


def test_every_recipe_for_tensorrt_is_planned_here() -> None:
    found = {path.stem for path in RECIPES.glob("*.q") if "target tensorrt" in path.read_text()}
    assert found - {"steel_two"} <= {*PLANNED, *SLOWLY_PLANNED}


@pytest.mark.slow
def test_rows_of_the_study_calibrate_on_the_same_pictures_as_those_for_onnxruntime() -> None:
    for name, other in (("steel_orin", "steel_default"), ("steel_orin_percentile", "steel_percentile")):
        ours, theirs = (_calibration(each) for each in (name, other))
        assert ours == theirs


def _calibration(name: str) -> tuple[str, list[tuple[str, object]]]:
    (plan,) = qdsl.plan(RECIPES / f"{name}.q").plans
    facts = [(fact.name, fact.settings) for fact in plan.facts if fact.kind == "data"]
    return plan.tensors[0].calibration.words.removesuffix(" symmetric"), facts


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_budgets_of_a_device_stay_undecided_until_it_is_measured(tmp_path: Path) -> None:
    result = qdsl.compile(RECIPES / "steel_orin_mixed.q", out=tmp_path, lock=False)
    (target,) = result.targets
    assert {each.text: each.verdict for each in target.budgets} == {
        "latency p50 <= 14 ms": "undecided",
        "memory <= 180 MB": "undecided",
    }
    (found,) = result.evaluations
    assert found.of("tensorrt").drops[Key("map50")].value < 0.03
    onnx.checker.check_model(str(target.emitted.model), full_check=True)
    onnxruntime.InferenceSession(str(target.emitted.model), providers=["CPUExecutionProvider"])
