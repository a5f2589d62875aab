"""Decoding with channels last: hand-made heads behind integer convolutions, random ones, and detectors' own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from plan_tools import planned
from seeds import few_of
from test_plan_reality import measured

import qdsl.graph
from qdsl.graph.model import Model
from qdsl.passes.index import lowerings_for, make
from qdsl.passes.pipeline import canonicalise
from qdsl.rewrite import Trace, run
from qdsl.spec.plan import Plan
from qdsl.targets import lowerings
from qdsl.targets.ort import emit, reality
from qdsl.targets.ort.verify import mismatches

TESTS = Path(__file__).resolve().parent
DETECTOR = TESTS.parent / "examples" / "people" / "yolov8n.onnx"
EXPORTS = (*(TESTS / "data" / f"yolov8_tiny_{name}.onnx" for name in ("torchscript", "dynamo")), DETECTOR)
LEVELS = {
    name: getattr(ort.GraphOptimizationLevel, f"ORT_{name}")
    for name in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
}
USED = "a tensor of the chain has another use"
NOT_FIXED = "a shape is not fixed"
NOT_FLAT = "a Reshape does more than flatten what was joined"
NOT_PARTED = "the Split does not part what was joined"
NO_INTEGERS = "what is joined comes from no integer convolution, or has another use"
AGAIN = "a result is quantized again"


@dataclass(frozen=True)
class Head:
    """A head as it is written today, with what a case changes about it."""

    maps: Sequence[Sequence[int]] = ((3, 4), (2, 2))
    batch: int = 1
    sides: int = 4
    distances: int = 3
    scores: int = 2
    together: bool = True
    average: bool = True
    sizes: Sequence[int] | None = None  # of the Split; (): it parts evenly
    flat: Sequence[int] | None = None  # what the Reshape of each level asks for
    negative: bool = False  # axes are counted from behind
    flatten: dict[str, Any] = field(default_factory=dict)
    free: bool = False  # the height of the maps is not fixed
    integers: str = "uint8"
    float_conv: bool = False
    float_weight: bool = False
    outputs: Sequence[str] = ()
    extra: Sequence[tuple[str, str]] = ()  # nodes of one more input and output
    quantized: bool = False  # what the scores become is quantized
    opset: int = 17

    @property
    def channels(self) -> tuple[int, int]:
        return self.sides * self.distances, self.scores


class _Builder:
    def __init__(self, head: Head, seed: int) -> None:
        self.head = head
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[TensorProto] = []

    def node(self, op: str, inputs: Sequence[str], name: str, outputs: Sequence[str] = (), **attrs: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs or [name], name=f"{name}_{op}", **attrs))
        return name

    def constant(self, name: str, values: Any, kind: Any = np.int64) -> str:
        self.stored.append(numpy_helper.from_array(np.array(values, kind), name))
        return name

    def pair(self, x: str) -> str:
        """`x` through QuantizeLinear and DequantizeLinear."""
        middle = 128 if self.head.integers == "uint8" else 0
        steps = self.constant(f"{x}_s", self.random.uniform(0.01, 0.05), np.float32)
        parts = [steps, self.constant(f"{x}_z", middle, self.head.integers)]
        self.node("QuantizeLinear", [x, *parts], f"{x}_q")
        return self.node("DequantizeLinear", [f"{x}_q", *parts], f"{x}_dq")

    def conv(self, x: str, channels: int, name: str) -> str:
        """An integer convolution, or what a case makes of it."""
        shape = (channels, 3, 1, 1)
        if self.head.float_conv or self.head.float_weight:
            weight = self.constant(f"{name}_w", self.random.normal(size=shape), np.float32)
        else:
            scale = self.constant(f"{name}_ws", self.random.uniform(0.001, 0.02, channels), np.float32)
            stored = self.constant(f"{name}_w8", self.random.integers(-127, 128, shape), np.int8)
            zeros = self.constant(f"{name}_wz", np.zeros(channels), np.int8)
            weight = self.node("DequantizeLinear", [stored, scale, zeros], f"{name}_w", axis=0)
        self.node("Conv", [x, weight], name)
        return name if self.head.float_conv else self.pair(name)


def _proto(head: Head, seed: int = 0) -> ModelProto:
    b = _Builder(head, seed)
    levels, inputs = [], []
    flat = head.flat or (head.batch, sum(head.channels), -1)
    b.constant("flat", flat)
    for k, (height, width) in enumerate(head.maps):
        shape = [head.batch, 3, "H" if head.free else height, width]
        inputs.append(helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, shape))
        x = b.pair(f"x{k}")
        parts = [b.conv(x, count, f"{name}{k}") for name, count in zip(("box", "score"), head.channels, strict=True)]
        b.node("Concat", parts, f"level{k}", axis=-3 if head.negative else 1)
        levels.append(b.node("Reshape", [f"level{k}", "flat"], f"flat{k}", **head.flatten))
    whole = b.node("Concat", levels, "whole", axis=-1 if head.negative else 2) if head.together else levels[0]
    sizes = head.channels if head.sizes is None else head.sizes
    told = [b.constant("sizes", sizes)] if sizes else []
    parts = ["boxes", "scores"]
    even = {"num_outputs": 2} if not sizes and head.opset >= 18 else {}
    b.node("Split", [whole, *told], "parts", parts, axis=-2 if head.negative else 1, **even)
    places = sum(height * width for height, width in head.maps)
    if head.average:
        b.constant("column", b.random.uniform(0, 2, (head.distances, 1)), np.float32)
        b.constant("dims", [head.batch, head.sides, head.distances, places])
        b.node("Reshape", ["boxes", "dims"], "apart")
        b.node("Transpose", ["apart"], "turned", perm=[0, 1, 3, 2])
        b.node("Softmax", ["turned"], "soft", axis=-1)
        b.node("MatMul", ["soft", "column"], "mean")
        b.node("Reshape", ["mean", b.constant("back", [0, head.sides, -1])], "near")
    b.node("Sigmoid", [b.pair("scores") if head.quantized else "scores"], "likely")
    b.node("Concat", ["near" if head.average else "boxes", "likely"], "y", axis=1)
    for x, y in head.extra:
        b.node("Neg", [x], y)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", *head.outputs)]
    graph = helper.make_graph(b.nodes, "head", inputs, ends, b.stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", head.opset)], ir_version=8)


def model_of(head: Head, seed: int = 0) -> Model:
    return qdsl.graph.from_proto(onnx.shape_inference.infer_shapes(_proto(head, seed)))


def _runs(head: Head, seed: int = 0) -> tuple[Model, Model, Trace]:
    before = model_of(head, seed)
    after = before.copy()
    return before, after, run([make("channels_last")], after)


def _session(data: bytes, level: str, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = LEVELS[level]
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _outputs(model: Model, level: str) -> list[np.ndarray]:
    session, random = _session(qdsl.graph.to_bytes(model), level), np.random.default_rng(3)
    feeds = {i.name: random.uniform(-4, 4, i.shape).astype(np.float32) for i in session.get_inputs()}
    return list(session.run(None, feeds))


def _same(before: Model, after: Model, levels: Sequence[str] = tuple(LEVELS)) -> None:
    """Bit for bit, whatever the runtime makes of it."""
    for level in levels:
        for was, now in zip(_outputs(before, level), _outputs(after, level), strict=True):
            assert was.shape == now.shape and was.tobytes() == now.tobytes(), level


def _turned(model: Model, folder: Path) -> dict[str, int]:
    """At ORT_ENABLE_ALL: Transposes of what the integer convolutions write (QLinearConv and its kin), and how many
    convolutions there are."""
    path = folder / "optimized.onnx"
    _session(qdsl.graph.to_bytes(model), "ENABLE_ALL", path)
    nodes = onnx.load(path).graph.node
    written = {name for node in nodes if node.op_type == "QLinearConv" for name in node.output}
    turned = [node for node in nodes if node.op_type == "Transpose" and node.input[0] in written]
    return {"turned": len(turned), "convolutions": len(written)}


def _text(model: Model) -> str:
    """Without constants and without what leads to the convolutions."""
    proto = qdsl.graph.to_proto(model).graph
    kept = [node for node in proto.node if node.op_type not in ("Conv", "QuantizeLinear", "DequantizeLinear")]
    del proto.initializer[:], proto.value_info[:], proto.node[:]
    proto.node.extend(kept)
    return onnx.printer.to_text(proto)


ONE, TWO, THREE = ((3, 4),), ((3, 4), (2, 2)), ((4, 4), (2, 2), (1, 1))
FIRES = {
    "as YOLOv8 writes it": Head(THREE),
    "one level": Head(ONE),
    "one level that nothing joins": Head(ONE, together=False),
    "one class": Head(TWO, scores=1),
    "a batch": Head(TWO, batch=2),
    "a batch of one level, one class": Head(ONE, batch=2, scores=1, together=False),
    "a batch of three levels, many classes": Head(THREE, batch=2, scores=20, distances=16),
    "axes from behind": Head(TWO, negative=True),
    "dims that are copied": Head(TWO, flat=(0, 0, -1)),
    "dims as they are": Head(ONE, flat=(1, 14, 12), flatten={"allowzero": 1}),
    "even parts": Head(TWO, sides=1, distances=2, sizes=()),
    "even parts, counted": Head(TWO, sides=1, distances=2, sizes=(), opset=18),
    "boxes as they are": Head(TWO, average=False),
    "a part that is an output, too": Head(TWO, outputs=("scores",)),
    "boxes that are an output, too": Head(TWO, average=False, outputs=("boxes",)),
    "distances that are an output, too": Head(TWO, outputs=("boxes",)),
    "averages that are an output, too": Head(TWO, outputs=("near",)),
}
REFUSED = {
    "a level is an output": (Head(outputs=("level0",)), USED),
    "a flat level is an output": (Head(outputs=("flat1",)), USED),
    "another reader of all levels": (Head(outputs=("z",), extra=(("whole", "z"),)), USED),
    "another reader of a flat level": (Head(outputs=("z",), extra=(("flat0", "z"),)), USED),
    "free dims": (Head(ONE, free=True, average=False), NOT_FIXED),
    "sizes that differ": (Head(sizes=(13, 1), average=False), NOT_PARTED),
    "even parts of uneven joints": (Head(sizes=(), average=False), NOT_PARTED),
    "channels that become places": (Head(ONE, flat=(1, 28, 6), sizes=(14, 14), average=False), NOT_FLAT),
    "convolutions in float": (Head(float_conv=True), NO_INTEGERS),
    "float weights": (Head(float_weight=True), NO_INTEGERS),
    "another reader of the integers": (Head(outputs=("z",), extra=(("box0_dq", "z"),)), NO_INTEGERS),
    "the dequantized map is an output": (Head(outputs=("score1_dq",)), NO_INTEGERS),
    "signed integers": (Head(integers="int8"), NO_INTEGERS),
    "16 bits": (Head(integers="uint16", opset=21), NO_INTEGERS),
    "a quantized part": (Head(quantized=True), AGAIN),
}


def test_goldens(golden: Callable[[str, str], None]) -> None:
    parts = []
    for title in ("as YOLOv8 writes it", "boxes as they are", "another reader of all levels"):
        before, after, trace = _runs(FIRES[title] if title in FIRES else REFUSED[title][0])
        refused = [f"refused {one.node}: {one.reason}" for one in trace.refused]
        parts += [f"== {title}", _text(before), *refused, f"-> {_text(after)}" if trace.edits else "-> unchanged", ""]
    golden("passes/channels_last.txt", "\n".join(parts))


@pytest.mark.parametrize("head", FIRES.values(), ids=FIRES)
def test_the_same_bits_and_no_transpose_behind_a_convolution(head: Head, tmp_path: Path) -> None:
    before, after, trace = _runs(head)
    assert (trace.counts, trace.refused) == ({"channels_last": 1}, ())
    onnx.checker.check_model(qdsl.graph.to_proto(after), full_check=True)
    _same(before, after)
    count = 2 * len(head.maps)
    assert _turned(before, tmp_path) == {"turned": count, "convolutions": count}
    assert _turned(after, tmp_path) == {"turned": 0, "convolutions": count}
    ops = [node.op for node in after.nodes()]
    average = head.average and "boxes" not in head.outputs
    assert (ops.count("Split"), ops.count("Transpose")) == (0, count + 2 + (head.average and not average))
    assert run([make("channels_last")], after).edits == 0


@pytest.mark.parametrize(("head", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_stays_as_it_is(head: Head, reason: str) -> None:
    before, after, trace = _runs(head)
    assert [tuple(refused) for refused in trace.refused] == [("parts_Split", reason)]
    assert trace.edits == 0 and qdsl.graph.to_bytes(before) == qdsl.graph.to_bytes(after)


def test_another_pattern_is_no_near_miss() -> None:
    """A Split that parts something else, or along places."""
    proto = _proto(Head(ONE, together=False, average=False))
    split = next(node for node in proto.graph.node if node.op_type == "Split")
    split.input[0] = "box0_dq"
    trace = run([make("channels_last")], qdsl.graph.from_proto(proto))
    assert (trace.edits, trace.refused) == (0, ())


def test_an_average_that_reads_otherwise_keeps_its_own_order(tmp_path: Path) -> None:
    """Only the Reshapes, the Transpose and the sum that are known move; for others the part itself is turned back."""
    for change in ("perm", "axis"):
        proto = _proto(Head(TWO))
        for node in proto.graph.node:
            if node.op_type == "Transpose" and change == "perm":
                node.attribute[0].ints[:] = [0, 1, 2, 3]
            if node.op_type == "Softmax" and change == "axis":
                node.attribute[0].i = 2
        if change == "perm":
            column = next(tensor for tensor in proto.graph.initializer if tensor.name == "column")
            column.CopyFrom(numpy_helper.from_array(np.ones((16, 1), np.float32), "column"))
            dims = next(tensor for tensor in proto.graph.initializer if tensor.name == "back")
            dims.CopyFrom(numpy_helper.from_array(np.array([1, 4, 3]), "back"))
            likely = next(node for node in proto.graph.node if node.output[0] == "y")
            likely.input[0] = "boxes"
            proto.graph.output.append(helper.make_tensor_value_info("near", TensorProto.FLOAT, None))
            proto.graph.node.remove(likely)
            proto.graph.node.append(helper.make_node("Sigmoid", ["scores"], ["y"], name="again"))
        before = qdsl.graph.from_proto(onnx.shape_inference.infer_shapes(proto))
        after = before.copy()
        assert run([make("channels_last")], after).edits == 1
        assert {"parts_Split_back_0", "parts_Split_back_1"} <= {node.name for node in after.nodes()}
        _same(before, after)
        assert _turned(after, tmp_path)["turned"] == 0


def test_nodes_that_go_on_keep_their_names_and_the_others_are_told() -> None:
    before, after, _ = _runs(Head(TWO))
    names = {node.name for node in after.nodes()}
    gone = {node.name for node in before.nodes()} - names
    assert gone == {"level0_Concat", "level1_Concat", "flat0_Reshape", "flat1_Reshape", "parts_Split"}
    told = {n.name: {p.key: p.value for p in n.metadata_props} for n in qdsl.graph.to_proto(after).graph.node}
    assert {keys["qdsl.replaces"] for keys in told.values() if "qdsl.replaces" in keys} == gone | {"whole_Concat"}
    changed = {"whole_Concat", "apart_Reshape", "turned_Transpose", "soft_Softmax", "mean_MatMul", "near_Reshape"}
    made = names - {node.name for node in before.nodes()}
    assert {name for name, keys in told.items() if keys.get("qdsl.origin") == "channels_last"} == changed | made
    assert all(told[name]["qdsl.replaces"] in name for name in made)
    ran = reality.read(qdsl.graph.to_bytes(after), counts=False).nodes
    assert {ran[name] for name in gone} == {reality.Ran("absorbed", "")}
    assert {ran[name].runs for name in changed} == {"float"}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    maps=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
    batch=st.integers(1, 3),
    sides=st.integers(1, 5),
    distances=st.integers(1, 17),
    scores=st.integers(1, 33),
    average=st.booleans(),
    opset=st.sampled_from([13, 17, 21]),
    seed=st.integers(0, 2**16),
)
def test_random_heads_give_the_same_bits(seed: int, **sizes: Any) -> None:
    head = Head(**sizes)
    before, after, trace = _runs(head, seed)
    assert trace.edits == 1
    _same(before, after, ("DISABLE_ALL", "ENABLE_ALL"))
    whole = replace(head, together=False) if len(head.maps) == 1 else head
    assert _runs(whole, seed)[2].edits == 1


def test_before_opset_13_nothing_is_looked_at() -> None:
    graph = (
        "g (float[1, 1, 1, 2] x, float[1, 2, 1, 2] z) => (float[1, 1, 2] a, float[1, 2, 2] b) "
        "<int64[3] flat = {1, 3, -1}> { j = Concat <axis = 1> (x, z) r = Reshape (j, flat) "
        "a, b = Split <axis = 1, split = [1, 2]> (r) }"
    )
    trace = run([make("channels_last")], qdsl.graph.from_proto(parse(graph, 12)))
    assert (trace.edits, trace.refused) == (0, ())


def _carried_out(path: Path, rules: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Model, Model]:
    """A detector's plan, carried out without the lowering and with it."""
    model = qdsl.graph.load(path)
    canonicalise(model)
    plan = planned(model.view(), rules)
    ranges = measured(model, plan, 1)
    after, _ = emit.quantize(model, plan, ranges)
    with monkeypatch.context() as patched:
        others = tuple(name for name in lowerings_for("ort") if name != "channels_last")
        patched.setattr(lowerings, "lowerings_for", lambda target: others)
        before, _ = emit.quantize(model, plan, ranges)
    return plan, before, after


