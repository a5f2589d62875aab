"""Prediction equals what TensorRT-RTX builds, node for node: the recipes of the repository, random graphs, and the
steel detector with the pair of one layer taken away at a time.

ConvTranspose is left out: there it is a float whatever its pairs are, and `docs/tensorrt.md` says what that means.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from compile_tools import ROOT
from mutant_graph import Graph
from onnx import ModelProto
from tensorrt_plans import MULTIPLY, Drawn, Written, drawn, random_recipe, written

from qdsl.engines.rtx import examining, places
from qdsl.spec.engine import BUILT, DROPPED, INT8, UNKNOWN, WEIGHT_ONLY
from qdsl.spec.plan import Prediction

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.timeout(900),
    pytest.mark.skipif(places.place() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]

GRAPHS, CHUNK = 120, 40
NOT_SHOWN = (UNKNOWN, WEIGHT_ONLY)
# Conv, Gemm and MatMul that a recipe's model has, and how many of them are planned in int8.
MODELS = {
    "yolov8n_tensorrt": (64, 63),
    "cracks_v1_tensorrt": (28, 28),
    "cracks_v2_tensorrt": (53, 53),
    "steel_orin": (38, 38),
    "steel_orin_mixed": (38, 31),
    "steel_two": (38, 38),
}


def verdicts(proto: ModelProto) -> dict[str, str]:
    """What each Conv, Gemm and MatMul computes in."""
    seen = examining.examine(proto).seen
    assert (seen.stage, seen.reason) == (BUILT, ""), seen.refused
    multiply = {node.name for node in proto.graph.node if node.op_type in MULTIPLY}
    return {name: found.verdict for name, found in seen.verdicts.items() if name in multiply}


def is_built_as_predicted(each: Drawn, built: dict[str, str]) -> int:
    """Whether every verdict is the predicted one; how many there are. Generated code with a small product of floats in
    it that unpacks integers, too, shows neither: those are UNKNOWN, or WEIGHT_ONLY, and nothing planned in int8 may
    be."""
    said = each.predicted()
    wanted = {node.name: expected(said[node.name]) for node in each.view.nodes if node.op in MULTIPLY}
    open = {name for name, verdict in built.items() if verdict in NOT_SHOWN and wanted[name] == DROPPED}
    told = {name: verdict for name, verdict in built.items() if name not in open}
    assert told == {name: verdict for name, verdict in wanted.items() if name not in open}
    return len(told)


def expected(said: Prediction) -> str:
    return WEIGHT_ONLY if said.float_products else INT8 if said.runs == "integer" else DROPPED


def in_pairs(protos: list[ModelProto]) -> list[dict[str, str]]:
    """Two at a time: each is taken by a process of its own."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(verdicts, protos))


@pytest.mark.parametrize("name", MODELS)
def test_a_recipe_of_the_repository_is_built_as_it_is_planned(name: str, tmp_path: Path) -> None:
    made = written(ROOT / "recipes" / f"{name}.q", tmp_path)
    said = {node.node: expected(node.prediction) for node in made.plan.nodes if node.op in MULTIPLY}
    assert (len(said), sum(each == INT8 for each in said.values())) == MODELS[name]
    assert verdicts(made.proto) == said


@pytest.mark.parametrize("first", range(0, GRAPHS, CHUNK))
def test_random_graphs_are_built_as_they_are_predicted(first: int) -> None:
    graphs = [drawn(seed) for seed in range(first, first + CHUNK)]
    found = in_pairs([each.inserted() for each in graphs])
    told = sum(is_built_as_predicted(each, built) for each, built in zip(graphs, found, strict=True))
    assert told > 0.97 * sum(map(len, found))


def test_random_graphs_are_built_as_their_recipes_are_planned(tmp_path: Path) -> None:
    """With the table's own placement: every layer with a constant weight is in int8."""
    made = []
    for seed in range(CHUNK):
        folder = tmp_path / str(seed)
        folder.mkdir()
        made.append(written(random_recipe(seed, folder), folder))
    for each, built in zip(made, in_pairs([one.proto for one in made]), strict=True):
        planned = {node.node: expected(node.prediction) for node in each.plan.nodes if node.op in MULTIPLY}
        assert {name for name, verdict in built.items() if verdict == INT8} == _in_int8(planned)
        assert _in_int8(planned) >= {node.node for node in each.plan.nodes if node.op in ("Conv", "Gemm")}


def _in_int8(verdicts: dict[str, str]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict == INT8}


def test_random_graphs_reach_both_verdicts() -> None:
    said = [each for seed in range(GRAPHS) for each in drawn(seed).predicted().values()]
    assert {each.runs for each in said if each.row == "conv"} == {"integer", "float"}
    assert {each.runs for each in said if each.row in ("gemm", "matmul")} == {"integer", "float"}


@pytest.fixture(scope="module")
def steel(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(ROOT / "recipes" / "steel_orin.q", tmp_path_factory.mktemp("steel"))


def test_a_layer_without_its_activation_pair_is_the_only_one_that_is_dropped(steel: Written) -> None:
    """Of all of the steel detector's, one at a time."""
    layers = [node.name for node in steel.proto.graph.node if node.op_type == "Conv"]
    assert len(layers) == 38
    for name, found in zip(layers, in_pairs([bypassed(steel.proto, name) for name in layers]), strict=True):
        assert {node for node, verdict in found.items() if verdict != INT8} == {name}
        assert found[name] == DROPPED


def bypassed(model: ModelProto, layer: str) -> ModelProto:
    """A copy in which `layer` reads the float tensor that its pair stands on."""
    graph = Graph(model)
    node = next(each for each in graph.nodes if each.name == layer)
    pair = graph.pair_read(node, 0)
    assert pair is not None
    node.input[0] = pair.tensor
    graph.look()
    return graph.done()
