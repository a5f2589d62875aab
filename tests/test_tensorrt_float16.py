"""`target tensorrt { high_precision float16 }`, and float16 beside int8 in general: which types a file has where, that
they agree, what scales become, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import project, residual_net
from half_numerics import HalfInterpreter, node_by_node
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from plan_tools import decided
from random_graphs import random_model
from seeds import few_of
from tensorrt_plans import TABLE, TARGET, some_ranges
from test_lowerings import check

import qdsl
from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostics, QdslError, Severity
from qdsl.graph import from_proto, to_proto
from qdsl.lang import loads
from qdsl.lock.meaning import meaning
from qdsl.passes.qdq_parameters import parameters
from qdsl.quant import QParams, dequantize, float16_scales, quantize, storage_type
from qdsl.rewrite import Trace
from qdsl.spec import DTYPES
from qdsl.spec.decode import decode, json_data
from qdsl.spec.engine import QuantManifest
from qdsl.targets.blocks import block_problems
from qdsl.targets.lowerings import foreseen, lowerings
from qdsl.targets.onnx_file import carried_out
from qdsl.targets.tensorrt.typed import disagreement
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

STATIC = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static { calibrate minmax on calib }
"""
HALF = STATIC + "target tensorrt { high_precision float16 }\n"
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


def compiled(folder: Path, rules: str = "", head: str = HALF, proto: ModelProto | None = None) -> Any:
    recipe = project(folder, rules, head=head, proto=proto)
    return qdsl.compile(recipe, out=folder / "build", lock=False).targets[0]


def graph_of(target: Any) -> ModelProto:
    return onnx.load(target.emitted.model)


def types(proto: ModelProto) -> dict[str, int]:
    """The types of tensors, as declared, and of constants."""
    values = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {constant.name: constant.data_type for constant in proto.graph.initializer}


def named(proto: ModelProto, name: str) -> NodeProto:
    return next(node for node in proto.graph.node if node.name == name)


