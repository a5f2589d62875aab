"""The example `shapes`: a tiny classifier of drawn discs, squares and triangles, made here in seconds, not downloaded.

Two convolutions with drawn weights find edges and corners; only the last layer is fitted, by least squares. What it
gets right on pictures that it has not seen, `compile` measures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from qdsl.graph.sessions import Session, Settings

CLASSES = ("disc", "square", "triangle")
SIDE = 48
_FITTED, _TRAIN, _VAL = 600, 40, 40  # pictures per class: seen while fitting, and written
_WIDE = (16, 96)  # channels of the two convolutions
_RIDGE = 1e-3
RECIPE = """# A classifier of drawn shapes, small enough to try everything in a minute.
recipe shapes

model onnx "shapes.onnx"

# Preprocessing belongs to the model: the same for calibration, evaluation and the device.
input "image" {
  rescale 1/127.5
  mean    [1, 1, 1]
}

data calib from folder "train" { take 100 seed 7 }
data val   from folder "val"

quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}

target ort { threads 1 }

evaluate classification on val {
  measure top1, f1 "triangle"
  require top1 drop <= 5 pp
  require size <= 60 KiB
}
"""


def write_shapes(folder: Path) -> tuple[str, tuple[Path, ...]]:
    """Draw the pictures, fit the model, write both below `folder`; the recipe's text, and what was written."""
    draw = np.random.default_rng(7)
    written: list[Path] = []
    for split, count in (("train", _TRAIN), ("val", _VAL)):
        for label, name in enumerate(CLASSES):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                written.append(place / f"{number:03}.png")
                _picture(label, draw).save(written[-1])
    seen = [(_picture(label, draw), label) for _ in range(_FITTED) for label in range(len(CLASSES))]
    written.append(folder / "shapes.onnx")
    onnx.save(_fitted(seen, draw), written[-1])
    return RECIPE, tuple(written)


def _picture(label: int, draw: np.random.Generator) -> Image.Image:
    """A shape anywhere, bright on dark, in several sizes and colours, with noise over it."""
    ground, colour = draw.integers(0, 90, 3), draw.integers(165, 256, 3)
    radius = draw.uniform(10, 14)
    x, y = draw.uniform(radius + 2, SIDE - radius - 2, 2)
    picture = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in ground))
    pen, ink = ImageDraw.Draw(picture), tuple(int(v) for v in colour)
    if label == 0:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    else:
        corners, turn = (4 if label == 1 else 3), draw.normal((0.0, np.pi / 4, np.pi / 6)[label], 0.1)
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        pen.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles], fill=ink)
    noisy = np.asarray(picture, np.float32) + draw.normal(0, 6, (SIDE, SIDE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _fitted(seen: list[tuple[Any, int]], draw: np.random.Generator) -> onnx.ModelProto:
    """Convolutions as drawn, and the last layer by ridge regression on what they find."""
    weights = _weights(draw)
    finds = Session(_model(weights).SerializeToString(), Settings(threads=0))
    pixels = np.stack([np.asarray(picture, np.float32).transpose(2, 0, 1) / 127.5 - 1 for picture, _ in seen])
    found = np.asarray(finds.run(finds.outputs, {"image": pixels})[0], np.float64)
    wanted = np.eye(len(CLASSES))[[label for _, label in seen]]
    mean, spread = found.mean(0), found.std(0) + 1e-6
    scaled = (found - mean) / spread
    inner = scaled.T @ scaled + _RIDGE * len(seen) * np.eye(found.shape[1])
    solved = np.linalg.solve(inner, scaled.T @ (wanted - wanted.mean(0))) / spread[:, None]
    weights["w3"] = solved.T.astype(np.float32)
    weights["b3"] = (wanted.mean(0) - mean @ solved).astype(np.float32)
    return _model(weights)


def _weights(draw: np.random.Generator) -> dict[str, Any]:
    first = draw.normal(0, 1, (_WIDE[0], 3, 5, 5)) * np.sqrt(2 / 75)
    first -= first.mean((2, 3), keepdims=True)  # edges, not colours
    second = draw.normal(0, 1, (_WIDE[1], _WIDE[0], 5, 5)) * np.sqrt(2 / (25 * _WIDE[0]))
    second -= second.mean((2, 3), keepdims=True)
    zeros = {"b1": np.zeros(_WIDE[0], np.float32), "b2": np.zeros(_WIDE[1], np.float32)}
    return {"w1": first.astype(np.float32), "w2": second.astype(np.float32), **zeros}


def _model(weights: dict[str, Any]) -> onnx.ModelProto:
    """The network; without a last layer in `weights`, what the convolutions find."""
    conv: dict[str, Any] = {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], name="conv1", **conv),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", **conv),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
    ]
    output, width = "f", _WIDE[1]
    if "w3" in weights:
        nodes.append(helper.make_node("Gemm", ["f", "w3", "b3"], ["scores"], name="classify", transB=1))
        output, width = "scores", len(CLASSES)
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", width])]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "shapes", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
