"""Small datasets, models and recipe parts for the tests of data and calibration."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from qdsl.diag import Span
from qdsl.lang.recipe import DataSpec, InputSpec, InputStep

DATA_SPAN = Span("bad.q", 4, 1, 4, 5)
BLOCK_SPAN = Span("bad.q", 3, 1, 3, 6)
STEP_SPAN = Span("bad.q", 3, 9, 3, 15)


def data_spec(source: str, *paths: Path, **settings: Any) -> DataSpec:
    """A `data calib` statement whose paths were written as their last parts."""
    written = tuple(p.name for p in paths)
    return DataSpec("calib", source, tuple(str(p) for p in paths), DATA_SPAN, written=written, **settings)


def block(*steps: tuple[Any, ...], name: str | None = None) -> InputSpec:
    """`block(("resize", 8, 8, "stretch"), ("rescale", 1 / 255))`."""
    return InputSpec(name, tuple(InputStep(s[0], tuple(s[1:]), STEP_SPAN) for s in steps), BLOCK_SPAN)


def picture(path: Path, size: tuple[int, int] = (8, 6), seed: int = 0, **save: Any) -> np.ndarray[Any, Any]:
    """Write a picture of noise, (width, height), and return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **save)
    return pixels


def bomb(path: Path, width: int = 65000, height: int = 65000) -> None:
    """A PNG of a few bytes that claims width x height pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body)


def graph_of(
    nodes: Sequence[NodeProto],
    outputs: Sequence[str],
    *,
    shape: Sequence[int | str] = (1, 3, 8, 8),
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    opset: int = 17,
    inputs: Sequence[str] = ("images",),
) -> ModelProto:
    """A float model."""
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small_net(opset: int = 17) -> ModelProto:
    """Two SiLU convolutions with a split, a concat, a residual, pools, a strided Conv and a softmax head; 32x32."""
    rng = np.random.default_rng(5)
    weights: dict[str, np.ndarray[Any, Any]] = {
        "w1": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "w2": rng.normal(size=(4, 4, 3, 3)).astype(np.float32) / 3,
        "w3": rng.normal(size=(6, 12, 1, 1)).astype(np.float32),
        "split": np.array([4, 4]),
        "flat": np.array([1, -1]),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "w1"], ["c1"], name="conv1", pads=[1] * 4),
        node("Sigmoid", ["c1"], ["s1"], name="sigmoid1"),
        node("Mul", ["c1", "s1"], ["m1"], name="mul1"),
        node("Split", ["m1", "split"], ["p", "q"], name="split1", axis=1),
        node("Conv", ["q", "w2"], ["c2"], name="conv2", pads=[1] * 4),
        node("Relu", ["c2"], ["r2"], name="relu2"),
        node("Add", ["r2", "q"], ["a"], name="add"),
        node("Concat", ["p", "q", "a"], ["cat"], name="concat", axis=1),
        node("MaxPool", ["cat"], ["pool"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool", "w3"], ["c3"], name="conv3", strides=[2, 2], kernel_shape=[1, 1], pads=[0] * 4),
        node("Reshape", ["c3", "flat"], ["flat_out"], name="reshape"),
        node("Tanh", ["flat_out"], ["tanh"], name="tanh"),
        node("Softmax", ["tanh"], ["probabilities"], name="softmax", axis=1),
    ]
    return graph_of(nodes, ["probabilities"], shape=(1, 3, 32, 32), constants=weights, opset=opset)
