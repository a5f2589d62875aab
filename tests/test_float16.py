"""`quantize float` in float16: what becomes float16, where Casts stand, what is told, and how close it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD as STATIC
from compile_tools import project
from onnx import TensorProto, numpy_helper
from plan_tools import decided
from random_graphs import random_model

import qdsl
from qdsl.calibrate import Ranges
from qdsl.data import Sample
from qdsl.diag import QdslError
from qdsl.graph import Model, from_proto
from qdsl.passes.pipeline import canonicalise
from qdsl.targets.ort.emit import emit
from qdsl.targets.ort.verify import verify

HALF = 'recipe demo\nmodel onnx "demo.onnx"\nquantize float { weights float16; activations float16 }\ntarget ort\n'
STORED = HALF.replace("; activations float16", "")


def model_of(body: str, outputs: str = "float[1, 4, 4, 4] y", opset: int = 17, **constants: Any) -> onnx.ModelProto:
    text = f'<ir_version: 8, opset_import: ["": {opset}]> net (float[1, 4, 4, 4] x) => ({outputs}) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    for name, value in constants.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return proto


def written(proto: onnx.ModelProto, folder: Path, rules: str = "", head: str = HALF) -> Any:
    """The plan, the emitted graph and the comparison on two drawn inputs."""
    model = from_proto(proto)
    canonicalise(model)
    return made(model, folder, rules, head)


def made(model: Model, folder: Path, rules: str = "", head: str = HALF) -> Any:
    view = model.view()
    plan = decided(view, rules, head=head).plan
    emitted = emit(model, plan, Ranges({}, {}, 0, 0), folder)
    draw = np.random.default_rng(0)
    samples = [Sample(i, str(i), {n: _drawn(draw, view.tensors[n]) for n in view.inputs}) for i in range(2)]
    found = verify(model, emitted, plan, samples, count=2)
    return plan, onnx.load(emitted.model).graph, found


def _drawn(draw: np.random.Generator, tensor: Any) -> np.ndarray[Any, Any]:
    shape = [dim if isinstance(dim, int) else 1 for dim in tensor.shape]
    return draw.standard_normal(shape).astype(np.float32)


def casts(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """(tensor, type) of every Cast, in graph order."""
    names = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}
    return [(n.input[0], names.get(n.attribute[0].i, "other")) for n in graph.node if n.op_type == "Cast"]


def types(graph: onnx.GraphProto) -> dict[str, int]:
    return {t.name: t.data_type for t in graph.initializer}


def marks(plan: Any) -> dict[str, tuple[str, str]]:
    return {node.node: (node.mark, node.note) for node in plan.nodes}


W = np.full((4, 4, 1, 1), 0.25, np.float32)
CONV = "[conv] c = Conv <kernel_shape = [1, 1]> (x, w)"


def test_one_cast_at_each_border(tmp_path: Path) -> None:
    """Two readers of the input and two float32 readers of one tensor share a Cast; names of outputs stay."""
    body = (
        f"{CONV} [other] d = Conv <kernel_shape = [1, 1]> (x, w) [sum] y = Add (c, d) [e1] z = Exp (y) [e2] v = Log (y)"
    )
    outputs = "float[1, 4, 4, 4] y, float[1, 4, 4, 4] z, float[1, 4, 4, 4] v"
    plan, graph, found = written(model_of(body, outputs, w=W), tmp_path)
    assert casts(graph) == [("x", "float16"), ("y_before", "float32")]
    assert [o.name for o in graph.output] == ["y", "z", "v"]
    assert all(o.type.tensor_type.elem_type == TensorProto.FLOAT for o in (*graph.input, *graph.output))
    assert types(graph) == {"w_float16": TensorProto.FLOAT16}
    assert marks(plan)["conv"] == ("+", "stored float16, computes in float32 on this CPU")
    assert marks(plan)["e1"][0] == "!" and "past 65504" in marks(plan)["e1"][1]
    assert found.as_predicted and found.outputs[0].sqnr_db > 50


def test_what_only_moves_values_between_float32_stays(tmp_path: Path) -> None:
    body = f"{CONV} [e1] e = Exp (c) [turn] t = Transpose <perm = [0, 1, 3, 2]> (e) [e2] y = Exp (t)"
    plan, graph, _ = written(model_of(body, w=W), tmp_path)
    assert casts(graph) == [("x", "float16"), ("c", "float32")]
    assert marks(plan)["turn"] == ("=", "stays float32: nothing beside it is float16")


def test_casts_of_the_model_do_not_meet_ours(tmp_path: Path) -> None:
    """A Cast from integers goes to float16 at once; Shape, ArgMax and Casts to integers read float16 as it comes."""
    body = (
        f"{CONV} [size] s = Shape (c) [float] f = Cast <to = 1> (s) [scaled] y = Add (c, f) "
        "[best] a = ArgMax <axis = 1> (c) [whole] i = Cast <to = 7> (c)"
    )
    outputs = "float[1, 4, 4, 4] y, int64[1, 1, 4, 4] a, int64[1, 4, 4, 4] i"
    proto = model_of(body.replace("(s)", "(k)"), outputs, w=W, k=np.full(4, 2, np.int64))
    proto.graph.node.remove(next(n for n in proto.graph.node if n.name == "size"))
    proto.graph.input.append(onnx.helper.make_tensor_value_info("k", TensorProto.INT64, [4]))
    del proto.graph.initializer[1]
    model = from_proto(proto)
    canonicalise(model)
    plan = decided(model.view(), head=HALF).plan
    emitted = emit(model, plan, Ranges({}, {}, 0, 0), tmp_path)
    graph = onnx.load(emitted.model).graph
    assert [pair for pair in casts(graph) if pair[1] != "other"] == [
        ("x", "float16"),
        ("k", "float16"),
        ("y_before", "float32"),
    ]


@pytest.mark.parametrize(
    ("value", "word"), [(1e6, "past float16"), (-3e38, "past float16"), (1e-12, "is 0 in float16")]
)
def test_a_small_constant_out_of_range_keeps_its_node_in_float32(value: float, word: str, tmp_path: Path) -> None:
    plan, graph, found = written(model_of(f"{CONV} [least] y = Min (c, k)", w=W, k=np.float32(value)), tmp_path)
    assert marks(plan)["least"][0] == "!" and word in marks(plan)["least"][1]
    assert types(graph)["k"] == TensorProto.FLOAT
    assert found.as_predicted


def test_resize_keeps_its_scales_in_float32(tmp_path: Path) -> None:
    scales = np.asarray([1, 1, 2, 2], np.float32)
    body = f'{CONV} [up] y = Resize <mode = "nearest"> (c, , scales)'
    plan, graph, found = written(model_of(body, "float[1, 4, 8, 8] y", w=W, scales=scales), tmp_path)
    assert types(graph) == {"w_float16": TensorProto.FLOAT16, "scales": TensorProto.FLOAT}
    assert marks(plan)["up"][0] == "+" and found.as_predicted


def test_a_body_stays_as_it_is_and_what_it_reads_too(tmp_path: Path) -> None:
    """The body reads `c` by name, so `c` stays the float32 value; what follows is float16."""
    body = (
        f"{CONV} [choice] d = If (b) <then_branch = a () => (float[1, 4, 4, 4] p) {{ p = Relu (c) }}, "
        "else_branch = e () => (float[1, 4, 4, 4] q) { q = Sigmoid (c) }> "
        "[last] y = Conv <kernel_shape = [1, 1]> (d, w)"
    )
    plan, graph, found = written(model_of(body, w=W, b=np.asarray(True)), tmp_path)
    assert marks(plan)["conv"][0] == "!" and "by name" in marks(plan)["conv"][1]
    assert casts(graph) == [("d", "float16"), ("y_before", "float32")]
    assert found.as_predicted and found.outputs[0].sqnr_db > 50


def test_a_shared_constant_stays_float32_for_those_that_need_it(tmp_path: Path) -> None:
    body = f"{CONV} [kept] d = Conv <kernel_shape = [1, 1]> (x, w) [sum] y = Add (c, d)"
    _, graph, _ = written(model_of(body, w=W), tmp_path, 'keep "kept" in float32\n')
    assert types(graph) == {"w_float16": TensorProto.FLOAT16, "w": TensorProto.FLOAT}
    assert sorted(casts(graph)) == [("d", "float16"), ("x", "float16"), ("y_before", "float32")]


def test_weights_alone_are_stored_and_widened_when_the_model_loads(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((16, 4, 3, 3)).astype(np.float32)
    body = "[conv] y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)"
    plan, graph, found = written(model_of(body, "float[1, 16, 4, 4] y", w=weight), tmp_path, head=STORED)
    assert casts(graph) == [("w_float16", "float32")]
    assert marks(plan)["conv"] == ("+", "weights stored as float16, computes in float32")
    assert "Cast" not in dict(found.op_counts), "the runtime widens them once, not at every run"
    assert found.as_predicted and found.outputs[0].sqnr_db > 60


def test_every_cast_names_the_line_that_asked(tmp_path: Path) -> None:
    _, graph, _ = written(model_of(f"{CONV} [relu] y = Relu (c)", w=W), tmp_path)
    origins = {p.value for n in graph.node if n.op_type == "Cast" for p in n.metadata_props if p.key == "qdsl.origin"}
    assert origins == {"quantize float, line 3"}


def test_float16_inside_a_static_build(tmp_path: Path) -> None:
    recipe = project(tmp_path, "keep op Gemm in float16\n")
    (target,) = qdsl.compile(recipe, out=tmp_path / "build").targets
    assert marks(target.plan)["gemm"][0] == "+" and "float16" in marks(target.plan)["gemm"][1]
    assert target.verification.as_predicted
    graph = onnx.load(target.emitted.model).graph
    assert [kind for _, kind in casts(graph)] == ["float16", "float32"]
    assert STATIC.startswith("recipe demo")


def test_weights_not_named_follow_the_activations(tmp_path: Path) -> None:
    head = HALF.replace("weights float16; ", "")
    _, graph, _ = written(model_of(f"{CONV} [relu] y = Relu (c)", w=W), tmp_path, head=head)
    assert types(graph) == {"w_float16": TensorProto.FLOAT16}
    fixed = HALF.replace("weights float16", "weights float32")
    with pytest.raises(QdslError) as caught:
        decided(from_proto(model_of("[conv] y = Conv <kernel_shape = [1, 1]> (x, w)", w=W)).view(), head=fixed)
    assert caught.value.diagnostics[0].code == "nothing-to-quantize"


def test_float16_inside_a_dynamic_build(tmp_path: Path) -> None:
    head = STATIC.replace("quantize static", "quantize dynamic").split("quantize")[0]
    head += "quantize dynamic { weights 8 bit; activations uint8 }\ntarget ort\n"
    recipe = project(tmp_path, "layers op [Conv, Gemm] { weights 8 bit }\nkeep op Add in float16\n", head=head)
    (target,) = qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets
    assert marks(target.plan)["add"][0] == "+" and "float16" in marks(target.plan)["add"][1]
    assert target.verification.as_predicted, target.verification.mismatches


def test_explain_says_where_float16_is() -> None:
    from qdsl.describe.explain import explain

    model = from_proto(model_of(f"{CONV} [relu] y = Relu (c)", w=W))
    found = decided(model.view(), head=HALF)
    assert "stored float16, computes in float32 on this CPU (ort_cpu.toml" in explain(found, "conv").text
    assert explain(found, "c").verdict == "float16"


@pytest.mark.parametrize(
    ("rules", "head", "code"),
    [
        ("keep op Exp in float16\n", HALF, "target-cannot"),
        ("layers op Conv { activations float16 }\n", STATIC, "target-cannot"),
    ],
)
def test_what_cannot_be_float16_is_refused_at_its_line(rules: str, head: str, code: str) -> None:
    model = from_proto(model_of(f"{CONV} [e1] y = Exp (c)", w=W))
    with pytest.raises(QdslError) as caught:
        decided(model.view(), rules, head=head)
    (found,) = caught.value.diagnostics
    assert found.code == code and found.span is not None and found.help


def test_integer_weights_keep_their_node_in_float32(tmp_path: Path) -> None:
    body = "[flat] f = Reshape (x, s) [product] p = MatMul (f, w) [tail] y = Tanh (p)"
    proto = model_of(body, "float[16, 8] y", w=np.full((4, 8), 0.5, np.float32), s=np.asarray([16, 4]))
    plan, _, found = written(proto, tmp_path, "layers op MatMul { weights int8 }\n")
    assert marks(plan)["product"][0] == "!" and "stored as integers" in marks(plan)["product"][1]
    assert dict(found.op_counts)["MatMulNBits"] == 1 and found.as_predicted


def sound(graph: onnx.GraphProto) -> None:
    """No Cast of ours follows a Cast, none stands twice, and inputs and outputs are as they were."""
    writer = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Cast" and "_to_float" in node.name:
            assert node.input[0] not in writer or writer[node.input[0]].op_type != "Cast", node.name
    assert len(set(casts(graph))) == len(casts(graph))
    assert all(v.type.tensor_type.elem_type == TensorProto.FLOAT for v in (*graph.input, *graph.output))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 30, 10))
def test_random_graphs_in_float16(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 10):
        plan, graph, found = written(random_model(seed), tmp_path / str(seed))
        sound(graph)
        assert found.as_predicted, (seed, found.mismatches)
        assert any(half.writes for half in plan.halves)
        worst = min(output.sqnr_db for output in found.outputs if output.sqnr_db is not None)
        assert worst > 15, (seed, found.outputs)


@pytest.mark.slow
def test_a_whole_detector_from_the_recipe(tmp_path: Path) -> None:
    data = Path(__file__).parent / "data" / "yolov8_tiny_torchscript.onnx"
    (tmp_path / "demo.q").write_text(HALF.replace("demo.onnx", str(data)) + "keep decode_head in float32\n")
    first = qdsl.compile(tmp_path / "demo.q", out=tmp_path / "one")
    (target,) = first.targets
    sound(onnx.load(target.emitted.model).graph)
    assert abs(target.emitted.size - target.plan.totals.predicted_bytes) <= 0.05 * target.emitted.size
    assert target.verification.as_predicted and target.verification.outputs[0].sqnr_db > 40
    again = qdsl.compile(tmp_path / "demo.q", out=tmp_path / "two", locked=True)
    assert again.from_lock and again.targets[0].emitted.files == target.emitted.files


def test_a_model_that_does_not_run_on_drawn_inputs_is_compared_on_none(tmp_path: Path) -> None:
    """Indices from 0 to 1 where the model wants others are no reason to refuse it: the recipe did not ask for them."""
    body = f"{CONV} [pick] g = Gather <axis = 1> (c, i) [add] k = Sub (i, two) [again] y = Gather <axis = 1> (g, k)"
    proto = model_of(body, "float[1, 1, 4, 4] y", w=W, two=np.asarray([9]))
    proto.graph.input.append(onnx.helper.make_tensor_value_info("i", TensorProto.INT64, [1]))
    recipe = project(tmp_path, head=HALF, proto=proto)
    (target,) = qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets
    assert target.verification.samples == 0 and target.verification.source == ""
    assert target.verification.as_predicted
