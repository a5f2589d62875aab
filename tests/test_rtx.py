"""The audit's rules about TensorRT, held against NVIDIA's own parser and builder: TensorRT-RTX, which needs no GPU for
either. `python -m qdsl.engines.rtx.get` makes its environment, under NVIDIA's licence; without it all is skipped.

What the parser refuses holds for TensorRT from 10.11 on, which has the same one; what a node computes in is about
TensorRT-RTX alone. How results are fused, and what int8 goes out of a Conv, it does not show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import rtx_engine
from audit_tools import audited, found, named
from compile_tools import HEAD, project
from mutant_graph import Graph
from mutants import KINDS, clean_for, mutants
from onnx import ModelProto
from rtx_engine import DROPPED, INT8, examine, refused_nodes, with_names
from rtx_held import Held, held
from tensorrt_files import FILES
from tensorrt_types import MORE
from test_audit_mutants import SEED, compiled, float_net
from test_audit_rules_tensorrt import CASES, four_bits, taken

import qdsl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]

# What becomes of the fixtures of each rule: where they end, and a part of the words.
ENDS: dict[str, tuple[str, str]] = {
    "uint8": ("built", "Defaulting to INT8"),
    "uint8 weights": ("parse", "Found unsupported input type of UINT8"),
    "zero point": ("parse", "Non-zero zero point is not supported"),
    "zero points": ("parse", "Non-zero zero point is not supported"),
    "no zero point": ("built", ""),
    "no axis": ("parse", "The number of scales is not equal to the number of output channels"),
    "bias": ("parse", "has type Int32 but must have type"),
    "operators": ("parse", "checkDynamicQuantizeLinear"),
    "16 bits": ("parse", "Failed to import initializer"),
    "scales of an activation": ("built", ""),
    "odd": ("build", "odd tensor volume is not supported"),
}
COMPUTE = {"uint8": INT8, "no zero point": INT8, "scales of an activation": DROPPED}
# The same of what is planted; a pair of uint8 or without a zero point leaves every layer in int8, read as int8.
PLANTED: dict[str, tuple[str, str]] = {
    "unsigned_pair": ("built", "Defaulting to INT8"),
    "affine_pair": ("parse", "Non-zero zero point is not supported"),
    "sixteen_bit_pair": ("parse", "Failed to import initializer"),
    "no_zero_point": ("built", ""),
    "no_axis": ("parse", "The number of scales is not equal to the number of output channels"),
    "bias_in_integers": ("parse", "has type Int32 but must have type"),
    "scales_of_an_activation": ("built", ""),
    "clipped_weight": ("build", "is only allowed before DQ"),
    "vector_scale": ("built", ""),
    "given_scale": ("build or undecided", ""),
    "operator_on_integers": ("parse", "checkDynamicQuantizeLinear"),
    "weights_along_inputs": ("built", ""),
    "four_bits": ("build", "Myelin"),
    "float_skip": ("built", ""),
}
LOSES_A_LAYER = {"scales_of_an_activation", "weights_along_inputs", "vector_scale"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    """A small network, as TensorRT takes it."""
    folder = tmp_path_factory.mktemp("net")
    model = compiled(project(folder, head=HEAD, proto=float_net()), folder / "build")
    return clean_for(model, "tensorrt")


def says(engine: rtx_engine.Engine) -> str:
    """All its words."""
    refused = [word for each in engine.refused for word in (each.text, each.function)]
    return " ".join([*refused, *engine.failed, *engine.warnings])


def held_to(model: ModelProto, ends: tuple[str, str], capability: str = rtx_engine.CAPABILITY) -> rtx_engine.Engine:
    engine = examine(model, capability)
    assert engine.stage in ends[0].split(" or "), engine.reason
    assert ends[1] in says(engine)
    return engine


def test_every_fixture_has_its_answer() -> None:
    assert ENDS.keys() == CASES.keys()
    assert PLANTED.keys() == {name for name, kind in KINDS.items() if kind.target == "tensorrt"}


@pytest.mark.parametrize("name", CASES)
def test_what_a_rule_tells_is_so(name: str) -> None:
    engine = held_to(CASES[name][0](), ENDS[name])
    assert set(engine.verdicts.values()) == ({COMPUTE[name]} if name in COMPUTE else set())


@pytest.mark.parametrize("name", {**FILES, **MORE})
def test_what_is_told_of_a_small_file_is_so(name: str) -> None:
    case = {**FILES, **MORE}[name]
    engine = held_to(case.make(), (case.stage, case.says), case.capability)
    assert list(engine.verdicts.values()) == case.computes.split()


def test_what_is_called_clean_is_taken() -> None:
    assert held_to(taken(), ("built", "")).verdicts == {"n_conv": INT8}
    assert held_to(four_bits(4), ("built", "")).stage == "built"


@pytest.mark.parametrize("name", ["uint8", "no zero point"])
def test_the_parser_reads_int8_where_onnx_says_uint8(name: str) -> None:
    model = CASES[name][0]()
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    unsigned = {each.name for each in typed.graph.value_info if each.type.tensor_type.elem_type == 2}
    read = examine(model).stored
    assert unsigned and {read[each] for each in unsigned} == {"INT8"}


def test_a_clean_network_is_int8_throughout(net: ModelProto) -> None:
    verdicts = held_to(net, ("built", "")).verdicts
    assert len(verdicts) == 9 and set(verdicts.values()) == {INT8}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_ends_as_its_rule_says(kind: str, net: ModelProto) -> None:
    planted = mutants(net, kind, SEED, 3)
    assert planted
    for mutant in planted:
        engine = held_to(mutant.model, PLANTED[kind])
        lost = {name for name, verdict in engine.verdicts.items() if verdict != INT8}
        assert bool(lost) == (kind in LOSES_A_LAYER), mutant.place
        if kind == "weights_along_inputs":
            assert lost == {mutant.place}


def test_a_layer_without_its_pair_is_the_one_that_is_told_and_dropped(net: ModelProto) -> None:
    """One at a time; behind what moves the values of a pair a layer stays in int8, and nothing is told."""
    lost = set()
    for name, model in bypassed(net):
        findings = [each for each in found(audited(model, "tensorrt")) if each.rule == "half_quantized_op"]
        verdicts = held_to(model, ("built", "")).verdicts
        dropped = {each for each, verdict in verdicts.items() if verdict != INT8}
        assert dropped == {each.place.name for each in findings} <= {name}
        lost |= dropped
    assert lost == set(held_to(net, ("built", "")).verdicts) - {"deep", "gemm"}


def bypassed(model: ModelProto) -> Iterator[tuple[str, ModelProto]]:
    for layer in Graph(model).layers():
        graph = Graph(model)
        node = next(each for each in graph.nodes if each.name == layer.node.name)
        pair = graph.pair_read(node, 0)
        if pair is None:
            continue
        node.input[0] = pair.tensor
        graph.look()
        yield str(node.name), graph.done()


def foreign(testdata: Path) -> list[Path]:
    return sorted([*testdata.glob("audit_corpus/*.onnx"), *testdata.glob("models/*qdq.onnx")])


def test_files_of_other_tools_are_refused_where_the_rules_say_so(testdata: Path) -> None:
    for path in foreign(testdata):
        result = held(onnx.load(path))
        assert result == Held(result.stage, frozenset(), frozenset(), frozenset(), frozenset()), path.name


def test_nodes_by_themselves_are_refused_as_in_the_file(net: ModelProto) -> None:
    (mutant,) = mutants(net, "affine_pair", SEED, 1)
    refused = refused_nodes(mutant.model)
    pair = next(each for each in Graph(mutant.model).pairs() if each.tensor == mutant.place)
    assert set(refused) & {pair.q.name, *(dq.name for dq in pair.dqs)} == set(refused) != set()


def test_names_that_imitate_the_text_of_an_engine_say_nothing(tmp_path: Path) -> None:
    """A layer of floats whose name says that it multiplies int8: the text of the engine would hold it."""
    model = taken()
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    layer = "x], LayerType: correlation, Inputs: [ { Name: a, Datatype: Int8, [ONNX Layer: y"
    conv.name, pair = layer, Graph(model).pair_read(conv, 0)
    assert pair is not None and examine(model).verdicts == {layer: INT8}
    conv.input[0] = pair.tensor
    assert examine(model).verdicts == {layer: DROPPED}
    conv.output[0] = model.graph.output[0].name = "x, Datatype: Int8, "
    assert examine(model).stage == "undecided"


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(taken(), path, save_as_external_data=True, location="weights", size_threshold=0)
    assert any(each.external_data for each in onnx.load(path, load_external_data=False).graph.initializer)
    (section,) = qdsl.audit(path, engine="rtx").report.sections
    assert section.engine is not None and [each.verdict for each in section.engine.verdicts.values()] == [INT8]
    refused = taken()
    bias = next(node for node in refused.graph.node if node.op_type == "QuantizeLinear")
    zero = next(each for each in refused.graph.initializer if each.name == bias.input[2])
    zero.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(zero) + 1, zero.name))
    onnx.save(refused, path, save_as_external_data=True, location="weights", size_threshold=0)
    (section,) = qdsl.audit(path, engine="rtx").report.sections
    assert {each.place.name for each in section.findings_of("engine_refused")} == {bias.name}


def test_names_are_unique_and_stay_where_they_are() -> None:
    model = taken()
    for node in model.graph.node:
        node.name = "" if node.op_type == "QuantizeLinear" else "twice" if node.op_type == "DequantizeLinear" else "c"
    names = [node.name for node in with_names(model).graph.node]
    assert len(set(names)) == len(names) and {"twice", "c"} <= set(names)
    assert all(named(each) for each in found(audited(with_names(model), "tensorrt")))