def casts(proto: ModelProto) -> list[tuple[str, int]]:
    return [(node.input[0], node.attribute[0].i) for node in proto.graph.node if node.op_type == "Cast"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All of the small net but its Gemm."""
    return compiled(tmp_path_factory.mktemp("half"), 'keep "gemm" in float32\n')


# ---- what stands where -----------------------------------------------------------------------------------------------


def test_pairs_take_the_types_around_them_without_casts(made: Any) -> None:
    """The graph input stays float32 and is quantized as such; everything behind it is float16, up to the one Cast
    before what is kept in float32."""
    proto = graph_of(made)
    kinds = types(proto)
    assert casts(proto) == [("f", FLOAT)]
    assert [kinds[name] for name in named(proto, "x_QuantizeLinear").input[:2]] == [FLOAT, FLOAT]
    assert [kinds[name] for name in named(proto, "r_QuantizeLinear").input[:2]] == [FLOAT16, FLOAT16]
    for name in ("stem", "inner", "left", "right"):
        assert {kinds[tensor] for tensor in (*named(proto, name).input, *named(proto, name).output)} == {FLOAT16}
    assert {kinds[tensor] for tensor in (*named(proto, "gemm").input, "x", "y")} == {FLOAT}
    assert proto.opset_import[0].version == 19
    assert disagreement(proto) == ""


def test_both_scales_of_a_pair_are_one_number(made: Any) -> None:
    stored = {each.name: numpy_helper.to_array(each) for each in graph_of(made).graph.initializer}
    proto = graph_of(made)
    one = stored[named(proto, "x_QuantizeLinear").input[1]]
    other = stored[named(proto, "x_DequantizeLinear").input[1]]
    assert (one.dtype, other.dtype) == (np.float32, np.float16) and float(one) == float(other)


def test_the_plan_says_which_pairs_have_float16_scales_and_what_is_float16(made: Any) -> None:
    plan = made.plan
    assert {tensor.tensor: tensor.scheme.float16_scales for tensor in plan.tensors} == {"x": True, "r": True, "t": True}
    assert all(weight.scheme.float16_scales for weight in plan.weights)
    notes = {node.node: (node.mark, node.note, node.prediction.runs) for node in plan.nodes}
    assert notes["inner"] == ("+", "int8 per_channel   in int8   float16", "integer")
    assert notes["add"] == ("+", "float16", "float16")
    assert notes["gemm"][:2] == ("=", "float32")
    assert next(half.origin.rule for half in plan.halves) == "high_precision float16"
    size = made.emitted.model.stat().st_size
    assert abs(plan.totals.predicted_bytes - size) < 0.02 * size


def test_the_manifest_asks_for_a_strongly_typed_engine(made: Any) -> None:
    text = (made.emitted.directory / "quant_manifest.json").read_text(encoding="utf-8")
    manifest = decode(QuantManifest, json_data(text))
    assert manifest.typing == "strong"
    expected = {node.node: node.expect for node in manifest.nodes}
    assert expected == {"stem": "int8", "inner": "int8", "left": "int8", "right": "int8", "gemm": "float32"}
    assert [pair.dequantize for pair in manifest.nodes[0].pairs] == ["x_DequantizeLinear", "w1_DequantizeLinear"]


def test_it_computes_what_the_same_numbers_in_float32_compute(made: Any) -> None:
    """The same integers and scales, with float32 in every place of float16: the outputs are as far apart as float16's
    own rounding, and what falls on the other side of a half by it."""
    proto = graph_of(made)
    x = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32)
    (half,), (single,) = (run(each, x) for each in (proto, in_float32(proto)))
    assert np.abs(half - single).max() < 0.01 * np.abs(single).max()
    assert made.verification.outputs[0].sqnr_db > 30


def run(proto: ModelProto, x: np.ndarray[Any, Any]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def in_float32(proto: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(proto)
    del made.graph.value_info[:]
    for constant in made.graph.initializer:
        if constant.data_type == FLOAT16:
            values = numpy_helper.to_array(constant).astype(np.float32)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return made


def test_two_types_of_readers_have_a_dequantizer_each(tmp_path: Path) -> None:
    """TensorRT-RTX takes no Conv in int8 behind a Cast from float16 to float32."""
    target = compiled(tmp_path, 'layers "right" { activations float32 }\n')
    proto = graph_of(target)
    kinds = types(proto)
    left, right = named(proto, "left"), named(proto, "right")
    assert kinds[left.input[0]] == FLOAT16 and {kinds[name] for name in right.input} == {FLOAT}
    both = [node for node in proto.graph.node if node.op_type == "DequantizeLinear" and node.input[0] == "t_quantized"]
    assert sorted(kinds[node.output[0]] for node in both) == [FLOAT, FLOAT16]
    assert {node.node for node in target.plan.nodes if node.in_integers} == {"stem", "inner", "left", "right", "gemm"}
    assert sorted(casts(proto)) == [("q", FLOAT16), ("y_before", FLOAT)]
    assert disagreement(proto) == ""
    size = target.emitted.model.stat().st_size
    assert abs(target.plan.totals.predicted_bytes - size) < 0.02 * size


def test_its_own_audit_finds_the_file_as_the_recipe_asks(tmp_path: Path) -> None:
    recipe = project(tmp_path, 'layers "right" { activations float32 }\n', head=HALF)
    target = qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets[0]
    (section,) = qdsl.audit(target.emitted.model, recipe=recipe).report.sections
    assert section.target == "tensorrt" and {each.rule for each in section.findings} == {
        "weakly_typed_flags",
        "slow_kernel",
    }
    (flags,) = (each for each in section.findings if each.rule == "weakly_typed_flags")
    assert flags.message == "TensorRT 10 builds it with --stronglyTyped"


def test_kept_nodes_alone_are_float16_beside_float32_scales(tmp_path: Path) -> None:
    """Without `high_precision` what is kept in float16 reads its pairs as float16, and the rest stays float32."""
    rules = 'keep "pool" in float16\nkeep "left" in float16\n'
    proto = graph_of(compiled(tmp_path / "ten", rules, STATIC + "target tensorrt\n"))
    kinds = types(proto)
    assert {kinds[name] for name in named(proto, "left").input} == {FLOAT16}
    assert {kinds[name] for name in named(proto, "right").input} == {FLOAT}
    assert disagreement(proto) == ""
    older = compiled(tmp_path / "eight", rules, STATIC + 'target tensorrt { version "8.6" }\n')
    assert not any(weight.scheme.float16_scales for weight in older.plan.weights)
    assert graph_of(older).opset_import[0].version == 17 and disagreement(graph_of(older)) == ""


# ---- scales ----------------------------------------------------------------------------------------------------------


def test_a_scale_is_never_narrower_and_at_most_a_step_of_float16_wider() -> None:
    draw = np.random.default_rng(0)
    scales = np.exp2(draw.uniform(-60, 15.9, 20_000)).astype(np.float32)
    made = float16_scales(scales)
    assert (made == made.astype(np.float16).astype(np.float32)).all()
    assert (made >= scales).all()
    assert (made - scales <= np.maximum(scales * np.float32(2.0**-10), np.float32(2.0**-24))).all()
    assert (float16_scales(made) == made).all(), "what float16 holds stays"


def test_what_float16_cannot_reach_is_refused() -> None:
    model = from_proto(residual_net())
    view = model.view()
    plan = decided(view, head=HALF, target="tensorrt").plan
    low, high = ({tensor.tensor: end for tensor in plan.tensors} for end in (-1.0, 1.0))
    with pytest.raises(QdslError) as caught:
        parameters(plan, Ranges(low, high | {"r": 7e4}, 1, 1), view, model)
    (found,) = caught.value.diagnostics
    assert (found.code, found.headline) == (
        "float16-overflow",
        "`r` reaches 70000, past float16's largest value, 65504",
    )


@pytest.mark.parametrize(("dtype", "stored"), [("int8", TensorProto.INT8), ("float8", TensorProto.FLOAT8E4M3FN)])
def test_onnx_runtime_rounds_float16_as_the_plan_does(dtype: str, stored: int) -> None:
    """Every finite float16 through one pair, against `qdsl.quant`."""
    scale = np.float16(0.0372)
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "pair",
        [helper.make_tensor_value_info("x", FLOAT16, [None])],
        [helper.make_tensor_value_info("y", FLOAT16, [None])],
        [numpy_helper.from_array(scale, "s"), helper.make_tensor("z", stored, [], bytes(1), raw=True)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    (floats,) = run(proto, x)
    kind = DTYPES[dtype]
    params = QParams(np.asarray(scale, np.float32), np.asarray(0, storage_type(kind)), kind)
    codes = quantize(x.astype(np.float32), params)
    assert np.array_equal(floats, dequantize(codes, params).astype(np.float16))


# ---- types that do not agree -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constant", "words"),
    [
        ("b1_float16", "`stem` (Conv): input 0 is float16, input 2 is float32"),
        ("w2_scale_float16", "`inner` (Conv): input 0 is float16, input 1 is float32"),
        ("r_scale_float16", "`r_QuantizeLinear` (QuantizeLinear): input 0 is float16, input 1 is float32"),
    ],
)
def test_a_constant_of_another_type_is_found_at_its_node(made: Any, constant: str, words: str) -> None:
    proto = graph_of(made)
    stored = next(each for each in proto.graph.initializer if each.name == constant)
    stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored).astype(np.float32), constant))
    assert disagreement(proto) == words


def test_an_output_of_another_type_is_found(made: Any) -> None:
    proto = graph_of(made)
    proto.graph.output[0].type.tensor_type.elem_type = FLOAT16
    assert disagreement(proto) == "the graph output `y` is declared as float16, and is float32"


def test_types_that_do_not_agree_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdsl.targets.tensorrt.emit.disagreement", lambda proto: "`stem` (Conv): ..")
    with pytest.raises(QdslError, match="do not agree") as caught:
        compiled(tmp_path)
    assert caught.value.diagnostics[0].code == "artifact-invalid"
    assert not (tmp_path / "build" / "demo" / "tensorrt" / "model.onnx").exists()


# ---- random graphs ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, 120, 12), 1))
def test_random_graphs_mix_three_types_that_agree(first: int, tmp_path: Path) -> None:
    """Of nodes drawn to stay float32: what is written is what is foreseen, and ONNX Runtime takes it."""
    halves = 0
    for seed in range(first, first + 12):
        prepared = prepare(read(mixed(seed, tmp_path / str(seed)), {}))
        (decided,) = decide_all(prepared, TARGET, Diagnostics())
        plan = decided.plan
        made, trace = carried_out(prepared.model, plan, some_ranges(plan), lowerings(plan))
        check(foreseen(prepared.view, plan, TABLE), Trace(trace.steps[1:]), f"seed {seed}")
        proto = to_proto(made)
        assert disagreement(proto) == "", seed
        ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        written = {half.node for half in plan.halves if half.writes}
        kinds = types(onnx.shape_inference.infer_shapes(proto))
        told = {node.name for node in proto.graph.node if kinds.get(node.output[0]) == FLOAT16}
        assert written <= told, seed
        halves += len(written)
    assert halves > 50


@pytest.mark.parametrize("seed", few_of(range(60), 4))
def test_random_graphs_compute_what_their_plans_say(seed: int, tmp_path: Path) -> None:
    """To the last bit, each node by itself."""
    prepared = prepare(read(mixed(seed, tmp_path / str(seed)), {}))
    (decided,) = decide_all(prepared, TARGET, Diagnostics())
    plan = decided.plan
    reference = HalfInterpreter(to_proto(prepared.model))
    shape = [dim if isinstance(dim, int) else 1 for dim in prepared.view.tensors["image"].shape or ()]
    image = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    floats = reference.floats(image=image)
    ends = {each.tensor: (float(floats[each.tensor].min()), float(floats[each.tensor].max())) for each in plan.tensors}
    low, high = ({name: pair[side] for name, pair in ends.items()} for side in (0, 1))
    made, _ = carried_out(prepared.model, plan, Ranges(low, high, 1, 1), lowerings(plan))
    louder = image * np.float32(1.5)
    found = node_by_node(to_proto(made), image=louder)
    for name, value in reference.answers(plan, ends, image=louder).items():
        np.testing.assert_array_equal(found[name], value, err_msg=f"seed {seed}: {name}")


def mixed(seed: int, folder: Path) -> Path:
    """A recipe for a random graph."""
    draw, proto = random.Random(seed), random_model(seed)
    names = [node.name for node in proto.graph.node]
    quoted = ", ".join(f'"{name}"' for name in draw.sample(names, min(3, len(names))))
    rules = f"keep [{quoted}] in float32\n" if draw.random() < 0.7 else ""
    rules += "layers op Conv { activations float32 }\n" if draw.random() < 0.2 else ""
    folder.mkdir()
    onnx.save(proto, folder / "demo.onnx")
    (folder / "demo.q").write_text(HALF + rules, encoding="utf-8")
    return folder / "demo.q"


# ---- the word --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("target ort {\n  high_precision float16\n}\n", "ONNX Runtime has no `high_precision`"),
        ('target tensorrt {\n  version "8.6"; high_precision float16\n}\n', r"TensorRT 8.6 has no `high_precision`"),
        ('target tensorrt {\n  device "jetson-xavier-nx"; high_precision float32\n}\n', r"TensorRT 8.6 has no"),
    ],
)
def test_where_there_is_no_such_word_it_is_told_at_its_line(target: str, words: str) -> None:
    told = block_problems(loads(STATIC + target, name="demo.q").recipe)
    (found,) = (each for each in told if each.severity is Severity.ERROR)
    assert found.code == "target-cannot" and words in found.headline
    assert found.span is not None and found.span.line == STATIC.count("\n") + 2


def test_nothing_is_made_float16_of_a_file_that_stays_as_it_is(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HALF.replace("static { calibrate minmax on calib }", "none"))
    with pytest.raises(QdslError, match="`high_precision` changes nothing under `quantize none`"):
        qdsl.plan(recipe)


def test_a_lock_holds_whatever_the_floats_are() -> None:
    one, other = (loads(text, name="demo.q").recipe for text in (HALF, HALF.replace("float16", "float32")))
    assert [part.sha256 for part in meaning(one)] == [part.sha256 for part in meaning(other)]
