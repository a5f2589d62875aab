"""The decoding head of a detector: there in every family of detectors, under any names; absent everywhere else."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import onnx
import pytest
from structure_graphs import HEADS, OTHERS, Net, backbone

from qdsl.graph import from_proto, load
from qdsl.graph.structure import decode_head
from qdsl.graph.view import GraphView
from qdsl.passes.pipeline import canonicalise

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent


def open_view(path: Path) -> GraphView:
    model = load(path)
    canonicalise(model)
    return model.view()


def ops(view: GraphView) -> Counter[str]:
    return Counter(view.nodes[index].op for index in decode_head(view))


def sources(view: GraphView) -> set[str]:
    """The convolutions outside the head that feed it."""
    head = decode_head(view)
    feeding = {p.index for i in head for name in view.nodes[i].inputs if (p := view.producer(name))} - head
    return {view.nodes[i].op for i in feeding}


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "examples/people/yolov8n.onnx",
        DATA / "yolov8_tiny_torchscript.onnx",
        DATA / "yolov8_tiny_dynamo.onnx",
    ],
    ids=lambda path: path.stem,
)
def test_yolov8_has_only_the_convolution_over_bins_in_its_head(path: Path) -> None:
    view = open_view(path)
    found = ops(view)
    assert found["Conv"] == 1
    assert sum(node.op == "Conv" for node in view.nodes) - found["Conv"] == 63
    assert (found["Sigmoid"], found["Softmax"], found["Concat"]) == (1, 1, 6)
    assert sources(view) == {"Conv"}


def test_both_exporters_give_the_same_head() -> None:
    arithmetic = {"Conv", "Sigmoid", "Softmax", "Concat", "Sub"}
    script = ops(open_view(DATA / "yolov8_tiny_torchscript.onnx"))
    dynamo = ops(open_view(DATA / "yolov8_tiny_dynamo.onnx"))
    assert {op: script[op] for op in arithmetic} == {op: dynamo[op] for op in arithmetic}


def test_yolox(testdata: Path) -> None:
    view = open_view(testdata / "models/yolox_nano.onnx")
    assert ops(view) == {"Sigmoid": 6, "Concat": 4, "Reshape": 3, "Transpose": 1}
    assert sources(view) == {"Conv"}


def test_fastestdet(testdata: Path) -> None:
    view = open_view(testdata / "models/FastestDet.onnx")
    assert ops(view) == {"Sigmoid": 1, "Transpose": 2, "Softmax": 1, "Concat": 1}


@pytest.mark.parametrize(
    "name",
    [
        "kwt1_float",
        "mlperf_kws_float",
        "mlperf_pretrainedResnet_quant_qdq",
        "mlperf_resnet8_float",
        "mlperf_vww_96_float",
        "mlperf_vww_96_int8_qdq",
        "mobilenet_v1_0.25_224_imagenet_float",
        "mobilenet_v2_1.0_224_quant_qdq",
        "silero_vad_16k_op15",
    ],
)
def test_real_models_that_detect_nothing(testdata: Path, name: str) -> None:
    assert ops(open_view(testdata / f"models/{name}.onnx")) == {}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_head_is_everything_after_the_last_convolutions(name: str) -> None:
    net = Net()
    view = net.view(*HEADS[name](net))
    head = decode_head(view)
    last = max(node.index for node in view.nodes if node.op == "Conv")
    behind = reached_from_last_convolutions(view)
    assert head == behind
    assert last not in head
    assert head


def reached_from_last_convolutions(view: GraphView) -> frozenset[int]:
    """By the definition, slowly: nodes after a convolution from which no convolution follows."""
    after: dict[int, set[int]] = {}
    for node in reversed(view.nodes):
        readers = {r.index for name in node.outputs if name for r in view.consumers(name)}
        after[node.index] = readers.union(*(after[r] for r in readers))
    convs = {node.index for node in view.nodes if node.op == "Conv"}
    last = {index for index in convs if not after[index] & convs}
    return frozenset(set().union(*(after[index] for index in last)))


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_graphs_that_are_no_detectors_have_no_head(name: str) -> None:
    net = Net()
    assert decode_head(net.view(*OTHERS[name](net))) == frozenset()


@pytest.mark.parametrize("name", sorted({**HEADS, **OTHERS}))
@pytest.mark.parametrize("seed", [1, 2])
def test_names_and_order_do_not_matter(name: str, seed: int) -> None:
    net = Net()
    model = net.model(*{**HEADS, **OTHERS}[name](net))
    assert ops(from_proto(scrambled(model, seed)).view()) == ops(from_proto(model).view())


def scrambled(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same model with its nodes shuffled and everything but its inputs and outputs renamed."""
    rng = random.Random(seed)
    kept = {value.name for value in (*model.graph.input, *model.graph.output)} | {""}
    new = onnx.ModelProto()
    new.CopyFrom(model)
    nodes = list(new.graph.node)
    rng.shuffle(nodes)
    numbers = list(range(10_000, 20_000))
    rng.shuffle(numbers)
    renamed: dict[str, str] = {}

    def rename(name: str) -> str:
        return name if name in kept else renamed.setdefault(name, f"t{numbers[len(renamed)]}")

    for place, node in enumerate(nodes):
        node.name = f"n{numbers[place]}"
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for constant in new.graph.initializer:
        constant.name = rename(constant.name)
    del new.graph.node[:], new.graph.value_info[:]
    new.graph.node.extend(nodes)
    return new


def test_a_mask_branch_at_another_size_is_no_part_of_the_head() -> None:
    net = Net()
    outputs = HEADS["one_level_two_outputs"](net)
    first = next(node for node in net.nodes if node.op_type == "Mul").output[0]
    mask = net.op("Sigmoid", net.conv(net.block(first, 8), 4, name="mask"), name="mask_sigmoid")
    view = net.view(*outputs, mask)
    head = {view.nodes[i].name for i in decode_head(view)}
    assert "score" in head
    assert "mask_sigmoid" not in head


def test_a_branch_for_masks_and_the_activation_between_convolutions_stay_outside() -> None:
    net = Net()
    boxes = HEADS["raw_levels"](net)
    view = net.view(*boxes)
    assert ops(view) == {"Concat": 3}


def test_a_matrix_that_turns_corners_into_centres_is_decoding() -> None:
    net = Net()
    boxes, scores = HEADS["ssd"](net)
    view = net.view(net.op("MatMul", boxes, net.constant(4, 4), name="centres"), scores)
    head = decode_head(view)
    assert view.node("centres").index in head
    assert ops(view)["Concat"] == 2


def test_anchors_computed_from_shapes_belong_to_the_head() -> None:
    net = Net()
    x = backbone(net)[-1]
    y = net.conv(x, 4)
    shape = net.op("Shape", "images", name="shape")
    size = net.op("Cast", net.op("Gather", shape, net.values([3]), name="width"), to=1, name="number")
    boxes = net.op("Mul", y, size, name="scaled")
    view = net.view(net.op("Concat", boxes, net.op("Sigmoid", net.conv(x, 3)), axis=1))
    head = {view.nodes[i].name for i in decode_head(view)}
    assert {"shape", "width", "number", "scaled"} <= head


def test_empty_graphs_and_graphs_without_weights_have_no_head() -> None:
    net = Net()
    x = net.input("x", 1, 3, 4, 4)
    assert decode_head(net.view(net.op("Concat", net.op("Sigmoid", x), x, axis=1))) == frozenset()
