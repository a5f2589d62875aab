"""Which of a head's last convolutions mean boxes and which scores, and where the head joins the two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from structure_graphs import HEADS, OTHERS, Net

from qdsl.graph import load
from qdsl.graph.structure import head_branches, mixed_concats
from qdsl.graph.view import GraphView
from qdsl.passes.pipeline import canonicalise

DATA = Path(__file__).parent / "data"


def open_view(path: Path) -> GraphView:
    model = load(path)
    canonicalise(model)
    return model.view()


def built(name: str) -> GraphView:
    net = Net()
    return net.view(*{**HEADS, **OTHERS}[name](net))


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_yolov8_channels_are_followed_through_concat_and_split(exporter: str) -> None:
    view = open_view(DATA / f"yolov8_tiny_{exporter}.onnx")
    assert Counter(head_branches(view).values()) == {"boxes": 3, "scores": 3}
    reasons = Counter(reason for _, reason in mixed_concats(view))
    assert reasons == {
        "joins the maps that boxes are decoded from with the maps of scores": 3,
        "joins probabilities (0..1) with computed boxes": 1,
    }


@pytest.mark.parametrize(("name", "levels"), [("yolox_nano", 3), ("FastestDet", 1)])
def test_bare_boxes_beside_probabilities(testdata: Path, name: str, levels: int) -> None:
    view = open_view(testdata / f"models/{name}.onnx")
    assert Counter(head_branches(view).values()) == {"raw": levels, "scores": 2 * levels}
    reasons = [reason for _, reason in mixed_concats(view)]
    assert reasons == ["joins probabilities (0..1) with maps that are no probabilities"] * levels


@pytest.mark.parametrize(
    ("name", "branches", "mixed"),
    [
        ("yolov5", {"both": 3}, 3),
        ("ssd", {"raw": 3, "scores": 3}, 0),
        ("distribution", {"boxes": 3, "scores": 3}, 0),
        ("raw_levels", {"raw": 6}, 3),
        ("raw_anchors", {"raw": 3}, 0),
        ("classifier", {}, 0),
        ("unet", {}, 0),
    ],
)
def test_families_of_heads(name: str, branches: dict[str, int], mixed: int) -> None:
    view = built(name)
    assert Counter(head_branches(view).values()) == branches
    assert len(mixed_concats(view)) == mixed


def test_slices_are_followed_like_a_split() -> None:
    net = Net()
    x = net.block(net.input("images", 1, 3, 8, 8), 8)
    box, score = net.conv(x, 4, name="box"), net.conv(x, 3, name="score")
    y = net.op("Concat", box, score, axis=1, name="both")
    y = net.op("Transpose", net.op("Reshape", y, net.values([1, 7, -1])), perm=[0, 2, 1])
    bounds = [net.one(v) for v in (0, 4, -1, 2)]
    low = net.op("Slice", y, bounds[0], bounds[1], bounds[3])
    high = net.op("Slice", y, bounds[1], net.one(2**31), bounds[3])
    boxes = net.op("Mul", low, net.constant(1, 64, 1))
    view = net.view(net.op("Concat", boxes, net.op("Sigmoid", high), axis=2, name="end"))
    assert {view.nodes[i].name: m for i, m in head_branches(view).items()} == {"box": "boxes", "score": "scores"}
    assert [view.nodes[i].name for i, _ in mixed_concats(view)] == ["both", "end"]


def test_the_product_of_two_probabilities_is_a_score() -> None:
    net = Net()
    x = net.block(net.input("images", 1, 3, 8, 8), 8)
    chance = net.op("Sigmoid", net.conv(x, 1, name="object"))
    kind = net.op("Softmax", net.conv(x, 3, name="class"), axis=1)
    score = net.op("Mul", chance, kind)
    view = net.view(net.op("Concat", net.conv(x, 4, name="box"), score, axis=1))
    found = {view.nodes[i].name: meaning for i, meaning in head_branches(view).items()}
    assert found == {"object": "scores", "class": "scores", "box": "raw"}
