"""The same function with channels of unequal range."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper


def unequal(model: ModelProto, seed: int = 0) -> ModelProto:
    """The same function: what each Conv writes through a Relu to the next is multiplied, per channel, by a power of two
    from 1/8 to 8, and the weights that read it are divided by it."""
    draw, found = np.random.default_rng(seed), onnx.ModelProto()
    found.CopyFrom(model)
    values = {each.name: each for each in found.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in found.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def scale(name: str, by: Any) -> None:
        values[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(values[name]) * by, name))

    for first in (node for node in found.graph.node if node.op_type == "Conv"):
        through = readers.get(first.output[0], [])
        behind = readers.get(through[0].output[0], []) if len(through) == 1 and through[0].op_type == "Relu" else []
        if len(behind) != 1 or behind[0].op_type != "Conv":
            continue
        channels = values[first.input[1]].dims[0]
        s = np.exp2(draw.integers(-3, 4, channels)).astype(np.float32)
        scale(first.input[1], s.reshape(-1, 1, 1, 1))
        scale(first.input[2], s)
        depthwise = values[behind[0].input[1]].dims[1] == 1
        scale(behind[0].input[1], 1 / s.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)))
    return found
