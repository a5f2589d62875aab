"""`storage_only` weights of operators that compute in float: stored as integers, right when read, as predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import cli
from onnx import TensorProto
from test_cuts import compiled, node, write

from qdsl.capability import load
from qdsl.graph.view import NodeView

DRAW = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return (DRAW.standard_normal(shape) * 0.3).astype(np.float32)


CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], dict[str, Any], list[str]]] = {
    "ConvTranspose": (
        [node("ConvTranspose", ["x", "w"], ["y"], "n")],
        {"w": normal(16, 32, 3, 3)},
        {"x": normal(8, 1, 16, 6, 6)},
        ["w"],
    ),
    "DeformConv": (
        [node("DeformConv", ["x", "w", "o"], ["y"], "n")],
        {"w": normal(32, 16, 3, 3)},
        {"x": normal(8, 1, 16, 6, 6), "o": normal(8, 1, 18, 4, 4)},
        ["w"],
    ),
    "FusedConv": (
        [node("FusedConv", ["x", "w"], ["y"], "n", domain="com.microsoft", activation="Relu")],
        {"w": normal(32, 16, 3, 3)},
        {"x": normal(8, 1, 16, 6, 6)},
        ["w"],
    ),
    "FusedMatMul": (
        [node("FusedMatMul", ["x", "w"], ["y"], "n", domain="com.microsoft", alpha=0.5)],
        {"w": normal(64, 32)},
        {"x": normal(8, 5, 64)},
        ["w"],
    ),
    "FusedGemm": (
        [node("FusedGemm", ["x", "w"], ["y"], "n", domain="com.microsoft", activation="Relu")],
        {"w": normal(64, 32)},
        {"x": normal(8, 5, 64)},
        ["w"],
    ),
    "Attention": (
        [node("Attention", ["x", "w", "b"], ["y"], "n", domain="com.microsoft", num_heads=4)],
        {"w": normal(32, 96), "b": normal(96)},
        {"x": normal(8, 1, 5, 32)},
        ["w"],
    ),
    "LSTM": (
        [node("LSTM", ["x", "w", "r"], ["y"], "n", hidden_size=16)],
        {"w": normal(1, 64, 16), "r": normal(1, 64, 16)},
        {"x": normal(8, 5, 1, 16)},
        ["w", "r"],
    ),
    "GRU": (
        [node("GRU", ["x", "w", "r"], ["y"], "n", hidden_size=16, direction="bidirectional")],
        {"w": normal(2, 48, 16), "r": normal(2, 48, 16)},
        {"x": normal(8, 5, 1, 16)},
        ["w", "r"],
    ),
    "MatMul on the left": (
        [node("MatMul", ["w", "x"], ["y"], "n")],
        {"w": normal(32, 64)},
        {"x": normal(8, 2, 64, 6)},
        ["w"],
    ),
    "a stack on the left": (
        [node("MatMul", ["w", "x"], ["y"], "n")],
        {"w": normal(2, 32, 64)},
        {"x": normal(8, 2, 64, 6)},
        ["w"],
    ),
    "Gemm on the left": (
        [node("Gemm", ["w", "x"], ["y"], "n")],
        {"w": normal(32, 64)},
        {"x": normal(8, 64, 6)},
        ["w"],
    ),
    "Einsum": (
        [node("Einsum", ["x", "w"], ["y"], "n", equation="b t d, d h k -> b t h k")],
        {"w": normal(32, 4, 16)},
        {"x": normal(8, 1, 5, 32)},
        ["w"],
    ),
    "Einsum, the first": (
        [node("Einsum", ["w", "x"], ["y"], "n", equation="oi,...i")],
        {"w": normal(48, 32)},
        {"x": normal(8, 1, 5, 32)},
        ["w"],
    ),
    "GatherElements": (
        [node("GatherElements", ["w", "x"], ["e"], "n"), node("Relu", ["e"], ["y"], "relu")],
        {"w": normal(50, 32)},
        {"x": np.arange(8 * 7 * 32).reshape(8, 7, 32) % 50},
        ["w"],
    ),
    "GatherND": (
        [node("GatherND", ["w", "x"], ["e"], "n"), node("Relu", ["e"], ["y"], "relu")],
        {"w": normal(50, 32)},
        {"x": np.arange(56).reshape(8, 7, 1) % 50},
        ["w"],
    ),
    "Gather": (
        [node("Gather", ["w", "x"], ["e"], "n"), node("Relu", ["e"], ["y"], "relu")],
        {"w": normal(50, 32)},
        {"x": np.arange(56).reshape(8, 1, 7) % 50},
        ["w"],
    ),
}
# Every operator says along which axis its channels and blocks lie; what else there is, is met by every third of them.
SCHEMES = ["int8 per_channel", "int4 per_block 16"]
OTHERS = ["int8 per_tensor", "uint8 per_channel", "int4 per_channel"]
STORED = [(op, scheme) for at, op in enumerate(sorted(CASES)) for scheme in (*SCHEMES, OTHERS[at % len(OTHERS)])]


def stored(folder: Path, op: str, scheme: str) -> Path:
    nodes, constants, inputs, _ = CASES[op]
    recipe = write(folder, nodes, constants, inputs, opset=21 if op == "DeformConv" else 17)
    text = recipe.read_text()
    mode = f"quantize float {{ weights {scheme} storage_only }}"
    recipe.write_text(f"{text[: text.index('quantize')]}{mode}\ntarget ort\n")
    return recipe


@pytest.mark.parametrize(("op", "scheme"), STORED)
def test_weights_are_stored_and_right(op: str, scheme: str, tmp_path: Path) -> None:
    (target,) = compiled(stored(tmp_path, op, scheme)).targets
    assert target.verification.mismatches == ()
    assert target.verification.outputs[0].sqnr_db > (35 if "int8" in scheme else 12)  # type: ignore[operator]
    made = onnx.load(target.emitted.model)
    floats = [i for i in made.graph.initializer if i.data_type == TensorProto.FLOAT and "scale" not in i.name]
    assert not {i.name for i in floats} & set(CASES[op][3])
    bits = 4 if "int4" in scheme else 8
    assert target.emitted.size < sum(v.nbytes for v in CASES[op][1].values()) * bits / 32 + 4000
    first = target.plan.nodes[0]
    words = scheme.split()
    assert (first.mark, first.note) == ("+", f"{words[0]} {words[1]}   stored only, computes in float")


@pytest.mark.slow
def test_nothing_is_stored_without_the_word(tmp_path: Path) -> None:
    recipe = stored(tmp_path, "LSTM", "int8 per_channel")
    recipe.write_text(recipe.read_text().replace(" storage_only", ""))
    assert "nothing-to-quantize" in cli("plan", recipe).stderr


@pytest.mark.slow
def test_explain_and_rules_reach_it(tmp_path: Path) -> None:
    recipe = stored(tmp_path, "Gather", "int8 per_channel")
    assert "int8 symmetric per_channel storage_only" in cli("explain", recipe, "n").stdout
    recipe.write_text(recipe.read_text().replace("int8 per_channel storage_only", "float32"))
    recipe.write_text(recipe.read_text() + "layers op Gather { weights int8 storage_only }\n")
    (target,) = compiled(recipe).targets
    assert target.plan.nodes[0].mark == "+"


@pytest.mark.parametrize(
    ("equation", "port", "rank", "axis"),
    [
        ("btd,dk->btk", 1, 2, 1),
        ("btd, d h k -> b t h k", 1, 3, 2),
        ("oi,...i->...o", 0, 2, 0),
        ("oi,bi", 0, 2, 0),  # what stands once is written
        ("bd,...d->b...", 1, 3, 0),  # of it alone nothing is written
        ("bhqd,hkd->bhqk", 1, 3, 1),
        ("...ij,jk->...ik", 1, 2, 1),
    ],
)
def test_the_channels_of_an_einsum_are_what_it_writes_of_one_constant(
    equation: str, port: int, rank: int, axis: int
) -> None:
    (rule,) = (each for each in load("ort_cpu").stores if each.name == "einsum")
    view = NodeView(0, "n", "Einsum", "", ("a", "b"), ("y",), {"equation": equation}, ())
    assert rule.channels(view, port, rank) == axis
    assert rule.channels(view, port, 1) is None


def test_a_static_build_computes_with_what_stands_on_the_left(tmp_path: Path) -> None:
    """There it is integers beside the activations, and no storage rule speaks of it."""
    nodes, constants, inputs, _ = CASES["MatMul on the left"]
    recipe = write(tmp_path, nodes, constants, inputs)
    recipe.write_text(recipe.read_text().replace("reduce_range", "storage_only"))
    (target,) = compiled(recipe).targets
    assert target.plan.nodes[0].prediction.kernel == "QLinearMatMul"
    assert [w.scheme.dtype.name for w in target.plan.weights] == ["uint8"]
    assert target.verification.mismatches == ()
