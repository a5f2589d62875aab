"""float8 as TensorRT-RTX builds it for compute capability 8.9: as planned, node for node, and refused for 8.6."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import rtx_engine
from compile_tools import ROOT, project
from random_graphs import random_model
from rtx_engine import DROPPED, INT8, examine
from tensorrt_plans import MULTIPLY, written
from test_float8 import HEAD, KERNELS, LAYERS, compiled, convs, emitted

import qdsl
from qdsl.spec.engine import FP8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]
# Recipes of the repository, and how many of their layers are planned in float8: not the 7x7 of the steel detector.
RECIPES = {"cracks_v1_tensorrt": (28, 28), "cracks_v2_tensorrt": (53, 53), "steel_orin": (38, 37)}


def test_float8_and_int8_side_by_side_are_built_as_planned(tmp_path: Path) -> None:
    mixed = 'layers "gemm" { weights int8 }\nlayers "flatten" { activations int8 }\n'
    proto = emitted(compiled(tmp_path, mixed))
    assert examine(proto, "sm89").verdicts == {**dict.fromkeys(LAYERS[:-1], FP8), "gemm": INT8}
    refused = examine(proto, "sm86")
    assert refused.stage == "build" and "fp8_e4m3" in refused.failed[0]


@pytest.mark.parametrize("scales", ["per_tensor", "per_channel"])
def test_kernels_of_up_to_32_elements_are_in_float8(scales: str, tmp_path: Path) -> None:
    made = compiled(tmp_path, f"layers op Conv {{ weights float8 {scales} }}\n", proto=convs(*KERNELS))
    planned = {node.node: FP8 if node.prediction.runs == "integer" else DROPPED for node in made.targets[0].plan.nodes}
    assert examine(emitted(made), "sm89").verdicts == planned


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_the_repository_is_built_in_float8_as_it_is_planned(name: str, tmp_path: Path) -> None:
    recipe = tmp_path / "float8.q"
    recipe.write_text(
        f'recipe float8\nextends "{ROOT}/recipes/{name}.q"\nquantize static {{ weights float8; activations float8 }}\n'
        'target tensorrt { version "10.9"; device "l4" }\n',
        encoding="utf-8",
    )
    made = written(recipe, tmp_path)
    wanted = {n.node: FP8 if n.prediction.runs == "integer" else DROPPED for n in made.plan.nodes if n.op in MULTIPLY}
    assert (len(wanted), list(wanted.values()).count(FP8)) == RECIPES[name]
    assert examine(made.proto, "sm89").verdicts == wanted


def test_random_nets_are_built_in_float8_as_planned(tmp_path: Path) -> None:
    float8 = 0
    for seed in range(4):
        proto = random_model(seed)
        recipe = project(tmp_path / str(seed), head=HEAD.format("", 'tensorrt { device "l4" }'), proto=proto)
        given = proto.graph.input[0]
        shape = [each.dim_value for each in given.type.tensor_type.shape.dim]
        values = np.random.default_rng(seed).standard_normal((4, *shape[1:])).astype(np.float32)
        np.savez(recipe.parent / "calib.npz", **{given.name: values})
        target = qdsl.compile(recipe, out=recipe.parent / "build", lock=False, measure=False).targets[0]
        nodes = [node for node in target.plan.nodes if node.op in MULTIPLY]
        wanted = {node.node: FP8 if node.prediction.runs == "integer" else DROPPED for node in nodes}
        built = examine(onnx.load(target.emitted.model), "sm89").verdicts
        assert {name: built[name] for name in wanted} == wanted, seed
        float8 += list(wanted.values()).count(FP8)
    assert float8 > 5