@pytest.mark.slow
@pytest.mark.parametrize("path", few_of(EXPORTS, 1), ids=[path.stem for path in EXPORTS])
def test_detectors_own_heads(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, before, after = _carried_out(path, "keep decode_head in float32\n", monkeypatch)
    assert [node.op for node in before.nodes()].count("Split") == [node.op for node in after.nodes()].count("Split") + 1
    _same(before, after, ("DISABLE_ALL", "ENABLE_ALL"))
    was, now = _turned(before, tmp_path), _turned(after, tmp_path)
    assert (now["convolutions"], was["turned"] - now["turned"]) == (was["convolutions"], 6)
    ran = reality.read(qdsl.graph.to_bytes(after), counts=False)
    assert mismatches(plan, ran) == ()
    assert {node.node for node in plan.nodes} <= set(ran.nodes)
    real = {name: ran.nodes[name].runs for name in (node.node for node in plan.nodes)}
    moved = {node.node for node in plan.nodes if real[node.node] != node.prediction.runs}
    assert len(moved) == 7 and {real[name] for name in moved} == {"absorbed"}


@pytest.mark.slow
def test_a_head_in_integers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, before, after = _carried_out(EXPORTS[0], "", monkeypatch)
    assert qdsl.graph.to_bytes(before) == qdsl.graph.to_bytes(after)
